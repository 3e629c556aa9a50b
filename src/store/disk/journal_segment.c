/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_segment.c -- the table of segments in RAM, and segment files as wholes: made, retired,
 * made again.
 *
 * A file is born as a spare, full of zeros, and becomes a segment by its head and a rename, in this
 * order and each made durable: so a segment with a bad head is always damage. It becomes a spare
 * again by a rename that is durable before anything in it is overwritten: so a file with a
 * segment's name always holds the segment. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/disk/journal_priv.h"

static const char *const SUFFIXES[] =
    {[FILE_SEGMENT] = ".journal", [FILE_SPARE] = ".spare", [FILE_DAMAGED] = ".journal.damaged"};
enum {
    NUMBER_DIGITS = 10,
    MAX_NUMBER_LEN = NUMBER_DIGITS + 1,
    ZEROS_LEN = 64 << 10,
};

struct journal_path journal__path(const struct journal *j, enum journal_file kind,
                                  uint32_t number) {
    struct journal_path p;
    const int n =
        snprintf(p.s, sizeof p.s, "%s/%0*u%s", j->dir, NUMBER_DIGITS, number, SUFFIXES[kind]);
    assert(n > 0 && (size_t)n < sizeof p.s); /* journal_open() checked the length of dir */
    return p;
}

bool journal_parse_file_name(const char *name, enum journal_file *ret_kind, uint32_t *ret_number) {
    uint64_t v = 0;
    for (int i = 0; i < NUMBER_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        v = v * 10 + (uint64_t)(name[i] - '0');
    }
    if (v == 0 || v > UINT32_MAX) return false;
    for (size_t k = 0; k < ARRAY_LEN(SUFFIXES); k++) {
        if (strcmp(name + NUMBER_DIGITS, SUFFIXES[k]) != 0) continue;
        *ret_kind = (enum journal_file)k;
        *ret_number = (uint32_t)v;
        return true;
    }
    return false;
}

/* ---- the table ---- */

struct segment *journal__segment(struct journal *j, uint32_t number) {
    if (number < j->first_segment || number - j->first_segment >= j->n_segments) return NULL;
    return &j->segments[number - j->first_segment];
}

enum err journal__reserve_segment(struct journal *j) {
    enum err e = OK;
    lock_take(&j->mtx);
    if (j->n_segments == j->cap_segments) {
        const uint32_t cap = j->cap_segments != 0 ? j->cap_segments * 2 : 16;
        struct segment *p = realloc(j->segments, cap * sizeof *p);
        if (p != NULL) {
            j->segments = p;
            j->cap_segments = cap;
        } else {
            e = E_NO_MEMORY;
        }
    }
    lock_give(&j->mtx);
    return e;
}

void journal__count_live(struct journal *j, struct journal_loc loc, uint16_t body_len, int sign) {
    struct segment *s = journal__segment(j, loc.segment);
    const uint32_t len = record_len(body_len);
    if (s == NULL) return; /* freed: went with the rest */
    if (sign > 0) {
        s->n_live++;
        s->live_bytes += len;
        j->n_live++;
        j->live_bytes += len;
    } else {
        assert(s->n_live > 0 && s->live_bytes >= len);
        s->n_live--;
        s->live_bytes -= len;
        j->n_live--;
        j->live_bytes -= len;
    }
}

