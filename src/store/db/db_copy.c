/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_copy.c -- rows in and out by COPY, in PostgreSQL's binary form: a signature of 11 bytes,
 * flags, the length of an extension; then for each row a count of values and each with its length,
 * -1 for NULL; then the count -1. All big endian (PostgreSQL's manual, "COPY", "Binary Format"). */
#include <stdlib.h>

#include "store/db/db_priv.h"

enum { COPY_BUFFER_LEN = 256 << 10, SIGNATURE_LEN = 11 };

static const uint8_t SIGNATURE[SIGNATURE_LEN] = {'P',  'G',  'C',  'O',  'P', 'Y',
                                                 '\n', 0xff, '\r', '\n', 0};

/* ---- rows ---- */

void db_row_write(const struct db_value *v, unsigned n, struct wr *w) {
    wr_u16(w, (uint16_t)n);
    for (unsigned i = 0; i < n; i++) {
        wr_u32(w, v[i].is_null ? UINT32_MAX : (uint32_t)v[i].b.n);
        if (!v[i].is_null) wr_bytes_raw(w, v[i].b);
    }
}

bool db_row_read(struct rd *r, struct db_value ret[DB_COLUMNS_MAX], unsigned *ret_n) {
    const uint16_t n = rd_u16(r);
    if (n == UINT16_MAX) return false; /* -1 */
    if (n > DB_COLUMNS_MAX) rd_fail(r);
    for (unsigned i = 0; i < n && rd_err(r) == OK; i++) {
        const uint32_t len = rd_u32(r);
        ret[i] = len == UINT32_MAX ? db_value_null() : db_value_of(rd_take(r, len));
    }
    *ret_n = n;
    return rd_err(r) == OK;
}

static void write_head(struct wr *w) {
    wr_bytes_raw(w, bytes_of(SIGNATURE, sizeof SIGNATURE));
    wr_u32(w, 0);
    wr_u32(w, 0);
}

static void read_head(struct rd *r) {
    if (!bytes_equal(rd_take(r, sizeof SIGNATURE), bytes_of(SIGNATURE, sizeof SIGNATURE)))
        rd_fail(r);
    (void)rd_u32(r);
    (void)rd_take(r, rd_u32(r));
}

/* ---- into the database ---- */

enum err db_copy_in_begin(struct db *db, const char *doing, const char *sql,
                          struct db_copy_in *ret) {
    *ret = (struct db_copy_in){.db = db, .doing = doing, .buf = malloc(COPY_BUFFER_LEN)};
    if (ret->buf == NULL) return E_NO_MEMORY;
    ret->w = wr_init(ret->buf, COPY_BUFFER_LEN);
    write_head(&ret->w);
    PGresult *r = PQexec(db->conn, sql);
    enum err e = PQresultStatus(r) == PGRES_COPY_IN ? OK : db__fail(db, doing, r);
    PQclear(r);
    if (e != OK) free(STEAL(ret->buf));
    return e;
}

static enum err flush(struct db_copy_in *c) {
    const struct bytes b = wr_bytes(&c->w);
    c->w = wr_init(c->buf, COPY_BUFFER_LEN);
    if (PQputCopyData(c->db->conn, (const char *)b.p, (int)b.n) == 1) return OK;
    return db__fail(c->db, c->doing, NULL);
}

enum err db_copy_in_row(struct db_copy_in *c, const struct db_value *v, unsigned n) {
    if (wr_left(&c->w) < DB_ROW_MAX) {
        const enum err e = flush(c);
        if (e != OK) return e;
    }
    db_row_write(v, n, &c->w);
    return wr_err(&c->w);
}

enum err db_copy_in_end(struct db_copy_in *c, bool ok) {
    struct db *db = c->db;
    enum err e = OK;
    if (ok) {
        wr_u16(&c->w, UINT16_MAX);
        e = flush(c);
    }
    free(STEAL(c->buf));
    if (PQputCopyEnd(db->conn, ok && e == OK ? NULL : "given up") != 1) {
        return ok ? db__fail(db, c->doing, NULL) : OK;
    }
    for (PGresult *r; (r = PQgetResult(db->conn)) != NULL; PQclear(r)) {
        if (ok && e == OK && PQresultStatus(r) != PGRES_COMMAND_OK) e = db__fail(db, c->doing, r);
    }
    return e;
}

/* ---- out of the database ---- */

/* What arrives in one piece: the head, a row, several, or a part of that. PostgreSQL sends a row a
 * message; nothing but the order of bytes is relied on. */
struct copy_out {
    db_row_fn *row;
    void *ctx;
    uint8_t *buf; /* owned, COPY_BUFFER_LEN */
    size_t n;
    bool has_head, is_done;
};

/* Uses what is whole; what is left goes to the front. */
static enum err take_rows(struct copy_out *c) {
    struct rd r = rd_init(bytes_of(c->buf, c->n));
    size_t used = 0;
    enum err e = OK;
    if (!c->has_head) {
        read_head(&r);
        c->has_head = rd_err(&r) == OK;
        used = c->has_head ? r.at : 0;
    }
    while (e == OK && c->has_head && !c->is_done && rd_left(&r) != 0) {
        struct db_value v[DB_COLUMNS_MAX];
        unsigned n = 0;
        const bool is_row = db_row_read(&r, v, &n);
        if (rd_err(&r) != OK) break; /* not whole yet */
        c->is_done = !is_row;
        if (is_row) e = c->row(c->ctx, v, n);
        used = r.at;
    }
    memmove(c->buf, c->buf + used, c->n - used);
    c->n -= used;
    return e;
}

static enum err take_piece(struct copy_out *c, const char *p, size_t n) {
    if (n > COPY_BUFFER_LEN - c->n) return E_LIMIT;
    memcpy(c->buf + c->n, p, n);
    c->n += n;
    return take_rows(c);
}

/* All pieces are taken from the connection, also when they are not wanted any more. */
static enum err take_all(struct db *db, const char *doing, struct copy_out *c) {
    char *piece = NULL;
    enum err e = OK;
    int n;
    while ((n = PQgetCopyData(db->conn, &piece, 0)) > 0) {
        if (e == OK) e = take_piece(c, piece, (size_t)n);
        PQfreemem(piece);
    }
    if (n == -2 && e == OK) e = db__fail(db, doing, NULL);
    for (PGresult *r; (r = PQgetResult(db->conn)) != NULL; PQclear(r)) {
        if (e == OK && PQresultStatus(r) != PGRES_COMMAND_OK) e = db__fail(db, doing, r);
    }
    if (e == E_LIMIT || (e == OK && (!c->is_done || c->n != 0))) {
        return db__say(db, E_STORE, "cannot %s: the database sent rows that cannot be read", doing);
    }
    return e;
}

enum err db_copy_out(struct db *db, const char *doing, const char *sql, db_row_fn *row, void *ctx) {
    struct copy_out c = {.row = row, .ctx = ctx, .buf = malloc(COPY_BUFFER_LEN)};
    if (c.buf == NULL) return E_NO_MEMORY;
    PGresult *r = PQexec(db->conn, sql);
    enum err e = PQresultStatus(r) == PGRES_COPY_OUT ? OK : db__fail(db, doing, r);
    PQclear(r);
    if (e == OK) e = take_all(db, doing, &c);
    free(c.buf);
    return e;
}
