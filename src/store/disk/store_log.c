/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log.c -- appending, as a sink of the commit thread.
 *
 * A group is one write at the known end of the file. If it does not fit, the file is cut back to
 * that end and the lines stay queued: the records in RAM have changed already, so the log must say
 * the same as soon as it can. At most STORE_LOG_TORN_WINDOW / 2 bytes are ever written and not
 * synced: what a power loss can leave behind is then always within the window in which
 * store_log_read() expects it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "crypto/crypto.h"
#include "store/disk/store_log_priv.h"

enum {
    MAX_UNSYNCED = STORE_LOG_TORN_WINDOW / 2,
    N_IOV = 256,
    TAIL_CHUNK = 64 << 10,
    RETRY_ROOM = 4096
};

/* ---- names ---- */

enum err store_log__path(const struct store_log_opts *o, const char *suffix, struct log_path *ret) {
    const size_t n = strlen(o->path), m = strlen(suffix);
    if (n + m >= sizeof ret->s) {
        errno = ENAMETOOLONG;
        return E_SYS;
    }
    memcpy(ret->s, o->path, n);
    memcpy(ret->s + n, suffix, m + 1);
    return OK;
}

struct log_path store_log__dir(const struct store_log_opts *o) {
    struct log_path p = {"."};
    const char *slash = strrchr(o->path, '/');
    if (slash == NULL) return p;
    const size_t n = slash == o->path ? 1 : (size_t)(slash - o->path);
    assert(n < sizeof p.s); /* store_log__path() was called first */
    memcpy(p.s, o->path, n);
    p.s[n] = '\0';
    return p;
}

enum err store_log__exists(const struct store_log_opts *o, const char *path) {
    int fd;
    const enum err e = o->vfs->open(o->vfs->ctx, path, O_RDONLY, 0, &fd);
    if (e == OK) o->vfs->close(o->vfs->ctx, fd);
    return e;
}

enum err store_log__rename(const struct store_log_opts *o, const char *from, const char *to) {
    const enum err e = o->vfs->rename(o->vfs->ctx, from, to);
    if (e != OK) return E_SYS;
    const struct log_path dir = store_log__dir(o);
    return o->vfs->sync_dir(o->vfs->ctx, dir.s);
}

/* ---- lines ---- */

void store_log__push(struct log_lines *l, struct log_line *owned) {
    owned->next = NULL;
    if (l->head == NULL) {
        l->head = owned;
    } else {
        l->last->next = owned;
    }
    l->last = owned;
}

void store_log__free_lines(struct log_lines *l) {
    for (struct log_line *x = l->head, *next; x != NULL; x = next) {
        next = x->next;
        crypto_wipe(x->text, x->n); /* keys and ids */
        free(x);
    }
    l->head = NULL;
}

enum err store_log__line(struct bytes text, lsn_t lsn, struct log_line **ret) {
    if (text.n >= STORE_LOG_LINE_LEN) return E_LIMIT;
    struct log_line *x = malloc(sizeof *x + text.n + 1);
    if (x == NULL) return E_NO_MEMORY;
    x->lsn = lsn;
    x->creates = false;
    x->n = text.n + 1;
    if (text.n != 0) memcpy(x->text, text.p, text.n);
    x->text[text.n] = '\n';
    *ret = x;
    return OK;
}

/* ---- a file ---- */

enum err store_log__sync(const struct vfs *v, struct log_file *f) {
    if (f->unsynced == 0) return OK;
    const enum err e = v->sync(v->ctx, f->fd);
    if (e == OK) f->unsynced = 0;
    return e;
}

/* Some of the lines, from *io_x on. */
static enum err write_some(const struct vfs *v, struct log_file *f, const struct log_line **io_x) {
    struct iovec iov[N_IOV];
    int n_iov = 0;
    size_t n = 0;
    const struct log_line *x = *io_x;
    for (; x != NULL && n_iov < N_IOV && n < MAX_UNSYNCED; x = x->next, n_iov++) {
        union { /* write_at only reads from it */
            const char *in;
            char *out;
        } base = {.in = x->text};
        iov[n_iov] = (struct iovec){base.out, x->n};
        n += x->n;
    }
    if (f->unsynced + n > MAX_UNSYNCED && store_log__sync(v, f) != OK) {
        errno = EIO; /* whatever it was: a sync that failed is final */
        return E_SYS;
    }
    f->unsynced += n;
    const enum err e = v->write_at(v->ctx, f->fd, iov, n_iov, f->written);
    if (e != OK) return e;
    f->written += n;
    *io_x = x;
    return OK;
}

enum err store_log__write(const struct vfs *v, struct log_file *f, const struct log_lines *lines) {
    enum err e = OK;
    f->written = f->end;
    for (const struct log_line *x = lines->head; x != NULL && e == OK;) e = write_some(v, f, &x);
    return e;
}

enum err store_log__cut(const struct vfs *v, struct log_file *f) {
    const enum err e = v->truncate(v->ctx, f->fd, f->end);
    if (e != OK || v->sync(v->ctx, f->fd) == OK) return e;
    errno = EIO; /* whatever it was: a sync that failed is final */
    return E_SYS;
}

