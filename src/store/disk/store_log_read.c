/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_read.c -- reading the store log, line by line out of large chunks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/store_log_priv.h"

enum { CHUNK = 1 << 20, BUF_LEN = CHUNK + STORE_LOG_LINE_LEN };

struct reader {
    const struct store_log_opts *o;
    enum err (*line)(void *ctx, struct bytes text);
    void *ctx;
    struct store_log_stats *stats;
    struct store_log_problem *problem;
    int fd;
    int bad_fd; /* `<path>.bad`; -1: not needed yet */
    uint64_t bad_at;
    uint64_t size;
    uint64_t n_seen; /* lines, good or not */
    struct sums_check sums;
    bool in_torn; /* what follows may belong to a torn group */
    bool in_long; /* within a line that is too long */
};

static enum err set_aside(struct reader *r, struct bytes text) {
    const struct vfs *v = r->o->vfs;
    enum err e = OK;
    if (r->bad_fd < 0) {
        struct log_path path;
        e = store_log__path(r->o, ".bad", &path);
        if (e == OK) e = v->open(v->ctx, path.s, O_RDWR | O_CREAT, 0600, &r->bad_fd);
        if (e == OK) e = v->size(v->ctx, r->bad_fd, &r->bad_at);
    }
    if (e == OK) e = vfs_write(v, r->bad_fd, text, r->bad_at);
    if (e == OK) e = vfs_write(v, r->bad_fd, bytes_str("\n"), r->bad_at + text.n);
    if (e != OK) return E_SYS;
    r->bad_at += text.n + 1;
    return OK;
}

/* A line that cannot be used, beginning at this offset. */
static enum err bad_line(struct reader *r, struct bytes text, uint64_t at, const char *what) {
    if (r->in_torn) {
        r->stats->torn_bytes += text.n + 1;
        return OK;
    }
    if (r->o->skip_warnings) {
        r->stats->n_bad++;
        return set_aside(r, text);
    }
    (void)snprintf(r->problem->text, sizeof r->problem->text,
                   "%.300s, line %llu (offset %llu): %s. Correct the line, or start with "
                   "--skip-warnings: then it is "
                   "set aside in a file that ends in .bad",
                   r->o->path, (unsigned long long)r->n_seen, (unsigned long long)at, what);
    return E_STORE;
}

/* Zero bytes are never in a record: near the end they are what a torn group has left. */
static bool has_zeros(struct reader *r, struct bytes text, uint64_t at) {
    const bool yes = text.n != 0 && memchr(text.p, 0, text.n) != NULL;
    if (yes && at + STORE_LOG_TORN_WINDOW >= r->size) r->in_torn = true;
    return yes;
}

static enum err whole_line(struct reader *r, struct bytes text, uint64_t at) {
    r->n_seen++;
    if (r->in_long) { /* its end */
        r->in_long = false;
        return bad_line(r, text, at, "the line is too long");
    }
    if (has_zeros(r, text, at)) return bad_line(r, text, at, "the line has zero bytes");
    if (r->o->has_sums && store_log__is_filler(text)) {
        r->stats->n_lines++; /* that says nothing any more */
        return OK;
    }
    const enum err e = r->line(r->ctx, text);
    if (e == E_SYNTAX) return bad_line(r, text, at, "the line is not a record");
    if (e == OK) r->stats->n_lines++;
    return e;
}

/* All whole lines in buf; *ret_used is where the first unfinished one begins. */
static enum err whole_lines(struct reader *r, struct bytes buf, uint64_t at, size_t *ret_used) {
    size_t used = 0;
    enum err e = OK;
    while (e == OK && used < buf.n) {
        const uint8_t *start = buf.p + used;
        const uint8_t *nl = memchr(start, '\n', buf.n - used);
        if (nl == NULL) break;
        const struct bytes text = bytes_of(start, (size_t)(nl - start));
        e = whole_line(r, text, at + used);
        used += text.n + 1;
    }
    *ret_used = used;
    return e;
}

