/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_pipe.h -- statements on a connection, many in one round trip (libpq's pipeline mode), values
 * in PostgreSQL's binary form. One thread.
 *
 * Send what belongs together, db_pipe_sync(), then take the results in the order of what was sent
 * with db_pipe_next() and db_pipe_end(). After the first that fails the server skips the rest up to
 * the sync.
 *
 * Private to this folder. */
#pragma once

#include "store/db/db_priv.h"

/* A statement that a connection knows by name. */
struct db_statement {
    const char *name;
    const char *sql; /* "%s" stands for the schema, as often as it is there */
};

/* Makes the statements known and goes into pipeline mode. E_STORE, E_NO_MEMORY; db->problem. */
MUST_USE enum err db_pipe_open(struct db *db, const struct db_statement *statements, unsigned n);

/* E_CLOSED: there is no connection any more. */
MUST_USE enum err db_pipe_send(struct db *db, const char *name, unsigned n,
                               const struct db_value *values);
/* One that is sent as text, "%s" as above. */
MUST_USE enum err db_pipe_send_sql(struct db *db, const char *sql, unsigned n,
                                   const struct db_value *values);
MUST_USE enum err db_pipe_sync(struct db *db);
/* OK: *ret is to be PQclear()ed. E_STORE: this one failed, or one before it; *ret has why.
 * E_CLOSED, *ret NULL: there is no connection, and nobody knows what came of the rest. */
MUST_USE enum err db_pipe_next(struct db *db, PGresult **ret);
MUST_USE enum err db_pipe_end(struct db *db); /* of a sync. E_CLOSED */
/* A statement alone: all of the above. E_STORE, E_CLOSED: db->problem says what could not be done;
 * *ret is NULL unless OK. */
MUST_USE enum err db_pipe_ask(struct db *db, const char *doing, const char *name, unsigned n,
                              const struct db_value *values, PGresult **ret);
MUST_USE enum err db_pipe_run_sql(struct db *db, const char *doing, const char *sql, unsigned n,
                                  const struct db_value *values);

/* ---- values ---- */

enum db_type { DB_BYTEA = 17, DB_BOOL = 16, DB_INT8 = 20, DB_TEXT = 25 };

/* An array that grows; its memory is used again by the next. */
struct db_array {
    uint8_t *p; /* owned */
    size_t n, cap;
    uint32_t n_elements;
    bool failed; /* for want of memory */
};
void db_array_begin(struct db_array *a, enum db_type of);
void db_array_add(struct db_array *a, struct db_value v);
/* Borrowed from a. E_NO_MEMORY. */
MUST_USE enum err db_array_end(struct db_array *a, struct db_value *ret);
void db_array_done(struct db_array *a);

/* A number as its 8 bytes, in the caller's buffer. */
enum { DB_NUMBER_LEN = 8 };
struct db_value db_number(int64_t v, uint8_t buf[DB_NUMBER_LEN]);
int64_t db_number_of(struct db_value v); /* of 4 or 8 bytes; 0 for any other length */
bool db_bool_of(struct db_value v);
/* Of a result in binary; borrowed from r. */
struct db_value db_result_value(const PGresult *r, int row, int column);
