/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_repair.c -- makes the files say what recovery has decided.
 *
 * The order matters, because this may be cut short too. Damaged files are copied before they are
 * touched. Of a torn tail, later segments go first, the highest first, each durably: there is never
 * a gap. Then what follows the tear is overwritten and END is put there. Until that is done, the
 * next start sees the same tear; afterwards it sees a clean history. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/journal_scan.h"

static enum err open_file(const struct journal *j, enum journal_file kind, uint32_t number,
                          int oflags, int *ret_fd) {
    const struct journal_path path = journal__path(j, kind, number);
    const enum err e = j->vfs->open(j->vfs->ctx, path.s, oflags, 0600, ret_fd);
    return e == OK ? OK : E_SYS;
}

static enum err copy_bytes(const struct journal *j, int from, int to) {
    const struct vfs *v = j->vfs;
    enum { CHUNK = 1 << 20 };
    uint8_t *buf = malloc(CHUNK);
    if (buf == NULL) return E_NO_MEMORY;
    enum err e = OK;
    size_t got = 1;
    for (uint64_t at = 0; e == OK && got > 0; at += got) {
        e = v->read_at(v->ctx, from, buf, CHUNK, at, &got);
        if (e == OK && got > 0) e = vfs_write(v, to, bytes_of(buf, got), at);
    }
    free(buf);
    return e;
}

static enum err set_aside(const struct journal *j, uint32_t number) {
    const struct vfs *v = j->vfs;
    int from, to;
    enum err e = open_file(j, FILE_SEGMENT, number, O_RDONLY, &from);
    if (e != OK) return e;
    e = open_file(j, FILE_DAMAGED, number, O_RDWR | O_CREAT | O_TRUNC, &to);
    if (e == OK) {
        e = copy_bytes(j, from, to);
        if (e == OK) e = v->sync(v->ctx, to);
        v->close(v->ctx, to);
    }
    v->close(v->ctx, from);
    if (e == OK) e = v->sync_dir(v->ctx, j->dir);
    if (e == OK) {
        const struct journal_path path = journal__path(j, FILE_DAMAGED, number);
        log_line(LOG_WARN, "journal-damage-set-aside", "file=%s", path.s);
    }
    return e;
}

static enum err write_record(const struct journal *j, int fd, const struct record_head *h,
                             const struct record_place *place) {
    uint8_t head[RECORD_HEAD_LEN];
    record_head_encode(h, place, head);
    return vfs_write(j->vfs, fd, bytes_of(head, sizeof head), (uint64_t)place->loc.offset_8 * 8);
}

/* A damaged or missing segment becomes one that holds nothing but END. */
static enum err write_anew(struct recovery *r, const struct fix *f) {
    struct journal *j = r->j;
    const struct segment_head head = {
        .number = r->files[f->file].number,
        .len = j->segment_len,
        .salt = f->salt,
        .first_n = f->h.n,
        .created_s = env_now_s(j->env),
    };
    struct spare s;
    enum err e = journal__create_spare(j, ZERO_AT_ONCE, &s);
    if (e != OK) return e;
    uint8_t block[SEGMENT_HEAD_LEN];
    segment_head_encode(&head, block);
    const struct record_place place = {f->salt, {head.number, f->at / 8}};
    e = vfs_write(j->vfs, s.fd, bytes_of(block, sizeof block), 0);
    if (e == OK) e = write_record(j, s.fd, &f->h, &place);
    if (e == OK) e = j->vfs->sync(j->vfs->ctx, s.fd);
    j->vfs->close(j->vfs->ctx, s.fd);
    const struct journal_path from = journal__path(j, FILE_SPARE, s.number);
    const struct journal_path to = journal__path(j, FILE_SEGMENT, head.number);
    if (e == OK) e = j->vfs->rename(j->vfs->ctx, from.s, to.s);
    return e == OK ? j->vfs->sync_dir(j->vfs->ctx, j->dir) : e;
}

static enum err fix_in_place(struct recovery *r, const struct fix *f) {
    struct journal *j = r->j;
    const uint32_t number = r->files[f->file].number;
    const struct record_place place = {f->salt, {number, f->at / 8}};
    int fd;
    enum err e = open_file(j, FILE_SEGMENT, number, O_RDWR, &fd);
    if (e != OK) return e;
    e = write_record(j, fd, &f->h, &place);
    if (e == OK) e = j->vfs->sync(j->vfs->ctx, fd);
    j->vfs->close(j->vfs->ctx, fd);
    return e;
}

static enum err apply_fixes(struct recovery *r) {
    enum err e = OK;
    for (size_t i = 0; i < r->n_files && e == OK; i++) {
        if (r->files[i].set_aside) e = set_aside(r->j, r->files[i].number);
    }
    for (size_t i = 0; i < r->n_fixes && e == OK; i++) {
        e = r->fixes[i].whole ? write_anew(r, &r->fixes[i]) : fix_in_place(r, &r->fixes[i]);
    }
    return e;
}

static enum err end_torn_segment(struct recovery *r) {
    struct journal *j = r->j;
    const uint32_t number = r->files[r->tear_file].number;
    const struct record_place place = {r->tear_salt, {number, r->tear_at / 8}};
    const struct record_head end = {.len = RECORD_HEAD_LEN,
                                    .type = JREC_END,
                                    .n = r->next_n,
                                    .durable_n = r->durable_n,
                                    .order = r->next_n};
    int fd;
    enum err e = open_file(j, FILE_SEGMENT, number, O_RDWR, &fd);
    if (e != OK) return e;
    e = journal__write_zeros(j, fd, (uint64_t)r->tear_at + RECORD_HEAD_LEN, r->tear_len);
    if (e == OK) e = write_record(j, fd, &end, &place);
    if (e == OK) e = j->vfs->sync(j->vfs->ctx, fd);
    j->vfs->close(j->vfs->ctx, fd);
    return e;
}

static enum err remove_tail(struct recovery *r) {
    struct journal *j = r->j;
    while (r->n_files > r->tear_file + 1) {
        struct spare s;
        const enum err e = journal__retire(j, r->files[r->n_files - 1].number, &s);
        if (e != OK) return e;
        r->n_files--;
        journal__put_spare(j, s);
    }
    const enum err e = end_torn_segment(r);
    r->next_n++; /* END has taken it */
    return e;
}

/* Records that no later one proves synced may be in the kernel's memory only, when a process died
 * and not the machine. */
static enum err sync_unproven(const struct recovery *r) {
    const struct journal *j = r->j;
    enum err e = OK;
    for (size_t i = 0; i < r->n_files && e == OK; i++) {
        if (r->files[i].last_n <= r->durable_n) continue;
        int fd;
        e = open_file(j, FILE_SEGMENT, r->files[i].number, O_RDWR, &fd);
        if (e != OK) break;
        e = j->vfs->sync(j->vfs->ctx, fd);
        j->vfs->close(j->vfs->ctx, fd);
    }
    return e == OK ? j->vfs->sync_dir(j->vfs->ctx, j->dir) : e;
}

enum err recovery_repair(struct recovery *r) {
    enum err e = journal__write_noted(r->j, r->notes, r->n_notes);
    if (e == OK) e = apply_fixes(r);
    if (e == OK && r->torn) e = remove_tail(r);
    return e == OK ? sync_unproven(r) : e;
}
