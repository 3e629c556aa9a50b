/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_ntf_log.c -- notifications into their log at an orderly stop, and back at start
 * (docs/FORMATS.md, "Notifications log"). A line holds what the notifier's client would have been
 * sent, as the reference writes it, and beside it what it was made from. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "model/ntf_meta.h"
#include "store/files/files_priv.h"
#include "store/text/ntf_line.h"

enum {
    WRITE_BUFFER_LEN = 1 << 18,
    SAVE_QUEUES_PER_STEP = 16, /* each has up to 60 KB of lines; under one lock */
};

/* ---- restoring ---- */

struct restorer {
    struct files_store *store;
    uint64_t n, n_unknown;
};

/* Before the store is shared. */
static enum err restore_line(void *ctx, struct bytes text) {
    struct restorer *x = ctx;
    struct ntf_line line;
    enum err e = ntf_line_parse(text, &line);
    if (e != OK) return e;
    struct queue *q = queue_table_find(x->store->base.table, ID_NOTIFIER, &line.notifier_id);
    if (q == NULL) {
        x->n_unknown++;
        return OK;
    }
    e = store__ntf_push(&x->store->base, queue_notifier_of(q), &line.msg_id, line.ts_s);
    queue_unref(q);
    if (e == OK) x->n++;
    return e;
}

enum err files_restore_ntfs(struct files_store *m, struct saved_log *l,
                            struct store_problem *ret_problem) {
    struct restorer x = {.store = m};
    l->lost = "the notifications at its end";
    const enum err e = files_read_saved(m, l, restore_line, &x, ret_problem);
    if (x.n_unknown > 0) {
        log_line(LOG_WARN, "notifications-skipped",
                 "count=%" PRIu64 " their notifiers do not exist", x.n_unknown);
    }
    return e;
}

/* ---- saving ----
 *
 * Lines are made under the queues' lock and written when it is given back: the store may be in use.
 */

struct saver {
    struct files_store *store;
    struct new_file file;
    uint8_t *lines; /* owned: those of one step */
    size_t n_lines, cap_lines;
};

/* Room for one more line. */
static bool grow(struct saver *x) {
    if (x->cap_lines - x->n_lines > NTF_LINE_MAX) return true;
    const size_t cap = 2 * x->cap_lines + NTF_LINE_MAX + 1;
    uint8_t *lines = realloc(x->lines, cap);
    if (lines == NULL) {
        x->file.err = E_NO_MEMORY;
        return false;
    }
    x->lines = lines;
    x->cap_lines = cap;
    return true;
}

static void save_entry(struct saver *x, const struct notifier_entry *n,
                       const struct ntf_entry *ntf) {
    if (!grow(x)) return;
    struct ntf_line line = {
        .notifier_id = n->rec.id,
        .msg_id = ntf->msg_id,
        .ts_s = ntf->ts_s,
        .n_meta = NTF_META_LEN,
    };
    env_random(x->store->shared.env, line.nonce, sizeof line.nonce);
    ntf_seal_meta(n->rec.dh_secret, line.nonce, &ntf->msg_id, ntf->ts_s, line.meta);
    struct wr w = wr_init(x->lines + x->n_lines, x->cap_lines - x->n_lines);
    ntf_line_write(&line, &w);
    wr_u8(&w, '\n');
    if (wr_err(&w) != OK) x->file.err = wr_err(&w);
    x->n_lines += wr_bytes(&w).n;
}

static void save_queue(struct queue *q, void *ctx) {
    struct saver *x = ctx;
    const struct notifier_entry *n = queue_notifier_of(q);
    const struct ntf_entry *ntf = n != NULL ? n->head : NULL;
    for (; ntf != NULL && x->file.err == OK; ntf = ntf->next) save_entry(x, n, ntf);
}

static void write_lines(struct saver *x) {
    for (size_t at = 0; at < x->n_lines;) {
        const size_t left = x->n_lines - at, n = left < WRITE_BUFFER_LEN ? left : WRITE_BUFFER_LEN;
        struct wr w = new_file_begin(&x->file, n);
        wr_bytes_raw(&w, bytes_of(x->lines + at, n));
        new_file_end(&x->file, &w);
        at += n;
    }
    x->n_lines = 0;
}

static void save_all(struct saver *x) {
    struct store_cursor cursor = {0};
    bool more = true;
    while (more && x->file.err == OK) {
        more = queue_table_scan(x->store->base.table, &cursor, SAVE_QUEUES_PER_STEP, save_queue, x);
        write_lines(x);
    }
    free(x->lines);
}

enum err files_save_ntfs(struct files_store *m, const char *path,
                         struct store_problem *ret_problem) {
    struct saver x = {.store = m};
    enum err e = new_file_open(&x.file, m->o.vfs, path, 0640, WRITE_BUFFER_LEN);
    if (e == OK) {
        save_all(&x);
        e = files_end_log(&x.file, OK);
    }
    if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot save notifications to %s: %s", path, err_reason(e));
    }
    return e;
}
