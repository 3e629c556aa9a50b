/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_compact.c -- puts a new log in the place of the old one, by the steps of the reference
 * (StoreLog.hs, readWriteStoreLog):
 *
 *   1. write and sync `<path>.new` (the reference has no such file: it writes in step 3)
 *   2. rename the log to `<path>.start`
 *   3. rename `.new` to the log
 *   4. rename `.start` to the timed backup
 *
 * Whoever finds `.start`, they or we, takes it for the state; that is right after a crash anywhere
 * between 2 and 4, because nothing is appended before 4 is durable (store_log_open() sees to that).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/day.h"
#include "base/log.h"
#include "store/disk/store_log_priv.h"

enum { WRITE_BUF = 1 << 20, BACKUP_TTL_S = 21 * DAY_S, MIN_OLD_BACKUPS = 3 };

/* ---- the new log ---- */

struct store_log_writer {
    const struct vfs *vfs;
    int fd;
    uint64_t at;
    size_t n;
    uint8_t *buf; /* owned; WRITE_BUF */
};

static enum err flush(struct store_log_writer *w) {
    if (w->n == 0) return OK;
    const enum err e = vfs_write(w->vfs, w->fd, bytes_of(w->buf, w->n), w->at);
    if (e != OK) return E_SYS;
    w->at += w->n;
    w->n = 0;
    return OK;
}

enum err store_log_put(struct store_log_writer *w, struct bytes line) {
    if (line.n >= STORE_LOG_LINE_LEN) return E_LIMIT;
    if (w->n + line.n + 1 > WRITE_BUF) {
        const enum err e = flush(w);
        if (e != OK) return e;
    }
    if (line.n != 0) memcpy(w->buf + w->n, line.p, line.n);
    w->n += line.n;
    w->buf[w->n++] = '\n';
    return OK;
}

static enum err write_new(const struct store_log_opts *o, const char *path,
                          enum err (*write)(void *ctx, struct store_log_writer *w), void *ctx) {
    struct store_log_writer w = {.vfs = o->vfs, .buf = malloc(WRITE_BUF)};
    if (w.buf == NULL) return E_NO_MEMORY;
    enum err e = o->vfs->open(o->vfs->ctx, path, O_RDWR | O_CREAT | O_TRUNC, 0600, &w.fd);
    if (e == OK) {
        e = write(ctx, &w);
        if (e == OK) e = flush(&w);
        if (e == OK) e = o->vfs->sync(o->vfs->ctx, w.fd);
        const int error = errno;
        o->vfs->close(o->vfs->ctx, w.fd);
        if (e != OK) (void)o->vfs->unlink(o->vfs->ctx, path);
        errno = error;
    } else {
        e = E_SYS;
    }
    free(w.buf);
    return e;
}

/* ---- timed backups ---- */

/* `.2026-11-22T14:00:00Z`, or with a fraction if there is one of this second already. */
static enum err backup_path(const struct store_log_opts *o, struct log_path *ret) {
    const time_t now = (time_t)env_now_s(o->env);
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL) return E_SYS;
    for (unsigned i = 0; i < 10; i++) {
        char date[32], suffix[48];
        if (strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm) == 0) return E_SYS;
        if (i == 0) {
            (void)snprintf(suffix, sizeof suffix, ".%sZ", date);
        } else {
            (void)snprintf(suffix, sizeof suffix, ".%s.%uZ", date, i);
        }
        enum err e = store_log__path(o, suffix, ret);
        if (e == OK) e = store_log__exists(o, ret->s);
        if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    }
    errno = EEXIST;
    return E_SYS;
}

struct backup {
    int64_t time_s;
    char suffix[SUMS_NAME_LEN];
};

struct backups {
    const char *base; /* file name of the log */
    struct backup *v; /* owned */
    size_t n, cap;
};

/* Seconds since the epoch of `2026-11-22T14:00:00Z`, also with a fraction. False: not a time. */
static bool parse_time(const char *s, int64_t *ret) {
    struct tm tm = {0};
    const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end == NULL) return false;
    if (*end == '.') end += 1 + strspn(end + 1, "0123456789");
    if (strcmp(end, "Z") != 0) return false;
    *ret = timegm(&tm);
    return true;
}

static void note_backup(void *arg, const char *name) {
    struct backups *b = arg;
    const size_t n = strlen(b->base);
    struct backup x;
    if (strncmp(name, b->base, n) != 0 || name[n] != '.' || strlen(name + n) >= sizeof x.suffix)
        return;
    if (!parse_time(name + n + 1, &x.time_s)) return;
    memcpy(x.suffix, name + n, strlen(name + n) + 1);
    if (b->n == b->cap) {
        const size_t cap = b->cap != 0 ? b->cap * 2 : 32;
        struct backup *p = realloc(b->v, cap * sizeof *p);
        if (p == NULL) return; /* not seen, so not removed */
        b->v = p;
        b->cap = cap;
    }
    b->v[b->n++] = x;
}

static int compare_backups(const void *a, const void *b) {
    const struct backup *x = a, *y = b;
    if (x->time_s != y->time_s) return x->time_s < y->time_s ? -1 : 1;
    return strcmp(x->suffix, y->suffix);
}

