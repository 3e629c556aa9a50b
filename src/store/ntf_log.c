/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf_log.c -- notifications into their log at an orderly stop (docs/FORMATS.md, "Notifications
 * log"). A line holds what the notifier's client would have been sent, as the reference writes it,
 * and beside it what it was made from. */
#include "store/ntf_log.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/new_file.h"
#include "crypto/crypto.h"
#include "model/ntf_meta.h"
#include "store/queue_table.h"
#include "store/store_priv.h"
#include "store/text/ntf_line.h"

enum {
    WRITE_BUFFER_LEN = 1 << 18,
    SAVE_QUEUES_PER_STEP = 16, /* each has up to 60 KB of lines; under one lock */
};

/* Lines are made under the queues' lock and written when it is given back: the store may be in use.
 */

struct saver {
    struct store *store;
    const struct env *env;
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
    env_random(x->env, line.nonce, sizeof line.nonce);
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
        more = queue_table_scan(x->store->table, &cursor, SAVE_QUEUES_PER_STEP, save_queue, x);
        write_lines(x);
    }
    free(x->lines);
}

enum err ntf_log_save(struct store *s, const struct env *env, const struct vfs *vfs,
                      const char *path, struct store_problem *ret_problem) {
    struct saver x = {.store = s, .env = env};
    enum err e = new_file_open(&x.file, vfs, path, 0640, WRITE_BUFFER_LEN);
    if (e == OK) {
        save_all(&x);
        e = new_file_commit(&x.file);
    }
    if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot save notifications to %s: %s", path, err_reason(e));
    }
    return e;
}
