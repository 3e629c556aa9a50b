/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_schema.c -- the schema: whether it is there, which steps it has, and those that it lacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/db/db_priv.h"

#define LOCK_KEY "1936552046" /* "smpn", as a number */

enum err db_has_schema(struct db *db, bool *ret, struct store_problem *ret_problem) {
    PGresult *r = NULL;
    db->problem = ret_problem;
    const enum err e = db__query(db, "look for the schema",
                                 "SELECT FROM pg_namespace WHERE nspname = $1", db->schema, &r);
    if (e != OK) return e;
    *ret = PQntuples(r) == 1;
    PQclear(r);
    return OK;
}

enum err db_count_messages(struct db *db, uint64_t *ret, struct store_problem *ret_problem) {
    db->problem = ret_problem;
    enum err e = db__begin(db, "READ ONLY");
    if (e == OK)
        e = db__query_number(db, "count the messages", "SELECT count(*) FROM messages", ret);
    db__rollback(db);
    return e;
}

/* ---- the list of migrations ---- */

static const char *known_name(unsigned i) {
    return i < N_DB_MIGRATIONS ? DB_MIGRATIONS[i].name : DB_MIGRATIONS_AFTER[i - N_DB_MIGRATIONS];
}

/* Those that are there, ascending, must be the first of those that are known. */
static enum err compare(struct db *db, const PGresult *r, unsigned *ret_n) {
    const unsigned n_known = N_DB_MIGRATIONS + N_DB_MIGRATIONS_AFTER;
    const unsigned n = (unsigned)PQntuples(r);
    for (unsigned i = 0; i < n; i++) {
        const char *name = PQgetvalue(r, (int)i, 0);
        if (i < n_known && strcmp(name, known_name(i)) == 0) continue;
        return db__say(db, E_VERSION,
                       "the schema %s has the migration \"%.64s\" where this version knows %s: it "
                       "was made by a newer version, or not by this program; nothing is changed",
                       db->schema, name, i < n_known ? known_name(i) : "no further one");
    }
    *ret_n = n;
    return OK;
}

/* How many of the known ones are there. Within a transaction. */
static enum err count_there(struct db *db, unsigned *ret) {
    PGresult *r = NULL;
    *ret = 0;
    enum err e = db__query(db, "look for the migrations",
                           "SELECT to_regclass(quote_ident($1) || '.migrations') IS NOT NULL",
                           db->schema, &r);
    if (e != OK) return e;
    const bool has_table = strcmp(PQgetvalue(r, 0, 0), "t") == 0;
    PQclear(r);
    if (!has_table) return OK;
    e = db__query(db, "read the migrations",
                  "SELECT name FROM migrations ORDER BY name COLLATE \"C\"", NULL, &r);
    if (e != OK) return e;
    e = compare(db, r, ret);
    PQclear(r);
    return e;
}

enum err db_migrations_due(struct db *db, struct db_migrations *ret,
                           struct store_problem *ret_problem) {
    db->problem = ret_problem;
    unsigned n = 0;
    *ret = (struct db_migrations){0};
    enum err e = db__begin(db, "READ ONLY");
    if (e == OK) e = count_there(db, &n);
    db__rollback(db);
    while (e == OK && n < N_DB_MIGRATIONS) ret->names[ret->n++] = DB_MIGRATIONS[n++].name;
    return e;
}

enum err db_check_schema(struct db *db, const struct db_opts *o,
                         struct store_problem *ret_problem) {
    char shown[DB_SHOWN_MAX] = "";
    bool has_schema = false;
    struct db_migrations due;
    struct wr w = wr_init(shown, sizeof shown - 1);
    db_show_connection(o->connection, &w);
    enum err e = db_has_schema(db, &has_schema, ret_problem);
    if (e == OK && !has_schema)
        return db__say(db, E_NOT_FOUND,
                       "there is no schema %s in the database %s: for a new server make an empty "
                       "one (CREATE SCHEMA %s), or run `smp-server database import`",
                       o->schema, shown, o->schema);
    if (e == OK) e = db_migrations_due(db, &due, ret_problem);
    if (e != OK || due.n == 0) return e;
    return db__say(db, E_VERSION,
                   "the schema %s in the database %s is older than this version needs (it lacks "
                   "%s): run `smp-server start --confirm-migrations up`",
                   o->schema, shown, due.names[0]);
}

