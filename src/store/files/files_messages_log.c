/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_messages_log.c -- messages into the store from a log of the reference's form, and out of it
 * (docs/FORMATS.md "Messages log").
 *
 * Saving takes no queue's lock while it reads or writes files: a queue's entries are copied under
 * its lock, then their bodies are fetched one by one, wherever the journal has them by then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rd.h"
#include "crypto/box.h"
#include "crypto/crypto.h"
#include "store/files/files_priv.h"
#include "store/text/msg_line.h"

enum { WRITE_BUFFER_LEN = 1 << 20, FLUSH_EVERY = 512, QUEUES_PER_STEP = 256 };

/* ---- into the store ---- */

struct restorer {
    struct files_store *store;
    struct msg_line_scratch *scratch; /* owned */
    uint64_t n, n_unknown;
};

/* Lines of 2.x hold what the recipient was to get: the box is opened with the queue's secret. */
static enum err unseal(struct files_store *m, struct msg_line *line,
                       struct msg_line_scratch *scratch) {
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, &line->rcv_id);
    if (q == NULL) return E_AUTH;
    struct box_key key = box_key_from_secret(queue_dh_secret(q));
    const struct box_nonce nonce = box_nonce_from_corr_id(id_bytes(&line->msg_id));
    struct bytes padded;
    enum err e = box_open(&key, &nonce, scratch->body, line->body.n, &padded);
    crypto_wipe(&key, sizeof key);
    queue_unref(q);
    if (e != OK) return E_SYNTAX;
    struct rd r = rd_init(padded);
    line->body = rd_large(&r);
    return rd_err(&r);
}

enum err files_restore_message(struct files_store *m, const struct msg_line *line) {
    struct message *msg = NULL;
    const enum err e = line->is_quota ? message_new_quota(&line->msg_id, line->ts_s, &msg)
                                      : message_new(&line->msg_id, line->ts_s, line->notification,
                                                    line->body, &msg);
    return e == OK ? store__msg_restore(&m->base, &line->rcv_id, msg) : e;
}

static enum err restore_line(void *ctx, struct bytes text) {
    struct restorer *x = ctx;
    struct msg_line line;
    enum err e = msg_line_parse(text, x->scratch, &line);
    if (e == OK && line.is_sealed) e = unseal(x->store, &line, x->scratch);
    if (e == OK) e = files_restore_message(x->store, &line);
    if (e == E_AUTH) {
        x->n_unknown++;
        return OK;
    }
    if (e != OK) return e;
    x->n++;
    /* what is on its way to the disk is in RAM */
    const bool flush = x->store->started && x->n % FLUSH_EVERY == 0;
    return flush ? commit_flush(x->store->commit) : OK;
}

enum err files_end_log(struct new_file *owned, enum err so_far) {
    if (so_far == OK) return new_file_commit(owned);
    new_file_discard(owned);
    return so_far;
}

enum err files_restore_messages(struct files_store *m, struct saved_log *l, uint64_t *ret_n,
                                struct store_problem *ret_problem) {
    struct restorer x = {.store = m, .scratch = malloc(sizeof *x.scratch)};
    if (x.scratch == NULL) return E_NO_MEMORY;
    l->lost = "the messages at its end";
    const enum err e = files_read_saved(m, l, restore_line, &x, ret_problem);
    free(x.scratch);
    if (x.n_unknown > 0) {
        log_line(LOG_WARN, "messages-skipped", "count=%llu their queues do not exist",
                 (unsigned long long)x.n_unknown);
    }
    *ret_n = x.n;
    return e;
}

/* ---- out of the store ---- */

struct saver {
    struct files_store *store;
    struct new_file file;
    uint64_t n;
    struct queue **queues; /* owned; counted references of one step */
    size_t n_queues, cap_queues;
    enum err err;
};

