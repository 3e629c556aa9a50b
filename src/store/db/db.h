/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db.h -- queues and messages in PostgreSQL, in the tables of the reference: a connection, their
 * schema, and moving all of it between them and the logs, while no server runs.
 *
 * This folder is the only user of libpq. A struct db is one connection, of one thread, and blocks;
 * it keeps no state in the session from one transaction to the next, so a pooler between is no
 * matter. What goes wrong is told in words for the operator: of what PostgreSQL says its one line,
 * never the detail, which would name ids; of db_connection nothing that could be a password.
 * Tables: docs/FORMATS.md "Database"; why so: docs/adr/0020. */
#pragma once

#include "base/wr.h"
#include "store/store.h"

struct db;

struct db_opts {
    const char *connection; /* of libpq, key words or URI; borrowed until db_close() */
    const char *schema;     /* likewise */
    unsigned connect_s;     /* that connecting to one host may take; 0: DB_CONNECT_S */
};

enum {
    DB_SHOWN_MAX = 256, /* bytes of a connection as it is shown */
    DB_NAME_MAX = 64,   /* bytes of a schema's or a migration's name, with terminator */
    DB_MIGRATIONS_MAX = 16,
    DB_CONNECT_S = 15,
};

/* May a schema have this name? Small letters, digits and _: what is the same quoted or not. */
bool db_schema_name_is_good(const char *name);
/* The connection as it may be shown: without its password. Nothing of one that cannot be parsed. */
void db_show_connection(const char *connection, struct wr *w);

/* Calls file() for what libpq reads from disk when it connects: passwords and certificates, as far
 * as they are there. */
void db_each_file(const char *connection, void (*file)(void *ctx, const char *path), void *ctx);

/* E_CONFIG: the options are wrong; E_STORE: there is no way to the database, or it is older than
 * what the schema needs. E_NO_MEMORY. */
MUST_USE enum err db_open(const struct db_opts *o, struct db **ret,
                          struct store_problem *ret_problem);
void db_close(struct db *db); /* NULL is a no-op */

/* ---- the schema ---- */

MUST_USE enum err db_has_schema(struct db *db, bool *ret, struct store_problem *ret_problem);

/* What the schema lacks, oldest first. */
struct db_migrations {
    unsigned n;
    const char *names[DB_MIGRATIONS_MAX]; /* static */
};
/* E_VERSION: its list of migrations is not one that this version knows. */
MUST_USE enum err db_migrations_due(struct db *db, struct db_migrations *ret,
                                    struct store_problem *ret_problem);
/* May a server use the schema as it is? E_NOT_FOUND: it is not there, E_VERSION: it lacks a
 * migration; in words. */
MUST_USE enum err db_check_schema(struct db *db, const struct db_opts *o,
                                  struct store_problem *ret_problem);
/* Makes those that are due, each in a transaction of its own with its row. Of two that do it at
 * once, one waits for the other. */
MUST_USE enum err db_migrate(struct db *db, struct store_problem *ret_problem);

/* Sets what suits a store: messages come and go, so the space of those that went is looked for by
 * their number, not by a share of the table; and their bodies, which are encrypted, are not tried
 * to be compressed. Whoever made the schema goes on without noticing. A schema that an import makes
 * is tuned. Can be repeated. */
MUST_USE enum err db_tune(struct db *db, struct store_problem *ret_problem);

struct db_counts {
    uint64_t n_services, n_queues, n_messages;
    uint64_t n_left_out; /* messages of queues that do not exist, or are deleted */
};
MUST_USE enum err db_count_messages(struct db *db, uint64_t *ret,
                                    struct store_problem *ret_problem);

/* How far a move has come, for progress.h; may be NULL. */
typedef void db_progress(const char *what, uint64_t done_bytes, uint64_t total_bytes);

/* ---- moving ---- */

struct db_import {
    const char *store_log;    /* path, of a log that was just compacted; NULL: queues stay as they
                                 are, and there is a schema. Else it is made, and must not be there */
    const char *messages_log; /* path; NULL: without messages. Those that are there are deleted */
    bool skip_warnings;       /* lines that cannot be read are set aside in a file .bad */
    db_progress *progress;
};
/* All in one transaction: on an error nothing has changed, unless the problem says that it is not
 * known. The logs are left where they are. E_STORE, E_SYS, E_NO_MEMORY, E_EXISTS. */
MUST_USE enum err db_import(struct db *db, const struct db_import *i, struct db_counts *ret,
                            struct store_problem *ret_problem);

struct db_export {
    const char *store_log, *messages_log; /* paths of new files; NULL: without */
    db_progress *progress;
};
/* As of one moment; the database is not changed. Queues by recipient id, messages of each in their
 * order; without what was deleted. E_STORE, E_SYS, E_NO_MEMORY: neither file is there. */
MUST_USE enum err db_export(struct db *db, const struct db_export *x, struct db_counts *ret,
                            struct store_problem *ret_problem);
