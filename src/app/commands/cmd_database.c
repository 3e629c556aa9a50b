/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_database.c -- `smp-server database import|export|tune|delete`: queues and messages between
 * the logs and PostgreSQL, while no server runs.
 *
 * What is moved stays where it was until it is durable where it goes. Connection and schema come
 * from the settings, unless options say otherwise. The settings are not changed. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands/cli.h"
#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "app/server/storage.h"
#include "app/terminal/progress.h"
#include "app/terminal/prompt.h"
#include "base/new_file.h"
#include "store/db/db.h"

struct database_args {
    const char *table, *database, *schema, *pool_size, *confirm_migrations;
    bool yes, skip_warnings;
};

// clang-format off
static const struct cli_option OPTIONS[] = {
    {"table", 0, "TABLE", offsetof(struct database_args, table),
        "all, queues or messages (default: all)"},
    {"database", 'd', "DB_CONN", offsetof(struct database_args, database),
        "Connection of libpq (default: [STORE_LOG]\ndb_connection)"},
    {"schema", 0, "DB_SCHEMA", offsetof(struct database_args, schema),
        "Schema in it (default: [STORE_LOG] db_schema)"},
    {"pool-size", 0, "N", offsetof(struct database_args, pool_size),
        "Of the reference; one connection is used"},
    {"confirm-migrations", 0, "up|down", offsetof(struct database_args, confirm_migrations),
        "Agree to changes of an older schema without asking"},
    {"skip-warnings", 0, NULL, offsetof(struct database_args, skip_warnings),
        "Go on in spite of damage: what cannot be read is set\naside"},
    {"yes", 'y', NULL, offsetof(struct database_args, yes), "Do not ask"},
};
// clang-format on

enum tables { TABLES_ALL, TABLES_QUEUES, TABLES_MESSAGES, N_TABLES };
static const char *const TABLES[N_TABLES] = {"all", "queues", "messages"};

enum { SHOWN_MAX = 512, NAMES_MAX = 512 };

/* What a command works on. */
struct job {
    const struct database_args *args;
    const struct paths *paths;
    struct conf conf;
    struct storage storage; /* of the store log alone, whatever the settings say */
    struct db_opts opts;
    enum tables tables;
    bool has_queues, has_messages; /* of the tables */
    char shown[SHOWN_MAX];         /* the connection, without password */
    struct db *db;                 /* owned */
    bool has_schema;
};

static void job_done(struct job *j) {
    db_close(j->db);
    storage_done(&j->storage);
    conf_done(&j->conf);
}

static enum err say(struct problem *p, enum err e, const struct store_problem *why) {
    return problem_set(p, e, "%s", why->text[0] != '\0' ? why->text : err_meaning(e));
}

static enum err check_args(struct job *j, struct problem *p) {
    const char *table = j->args->table != NULL ? j->args->table : TABLES[TABLES_ALL];
    const char *m = j->args->confirm_migrations;
    while (j->tables < N_TABLES && strcmp(table, TABLES[j->tables]) != 0) j->tables++;
    if (j->tables == N_TABLES) {
        return problem_set(p, E_CONFIG, "--table must be all, queues or messages, not \"%s\"",
                           table);
    }
    j->has_queues = j->tables != TABLES_MESSAGES;
    j->has_messages = j->tables != TABLES_QUEUES;
    if (m == NULL || strcmp(m, "up") == 0 || strcmp(m, "down") == 0) return OK;
    return problem_set(p, E_CONFIG, "--confirm-migrations must be up or down, not \"%s\"", m);
}