/* ---- making them ---- */

static enum err note(struct db *db, const struct db_migration *m) {
    const char *const values[] = {m->name, m->down};
    PGresult *r = PQexecParams(db->conn,
                               "INSERT INTO migrations (name, ts, down) "
                               "VALUES ($1, timezone('UTC', now()), $2)",
                               ARRAY_LEN(values), NULL, values, NULL, NULL, 0);
    const enum err e = PQresultStatus(r) == PGRES_COMMAND_OK ? OK : db__fail(db, m->name, r);
    PQclear(r);
    return e;
}

static enum err make_one(struct db *db, const struct db_migration *m) {
    char doing[DB_NAME_MAX + 32];
    (void)snprintf(doing, sizeof doing, "make the migration %s", m->name);
    enum err e = OK;
    for (unsigned i = 0; e == OK && i < DB_STATEMENTS_MAX && m->up[i] != NULL; i++) {
        e = db__exec(db, doing, m->up[i]);
    }
    return e == OK ? note(db, m) : e;
}

/* The table, locked against another process that does the same; *ret_n: how many are there. */
static enum err lock_list(struct db *db, unsigned *ret_n) {
    /* IF NOT EXISTS alone is no protection from somebody who makes it at the same moment. */
    enum err e = db__exec(db, "lock the migrations", "SELECT pg_advisory_xact_lock(" LOCK_KEY ")");
    if (e != OK) return e;
    e = db__exec(db, "make the table of migrations",
                 "CREATE TABLE IF NOT EXISTS migrations ("
                 "name text PRIMARY KEY, ts timestamp without time zone NOT NULL, "
                 "down text)");
    if (e == OK) {
        e = db__exec(db, "lock the migrations",
                     "LOCK TABLE migrations IN SHARE ROW EXCLUSIVE MODE");
    }
    return e == OK ? count_there(db, ret_n) : e;
}

enum err db__migrate_here(struct db *db) {
    unsigned n = 0;
    enum err e = lock_list(db, &n);
    while (e == OK && n < N_DB_MIGRATIONS) e = make_one(db, &DB_MIGRATIONS[n++]);
    return e;
}

/* In a transaction of its own. *ret_more: there may be further ones. */
static enum err make_next(struct db *db, bool *ret_more) {
    unsigned n = 0;
    enum err e = db__begin(db, "");
    if (e == OK) e = lock_list(db, &n);
    *ret_more = e == OK && n < N_DB_MIGRATIONS;
    if (*ret_more) {
        e = make_one(db, &DB_MIGRATIONS[n]);
        if (e == OK) e = db__commit(db);
        if (e == OK) {
            log_line(LOG_INFO, "database-migration", "schema=%s name=%s", db->schema,
                     DB_MIGRATIONS[n].name);
        }
    }
    db__rollback(db);
    return e;
}

enum err db_migrate(struct db *db, struct store_problem *ret_problem) {
    db->problem = ret_problem;
    bool more = true;
    enum err e = OK;
    while (e == OK && more) e = make_next(db, &more);
    return e;
}

/* ---- tuning ---- */

/* After that many messages that went; without a pause, which would make it last longer than the
 * next ones take. Of 100,000 messages that came and went, 256 alive at most, 332 MB were left in
 * place of the 677 of PostgreSQL's defaults. */
#define VACUUM(prefix)                                                                             \
    prefix "autovacuum_vacuum_scale_factor = 0, " prefix                                           \
           "autovacuum_vacuum_threshold = 20000, " prefix "autovacuum_vacuum_cost_delay = 0"

enum err db__tune_here(struct db *db) {
    return db__exec(db, "tune the table of messages",
                    "ALTER TABLE messages SET (" VACUUM("") ", " VACUUM(
                        "toast.") "), "
                                  "ALTER COLUMN msg_body SET STORAGE EXTERNAL");
}

enum err db_tune(struct db *db, struct store_problem *ret_problem) {
    db->problem = ret_problem;
    enum err e = db__begin(db, "");
    if (e == OK) e = db__tune_here(db);
    if (e == OK) e = db__commit(db);
    db__rollback(db);
    return e;
}
