/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_conn.c -- the connection: made, asked, and what it says in words.
 *
 * db_connection may hold a password, and libpq quotes what it does not understand. So a string is
 * taken apart first, and of one that it cannot parse nothing is shown; a URI whose password has
 * characters that end it early (@ / ?) would put its rest into the name of the host, so such a host
 * is refused before anybody prints it. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/db/db_priv.h"

enum {
    VERSION_MIN = 140000, /* procedures with OUT parameters */
    LINE_MAX_LEN = 300,   /* of PostgreSQL's words */
    SQL_MAX = 256,
};

/* ---- what is shown ---- */

bool db_schema_name_is_good(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz_0123456789";
    const size_t n = strlen(name);
    return n != 0 && n < DB_NAME_MAX && strspn(name, allowed) == n &&
           (name[0] < '0' || name[0] > '9') && strncmp(name, "pg_", 3) != 0;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword) {
    const char *value = NULL;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, keyword) == 0) value = o->val;
    }
    return value;
}

/* Is there an @ where a password has run over? */
static bool has_run_over(const PQconninfoOption *options) {
    static const char *const keywords[] = {"host", "hostaddr", "port", "dbname", "user"};
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        const char *value = value_of(options, keywords[i]);
        if (value != NULL && strchr(value, '@') != NULL) return true;
    }
    return false;
}

/* *ret: PQconninfoFree(). E_CONFIG. */
static enum err take_apart(const char *connection, PQconninfoOption **ret) {
    char *why = NULL; /* not shown: it quotes */
    *ret = PQconninfoParse(connection, &why);
    PQfreemem(why);
    if (*ret == NULL) return E_CONFIG;
    if (!has_run_over(*ret)) return OK;
    PQconninfoFree(*ret);
    *ret = NULL;
    return E_CONFIG;
}

void db_show_connection(const char *connection, struct wr *w) {
    PQconninfoOption *options = NULL;
    if (take_apart(connection, &options) != OK) {
        wr_str(w, "(hidden)");
        return;
    }
    const char *separator = "";
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val == NULL || o->dispchar[0] == '*') continue; /* libpq's mark of a password */
        wr_str(w, separator);
        wr_str(w, o->keyword);
        wr_u8(w, '=');
        wr_str(w, o->val);
        separator = " ";
    }
    PQconninfoFree(options);
}

/* ---- what is read ---- */

static void tell_file(const char *path, void (*file)(void *ctx, const char *path), void *ctx) {
    if (path != NULL && access(path, R_OK) == 0) file(ctx, path);
}

/* Services that are known to all of the machine: where the environment says, or as Debian has it.
 */
static void tell_system_wide(void (*file)(void *ctx, const char *path), void *ctx) {
    const char *dir = getenv("PGSYSCONFDIR");
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/pg_service.conf",
                           dir != NULL ? dir : "/etc/postgresql-common");
    if (n > 0 && (size_t)n < sizeof path) tell_file(path, file, ctx);
}

/* Where libpq looks when nothing else is said. */
static void tell_defaults(void (*file)(void *ctx, const char *path), void *ctx) {
    static const char *const names[] = {".pgpass", ".pg_service.conf", ".postgresql/root.crt",
                                        ".postgresql/postgresql.crt", ".postgresql/postgresql.key"};
    const char *home = getenv("HOME");
    tell_file(getenv("PGPASSFILE"), file, ctx);
    tell_file(getenv("PGSERVICEFILE"), file, ctx);
    tell_system_wide(file, ctx);
    for (size_t i = 0; i < ARRAY_LEN(names) && home != NULL; i++) {
        char path[PATH_MAX];
        const int n = snprintf(path, sizeof path, "%s/%s", home, names[i]);
        if (n > 0 && (size_t)n < sizeof path) tell_file(path, file, ctx);
    }
}

void db_each_file(const char *connection, void (*file)(void *ctx, const char *path), void *ctx) {
    static const char *const keywords[] = {"passfile", "sslcert", "sslkey", "sslrootcert",
                                           "sslcrl"};
    PQconninfoOption *options = NULL;
    if (take_apart(connection, &options) != OK) return;
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        tell_file(value_of(options, keywords[i]), file, ctx);
    PQconninfoFree(options);
    tell_defaults(file, ctx);
}

/* ---- what goes wrong ---- */

enum err db__say(struct db *db, enum err e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    /* clang-tidy 14 finds va_start() in none but the first file that it is given. */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    (void)vsnprintf(db->problem->text, sizeof db->problem->text, fmt, ap);
    va_end(ap);
    return e;
}

static int first_line(const char *text) {
    const size_t n = strcspn(text, "\n");
    return (int)(n < LINE_MAX_LEN ? n : LINE_MAX_LEN);
}