static enum err read_settings(struct job *j, struct problem *p) {
    j->conf.database_is_fine = true;
    enum err e = conf_load(&j->conf, j->paths->ini, conf_log_warning, NULL, p);
    if (e == OK && !j->conf.store_log) {
        e = problem_set(p, E_CONFIG, "the store log is disabled: set [STORE_LOG] enable: on in %s",
                        j->paths->ini);
    }
    if (e == OK) e = storage_init(&j->storage, &j->conf, j->paths, p);
    if (e != OK) return e;
    j->storage.in_journal = j->storage.in_database = false;
    j->storage.saves_messages = false;
    const struct database_args *a = j->args;
    j->opts.connection = a->database != NULL ? a->database : j->conf.db_connection;
    j->opts.schema = a->schema != NULL ? a->schema : j->conf.db_schema;
    struct wr w = wr_init(j->shown, sizeof j->shown - 1);
    db_show_connection(j->opts.connection, &w);
    if (wr_err(&w) != OK) (void)snprintf(j->shown, sizeof j->shown, "(too long)");
    return OK;
}

static enum err open_database(struct job *j, struct problem *p) {
    struct store_problem why = {0};
    enum err e = db_open(&j->opts, &j->db, &why);
    if (e == OK) e = db_has_schema(j->db, &j->has_schema, &why);
    return e == OK ? OK : say(p, e, &why);
}

static enum err job_init(struct job *j, const void *args, const struct paths *paths,
                         struct problem *p) {
    *j = (struct job){.args = args, .paths = paths, .storage = {.lock_fd = -1}};
    conf_init(&j->conf);
    enum err e = check_args(j, p);
    if (e == OK) e = read_settings(j, p);
    if (e == OK) e = storage_lock(&j->storage, p);
    return e == OK ? open_database(j, p) : e;
}

static enum err confirm(const struct job *j, struct problem *p) {
    return j->args->yes ? OK : prompt_confirm("Continue (Y/n): ", "Y", p);
}

static enum err need_schema(const struct job *j, struct problem *p) {
    if (j->has_schema) return OK;
    return problem_set(p, E_NOT_FOUND, "there is no schema %s in the database %s", j->opts.schema,
                       j->shown);
}

/* ---- an older schema ---- */

static enum err ask_for_migrations(const struct job *j, const struct db_migrations *due,
                                   struct problem *p) {
    char names[NAMES_MAX];
    struct wr w = wr_init(names, sizeof names - 1);
    for (unsigned i = 0; i < due->n; i++) {
        if (i != 0) wr_str(&w, ", ");
        wr_str(&w, due->names[i]);
    }
    printf("This program has a newer version than the database.\n"
           "Confirm to upgrade using these migrations: %.*s\n",
           (int)w.at, names);
    if (j->args->yes || j->args->confirm_migrations != NULL) return OK;
    bool yes = false;
    const enum err e = prompt_yes_no("Continue", false, &yes, p);
    if (e != OK || yes) return e;
    return problem_set(p, E_CLOSED,
                       "nothing was done: the schema is older than this version needs, and was not "
                       "to be upgraded");
}

static enum err upgrade(const struct job *j, struct problem *p) {
    struct db_migrations due;
    struct store_problem why = {0};
    enum err e = db_migrations_due(j->db, &due, &why);
    if (e != OK) return say(p, e, &why);
    if (due.n == 0) return OK;
    e = ask_for_migrations(j, &due, p);
    if (e != OK) return e;
    e = db_migrate(j->db, &why);
    return e == OK ? OK : say(p, e, &why);
}

/* ---- import ---- */

static enum err need_log(const char *path, const char *what, struct problem *p) {
    if (file_exists(path)) return OK;
    return problem_set(p, E_NOT_FOUND,
                       "there is no %s: %s (messages of the journal are first to be exported with "
                       "`smp-server journal export`)",
                       path, what);
}

static enum err check_import(const struct job *j, struct problem *p) {
    if (j->has_queues && j->has_schema) {
        return problem_set(p, E_EXISTS,
                           "the schema %s exists in the database %s: queues are imported into a "
                           "schema of their own, which is made then; remove it (`smp-server "
                           "database delete` tells how), or choose another --schema",
                           j->opts.schema, j->shown);
    }
    enum err e =
        j->has_queues ? need_log(j->paths->store_log, "nothing to import", p) : need_schema(j, p);
    if (e == OK && j->has_messages) {
        e = need_log(j->paths->messages_log,
                     j->has_queues ? "without messages, import `--table queues`"
                                   : "nothing to import",
                     p);
    }
    return e;
}