/* What is left at the end of the file, without a newline: never acknowledged. */
static void unfinished_line(struct reader *r, size_t n) {
    r->stats->torn_bytes += n;
}

static enum err read_lines(struct reader *r, uint8_t *buf) {
    const struct vfs *v = r->o->vfs;
    size_t kept = 0; /* bytes of an unfinished line at the front of buf */
    uint64_t at = 0;
    for (;;) {
        size_t got = 0;
        enum err e = v->read_at(v->ctx, r->fd, buf + kept, BUF_LEN - kept, at, &got);
        if (e != OK) return E_SYS;
        if (got == 0) break;
        size_t used = 0;
        const size_t n = kept + got;
        sums_check_feed(&r->sums, bytes_of(buf + kept, got));
        e = whole_lines(r, bytes_of(buf, n), at - kept, &used);
        if (e != OK) return e;
        at += got;
        kept = n - used;
        if (kept > STORE_LOG_LINE_LEN && at < r->size) {
            /* Too long to be a record: its front is dealt with now, as a line of its own. */
            const struct bytes front = bytes_of(buf + used, kept);
            (void)has_zeros(r, front, at - kept);
            e = bad_line(r, front, at - kept, "the line is too long");
            if (e != OK) return e;
            r->in_long = true;
            kept = 0;
        } else if (kept != 0 && used != 0) {
            memmove(buf, buf + used, kept);
        }
        if (r->o->progress != NULL) r->o->progress(r->o->progress_ctx, at, r->size);
    }
    if (kept != 0) unfinished_line(r, kept);
    return OK;
}

/* The reference's compaction, or ours, was cut short: `.start` is the true state. */
static enum err recover_start(const struct store_log_opts *o) {
    struct log_path start, bak;
    enum err e = store_log__path(o, ".start", &start);
    if (e == OK) e = store_log__path(o, ".bak", &bak);
    if (e == OK) e = store_log__exists(o, start.s);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    log_line(LOG_WARN, "store-log-start-was-cut-short", "restoring=%s", start.s);
    e = store_log__exists(o, o->path);
    if (e == OK) e = store_log__rename(o, o->path, bak.s);
    if (e != OK && e != E_NOT_FOUND) return e;
    return store_log__rename(o, start.s, o->path);
}

static enum err read_file(struct reader *r) {
    const struct vfs *v = r->o->vfs;
    enum err e = v->size(v->ctx, r->fd, &r->size);
    uint8_t *buf = e == OK ? malloc(BUF_LEN) : NULL;
    if (e == OK && buf == NULL) e = E_NO_MEMORY;
    if (e == OK) e = read_lines(r, buf);
    free(buf);
    if (r->bad_fd >= 0) {
        if (e == OK) e = v->sync(v->ctx, r->bad_fd);
        v->close(v->ctx, r->bad_fd);
    }
    r->stats->len_bytes = r->size;
    return e;
}

static enum err open_and_read(struct reader *r) {
    const struct vfs *v = r->o->vfs;
    enum err e = v->open(v->ctx, r->o->path, O_RDONLY, 0, &r->fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    e = read_file(r);
    const int error = errno;
    v->close(v->ctx, r->fd);
    errno = error;
    return e;
}

enum err store_log_read(const struct store_log_opts *o,
                        enum err (*line)(void *ctx, struct bytes text), void *ctx,
                        struct store_log_stats *ret, struct store_log_problem *ret_problem) {
    *ret = (struct store_log_stats){0};
    ret_problem->text[0] = '\0';
    enum err e = recover_start(o);
    if (e == OK) e = store_log__finish_erasing(o);
    if (e != OK) return e == E_NO_MEMORY ? e : E_SYS;
    struct reader r =
        {.o = o, .line = line, .ctx = ctx, .stats = ret, .problem = ret_problem, .bad_fd = -1};
    e = sums_check_begin(&r.sums, o);
    if (e == OK) e = open_and_read(&r);
    if (e == OK) e = sums_check_end(&r.sums, o, r.size, ret, ret_problem);
    const int error = errno;
    sums_check_done(&r.sums);
    errno = error;
    return e;
}
