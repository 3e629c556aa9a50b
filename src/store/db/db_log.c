/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_log.c -- the store log beside the database (db_store_log): a copy of what was committed, in
 * the reference's lines. Nothing reads it while we run. A line goes there after its group's COMMIT
 * and is not waited for: what cannot be written is said, and missing there. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/vfs.h"
#include "store/db/db_store_priv.h"
#include "store/text/service_line.h"

enum { PIECE_LEN = 4096 };

/* ---- the line of a change; any thread ---- */

static enum err keep_line(struct db_change *c, struct bytes line) {
    c->line = malloc(line.n + 1);
    if (c->line == NULL) return E_NO_MEMORY;
    memcpy(c->line, line.p, line.n);
    c->line[line.n] = '\n';
    c->n_line = line.n + 1;
    return OK;
}

enum err db_log_describe(const struct db_store *m, struct db_change *c, const struct record *r) {
    if (m->o.store_log == NULL) return OK;
    uint8_t *text = malloc(RECORD_LINE_MAX);
    if (text == NULL) return E_NO_MEMORY;
    struct wr w = wr_init(text, RECORD_LINE_MAX);
    record_write(r, &w);
    const enum err e = wr_err(&w) == OK ? keep_line(c, wr_bytes(&w)) : wr_err(&w);
    crypto_wipe(text, w.at);
    free(text);
    return e;
}

enum err db_log_describe_service(const struct db_store *m, struct db_change *c,
                                 const struct service_rec *rec) {
    if (m->o.store_log == NULL) return OK;
    struct service_text *t = malloc(sizeof *t);
    struct bytes line;
    enum err e = t != NULL ? service_line_write(rec, t, &line) : E_NO_MEMORY;
    if (e == OK) e = keep_line(c, line);
    free(t);
    return e;
}

/* ---- the file ---- */

/* Behind the last whole line, which a crash may have left something after. */
static enum err find_end(const struct vfs *v, int fd, uint64_t *io_len) {
    char piece[PIECE_LEN];
    while (*io_len > 0) {
        const size_t n = *io_len < sizeof piece ? (size_t)*io_len : sizeof piece;
        size_t n_read = 0;
        const enum err e = v->read_at(v->ctx, fd, piece, n, *io_len - n, &n_read);
        if (e != OK) return e;
        const char *last = memrchr(piece, '\n', n_read);
        if (last != NULL) {
            *io_len -= n - (size_t)(last - piece) - 1;
            return OK;
        }
        *io_len -= n;
    }
    return OK;
}

static enum err open_log(struct db_log *l, const struct vfs *v, const char *path) {
    enum err e = v->open(v->ctx, path, O_RDWR | O_NOFOLLOW, 0, &l->fd);
    if (e != OK) return e;
    e = v->size(v->ctx, l->fd, &l->len);
    if (e == OK) e = find_end(v, l->fd, &l->len);
    return e == OK ? v->truncate(v->ctx, l->fd, l->len) : e;
}

enum err db_log_open(struct db_store *m, struct store_problem *ret_problem) {
    if (m->o.store_log == NULL) return OK;
    const enum err e = open_log(&m->log, m->o.vfs, m->o.store_log);
    if (e != OK)
        (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot append to %s: %s",
                       m->o.store_log, strerror(errno));
    return e;
}

static size_t gather(const struct db_change *first, uint8_t *ret) {
    size_t n = 0;
    for (const struct db_change *c = first; c != NULL; c = c->next) {
        if (c->refused != OK || c->n_line == 0) continue;
        if (ret != NULL) memcpy(ret + n, c->line, c->n_line);
        n += c->n_line;
    }
    return n;
}

static enum err append_all(struct db_store *m, const struct db_change *first) {
    const struct vfs *v = m->o.vfs;
    struct db_log *l = &m->log;
    const size_t n = gather(first, NULL);
    if (n == 0) return OK;
    uint8_t *text = malloc(n);
    if (text == NULL) {
        errno = ENOMEM;
        return E_NO_MEMORY;
    }
    (void)gather(first, text);
    const enum err e = vfs_write(v, l->fd, bytes_of(text, n), l->len);
    crypto_wipe(text, n);
    free(text);
    if (e == OK) {
        l->len += n;
        return OK;
    }
    const int error = errno; /* half of a group is worth nothing */
    if (v->truncate(v->ctx, l->fd, l->len) != OK)
        log_line(LOG_DEBUG, "store-log-beside", "truncate=failed");
    errno = error;
    return e;
}

void db_log_append(struct db_store *m, const struct db_change *first) {
    struct db_log *l = &m->log;
    if (l->fd < 0) return;
    if (append_all(m, first) == OK) {
        if (l->is_failing && gather(first, NULL) != 0) {
            l->is_failing = false;
            log_line(LOG_WARN, "store-log-beside",
                     "path=%s changes=\"are written again: what could not be is missing there; "
                     "`smp-server database export --table queues` makes a whole one\"",
                     m->o.store_log);
        }
        return;
    }
    if (!l->is_failing)
        log_line(LOG_ERROR, "store-log-beside", "path=%s changes=\"are missing\" error=\"%s\"",
                 m->o.store_log, strerror(errno));
    l->is_failing = true;
}

void db_log_close(struct db_store *m) {
    const struct vfs *v = m->o.vfs;
    if (m->log.fd < 0) return;
    if (v->sync(v->ctx, m->log.fd) != OK)
        log_line(LOG_ERROR, "store-log-beside", "path=%s sync=failed error=\"%s\"", m->o.store_log,
                 strerror(errno));
    v->close(v->ctx, m->log.fd);
    m->log.fd = -1;
}