/* Oldest first; *ret->v is owned also after an error. E_SYS. */
static enum err list_backups(const struct store_log_opts *o, struct backups *ret) {
    const char *slash = strrchr(o->path, '/');
    *ret = (struct backups){.base = slash != NULL ? slash + 1 : o->path};
    const struct log_path dir = store_log__dir(o);
    const enum err e = o->vfs->list(o->vfs->ctx, dir.s, note_backup, ret);
    if (ret->n > 1) qsort(ret->v, ret->n, sizeof *ret->v, compare_backups);
    return e == OK ? OK : E_SYS;
}

enum err store_log__newest_backup(const struct store_log_opts *o, char ret[SUMS_NAME_LEN]) {
    struct backups b;
    const enum err e = list_backups(o, &b);
    const int error = errno;
    memset(ret, 0, SUMS_NAME_LEN);
    if (b.n != 0) memcpy(ret, b.v[b.n - 1].suffix, strlen(b.v[b.n - 1].suffix));
    free(b.v);
    errno = error;
    return e;
}

int store_log__compare_backups(const char *a, const char *b) {
    int64_t x, y;
    const bool has_a = *a != '\0' && parse_time(a + 1, &x);
    const bool has_b = *b != '\0' && parse_time(b + 1, &y);
    if (!has_a || !has_b) return (int)has_a - (int)has_b;
    return x != y ? (x < y ? -1 : 1) : strcmp(a, b);
}

static void remove_copies(const struct store_log_opts *o, struct backups *b) {
    const int64_t before_s = env_now_s(o->env) - o->copies_ttl_s;
    for (size_t i = 0; i < b->n && b->v[i].time_s < before_s; i++) {
        struct log_path path;
        enum err e = store_log__path(o, b->v[i].suffix, &path);
        if (e == OK) e = store_log_remove_file(o->vfs, path.s);
        if (e != OK)
            log_line(LOG_WARN, "store-log-copy", "path=%s%s error=\"%s\"", o->path, b->v[i].suffix,
                     strerror(errno));
    }
}

/* Too old ones; or as the reference does (removeStoreLogBackups): of those older than a day all but
 * the newest 3, if older than 21 days. */
static void remove_backups(const struct store_log_opts *o) {
    struct backups b;
    const int64_t now = env_now_s(o->env);
    if (list_backups(o, &b) != OK) b.n = 0;
    if (o->copies_ttl_s != 0) {
        remove_copies(o, &b);
        b.n = 0;
    }
    size_t n_old = 0;
    while (n_old < b.n && b.v[n_old].time_s < now - DAY_S) n_old++;
    for (size_t i = 0; i + MIN_OLD_BACKUPS < n_old && b.v[i].time_s < now - BACKUP_TTL_S; i++) {
        struct log_path path;
        if (store_log__path(o, b.v[i].suffix, &path) == OK)
            (void)o->vfs->unlink(o->vfs->ctx, path.s);
    }
    free(b.v);
}

void store_log_remove_copies(const struct store_log *l) {
    if (l->o.copies_ttl_s != 0) remove_backups(&l->o);
}

/* ---- the exchange ---- */

struct exchange {
    struct log_path new, start, backup;
};

/* Puts `.start` back. E_SYS: the old log is in place; E_STORE: the next start must look. */
static enum err step_back(const struct store_log_opts *o, const struct exchange *x) {
    const int error = errno;
    const enum err e = store_log__rename(o, x->start.s, o->path);
    errno = error;
    return e == OK ? E_SYS : E_STORE;
}

static enum err exchange(const struct store_log_opts *o, const struct exchange *x) {
    enum err e = store_log__exists(o, o->path);
    if (e == E_NOT_FOUND) return store_log__rename(o, x->new.s, o->path); /* the first log */
    if (e != OK || o->vfs->rename(o->vfs->ctx, o->path, x->start.s) != OK) return E_SYS;
    const struct log_path dir = store_log__dir(o);
    e = o->vfs->sync_dir(o->vfs->ctx, dir.s);
    if (e == OK) e = store_log__rename(o, x->new.s, o->path);
    if (e == OK) e = store_log__rename(o, x->start.s, x->backup.s);
    return e == OK ? OK : step_back(o, x);
}

enum err store_log__exchange(const struct store_log_opts *o) {
    struct exchange x;
    enum err e = store_log__path(o, ".new", &x.new);
    if (e == OK) e = store_log__path(o, ".start", &x.start);
    if (e == OK) e = backup_path(o, &x.backup);
    if (e == OK) e = sums_remove(o);
    if (e == OK) e = store_log__drop_notes(o);
    if (e == OK) e = exchange(o, &x);
    if (e == OK) remove_backups(o);
    return e;
}

enum err store_log_compact(const struct store_log_opts *o,
                           enum err (*write)(void *ctx, struct store_log_writer *w), void *ctx) {
    struct log_path new;
    enum err e = store_log__path(o, ".new", &new);
    if (e == OK) e = write_new(o, new.s, write, ctx);
    if (e != OK) return e;
    e = store_log__exchange(o);
    if (e != OK) {
        const int error = errno;
        (void)o->vfs->unlink(o->vfs->ctx, new.s);
        errno = error;
    }
    return e;
}
