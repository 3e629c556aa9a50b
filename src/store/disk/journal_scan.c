/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/disk/journal_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

enum { MAX_SEGMENT_LEN = 1 << 30 };

static enum err need_room(struct scan *s, size_t n) {
    if (n <= s->cap) return OK;
    uint8_t *p = realloc(s->buf, n);
    if (p == NULL) return E_NO_MEMORY;
    s->buf = p;
    s->cap = n;
    return OK;
}

/* Reads the file, and makes it head.len bytes long. */
static enum err load(const struct journal *j, int fd, struct scan *s) {
    const struct vfs *v = j->vfs;
    uint64_t size;
    enum err e = v->size(v->ctx, fd, &size);
    if (e != OK) return e;
    if (size < SEGMENT_HEAD_LEN || size > MAX_SEGMENT_LEN) return E_SYNTAX;
    e = need_room(s, (size_t)size);
    if (e != OK) return e;
    size_t got = 0;
    e = v->read_at(v->ctx, fd, s->buf, (size_t)size, 0, &got);
    if (e != OK) return e;
    e = segment_head_decode(bytes_of(s->buf, got), &s->head);
    if (e != OK) return e;
    const uint32_t len = s->head.len;
    if (s->head.number != s->number || len % 8 != 0 || len > MAX_SEGMENT_LEN ||
        len < SEGMENT_HEAD_LEN + RECORD_HEAD_LEN) {
        return E_SYNTAX;
    }
    e = need_room(s, len);
    if (e != OK) return e;
    if (got < len) memset(s->buf + got, 0, len - got);
    s->all = bytes_of(s->buf, len);
    return OK;
}

enum err scan_load(const struct journal *j, uint32_t number, struct scan *s) {
    const struct journal_path path = journal__path(j, FILE_SEGMENT, number);
    int fd;
    enum err e = j->vfs->open(j->vfs->ctx, path.s, O_RDONLY, 0, &fd);
    if (e != OK) return e;
    s->number = number;
    s->all = (struct bytes){0};
    e = load(j, fd, s);
    const int error = errno;
    j->vfs->close(j->vfs->ctx, fd);
    errno = error;
    return e;
}

void scan_done(struct scan *s) {
    free(s->buf);
    *s = (struct scan){0};
}

enum err scan_record(const struct scan *s, uint32_t at, struct record_head *ret) {
    if (at > s->all.n) return E_SYNTAX;
    const struct record_place place = {s->head.salt, {s->number, at / 8}};
    struct record_head h;
    const enum err e = record_head_decode(bytes_of(s->all.p + at, s->all.n - at), &place, &h);
    if (e != OK) return e;
    /* Every other record leaves room for END. */
    if (h.type != JREC_END && (uint64_t)at + h.len + RECORD_HEAD_LEN > s->all.n) return E_SYNTAX;
    *ret = h;
    return OK;
}

struct bytes scan_body(const struct scan *s, uint32_t at, const struct record_head *h) {
    return bytes_of(s->all.p + at + RECORD_HEAD_LEN, h->body_len);
}

uint32_t scan_find(const struct scan *s, uint32_t at, uint64_t min_n, struct record_head *ret) {
    for (; at + RECORD_HEAD_LEN <= s->all.n; at += 8) {
        if (scan_record(s, at, ret) == OK && ret->n >= min_n) return at;
    }
    return 0;
}

uint32_t scan_used(const struct scan *s, uint32_t at) {
    size_t end = s->all.n;
    while (end > at && s->all.p[end - 1] == 0) end--;
    return (uint32_t)(end > at ? end - at : 0);
}
