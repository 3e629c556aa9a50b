/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_change.c -- changes into the store log and the journal. What is logged cannot fail any
 * more.
 */
#include "crypto/crypto.h"
#include "store/files/files_priv.h"

enum { RECORD_SHORT_LINE_MAX = 64 };

/* Into a buffer that has room for it. E_INTERNAL. */
static enum err make_line(const struct record *r, uint8_t *buf, size_t cap, struct bytes *ret) {
    struct wr w = wr_init(buf, cap);
    record_write(r, &w);
    *ret = wr_bytes(&w);
    return wr_err(&w) == OK ? OK : E_INTERNAL;
}

enum err files_log_line(struct files_store *m, const struct store_log_of *of, struct bytes line,
                        lsn_t *ret_lsn) {
    enum err e = commit_begin(m->commit, ret_lsn);
    if (e != OK) return e;
    e = store_log_append(m->log, line, of);
    commit_end(m->commit);
    return e;
}

enum err files_record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn) {
    const bool creates = r->tag == RECORD_CREATE;
    const struct store_log_of of = {&q->log_mark, creates, creates ? queue_rcv_id(q) : NULL};
    uint8_t buf[RECORD_LINE_MAX];
    struct bytes line;
    enum err e = make_line(r, buf, sizeof buf, &line);
    if (e == OK) e = files_log_line(files_of(s), &of, line, ret_lsn);
    if (e == OK) crypto_wipe(buf, line.n);
    if (e == OK && r->tag == RECORD_DELETE) files_note_deleted(files_of(s), queue_rcv_id(q));
    if (e == OK) files_note_replaced(files_of(s), q, r);
    return e;
}

/* ---- a creation that is lost ---- */

/* While changes are refused: store__queue_undo(). */
static enum err record_undo(struct store *s, struct queue *q, const struct record *r,
                            lsn_t *ret_lsn) {
    const struct store_log_of of = {&q->log_mark, false, NULL};
    uint8_t buf[RECORD_SHORT_LINE_MAX];
    struct bytes line;
    enum err e = make_line(r, buf, sizeof buf, &line);
    *ret_lsn = 0;
    if (e == OK) e = store_log_append_undo(files_of(s)->log, line, &of);
    if (e == OK) files_note_deleted(files_of(s), queue_rcv_id(q));
    return e;
}

void files_creation_lost(void *ctx, const struct id *rcv_id) {
    struct files_store *m = ctx;
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, rcv_id);
    if (q == NULL) return; /* deleted since */
    store__queue_undo(&m->base, q, record_undo);
    queue_unref(q);
}

/* ---- messages in the journal ---- */

/* The line, and the record that says of the queue's messages what it says of the queue. */
static enum err log_delete_all(struct files_store *m, struct queue *q, const struct record *r,
                               lsn_t *ret_lsn) {
    const struct store_log_of of = {&q->log_mark, false, NULL};
    uint8_t buf[RECORD_SHORT_LINE_MAX];
    struct bytes line;
    enum err e = make_line(r, buf, sizeof buf, &line);
    if (e == OK) e = commit_begin(m->commit, ret_lsn);
    if (e != OK) return e;
    struct journal_purge purge;
    e = journal_purge_new(m->journal, queue_rcv_id(q), &purge);
    if (e == OK) {
        e = store_log_append(m->log, line, &of);
        if (e == OK) {
            journal_purge_append(m->journal, purge);
        } else {
            journal_purge_drop(purge);
        }
    }
    commit_end(m->commit);
    return e;
}

enum err files_journal_record(struct store *s, struct queue *q, const struct record *r,
                              lsn_t *ret_lsn) {
    struct files_store *m = files_of(s);
    if (r->tag != RECORD_DELETE || q->head == NULL) return files_record(s, q, r, ret_lsn);
    const enum err e = log_delete_all(m, q, r, ret_lsn);
    if (e != OK) return e;
    files_note_deleted(m, queue_rcv_id(q));
    for (const struct msg_entry *msg = q->head; msg != NULL; msg = msg->next) {
        if (files_is_held(msg)) {
            files_hold_delivered(m, msg);
            continue;
        }
        journal_forget(m->journal, files_loc(msg), msg->body_len, *ret_lsn);
    }
    journal_purge_done(m->journal);
    return OK;
}

enum err files_write_message(struct files_store *m, struct queue *q, struct message *msg,
                             struct msg_entry *e, lsn_t *ret_lsn) {
    enum err err = commit_begin(m->commit, ret_lsn);
    if (err != OK) return err;
    struct journal_loc loc;
    err = journal_append(m->journal, queue_rcv_id(q), msg, &loc);
    commit_end(m->commit);
    if (err != OK) return err;
    e->place = files_place_of(loc);
    body_cache_add(&m->bodies, q, msg, *ret_lsn);
    return OK;
}

enum err files_journal_message(struct store *s, struct queue *q, struct message *msg,
                               struct msg_entry *e) {
    lsn_t lsn;
    const enum err err = files_write_message(files_of(s), q, msg, e, &lsn);
    if (err == OK) msg->lsn = lsn;
    return err;
}

bool files_journal_hold(struct store *s, struct queue *q, struct message *msg,
                        struct msg_entry *e) {
    if (q->tail != NULL && !files_is_held(q->tail)) return false;
    return files_hold_message(files_of(s), q, msg, e);
}

enum err files_journal_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                              enum store_pace pace, lsn_t *ret_lsn) {
    struct files_store *m = files_of(s);
    if (files_is_held(e)) {
        files_hold_delivered(m, e);
        *ret_lsn = 0;
        return OK;
    }
    lsn_t lsn;
    enum err err = commit_begin(m->commit, &lsn);
    if (err != OK) return err;
    err = journal_delete(m->journal, queue_rcv_id(q), &e->id, files_loc(e), e->body_len, lsn);
    if (pace == PACE_AT_LEISURE) {
        commit_end_at_leisure(m->commit);
    } else {
        commit_end(m->commit);
    }
    if (err == OK) *ret_lsn = lsn;
    return err;
}

/* ---- messages in RAM, which are saved at a stop ---- */

enum err files_memory_message(struct store *s, struct queue *q, struct message *msg,
                              struct msg_entry *e) {
    (void)s;
    (void)q;
    (void)e;
    msg->lsn = 0;
    return OK;
}

enum err files_memory_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                             enum store_pace pace, lsn_t *ret_lsn) {
    (void)pace;
    (void)s;
    (void)q;
    (void)e;
    *ret_lsn = 0;
    return OK;
}