static void announce_import(const struct job *j) {
    printf("WARNING: %s%s%s will be imported to the PostgreSQL database %s, schema %s\n",
           j->has_queues ? j->paths->store_log : "",
           j->has_queues && j->has_messages ? " and " : "",
           j->has_messages ? j->paths->messages_log : "", j->shown, j->opts.schema);
}

/* Messages that are there are replaced. */
static enum err ask_for_messages(const struct job *j, struct problem *p) {
    uint64_t n = 0;
    struct store_problem why = {0};
    const enum err e = db_count_messages(j->db, &n, &why);
    if (e != OK) return say(p, e, &why);
    if (n == 0) return OK;
    printf("WARNING: the database contains %" PRIu64 " messages, they will be deleted.\n", n);
    return confirm(j, p);
}

/* Checks the whole store log and leaves one line for each queue; what it was stays beside it. */
static enum err compact(const struct job *j, struct problem *p) {
    struct store *store = NULL;
    const struct storage_use use = {
        .skip_warnings = j->args->skip_warnings,
        .compact_log = true,
    };
    progress_begin(&ENV_SYSTEM, NULL, 0);
    const enum err e = storage_open(&j->storage, &use, &store, p);
    progress_end();
    store_close(store);
    return e;
}

/* In the place of an older one, as a start does. */
static enum err set_aside(const char *path, struct problem *p) {
    char aside[PATH_MAX + sizeof ".bak"], sums[PATH_MAX + sizeof ".sums"];
    (void)snprintf(aside, sizeof aside, "%s.bak", path);
    (void)snprintf(sums, sizeof sums, "%s.sums", path);
    if (rename(path, aside) != 0) return file_problem(p, "cannot rename", path, errno);
    (void)unlink(sums); /* of a log that is not there any more */
    printf("%s is now %s\n", path, aside);
    return vfs_sync_parent(&VFS_SYSTEM, path);
}

static enum err import(const struct job *j, struct db_counts *ret, struct problem *p) {
    struct store_problem why = {0};
    const struct db_import i = {
        .store_log = j->has_queues ? j->paths->store_log : NULL,
        .messages_log = j->has_messages ? j->paths->messages_log : NULL,
        .skip_warnings = j->args->skip_warnings,
        .progress = progress_report,
    };
    progress_begin(&ENV_SYSTEM, "Importing", 0);
    const enum err e = db_import(j->db, &i, ret, &why);
    progress_end();
    return e == OK ? OK : say(p, e, &why);
}

static void print_counts(const struct job *j, const char *verb, const struct db_counts *n) {
    printf("%s completed", verb);
    const char *separator = ": ";
    if (j->has_queues) {
        printf("%s%" PRIu64 " services, %" PRIu64 " queues", separator, n->n_services, n->n_queues);
        separator = ", ";
    }
    if (j->has_messages) printf("%s%" PRIu64 " messages", separator, n->n_messages);
    printf("\n");
    if (n->n_left_out == 0) return;
    printf("Left out: %" PRIu64 " messages of queues that were deleted or do not exist\n",
           n->n_left_out);
}

static enum err import_and_set_aside(const struct job *j, struct problem *p) {
    struct db_counts n = {0};
    enum err e = j->has_queues ? compact(j, p) : OK;
    if (e == OK) e = import(j, &n, p);
    if (e == OK && j->has_queues) e = set_aside(j->paths->store_log, p);
    if (e == OK && j->has_messages) e = set_aside(j->paths->messages_log, p);
    if (e == OK) print_counts(j, "Import", &n);
    return e;
}

static enum err run_import(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = check_import(&j, p);
    if (e != OK) return e;
    announce_import(&j);
    e = confirm(&j, p);
    if (e == OK && !j.has_queues) {
        e = upgrade(&j, p);
        if (e == OK) e = ask_for_messages(&j, p);
    }
    if (e == OK) e = import_and_set_aside(&j, p);
    if (e != OK) return e;
    printf("Set store_queues and store_messages to `database` in %s, and start the server\n",
           paths->ini);
    return OK;
}

