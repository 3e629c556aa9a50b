/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/db/db_pipe.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"

enum { SQL_MAX = 2048, ARRAY_HEAD_LEN = 20, NULL_LEN = -1, LOOK_MS = 250 };

/* ---- statements ---- */

/* The schema in place of each %s. E_LIMIT. */
static enum err expand(const struct db *db, const char *sql, char ret[SQL_MAX]) {
    struct wr w = wr_init(ret, SQL_MAX - 1);
    for (const char *at = sql; *at != '\0';) {
        const char *mark = strstr(at, "%s");
        const size_t n = mark != NULL ? (size_t)(mark - at) : strlen(at);
        wr_bytes_raw(&w, bytes_of(at, n));
        if (mark != NULL) wr_str(&w, db->schema);
        at += n + (mark != NULL ? 2 : 0);
    }
    if (wr_err(&w) != OK) return wr_err(&w);
    ret[w.at] = '\0';
    return OK;
}

struct params {
    const char *p[DB_COLUMNS_MAX];
    int len[DB_COLUMNS_MAX], format[DB_COLUMNS_MAX];
};

static void set_params(unsigned n, const struct db_value *values, struct params *ret) {
    static const char empty[1] = "";
    assert(n <= DB_COLUMNS_MAX);
    for (unsigned i = 0; i < n; i++) {
        const struct bytes b = values[i].b;
        ret->p[i] = values[i].is_null ? NULL : b.n != 0 ? (const char *)b.p : empty;
        ret->len[i] = (int)b.n;
        ret->format[i] = 1;
    }
}

enum err db_pipe_send(struct db *db, const char *name, unsigned n, const struct db_value *values) {
    struct params p;
    set_params(n, values, &p);
    const int sent = PQsendQueryPrepared(db->conn, name, (int)n, p.p, p.len, p.format, 1);
    return sent == 1 ? OK : E_CLOSED;
}

enum err db_pipe_send_sql(struct db *db, const char *sql, unsigned n,
                          const struct db_value *values) {
    struct params p;
    char text[SQL_MAX];
    set_params(n, values, &p);
    const enum err e = expand(db, sql, text);
    assert(e == OK);
    (void)e;
    const int sent = PQsendQueryParams(db->conn, text, (int)n, NULL, p.p, p.len, p.format, 1);
    return sent == 1 ? OK : E_CLOSED;
}

enum err db_pipe_sync(struct db *db) {
    return PQpipelineSync(db->conn) == 1 ? OK : E_CLOSED;
}

/* ---- results ---- */

static bool is_abandoned(const struct db *db, int64_t since_ms) {
    return (db->abandon != NULL && atomic_load_explicit(db->abandon, memory_order_relaxed)) ||
           (db->patience_ms != 0 &&
            env_mono_ms(&ENV_SYSTEM) - since_ms >= (int64_t)db->patience_ms);
}

/* Sends what is left and reads, until there is a result or no connection. */
static enum err wait_for_result(struct db *db) {
    const int64_t since_ms = db->patience_ms != 0 ? env_mono_ms(&ENV_SYSTEM) : 0;
    for (;;) {
        const int unsent = PQflush(db->conn);
        if (unsent < 0 || PQstatus(db->conn) == CONNECTION_BAD) return E_CLOSED;
        if (PQisBusy(db->conn) == 0) return OK;
        struct pollfd fd = {.fd = PQsocket(db->conn),
                            .events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN)};
        if (fd.fd < 0 || (poll(&fd, 1, LOOK_MS) < 0 && errno != EINTR) ||
            is_abandoned(db, since_ms))
            return E_CLOSED;
        if ((fd.revents & ~POLLOUT) != 0 && PQconsumeInput(db->conn) == 0) return E_CLOSED;
    }
}

/* Between the results of two statements there is a NULL. */
static enum err get(struct db *db, PGresult **ret) {
    *ret = NULL;
    for (unsigned i = 0; i < 2 && *ret == NULL; i++) {
        if (wait_for_result(db) != OK) return E_CLOSED;
        *ret = PQgetResult(db->conn);
    }
    if (*ret != NULL && PQstatus(db->conn) != CONNECTION_BAD) return OK;
    PQclear(STEAL(*ret));
    return E_CLOSED;
}

enum err db_pipe_next(struct db *db, PGresult **ret) {
    const enum err e = get(db, ret);
    if (e != OK) return e;
    const ExecStatusType status = PQresultStatus(*ret);
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ? OK : E_STORE;
}

enum err db_pipe_end(struct db *db) {
    PGresult *r;
    const enum err e = get(db, &r);
    const bool is_end = e == OK && PQresultStatus(r) == PGRES_PIPELINE_SYNC;
    PQclear(r);
    return is_end ? OK : E_CLOSED;
}

