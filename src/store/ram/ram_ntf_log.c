/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_ntf_log.c -- notifications into their log at an orderly stop, and back at start
 * (docs/FORMATS.md, "Notifications log"). A line holds what the notifier's client would have been
 * sent, as the reference writes it, and beside it what it was made from. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "model/ntf.h"
#include "store/ram/ram_priv.h"
#include "store/text/ntf_line.h"

enum { WRITE_BUFFER_LEN = 1 << 18 };

/* ---- restoring ---- */

struct restorer {
    struct ram_store *store;
    uint64_t n, n_unknown;
};

/* Before the store is shared. */
static enum err restore_line(void *ctx, struct bytes text) {
    struct restorer *x = ctx;
    struct ntf_line line;
    enum err e = ntf_line_parse(text, &line);
    if (e != OK) return e;
    struct queue *q = queue_table_find(x->store->table, ID_NOTIFIER, &line.notifier_id);
    if (q == NULL) {
        x->n_unknown++;
        return OK;
    }
    e = ram_ntf_push(x->store, queue_notifier_of(q), &line.msg_id, line.ts_s);
    queue_unref(q);
    if (e == OK) x->n++;
    return e;
}

enum err ram_restore_ntfs(struct ram_store *m, const char *path,
                          struct store_problem *ret_problem) {
    struct restorer x = {.store = m};
    const struct queue_log_opts lo = {
        .env = m->o.env,
        .vfs = m->o.vfs,
        .path = path,
        .skip_warnings = m->o.skip_warnings,
    };
    struct queue_log_stats stats = {0};
    struct queue_log_problem problem = {0};
    enum err e = queue_log_read(&lo, restore_line, &x, &stats, &problem);
    if (e != OK) (void)snprintf(ret_problem->text, sizeof ret_problem->text, "%s", problem.text);
    if (e == OK) e = ram_set_aside(m, path);
    if (x.n_unknown > 0) {
        log_line(LOG_WARN, "notifications-skipped",
                 "count=%" PRIu64 " their notifiers do not exist", x.n_unknown);
    }
    return e;
}

/* ---- saving ---- */

struct saver {
    struct ram_store *store;
    int fd;
    uint64_t at;
    size_t n_buf;
    uint8_t buf[WRITE_BUFFER_LEN];
    enum err err;
};

static void flush(struct saver *x) {
    if (x->err != OK || x->n_buf == 0) return;
    x->err = vfs_write(x->store->o.vfs, x->fd, bytes_of(x->buf, x->n_buf), x->at);
    x->at += x->n_buf;
    x->n_buf = 0;
}

static void save_entry(struct saver *x, const struct notifier_entry *n,
                       const struct ntf_entry *ntf) {
    if (WRITE_BUFFER_LEN - x->n_buf < NTF_LINE_MAX + 1) flush(x);
    if (x->err != OK) return;
    struct ntf_line line = {
        .notifier_id = n->rec.id,
        .msg_id = ntf->msg_id,
        .ts_s = ntf->ts_s,
        .n_meta = NTF_META_LEN,
    };
    env_random(x->store->o.env, line.nonce, sizeof line.nonce);
    ntf_seal_meta(n->rec.dh_secret, line.nonce, &ntf->msg_id, ntf->ts_s, line.meta);
    struct wr w = wr_init(x->buf + x->n_buf, WRITE_BUFFER_LEN - x->n_buf);
    ntf_line_write(&line, &w);
    wr_u8(&w, '\n');
    x->err = wr_err(&w);
    if (x->err == OK) x->n_buf += w.at;
}

static void save_queue(struct queue *q, void *ctx) {
    struct saver *x = ctx;
    const struct notifier_entry *n = queue_notifier_of(q);
    const struct ntf_entry *ntf = n != NULL ? n->head : NULL;
    for (; ntf != NULL && x->err == OK; ntf = ntf->next) save_entry(x, n, ntf);
}

/* Writes to the new file, and syncs it. */
static enum err save_all(struct saver *x, const char *path) {
    const struct vfs *v = x->store->o.vfs;
    const enum err e = v->open(v->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, 0640, &x->fd);
    if (e != OK) return e;
    struct store_cursor cursor = {0};
    bool more = true;
    while (more && x->err == OK) {
        more = queue_table_scan(x->store->table, &cursor, EXPIRY_QUEUES_PER_STEP, save_queue, x);
    }
    flush(x);
    if (x->err == OK) x->err = v->sync(v->ctx, x->fd);
    v->close(v->ctx, x->fd);
    return x->err;
}

enum err ram_save_ntfs(struct ram_store *m, const char *path, struct store_problem *ret_problem) {
    char temp[4096];
    const int n = snprintf(temp, sizeof temp, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temp) return E_SYS;
    struct saver *x = malloc(sizeof *x);
    if (x == NULL) return E_NO_MEMORY;
    x->store = m;
    x->fd = -1;
    x->at = x->n_buf = 0;
    x->err = OK;
    enum err e = save_all(x, temp);
    free(x);
    if (e == OK) e = m->o.vfs->rename(m->o.vfs->ctx, temp, path);
    if (e == OK) e = ram_sync_parent(m->o.vfs, path);
    if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot save notifications to %s: %s", path,
                       e == E_SYS ? strerror(errno) : err_meaning(e));
    }
    return e;
}