enum err erasures_add(struct erasures *l, const struct erasure *x) {
    if (l->n == l->cap) {
        const size_t cap = l->cap != 0 ? l->cap * 2 : 64;
        struct erasure *p = realloc(l->v, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = *x;
    return OK;
}

enum err journal__add_erasure(struct journal *j, const struct erasure *e) {
    struct segment *s = journal__segment(j, e->loc.segment);
    if (s == NULL) return OK; /* freed already */
    const enum err err = erasures_add(&j->erasures, e);
    if (err != OK) return err;
    if (s->free_lsn < e->lsn) s->free_lsn = e->lsn;
    return OK;
}

/* ---- files ---- */

enum err journal__write_zeros(const struct journal *j, int fd, uint64_t from, uint64_t to) {
    static uint8_t zeros[ZEROS_LEN]; /* never written; not const, because an iovec is not */
    enum { PARTS = 16 };
    while (from < to) {
        struct iovec iov[PARTS];
        uint64_t n = 0;
        int n_iov = 0;
        for (; n_iov < PARTS && from + n < to; n_iov++) {
            const uint64_t left = to - from - n;
            iov[n_iov] = (struct iovec){zeros, left < ZEROS_LEN ? (size_t)left : ZEROS_LEN};
            n += iov[n_iov].iov_len;
        }
        const enum err e = j->vfs->write_at(j->vfs->ctx, fd, iov, n_iov, from);
        if (e != OK) return e;
        from += n;
    }
    return OK;
}

enum err journal__zero_file(const struct journal *j, int fd, enum zero_pace pace) {
    const uint64_t part = pace == ZERO_BY_PARTS ? JOURNAL_ZEROS_PER_SYNC : j->segment_len;
    enum err e = OK;
    for (uint64_t at = 0; at < j->segment_len && e == OK; at += part) {
        const uint64_t left = j->segment_len - at;
        e = journal__write_zeros(j, fd, at, at + (left < part ? left : part));
        if (e == OK) e = j->vfs->sync(j->vfs->ctx, fd);
    }
    return e;
}

enum err journal__create_spare(struct journal *j, enum zero_pace pace, struct spare *ret) {
    const struct vfs *v = j->vfs;
    lock_take(&j->mtx);
    struct spare s = {.number = j->next_spare++, .clean = true};
    lock_give(&j->mtx);
    const struct journal_path path = journal__path(j, FILE_SPARE, s.number);
    enum err e = v->open(v->ctx, path.s, O_RDWR | O_CREAT | O_TRUNC, 0600, &s.fd);
    if (e != OK) return E_SYS;
    e = journal__zero_file(j, s.fd, pace);
    if (e != OK) {
        journal__remove_spare(j, s);
        return E_SYS;
    }
    *ret = s;
    return OK;
}

bool journal__take_spare(struct journal *j, bool clean, struct spare *ret) {
    bool found = false;
    lock_take(&j->mtx);
    for (unsigned i = 0; i < j->n_spares && !found; i++) {
        if (j->spares[i].clean != clean) continue;
        *ret = j->spares[i];
        j->spares[i] = j->spares[--j->n_spares];
        found = true;
    }
    lock_give(&j->mtx);
    return found;
}

void journal__remove_spare(const struct journal *j, struct spare s) {
    const struct journal_path path = journal__path(j, FILE_SPARE, s.number);
    const int error = errno;
    if (s.fd >= 0) j->vfs->close(j->vfs->ctx, s.fd);
    (void)j->vfs->unlink(j->vfs->ctx, path.s);
    errno = error;
}

void journal__put_spare(struct journal *j, struct spare s) {
    assert(s.clean == (s.fd >= 0));
    lock_take(&j->mtx);
    const bool room = j->n_spares < (s.clean ? JOURNAL_N_SPARES : JOURNAL_MAX_SPARES);
    if (room) j->spares[j->n_spares++] = s;
    lock_give(&j->mtx);
    if (!room) journal__remove_spare(j, s);
}

/* Renames, durably. An error leaves the old name, or errno is EIO. */
static enum err rename_durably(const struct journal *j, const char *from, const char *to) {
    const struct vfs *v = j->vfs;
    if (v->rename(v->ctx, from, to) != OK) return E_SYS;
    if (v->sync_dir(v->ctx, j->dir) == OK) return OK;
    const int error = errno;
    errno = v->rename(v->ctx, to, from) == OK ? error : EIO;
    return E_SYS;
}

enum err journal__retire(struct journal *j, uint32_t number, struct spare *ret) {
    lock_take(&j->mtx);
    const struct spare s = {.number = j->next_spare++, .clean = false, .fd = -1};
    lock_give(&j->mtx);
    const struct journal_path from = journal__path(j, FILE_SEGMENT, number);
    const struct journal_path to = journal__path(j, FILE_SPARE, s.number);
    const enum err e = rename_durably(j, from.s, to.s);
    if (e == OK) *ret = s;
    return e;
}

enum err journal__make_segment(struct journal *j, const struct segment_head *h, int *ret_fd) {
    const struct vfs *v = j->vfs;
    struct spare s;
    enum err e = journal__take_spare(j, true, &s) ? OK : journal__create_spare(j, ZERO_AT_ONCE, &s);
    if (e != OK) return e;
    uint8_t block[SEGMENT_HEAD_LEN];
    segment_head_encode(h, block);
    const struct journal_path from = journal__path(j, FILE_SPARE, s.number);
    const struct journal_path to = journal__path(j, FILE_SEGMENT, h->number);
    e = vfs_write(v, s.fd, bytes_of(block, sizeof block), 0);
    if (e == OK) e = v->sync(v->ctx, s.fd);
    if (e == OK) e = rename_durably(j, from.s, to.s);
    if (e == OK) {
        *ret_fd = s.fd;
        return OK;
    }
    const int error = errno;
    v->close(v->ctx, s.fd);
    journal__put_spare(j, (struct spare){.number = s.number, .clean = false, .fd = -1});
    errno = error;
    return E_SYS;
}