/* ---- export ---- */

static enum err check_export(const struct job *j, struct problem *p) {
    const char *const logs[] = {j->has_queues ? j->paths->store_log : NULL,
                                j->has_messages ? j->paths->messages_log : NULL};
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        if (logs[i] == NULL || !file_exists(logs[i])) continue;
        return problem_set(p, E_EXISTS, "%s exists: move it away, nothing is overwritten", logs[i]);
    }
    return need_schema(j, p);
}

static void announce_export(const struct job *j) {
    printf("The schema %s of the PostgreSQL database %s will be exported to %s%s%s\n",
           j->opts.schema, j->shown, j->has_queues ? j->paths->store_log : "",
           j->has_queues && j->has_messages ? " and " : "",
           j->has_messages ? j->paths->messages_log : "");
}

static enum err export(const struct job *j, struct db_counts *ret, struct problem *p) {
    struct store_problem why = {0};
    const struct db_export x =
        {
            .store_log = j->has_queues ? j->paths->store_log : NULL,
            .messages_log = j->has_messages ? j->paths->messages_log : NULL,
            .progress = progress_report,
        };
    progress_begin(&ENV_SYSTEM, "Exporting", 0);
    const enum err e = db_export(j->db, &x, ret, &why);
    progress_end();
    return e == OK ? OK : say(p, e, &why);
}

static enum err run_export(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    struct db_counts n = {0};
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = check_export(&j, p);
    if (e != OK) return e;
    announce_export(&j);
    e = confirm(&j, p);
    if (e == OK) e = upgrade(&j, p);
    if (e == OK) e = export(&j, &n, p);
    if (e != OK) return e;
    print_counts(&j, "Export", &n);
    printf("The database still holds all of it. Set `store_queues: memory` and `store_messages: "
           "memory` in [STORE_LOG] of %s; for the journal, run `smp-server journal import` then\n",
           paths->ini);
    return OK;
}

/* ---- delete ---- */

static enum err run_delete(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = need_schema(&j, p);
    if (e != OK) return e;
    printf("Nothing was deleted. To delete all queues and messages of the schema %s for good:\n"
           "Open database: psql \"%s\"\n"
           "Delete schema: DROP SCHEMA %s CASCADE;\n",
           j.opts.schema, j.shown, j.opts.schema);
    return OK;
}

/* ---- tune ---- */

static enum err run_tune(const void *args, const struct paths *paths, struct problem *p) {
    CLEANUP(job_done) struct job j;
    struct store_problem why = {0};
    enum err e = job_init(&j, args, paths, p);
    if (e == OK) e = need_schema(&j, p);
    if (e == OK) e = upgrade(&j, p);
    if (e != OK) return e;
    e = db_tune(j.db, &why);
    if (e != OK) return say(p, e, &why);
    printf("Tuned the schema %s: the space of messages is used again sooner, and their bodies are "
           "not compressed. Indexes are as they were.\n",
           j.opts.schema);
    return OK;
}

/* ---- the commands ---- */

#define COMMAND(word, text, function)                                                              \
    {                                                                                              \
        .name = "database " word, .summary = (text), .options = OPTIONS,                           \
        .n_options = ARRAY_LEN(OPTIONS), .args_len = sizeof(struct database_args),                 \
        .run = (function)                                                                          \
    }

static const struct command COMMANDS[] = {
    COMMAND("import", "Move queues and messages of the logs into a database", run_import),
    COMMAND("export", "Write queues and messages of a database to logs", run_export),
    COMMAND("tune", "Set what suits a store in the tables of a database", run_tune),
    COMMAND("delete", "Tell how all of it is deleted in the database", run_delete),
};

const struct command CMD_DATABASE = {
    .name = "database",
    .summary = "Move queues and messages between files and PostgreSQL",
    .commands = COMMANDS,
    .n_commands = ARRAY_LEN(COMMANDS),
};