/* ---- the sink ---- */

static lsn_t sink_limit(void *sink, lsn_t upto) {
    const struct store_log *l = sink;
    if (l->pending_bytes <= MAX_UNSYNCED) return upto;
    size_t n = 0;
    lsn_t whole = 0;
    for (const struct log_line *x = l->pending.head; x != NULL; x = x->next) {
        n += x->n;
        if (n > MAX_UNSYNCED && whole != 0) return whole < upto ? whole : upto;
        if (x->next == NULL || x->next->lsn != x->lsn) whole = x->lsn;
    }
    return upto;
}

static bool sink_take(void *sink, lsn_t upto) {
    struct store_log *l = sink;
    store_log__rewrite_settle(l);
    while (l->pending.head != NULL && l->pending.head->lsn <= upto) {
        struct log_line *x = l->pending.head;
        l->pending.head = x->next;
        l->pending_bytes -= x->n;
        store_log__push(&l->taken, x);
    }
    const bool joins = store_log__rewrite_take(l, upto);
    return joins || l->taken.head != NULL;
}

static enum err sink_sync(void *sink) {
    struct store_log *l = sink;
    const enum err e = store_log__sync(l->vfs, &l->file);
    if (e == OK) sums_write(&l->sums, &l->o);
    return e == OK ? store_log__rewrite_sync(l) : e;
}

static enum err sink_write(void *sink) {
    struct store_log *l = sink;
    const enum err e = store_log__write(l->vfs, &l->file, &l->taken);
    return e == OK ? store_log__rewrite_write(l) : e;
}

static enum err sink_undo(void *sink) {
    struct store_log *l = sink;
    const enum err e = store_log__cut(l->vfs, &l->file);
    return e == OK ? store_log__rewrite_undo(l) : e;
}

/* Nothing is lost: all is queued again, in its order. */
static void sink_drop(void *sink) {
    struct store_log *l = sink;
    struct log_lines all = l->taken;
    l->taken.head = NULL;
    if (all.head == NULL) {
        all = l->pending;
    } else if (l->pending.head != NULL) {
        all.last->next = l->pending.head;
        all.last = l->pending.last;
    }
    l->pending = all;
    l->pending_bytes = 0;
    for (struct log_line *x = all.head; x != NULL; x = x->next) {
        x->lsn = 0;
        l->pending_bytes += x->n;
    }
    store_log__rewrite_drop(l);
}

/* What was dropped is queued; nobody else can append now. */
static void tell_lost_creations(struct store_log *l) {
    for (struct log_line *x = l->pending.head; x != NULL; x = x->next) {
        if (!x->creates) continue;
        x->creates = false;
        if (l->o.creation_lost != NULL) l->o.creation_lost(l->o.creation_ctx, &x->queue);
    }
}

static void sink_done(void *sink, bool ok) {
    struct store_log *l = sink;
    uint64_t n = 0;
    for (const struct log_line *x = l->taken.head; x != NULL; x = x->next, n++) {
        if (ok) sums_add(&l->sums, x->text, x->n);
    }
    if (ok && n != 0) l->file.end = l->file.written;
    if (l->file.unsynced == 0) sums_write(&l->sums, &l->o);
    atomic_fetch_add_explicit(&l->n_lines, n, memory_order_relaxed);
    store_log__rewrite_done(l, ok);
    atomic_store_explicit(&l->len_bytes, l->file.end, memory_order_relaxed);
    store_log__free_lines(&l->taken);
    if (!ok) tell_lost_creations(l);
}

/* Tries for what waits, and some more. What a crash leaves of this is a tail of zero bytes: torn.
 */
static enum err sink_retry(void *sink) {
    struct store_log *l = sink;
    static uint8_t zeros[RETRY_ROOM]; /* never written */
    struct iovec iov[N_IOV];
    uint64_t at = l->file.end;
    enum err e = OK;
    /* Only this thread takes from pending, and nothing is appended while the disk is full. */
    size_t left = l->pending_bytes + sizeof zeros;
    if (left > MAX_UNSYNCED) left = MAX_UNSYNCED;
    while (left > 0 && e == OK) {
        int n_iov = 0;
        size_t n = 0;
        for (; n_iov < N_IOV && left > 0; n_iov++) {
            const size_t part = left < sizeof zeros ? left : sizeof zeros;
            iov[n_iov] = (struct iovec){zeros, part};
            n += part;
            left -= part;
        }
        e = l->vfs->write_at(l->vfs->ctx, l->file.fd, iov, n_iov, at);
        at += n;
    }
    const int error = errno;
    const enum err cut = sink_undo(l);
    if (cut == OK) errno = error;
    return cut == OK ? e : cut;
}

/* ---- open ---- */

