/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_export.c -- the database into logs of the reference's form, all as of one moment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/new_file.h"
#include "crypto/crypto.h"
#include "store/db/db_row.h"

enum { WRITE_BUFFER_LEN = 1 << 20 };

struct exporter {
    struct db *db;
    const struct db_export *opts;
    struct db_counts counts;
    struct new_file file; /* that is written now */
    uint64_t done, total; /* bytes of bodies; the second also of queues, their number */
    struct pubkey keys[RECORD_KEYS_MAX];
    struct db_service_text text;
};

static enum err end_line(struct exporter *x, struct wr *w) {
    wr_u8(w, '\n');
    new_file_end(&x->file, w);
    return x->file.err;
}

static enum err put_record(struct exporter *x, struct record *r) {
    struct wr w = new_file_begin(&x->file, RECORD_LINE_MAX + 1);
    record_write(r, &w);
    crypto_wipe(r, sizeof *r);
    return end_line(x, &w);
}

static enum err bad_row(struct exporter *x, const char *table, const char *column) {
    return db__say(x->db, E_STORE,
                   "a row of %s.%s cannot be used: its %s is not what this program or the "
                   "reference writes; correct it, or delete the row",
                   x->db->schema, table, column);
}

static enum err put_service(void *ctx, const struct db_value *v, unsigned n) {
    struct exporter *x = ctx;
    struct record r;
    const char *column = "number of columns";
    if (n != N_DB_SERVICE_COLUMNS || db_service_from_row(v, &x->text, &r, &column) != OK)
        return bad_row(x, "services", column);
    x->counts.n_services++;
    return put_record(x, &r);
}

static enum err put_queue(void *ctx, const struct db_value *v, unsigned n) {
    struct exporter *x = ctx;
    struct record r;
    const char *column = "number of columns";
    if (n != N_DB_QUEUE_COLUMNS || db_queue_from_row(v, x->keys, &r, &column) != OK)
        return bad_row(x, "msg_queues", column);
    x->counts.n_queues++;
    const uint64_t done = new_file_len(&x->file);
    if (x->opts->progress != NULL) /* the end is guessed from the queues so far */
        x->opts->progress("queues", done, done / x->counts.n_queues * x->total);
    return put_record(x, &r);
}

static enum err put_message(void *ctx, const struct db_value *v, unsigned n) {
    struct exporter *x = ctx;
    struct msg_line m;
    const char *column = "number of columns";
    if (n != N_DB_MESSAGE_COLUMNS || db_message_from_row(v, &m, &column) != OK)
        return bad_row(x, "messages", column);
    struct wr w = new_file_begin(&x->file, MSG_LINE_MAX + 1);
    msg_line_write(&m, &w);
    x->counts.n_messages++;
    x->done += m.body.n;
    if (x->opts->progress != NULL) x->opts->progress("messages", x->done, x->total);
    return end_line(x, &w);
}

#define OUT(columns, rest) "COPY (SELECT " columns " FROM " rest ") TO STDOUT (FORMAT binary)"

static enum err put_queues(struct exporter *x) {
    enum err e =
        db__query_number(x->db, "count the queues",
                         "SELECT count(*) FROM msg_queues WHERE deleted_at IS NULL", &x->total);
    if (e != OK) return e;
    e = db_copy_out(x->db, "export services",
                    OUT(DB_SERVICE_COLUMNS, "services ORDER BY service_id"), put_service, x);
    if (e != OK) return e;
    return db_copy_out(x->db, "export queues",
                       OUT(DB_QUEUE_COLUMNS,
                           "msg_queues WHERE deleted_at IS NULL ORDER BY recipient_id"),
                       put_queue, x);
}

/* Messages of deleted queues wait for their rows' end: nobody can get them any more. */
#define LIVE_MESSAGES "messages JOIN msg_queues USING (recipient_id) WHERE deleted_at IS NULL"

static enum err put_messages(struct exporter *x) {
    uint64_t n_all = 0;
    enum err e =
        db__query_number(x->db, "count the messages", "SELECT count(*) FROM messages", &n_all);
    if (e == OK) {
        e = db__query_number(x->db, "look how long messages are",
                             "SELECT coalesce(sum(octet_length(msg_body)), 0) FROM " LIVE_MESSAGES,
                             &x->total);
    }
    if (e == OK) {
        e = db_copy_out(x->db, "export messages",
                        OUT(DB_MESSAGE_COLUMNS, LIVE_MESSAGES " ORDER BY recipient_id, message_id"),
                        put_message, x);
    }
    x->counts.n_left_out = n_all - x->counts.n_messages;
    return e;
}

/* One file, there and whole or not at all. path: NULL: nothing is asked for. */
static enum err write_file(struct exporter *x, const char *path,
                           enum err (*put)(struct exporter *x)) {
    if (path == NULL) return OK;
    enum err e = new_file_open(&x->file, &VFS_SYSTEM, path, 0640, WRITE_BUFFER_LEN);
    if (e == OK) {
        e = put(x);
        if (e == OK) {
            e = new_file_commit(&x->file);
        } else {
            new_file_discard(&x->file);
        }
    }
    if (e == OK || x->db->problem->text[0] != '\0') return e;
    return db__say(x->db, e, "cannot write %s: %s", path, err_reason(e));
}

static enum err export_all(struct exporter *x) {
    enum err e = db__begin(x->db, "ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (e == OK) e = write_file(x, x->opts->messages_log, put_messages);
    if (e == OK) {
        e = write_file(x, x->opts->store_log, put_queues);
        if (e != OK && x->opts->messages_log != NULL) (void)remove(x->opts->messages_log);
    }
    db__rollback(x->db);
    return e;
}

enum err db_export(struct db *db, const struct db_export *o, struct db_counts *ret,
                   struct store_problem *ret_problem) {
    struct exporter *x = calloc(1, sizeof *x);
    if (x == NULL) return E_NO_MEMORY;
    db->problem = ret_problem;
    x->db = db;
    x->opts = o;
    const enum err e = export_all(x);
    *ret = x->counts;
    crypto_wipe(x, sizeof *x);
    free(x);
    return e;
}