static void save_message(struct saver *x, const struct queue *q, const struct message *msg) {
    const struct msg_line line = {
        .rcv_id = *queue_rcv_id(q),
        .msg_id = msg->id,
        .ts_s = msg->ts_s,
        .is_quota = msg->is_quota,
        .notification = msg->notification,
        .body = message_body(msg),
    };
    struct wr w = new_file_begin(&x->file, MSG_LINE_MAX + 1);
    msg_line_write(&line, &w);
    wr_u8(&w, '\n');
    new_file_end(&x->file, &w);
    x->err = x->file.err;
    if (x->err == OK) x->n++;
}

/* All messages of a queue as references, oldest first; *ret owned. */
static enum err copy_messages(struct files_store *m, struct queue *q, struct message ***ret,
                              size_t *ret_n) {
    *ret = NULL;
    *ret_n = 0;
    if (store__lock_live(&m->base, q) != OK) return OK; /* deleted in the meantime */
    enum err e = OK;
    struct message **messages = calloc((size_t)q->n_messages + 1, sizeof(struct message *));
    if (messages == NULL) e = E_NO_MEMORY;
    for (const struct msg_entry *entry = q->head; entry != NULL && e == OK; entry = entry->next) {
        e = store__entry_message(entry, &messages[*ret_n]);
        if (e == OK) (*ret_n)++;
    }
    *ret = messages;
    store__unlock(&m->base, q);
    return e;
}

static void save_queue(struct saver *x, struct queue *q) {
    struct message **messages = NULL;
    size_t n = 0;
    const enum err e = copy_messages(x->store, q, &messages, &n);
    if (x->err == OK) x->err = e;
    for (size_t i = 0; i < n; i++) {
        if (x->err == OK) x->err = files_bring_body(x->store, q, messages[i]);
        if (x->err == OK) {
            save_message(x, q, messages[i]);
        } else if (x->err == E_NOT_FOUND) {
            x->err = OK; /* acknowledged in the meantime */
        }
        message_unref(messages[i]);
    }
    free(messages);
}

/* Under the queue's lock: only its reference is taken. */
static void collect(struct queue *q, void *ctx) {
    struct saver *x = ctx;
    if (x->err != OK || q->n_messages == 0) return;
    if (x->n_queues == x->cap_queues) {
        const size_t cap = x->cap_queues != 0 ? x->cap_queues * 2 : QUEUES_PER_STEP;
        struct queue **queues = realloc(x->queues, cap * sizeof(struct queue *));
        if (queues == NULL) {
            x->err = E_NO_MEMORY;
            return;
        }
        x->queues = queues;
        x->cap_queues = cap;
    }
    x->queues[x->n_queues++] = queue_ref(q);
}

/* The end is guessed from the messages so far. */
static void save_progress(const struct saver *x, uint64_t n_all) {
    if (x->store->o.progress == NULL || x->n == 0) return;
    const uint64_t done = new_file_len(&x->file);
    const uint64_t all = done / x->n * n_all;
    x->store->o.progress("messages", done, all > done ? all : done);
}

static void save_all(struct saver *x) {
    struct store_cursor cursor = {0};
    bool more = true;
    const uint64_t n_all = atomic_load_explicit(&x->store->base.n_messages, memory_order_relaxed);
    while (more && x->err == OK) {
        more = queue_table_scan(x->store->base.table, &cursor, QUEUES_PER_STEP, collect, x);
        for (size_t i = 0; i < x->n_queues; i++) {
            if (x->err == OK) save_queue(x, x->queues[i]);
            queue_unref(x->queues[i]);
        }
        x->n_queues = 0;
        save_progress(x, n_all);
    }
}

enum err files_save_messages(struct files_store *m, const char *path, uint64_t *ret_n,
                             struct store_problem *ret_problem) {
    struct saver x = {.store = m};
    *ret_n = 0;
    enum err e = new_file_open(&x.file, m->o.vfs, path, 0640, WRITE_BUFFER_LEN);
    if (e == OK) {
        save_all(&x);
        e = files_end_log(&x.file, x.err);
        free(x.queues);
        *ret_n = x.n;
    }
    if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot save messages to %s: %s", path, err_reason(e));
    }
    return e;
}