/* Where the last whole line ends. */
static enum err find_end(const struct store_log *l, uint64_t *ret_size, uint64_t *ret_end) {
    const struct vfs *v = l->vfs;
    enum err e = v->size(v->ctx, l->file.fd, ret_size);
    if (e != OK) return e;
    char *buf = malloc(TAIL_CHUNK);
    if (buf == NULL) return E_NO_MEMORY;
    uint64_t end = 0;
    for (uint64_t to = *ret_size; to > 0 && end == 0 && e == OK;) {
        const size_t n = to < TAIL_CHUNK ? (size_t)to : TAIL_CHUNK;
        size_t got = 0;
        to -= n;
        e = v->read_at(v->ctx, l->file.fd, buf, n, to, &got);
        const char *nl = e == OK ? memrchr(buf, '\n', got) : NULL;
        if (nl != NULL) end = to + (uint64_t)(nl - buf) + 1;
    }
    free(buf);
    if (e == OK) *ret_end = end;
    return e;
}

static enum err open_log(const struct store_log_opts *o, struct store_log *l) {
    struct log_path start;
    enum err e = store_log__path(o, ".start", &start);
    if (e != OK) return e;
    e = store_log__exists(o, start.s);
    if (e != E_NOT_FOUND) return e == OK ? E_EXISTS : e;
    const struct vfs *v = o->vfs;
    e = v->open(v->ctx, o->path, O_RDWR | O_CREAT, 0600, &l->file.fd);
    if (e != OK) return E_SYS;
    uint64_t size = 0;
    e = find_end(l, &size, &l->file.end);
    if (e == OK && l->file.end < size) e = v->truncate(v->ctx, l->file.fd, l->file.end);
    /* What was read may be in the kernel's memory only; and no rename of a compaction may be undone
     * by a power loss from here on. */
    if (e == OK) e = v->sync(v->ctx, l->file.fd);
    const struct log_path dir = store_log__dir(o);
    if (e == OK) e = v->sync_dir(v->ctx, dir.s);
    return e;
}

enum err store_log_open(const struct store_log_opts *o, struct commit *commit,
                        struct store_log **ret) {
    struct store_log *l = calloc(1, sizeof *l);
    if (l == NULL) return E_NO_MEMORY;
    l->o = *o;
    l->vfs = o->vfs;
    l->commit = commit;
    l->file.fd = l->rewrite.file.fd = l->rewrite.idle_fd = l->rewrite.idle_sums_fd = -1;
    l->sums = l->rewrite.sums = (struct log_sums){.fd = -1, .is_off = !o->has_sums};
    lock_init(&l->rewrite.mtx, LOCK_STORE_LOG);
    atomic_init(&l->n_lines, o->n_lines);
    const enum err e = open_log(o, l);
    if (e != OK) {
        const int error = errno;
        store_log_close(l);
        errno = error;
        return e;
    }
    commit_add_sink(commit, &(struct commit_sink){
                                .limit = sink_limit,
                                .take = sink_take,
                                .write = sink_write,
                                .sync = sink_sync,
                                .undo = sink_undo,
                                .drop = sink_drop,
                                .done = sink_done,
                                .retry = sink_retry,
                                .sink = l,
                            });
    atomic_init(&l->len_bytes, l->file.end);
    *ret = l;
    return OK;
}

void store_log_start(struct store_log *l) {
    if (l->o.has_sums) sums_open(&l->sums, &l->o, l->file.end);
    l->o.sums = (struct store_log_sums){0}; /* of later ones */
}

static void close_fd(const struct store_log *l, int fd) {
    if (fd >= 0) l->vfs->close(l->vfs->ctx, fd);
}

void store_log_close(struct store_log *l) {
    if (l == NULL) return;
    store_log__rewrite_take_sums(l);
    if (l->file.unsynced == 0) sums_write(&l->sums, &l->o);
    sums_close(&l->sums, &l->o);
    close_fd(l, l->file.fd);
    close_fd(l, l->rewrite.file.fd);
    close_fd(l, l->rewrite.idle_fd);
    close_fd(l, l->rewrite.idle_sums_fd);
    store_log__free_lines(&l->pending);
    store_log__free_lines(&l->taken);
    store_log__free_lines(&l->rewrite.collected);
    store_log__free_lines(&l->rewrite.joining);
    lock_done(&l->rewrite.mtx);
    store_log__free_erased(&l->erasing);
    free(l);
}

static enum err append(struct store_log *l, struct bytes line, lsn_t lsn,
                       const struct store_log_of *of) {
    struct log_line *x;
    enum err e = store_log__line(line, lsn, &x);
    if (e != OK) return e;
    x->creates = of->queue != NULL;
    if (x->creates) x->queue = *of->queue;
    e = store_log__rewrite_append(l, line, lsn, of);
    if (e != OK) {
        free(x);
        return e;
    }
    store_log__push(&l->pending, x);
    l->pending_bytes += x->n;
    return OK;
}

enum err store_log_append(struct store_log *l, struct bytes line, const struct store_log_of *of) {
    return append(l, line, commit_current_lsn(l->commit), of);
}

enum err store_log_append_undo(struct store_log *l, struct bytes line,
                               const struct store_log_of *of) {
    return append(l, line, 0, of);
}

uint64_t store_log_n_lines(const struct store_log *l) {
    return atomic_load_explicit(&l->n_lines, memory_order_relaxed);
}

uint64_t store_log_len(const struct store_log *l) {
    return atomic_load_explicit(&l->len_bytes, memory_order_relaxed);
}
