/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_erase.c -- lines of what is deleted are overwritten where they are (ADR 19).
 *
 * A line becomes a filler of the same length: a record of a queue that never was, which all readers
 * leave out. Before a line is touched its place is noted, on stable storage, in `<path>.erasing`;
 * so one that is half overwritten when the power goes is finished by the next start. The notes are
 * removed when all is on stable storage, and before another log takes the name. Somebody else may
 * have put one there: they are used if all but these lines is what it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/rd.h"
#include "base/wr.h"
#include "store/disk/store_log_priv.h"

enum {
    CHUNK = 1 << 20,
    MAGIC_LEN = 8,
    /* word64 end of the log then, word32 CRC of the rest, word32 notes, word32 CRC of all that */
    HEAD_LEN = MAGIC_LEN + 20,
    NOTE_LEN = 12, /* word64 offset, word32 length */
    MAX_NOTES = 4 << 20,
    FILLER_PART = 4096,
    ZEROS_LEN = 1 << 20,
};
static const char MAGIC[MAGIC_LEN + 1] = "SMPERAS\n";

/* ---- fillers ---- */

/* `TIME AAAA.. 10`: a multiple of four letters, and one to four digits. */
uint8_t store_log__filler_byte(size_t at, size_t n) {
    static const char TAG[] = "TIME ";
    enum { TAG_LEN = sizeof TAG - 1 };
    const size_t n_digits = (n - 2 - TAG_LEN - 1) % 4 + 1, digits_at = n - 1 - n_digits;
    if (at < TAG_LEN) return (uint8_t)TAG[at];
    if (at == n - 1) return '\n';
    if (at + 1 == digits_at) return ' ';
    if (at < digits_at) return 'A';
    return at == digits_at && n_digits > 1 ? '1' : '0';
}

/* `len` of its bytes, from number `at` on. All between its two ends are alike. */
static void filler_part(size_t at, size_t n, uint8_t *ret, size_t len) {
    enum { END_LEN = 8 };
    const size_t tail = n - END_LEN > at ? n - END_LEN - at : 0;
    memset(ret, 'A', len);
    for (size_t i = 0; i < len && at + i < END_LEN; i++) ret[i] = store_log__filler_byte(at + i, n);
    for (size_t i = tail; i < len; i++) ret[i] = store_log__filler_byte(at + i, n);
}

static size_t filler_part_len(size_t at, size_t n) {
    return n - at < FILLER_PART ? n - at : FILLER_PART;
}

static bool has_filler_len(size_t n) {
    return n >= STORE_LOG_LINE_MIN;
}

bool store_log__is_filler(struct bytes text) {
    const size_t n = text.n + 1;
    if (!has_filler_len(n)) return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != store_log__filler_byte(i, n)) return false;
    }
    return true;
}

uint32_t store_log__filler_crc(uint32_t n) {
    uint8_t buf[FILLER_PART];
    uint32_t crc = 0;
    for (size_t at = 0, part; at < n; at += part) {
        part = filler_part_len(at, n);
        filler_part(at, n, buf, part);
        crc = crc32c(crc, buf, part);
    }
    return crc;
}

static enum err write_filler(const struct vfs *v, int fd, const struct erased *x) {
    uint8_t buf[FILLER_PART];
    enum err e = OK;
    for (size_t at = 0, part; at < x->n && e == OK; at += part) {
        part = filler_part_len(at, x->n);
        filler_part(at, x->n, buf, part);
        e = vfs_write(v, fd, bytes_of(buf, part), x->offset + at);
    }
    return e;
}

/* ---- finding the lines ---- */