enum err db__fail(struct db *db, const char *doing, const PGresult *result) {
    const char *line = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (line == NULL) line = PQerrorMessage(db->conn);
    if (line[0] == '\0') line = "nothing, in time";
    return db__say(db, E_STORE, "cannot %s: PostgreSQL says \"%.*s\"%s%s%s", doing,
                   first_line(line), line, state != NULL ? " (" : "", state != NULL ? state : "",
                   state != NULL ? ")" : "");
}

/* ---- statements ---- */

enum err db__exec(struct db *db, const char *doing, const char *sql) {
    PGresult *r = PQexec(db->conn, sql);
    const ExecStatusType status = PQresultStatus(r);
    const enum err e =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? OK : db__fail(db, doing, r);
    PQclear(r);
    return e;
}

enum err db__query(struct db *db, const char *doing, const char *sql, const char *param,
                   PGresult **ret) {
    PGresult *r = PQexecParams(db->conn, sql, param != NULL, NULL, &param, NULL, NULL, 0);
    if (PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK) {
        *ret = r;
        return OK;
    }
    const enum err e = db__fail(db, doing, r);
    PQclear(r);
    return e;
}

enum err db__query_number(struct db *db, const char *doing, const char *sql, uint64_t *ret) {
    PGresult *r = NULL;
    const enum err e = db__query(db, doing, sql, NULL, &r);
    if (e != OK) return e;
    *ret = PQntuples(r) == 1 ? strtoull(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return OK;
}

enum err db__begin(struct db *db, const char *mode) {
    char sql[SQL_MAX];
    (void)snprintf(sql, sizeof sql, "BEGIN %s; SET LOCAL search_path TO %s", mode, db->schema);
    return db__exec(db, "begin a transaction", sql);
}

enum err db__commit(struct db *db) {
    const enum err e = db__exec(db, "commit", "COMMIT");
    if (e == OK || PQstatus(db->conn) == CONNECTION_OK) return e;
    return db__say(db, E_STORE,
                   "the connection to PostgreSQL was lost while all was committed, so it is not "
                   "known whether it is there: run the command again, it says so if it is");
}

void db__rollback(struct db *db) {
    if (PQtransactionStatus(db->conn) == PQTRANS_IDLE) return;
    PQclear(PQexec(db->conn, "ROLLBACK"));
}

/* ---- the connection ---- */

/* Notices that PostgreSQL sends are not for the terminal. */
static void drop_notice(void *ctx, const PGresult *r) {
    (void)ctx;
    (void)r;
}

static enum err connect_to(struct db *db, const struct db_opts *o) {
    char timeout[16];
    (void)snprintf(timeout, sizeof timeout, "%u", o->connect_s != 0 ? o->connect_s : DB_CONNECT_S);
    /* What stands behind dbname in the string counts, what stands before it is a default. */
    const char *const keywords[] = {"client_encoding", "application_name", "connect_timeout",
                                    "dbname", NULL};
    const char *const values[] = {"UTF8", "smp-server", timeout, o->connection, NULL};
    db->conn = PQconnectdbParams(keywords, values, 1);
    if (db->conn == NULL) return E_NO_MEMORY;
    (void)PQsetNoticeReceiver(db->conn, drop_notice, NULL);
    if (PQstatus(db->conn) != CONNECTION_OK) return db__fail(db, "reach the database", NULL);
    if (PQserverVersion(db->conn) >= VERSION_MIN) return OK;
    return db__say(db, E_STORE, "PostgreSQL there is version %d: it must be 14 or later",
                   PQserverVersion(db->conn) / 10000);
}

enum err db_open(const struct db_opts *o, struct db **ret, struct store_problem *ret_problem) {
    struct db *db = calloc(1, sizeof *db);
    PQconninfoOption *options = NULL;
    if (db == NULL) return E_NO_MEMORY;
    db->problem = ret_problem;
    enum err e = OK;
    if (!db_schema_name_is_good(o->schema)) {
        e = db__say(db, E_CONFIG,
                    "the schema \"%.64s\" cannot be used: its name must be of small letters, "
                    "digits and _, and not begin with a digit or pg_",
                    o->schema);
    } else if (take_apart(o->connection, &options) != OK) {
        e = db__say(db, E_CONFIG,
                    "db_connection cannot be understood, and is not shown because of its "
                    "password: it is key words (host=.. dbname=..) or "
                    "postgresql://user:password@host/database, where what is special in a password "
                    "is written as %%XX");
    }
    PQconninfoFree(options);
    if (e == OK) {
        (void)snprintf(db->schema, sizeof db->schema, "%s", o->schema);
        e = connect_to(db, o);
    }
    if (e == OK) {
        *ret = db;
    } else {
        db_close(db);
    }
    return e;
}

void db_close(struct db *db) {
    if (db == NULL) return;
    PQfinish(db->conn);
    free(db);
}