static enum err take_one(struct db *db, const char *doing, enum err sent, PGresult **ret) {
    PGresult *r = NULL;
    enum err e = sent == OK ? db_pipe_sync(db) : sent;
    if (e == OK) e = db_pipe_next(db, &r);
    if (e != OK) (void)db__fail(db, doing, r);
    const enum err end = e != E_CLOSED ? db_pipe_end(db) : e;
    if (e == OK && end != OK) {
        e = end;
        (void)db__fail(db, doing, NULL);
    }
    if (e != OK) PQclear(STEAL(r));
    *ret = r;
    return e;
}

enum err db_pipe_ask(struct db *db, const char *doing, const char *name, unsigned n,
                     const struct db_value *values, PGresult **ret) {
    return take_one(db, doing, db_pipe_send(db, name, n, values), ret);
}

enum err db_pipe_run_sql(struct db *db, const char *doing, const char *sql, unsigned n,
                         const struct db_value *values) {
    PGresult *r;
    const enum err e = take_one(db, doing, db_pipe_send_sql(db, sql, n, values), &r);
    PQclear(r);
    return e;
}

/* ---- the beginning ---- */

static enum err send_prepare(struct db *db, const struct db_statement *s) {
    char sql[SQL_MAX];
    const enum err e = expand(db, s->sql, sql);
    assert(e == OK);
    return e == OK && PQsendPrepare(db->conn, s->name, sql, 0, NULL) == 1 ? OK : E_CLOSED;
}

enum err db_pipe_open(struct db *db, const struct db_statement *statements, unsigned n) {
    if (PQenterPipelineMode(db->conn) != 1 || PQsetnonblocking(db->conn, 1) != 0)
        return db__fail(db, "use pipeline mode", NULL);
    enum err e = OK;
    for (unsigned i = 0; i < n && e == OK; i++) e = send_prepare(db, &statements[i]);
    if (e == OK && n != 0) e = db_pipe_sync(db);
    for (unsigned i = 0; i < n && e == OK; i++) {
        PGresult *r;
        e = db_pipe_next(db, &r);
        if (e != OK) (void)db__fail(db, "prepare a statement", r);
        PQclear(r);
    }
    if (e == OK && n != 0) e = db_pipe_end(db);
    return e == OK ? OK : E_STORE;
}

/* ---- arrays: dimensions, whether there are NULLs, type, length, first index; then values ---- */

static uint8_t *room(struct db_array *a, size_t n) {
    if (a->failed) return NULL;
    if (a->cap - a->n < n) {
        const size_t cap = 2 * a->cap + n;
        uint8_t *p = realloc(a->p, cap);
        if (p == NULL) {
            a->failed = true;
            return NULL;
        }
        a->p = p;
        a->cap = cap;
    }
    uint8_t *at = a->p + a->n;
    a->n += n;
    return at;
}

static void put_u32(uint8_t *at, uint32_t v) {
    struct wr w = wr_init(at, sizeof v);
    wr_u32(&w, v);
}

void db_array_begin(struct db_array *a, enum db_type of) {
    a->n = 0;
    a->n_elements = 0;
    a->failed = false;
    uint8_t *head = room(a, ARRAY_HEAD_LEN);
    if (head == NULL) return;
    put_u32(head, 1);
    put_u32(head + 4, 1); /* there may be: the server looks for itself */
    put_u32(head + 8, (uint32_t)of);
    put_u32(head + 16, 1);
}

void db_array_add(struct db_array *a, struct db_value v) {
    const size_t n = v.is_null ? 0 : v.b.n;
    uint8_t *at = room(a, sizeof(uint32_t) + n);
    if (at == NULL) return;
    put_u32(at, v.is_null ? (uint32_t)NULL_LEN : (uint32_t)n);
    if (n != 0) memcpy(at + sizeof(uint32_t), v.b.p, n);
    a->n_elements++;
}

enum err db_array_end(struct db_array *a, struct db_value *ret) {
    if (a->failed) return E_NO_MEMORY;
    put_u32(a->p + 12, a->n_elements);
    *ret = db_value_of(bytes_of(a->p, a->n));
    return OK;
}

void db_array_done(struct db_array *a) {
    free(a->p);
}

/* ---- values ---- */

struct db_value db_number(int64_t v, uint8_t buf[DB_NUMBER_LEN]) {
    struct wr w = wr_init(buf, DB_NUMBER_LEN);
    wr_i64(&w, v);
    return db_value_of(wr_bytes(&w));
}

int64_t db_number_of(struct db_value v) {
    struct rd r = rd_init(v.b);
    if (v.b.n == DB_NUMBER_LEN) return rd_i64(&r);
    return v.b.n == sizeof(uint32_t) ? (int32_t)rd_u32(&r) : 0;
}

bool db_bool_of(struct db_value v) {
    return v.b.n == 1 && v.b.p[0] != 0;
}

struct db_value db_result_value(const PGresult *r, int row, int column) {
    if (PQgetisnull(r, row, column)) return db_value_null();
    return db_value_of(bytes_of(PQgetvalue(r, row, column), (size_t)PQgetlength(r, row, column)));
}