static enum err add(struct erased_lines *l, const struct erased *x) {
    if (l->n == MAX_NOTES) return E_LIMIT;
    if (l->n == l->cap) {
        const size_t cap = l->cap != 0 ? 2 * l->cap : 64;
        struct erased *p = realloc(l->v, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = *x;
    return OK;
}

static void forget(struct erased_lines *l) {
    l->n = 0;
}

void store_log__forget_erasing(struct store_log *l) {
    forget(&l->erasing);
}

void store_log__free_erased(struct erased_lines *l) {
    free(l->v);
}

struct search {
    const struct store_log_dead *dead;
    struct erased_lines *found;
    uint64_t *ends; /* owned: of each, where its dead lines end; 0: it has none */
};

static enum err look_at(const struct search *s, uint64_t offset, struct bytes line) {
    size_t which = 0;
    const enum store_log_life life =
        has_filler_len(line.n) ? s->dead->find(s->dead->ctx, bytes_of(line.p, line.n - 1), &which)
                               : LIFE_OF_OTHERS;
    if (life == LIFE_OF_OTHERS) {
        s->found->rest_crc = crc32c(s->found->rest_crc, line.p, line.n);
        return OK;
    }
    if (life == LIFE_BEGINS) s->ends[which] = offset;
    if (life == LIFE_ENDS) s->ends[which] = offset + line.n;
    return add(s->found, &(struct erased){offset, (uint32_t)which, (uint32_t)line.n});
}

/* Leaves out the lines of what lives; true: there are some. */
static bool choose(const struct search *s) {
    struct erased_lines *l = s->found;
    const size_t all = l->n;
    l->n = 0;
    for (size_t i = 0; i < all; i++) {
        if (l->v[i].offset < s->ends[l->v[i].which]) l->v[l->n++] = l->v[i];
    }
    return l->n != all;
}

/* All whole lines in b, which begins at this offset; *ret_used is what they take. */
static enum err look_through(const struct search *s, struct bytes b, uint64_t at,
                             size_t *ret_used) {
    enum err e = OK;
    size_t used = 0;
    while (used < b.n && e == OK) {
        const uint8_t *line = b.p + used, *nl = memchr(line, '\n', b.n - used);
        if (nl == NULL) break;
        const size_t n = (size_t)(nl - line) + 1;
        e = look_at(s, at + used, bytes_of(line, n));
        used += n;
    }
    *ret_used = used;
    return e;
}

static enum err search_file(const struct vfs *v, int fd, uint64_t end, const struct search *s) {
    uint8_t *buf = malloc(CHUNK);
    if (buf == NULL) return E_NO_MEMORY;
    enum err e = OK;
    size_t used = 1;
    for (uint64_t at = 0; at < end && used != 0 && e == OK; at += used) {
        const uint64_t left = end - at;
        size_t got = 0;
        e = v->read_at(v->ctx, fd, buf, left < CHUNK ? (size_t)left : CHUNK, at, &got);
        if (e == OK) e = look_through(s, bytes_of(buf, got), at, &used);
    }
    free(buf); /* what it held is on the disk */
    return e;
}

/* Of n bytes that begin at this offset: those that are not in a line of l, from *io_i on. */
static uint32_t add_rest(uint32_t crc, const uint8_t *p, size_t n, uint64_t offset,
                         const struct erased_lines *l, size_t *io_i) {
    while (n != 0) {
        while (*io_i < l->n && l->v[*io_i].offset + l->v[*io_i].n <= offset) (*io_i)++;
        const struct erased *x = *io_i < l->n ? &l->v[*io_i] : NULL;
        const bool is_in = x != NULL && x->offset <= offset;
        const uint64_t to = x == NULL ? UINT64_MAX : is_in ? x->offset + x->n : x->offset;
        const size_t part = to - offset < n ? (size_t)(to - offset) : n;
        if (!is_in) crc = crc32c(crc, p, part);
        p += part;
        n -= part;
        offset += part;
    }
    return crc;
}

/* E_NOT_FOUND: it is shorter. */
static enum err rest_crc(const struct vfs *v, int fd, const struct erased_lines *l, uint32_t *ret) {
    uint8_t *buf = malloc(CHUNK);
    size_t got = 1, i = 0;
    enum err e = buf != NULL ? OK : E_NO_MEMORY;
    *ret = 0;
    for (uint64_t at = 0; at < l->end && e == OK; at += got) {
        const uint64_t left = l->end - at;
        e = v->read_at(v->ctx, fd, buf, left < CHUNK ? (size_t)left : CHUNK, at, &got);
        if (e == OK && got == 0) e = E_NOT_FOUND;
        if (e == OK) *ret = add_rest(*ret, buf, got, at, l, &i);
    }
    free(buf);
    return e;
}

static enum err search(const struct vfs *v, int fd, uint64_t end, const struct store_log_dead *dead,
                       struct erased_lines *ret) {
    const struct search s = {dead, ret, calloc(dead->n, sizeof *s.ends)};
    if (s.ends == NULL) return E_NO_MEMORY;
    ret->end = end;
    ret->rest_crc = 0;
    enum err e = search_file(v, fd, end, &s);
    if (e == OK && choose(&s)) e = rest_crc(v, fd, ret, &ret->rest_crc);
    free(s.ends);
    return e;
}

/* ---- notes ---- */

static enum err notes_path(const struct store_log_opts *o, struct log_path *ret) {
    return store_log__path(o, ".erasing", ret);
}

static enum err write_notes(const struct store_log_opts *o, const struct erased_lines *l) {
    const struct vfs *v = o->vfs;
    const size_t len = HEAD_LEN + l->n * NOTE_LEN;
    struct log_path path;
    int fd = -1;
    uint8_t *buf = malloc(len);
    if (buf == NULL) return E_NO_MEMORY;
    struct wr head = wr_init(buf, HEAD_LEN), notes = wr_init(buf + HEAD_LEN, len - HEAD_LEN);
    for (size_t i = 0; i < l->n; i++) {
        wr_i64(&notes, (int64_t)l->v[i].offset);
        wr_u32(&notes, l->v[i].n);
    }
    wr_bytes_raw(&head, bytes_of(MAGIC, MAGIC_LEN));
    wr_i64(&head, (int64_t)l->end);
    wr_u32(&head, l->rest_crc);
    wr_u32(&head, (uint32_t)l->n);
    wr_u32(&head, crc32c(crc32c(0, buf, head.at), buf + HEAD_LEN, notes.at));
    enum err e = wr_err(&head) == OK && wr_err(&notes) == OK ? OK : E_INTERNAL;
    if (e == OK) e = notes_path(o, &path);
    if (e == OK) e = v->open(v->ctx, path.s, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
    if (e == OK) e = vfs_write(v, fd, bytes_of(buf, len), 0);
    if (e == OK) e = v->sync(v->ctx, fd);
    const int error = errno;
    if (fd >= 0) v->close(v->ctx, fd);
    free(buf);
    const struct log_path dir = store_log__dir(o);
    if (e == OK) return v->sync_dir(v->ctx, dir.s);
    errno = error;
    return e;
}

enum err store_log__drop_notes(const struct store_log_opts *o) {
    struct log_path path;
    enum err e = notes_path(o, &path);
    if (e == OK) e = o->vfs->unlink(o->vfs->ctx, path.s);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    const struct log_path dir = store_log__dir(o);
    return o->vfs->sync_dir(o->vfs->ctx, dir.s);
}

/* None, unless all was noted: then nothing was overwritten. */
static enum err take_notes(struct bytes all, struct erased_lines *l) {
    struct rd r = rd_init(all);
    const struct bytes magic = rd_take(&r, MAGIC_LEN);
    l->end = (uint64_t)rd_i64(&r);
    l->rest_crc = rd_u32(&r);
    const uint32_t n = rd_u32(&r), crc = rd_u32(&r);
    if (rd_err(&r) != OK || !bytes_equal(magic, bytes_of(MAGIC, MAGIC_LEN))) return OK;
    if (rd_left(&r) / NOTE_LEN < n ||
        crc32c(crc32c(0, all.p, HEAD_LEN - 4), all.p + HEAD_LEN, (size_t)n * NOTE_LEN) != crc)
        return OK;
    enum err e = OK;
    for (uint32_t i = 0; i < n && e == OK; i++) {
        const uint64_t offset = (uint64_t)rd_i64(&r);
        e = add(l, &(struct erased){.offset = offset, .n = rd_u32(&r)});
    }
    return e;
}

static enum err load_notes(const struct store_log_opts *o, struct erased_lines *l) {
    const struct vfs *v = o->vfs;
    struct log_path path;
    uint64_t size = 0;
    size_t got = 0;
    int fd;
    uint8_t *buf = NULL;
    enum err e = notes_path(o, &path);
    if (e == OK) e = v->open(v->ctx, path.s, O_RDONLY, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    e = v->size(v->ctx, fd, &size);
    if (size > HEAD_LEN + (uint64_t)MAX_NOTES * NOTE_LEN) size = 0; /* not ours */
    if (e == OK && size != 0) {
        buf = malloc(size);
        e = buf != NULL ? v->read_at(v->ctx, fd, buf, size, 0, &got) : E_NO_MEMORY;
    }
    if (e == OK && got != 0) e = take_notes(bytes_of(buf, got), l);
    const int error = errno;
    v->close(v->ctx, fd);
    free(buf);
    errno = error;
    return e;
}

/* ---- what a crash has left half done ---- */

static enum err finish(const struct store_log_opts *o, const struct erased_lines *l) {
    const struct vfs *v = o->vfs;
    uint32_t crc = 0;
    int fd;
    enum err e = v->open(v->ctx, o->path, O_RDWR, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    e = rest_crc(v, fd, l, &crc);
    if (e == OK && crc == l->rest_crc) {
        for (size_t i = 0; i < l->n && e == OK; i++) e = write_filler(v, fd, &l->v[i]);
        if (e == OK) e = v->sync(v->ctx, fd);
    }
    const int error = errno;
    v->close(v->ctx, fd);
    errno = error;
    return e == E_NOT_FOUND ? OK : e;
}

enum err store_log__finish_erasing(const struct store_log_opts *o) {
    struct erased_lines l = {0};
    if (!o->has_sums) return OK; /* another log than that of queues */
    enum err e = load_notes(o, &l);
    if (e == OK && l.n != 0) e = finish(o, &l);
    if (e == OK) e = store_log__drop_notes(o);
    store_log__free_erased(&l);
    return e;
}

/* ---- erasing ---- */

static enum err overwrite(struct store_log *l, int fd) {
    const struct erased_lines *lines = &l->erasing;
    enum err e = OK;
    for (size_t i = 0; i < lines->n && e == OK; i++) e = write_filler(l->vfs, fd, &lines->v[i]);
    if (e == OK) e = l->vfs->sync(l->vfs->ctx, fd);
    if (e == OK) e = sums_erase(&l->o, lines);
    return e == OK ? store_log__drop_notes(&l->o) : e;
}

/* What failed before is done first. */
static enum err erase_in(struct store_log *l, int fd, uint64_t end,
                         const struct store_log_dead *dead) {
    enum err e = l->erasing.n != 0 ? overwrite(l, fd) : OK;
    if (e != OK) return e;
    forget(&l->erasing);
    e = search(l->vfs, fd, end, dead, &l->erasing);
    if (e == OK && l->erasing.n != 0) e = write_notes(&l->o, &l->erasing);
    if (e != OK) forget(&l->erasing); /* nothing was begun */
    if (l->erasing.n != 0) e = overwrite(l, fd);
    if (e == OK) forget(&l->erasing);
    return e;
}

enum err store_log_erase(struct store_log *l, const struct store_log_dead *dead) {
    int fd;
    enum err e = commit_flush(l->commit);
    if (e != OK) return e;
    e = l->vfs->open(l->vfs->ctx, l->o.path, O_RDWR, 0, &fd);
    if (e != OK) return E_SYS;
    e = erase_in(l, fd, store_log_len(l), dead);
    const int error = errno;
    l->vfs->close(l->vfs->ctx, fd);
    errno = error;
    return e;
}

/* ---- whole files ---- */

enum err store_log__zero(const struct vfs *v, int fd) {
    uint64_t size = 0;
    uint8_t *zeros = calloc(1, ZEROS_LEN);
    if (zeros == NULL) return E_NO_MEMORY;
    enum err e = v->size(v->ctx, fd, &size);
    for (uint64_t at = 0; at < size && e == OK; at += ZEROS_LEN) {
        const uint64_t left = size - at;
        e = vfs_write(v, fd, bytes_of(zeros, left < ZEROS_LEN ? (size_t)left : ZEROS_LEN), at);
        if (e == OK) e = v->sync(v->ctx, fd); /* who syncs meanwhile waits behind one part */
    }
    free(zeros);
    return e;
}

enum err store_log_remove_file(const struct vfs *v, const char *path) {
    int fd;
    enum err e = v->open(v->ctx, path, O_RDWR, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : e;
    e = store_log__zero(v, fd);
    v->close(v->ctx, fd);
    const enum err gone = v->unlink(v->ctx, path); /* in any case */
    return e == OK ? gone : e;
}

int store_log_hold(const struct vfs *v, const char *path) {
    int fd;
    return v->open(v->ctx, path, O_RDWR, 0, &fd) == OK ? fd : -1;
}

void store_log_release(const struct vfs *v, const char *path, int fd, bool is_replaced) {
    if (fd < 0) return;
    const enum err e = is_replaced ? store_log__zero(v, fd) : OK;
    if (e != OK)
        log_line(LOG_WARN, "log-not-erased", "replaced=%s error=\"%s\"", path, err_reason(e));
    v->close(v->ctx, fd);
}
