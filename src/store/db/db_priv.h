/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_priv.h -- what the files of this folder share: statements, COPY, migrations. */
#pragma once

#include <libpq-fe.h>

#include "base/rd.h"
#include "store/db/db.h"

struct db {
    PGconn *conn;                  /* owned */
    char schema[DB_NAME_MAX];      /* good: db_schema_name_is_good() */
    struct store_problem *problem; /* of the call under way; borrowed */
    const _Atomic bool *abandon; /* db_pipe.h: waits end when this is set; borrowed; may be NULL */
    unsigned patience_ms;        /* likewise, when one has lasted so long; 0: however long */
};

/* ---- db_conn.c ---- */
/* What went wrong with the last statement: fills in the problem, returns E_STORE. result: NULL: of
 * the connection. */
enum err db__fail(struct db *db, const char *doing, const PGresult *result);
enum err db__say(struct db *db, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Statements without parameters and rows. doing: "make the schema". */
MUST_USE enum err db__exec(struct db *db, const char *doing, const char *sql);
/* A statement with up to one text parameter (NULL: none); rows in text, PQclear(). */
MUST_USE enum err db__query(struct db *db, const char *doing, const char *sql, const char *param,
                            PGresult **ret);
/* The one number of one row. */
MUST_USE enum err db__query_number(struct db *db, const char *doing, const char *sql,
                                   uint64_t *ret);
/* BEGIN, with what follows it, and our schema as search path until its end. */
MUST_USE enum err db__begin(struct db *db, const char *mode);
MUST_USE enum err db__commit(struct db *db);
void db__rollback(struct db *db); /* also when nothing is under way, or the connection is gone */

/* ---- db_copy.c: rows in PostgreSQL's binary form ---- */

enum { DB_COLUMNS_MAX = 16, DB_ROW_MAX = 64 << 10 };

/* A value of a row. NULL is not the same as an empty one. */
struct db_value {
    struct bytes b;
    bool is_null;
};

static inline struct db_value db_value_null(void) {
    return (struct db_value){.is_null = true};
}
static inline struct db_value db_value_of(struct bytes b) {
    return (struct db_value){.b = b};
}

/* COPY .. FROM STDIN; one at a time on a connection. */
struct db_copy_in {
    struct db *db;
    const char *doing;
    uint8_t *buf; /* owned, DB_COPY_BUFFER_LEN */
    struct wr w;
};
MUST_USE enum err db_copy_in_begin(struct db *db, const char *doing, const char *sql,
                                   struct db_copy_in *ret);
MUST_USE enum err db_copy_in_row(struct db_copy_in *c, const struct db_value *v, unsigned n);
/* ok: all rows were given; else it is given up. Frees. */
MUST_USE enum err db_copy_in_end(struct db_copy_in *c, bool ok);

/* COPY .. TO STDOUT: calls row() for each; the values are borrowed until it returns. */
typedef enum err db_row_fn(void *ctx, const struct db_value *v, unsigned n);
MUST_USE enum err db_copy_out(struct db *db, const char *doing, const char *sql, db_row_fn *row,
                              void *ctx);

/* A value that has n bytes. The pure part of the above, both ways. E_LIMIT. */
void db_row_write(const struct db_value *v, unsigned n, struct wr *w);
/* *ret_n: columns, up to DB_COLUMNS_MAX. False at the end of rows. */
bool db_row_read(struct rd *r, struct db_value ret[DB_COLUMNS_MAX], unsigned *ret_n);

/* ---- db_migrations.c: their texts ---- */

enum { DB_STATEMENTS_MAX = 12 };

struct db_migration {
    const char *name;
    const char *up[DB_STATEMENTS_MAX]; /* statements, without schema; NULL after the last */
    const char *down;                  /* stored in its row, for whoever comes after us; or NULL */
};
extern const struct db_migration DB_MIGRATIONS[];
extern const unsigned N_DB_MIGRATIONS;
/* Names that may follow ours: newer versions of the reference, with whose tables we can work. */
extern const char *const DB_MIGRATIONS_AFTER[];
extern const unsigned N_DB_MIGRATIONS_AFTER;
/* Within a transaction of the caller's: all that are due; as db_tune(). */
MUST_USE enum err db__migrate_here(struct db *db);
MUST_USE enum err db__tune_here(struct db *db);
