/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_erase.c -- what is deleted is taken out of the files (ADR 19).
 *
 * Of a deleted message nothing stays but the place of its record: its head becomes that of a GONE
 * record, which has its number and its length and else zeros, and its body zeros. Then its deletion
 * has nothing more to say, and becomes GONE too. This order is what keeps the dead dead: a deletion
 * is only ever erased when all that it deletes is GONE on stable storage, wherever it lay. Where
 * that is not known (no memory to note a place) deletions stay for the life of the process.
 *
 * A head that is half overwritten when the power goes would look like damage. So the new heads are
 * first written and synced in a file of their own, from which the next start takes them. A head
 * says by its checksum where it belongs, and names only what was deleted for good, so one of an
 * earlier round, or a file that was not written to its end, does no harm. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/rd.h"
#include "base/wr.h"
#include "store/disk/journal_priv.h"

enum {
    BATCH = 2048, /* heads that are noted in one sync */
    NOTE_LEN = 8 + RECORD_HEAD_LEN,
    MAX_NOTES_LEN = 64 << 20,
};

/* ---- what is to be erased ---- */

static int compare_erasures(const void *a, const void *b) {
    const struct journal_loc x = ((const struct erasure *)a)->loc,
                             y = ((const struct erasure *)b)->loc;
    if (x.segment != y.segment) return x.segment < y.segment ? -1 : 1;
    return x.offset_8 < y.offset_8 ? -1 : x.offset_8 > y.offset_8;
}

/* Moves those that may be done now out of the list; sorted. NULL: none, or no memory. mtx held. */
static struct erasure *take_ready(struct erasures *list, lsn_t synced, size_t *ret_n) {
    struct erasure *ready = list->n != 0 ? malloc(list->n * sizeof *ready) : NULL;
    size_t n = 0, n_ready = 0;
    for (size_t i = 0; ready != NULL && i < list->n; i++) {
        if (list->v[i].lsn <= synced) {
            ready[n_ready++] = list->v[i];
        } else {
            list->v[n++] = list->v[i];
        }
    }
    if (ready != NULL) list->n = n;
    if (n_ready > 1) qsort(ready, n_ready, sizeof *ready, compare_erasures);
    *ret_n = n_ready;
    return ready;
}

static void put_back(struct journal *j, struct erasures *list, const struct erasure *x, size_t n) {
    log_line(LOG_WARN, "journal-not-erased", "segment=%u n=%zu error=\"%s\"", x->loc.segment, n,
             strerror(errno));
    lock_take(&j->mtx);
    for (size_t i = 0; i < n; i++) {
        if (erasures_add(list, &x[i]) == OK) continue;
        j->keeps_deletions = true; /* it goes with its segment */
        break;
    }
    lock_give(&j->mtx);
}

/* ---- the heads that take their places ---- */

struct file_use {
    struct segment_fd file;
    uint64_t unsynced;
};

static enum err end_use(const struct journal *j, struct file_use *u) {
    enum err e = OK;
    if (u->file.fd < 0) return OK;
    if (u->unsynced != 0) e = j->vfs->sync(j->vfs->ctx, u->file.fd);
    j->vfs->close(j->vfs->ctx, u->file.fd);
    *u = (struct file_use){.file = {.fd = -1}};
    return e;
}

static enum err use(const struct journal *j, struct file_use *u, uint32_t segment) {
    if (u->file.fd >= 0 && u->file.number == segment) return OK;
    enum err e = end_use(j, u);
    const struct journal_path path = journal__path(j, FILE_SEGMENT, segment);
    if (e == OK) e = j->vfs->open(j->vfs->ctx, path.s, O_RDWR, 0, &u->file.fd);
    if (e != OK) u->file.fd = -1;
    u->file.number = segment;
    return e;
}

/* False: it is gone with its segment. */
static bool has_segment(struct journal *j, uint32_t number, uint64_t *ret_salt) {
    lock_take(&j->mtx);
    const struct segment *s = journal__segment(j, number);
    if (s != NULL) *ret_salt = s->salt;
    lock_give(&j->mtx);
    return s != NULL;
}

static bool is_erasable(const struct record_head *h, uint16_t body_len) {
    const bool is_message = h->type == JREC_MSG || h->type == JREC_COPY;
    return is_message ? h->body_len == body_len : h->type == JREC_DELETE || h->type == JREC_PURGE;
}

/* The head that a record gets, behind its place. *ret_n is 0 when there is nothing to erase. */
static enum err note(struct journal *j, struct file_use *u, const struct erasure *x,
                     uint8_t ret[NOTE_LEN], size_t *ret_n) {
    uint8_t old[RECORD_HEAD_LEN];
    uint64_t salt = 0;
    size_t got = 0;
    *ret_n = 0;
    if (!has_segment(j, x->loc.segment, &salt)) return OK;
    enum err e = use(j, u, x->loc.segment);
    if (e == OK)
        e = j->vfs->read_at(j->vfs->ctx, u->file.fd, old, sizeof old, (uint64_t)x->loc.offset_8 * 8,
                            &got);
    if (e != OK) return e;
    const struct record_place place = {salt, x->loc};
    struct record_head h;
    if (got != sizeof old || record_head_decode_alone(old, &place, &h) != OK) return OK;
    if (!is_erasable(&h, x->body_len)) return OK;
    const struct record_head gone = {.len = h.len,
                                     .type = JREC_GONE,
                                     .n = h.n,
                                     .durable_n = h.durable_n};
    struct wr w = wr_init(ret, 8);
    wr_u32(&w, x->loc.segment);
    wr_u32(&w, x->loc.offset_8);
    record_head_encode(&gone, &place, ret + 8);
    *ret_n = NOTE_LEN;
    return wr_err(&w);
}

/* ---- a batch ---- */

static enum err write_notes(struct journal *j, struct bytes notes) {
    const struct vfs *v = j->vfs;
    const struct journal_path path = journal__notes_path(j);
    int fd;
    enum err e = v->open(v->ctx, path.s, O_RDWR, 0, &fd);
    const bool is_new = e == E_NOT_FOUND;
    if (is_new) e = v->open(v->ctx, path.s, O_RDWR | O_CREAT, 0600, &fd);
    if (e != OK) return E_SYS;
    e = vfs_write(v, fd, notes, 0);
    if (e == OK) e = v->sync(v->ctx, fd);
    v->close(v->ctx, fd);
    return e == OK && is_new ? v->sync_dir(v->ctx, j->dir) : e;
}

static struct journal_loc note_loc(const uint8_t *note) {
    struct rd r = rd_init(bytes_of(note, 8));
    const uint32_t segment = rd_u32(&r), offset_8 = rd_u32(&r);
    return (struct journal_loc){segment, offset_8};
}

/* The head, and zeros for the body. */
static enum err overwrite(struct journal *j, struct file_use *u, const uint8_t *note) {
    const struct journal_loc loc = note_loc(note);
    const uint64_t at = (uint64_t)loc.offset_8 * 8;
    struct rd r = rd_init(bytes_of(note + 8, RECORD_HEAD_LEN));
    const uint32_t len = rd_u32(&r);
    enum err e = use(j, u, loc.segment);
    if (e == OK) e = vfs_write(j->vfs, u->file.fd, bytes_of(note + 8, RECORD_HEAD_LEN), at);
    u->unsynced += len;
    if (e == OK) e = journal__write_zeros(j, u->file.fd, at + RECORD_HEAD_LEN, at + len);
    if (e != OK || u->unsynced < JOURNAL_ZEROS_PER_SYNC) return e;
    u->unsynced = 0;
    return j->vfs->sync(j->vfs->ctx, u->file.fd);
}

/* On OK all of them are GONE on stable storage, or their segments are. */
static enum err erase_batch(struct journal *j, const struct erasure *x, size_t n, uint8_t *notes) {
    struct file_use u = {.file = {.fd = -1}};
    size_t len = 0, added;
    enum err e = OK;
    for (size_t i = 0; i < n && e == OK; i++, len += added)
        e = note(j, &u, &x[i], notes + len, &added);
    if (e == OK && len != 0) e = write_notes(j, bytes_of(notes, len));
    for (size_t at = 0; at < len && e == OK; at += NOTE_LEN) e = overwrite(j, &u, notes + at);
    const enum err end = end_use(j, &u);
    return e == OK ? end : e;
}

/* True: all. What could not be erased is in the list again. */
static bool erase_all(struct journal *j, struct erasures *list, const struct erasure *x, size_t n) {
    uint8_t *notes = malloc((size_t)BATCH * NOTE_LEN);
    enum err e = notes != NULL ? OK : E_NO_MEMORY;
    size_t done = 0;
    while (done < n && e == OK) {
        const size_t part = n - done < BATCH ? n - done : BATCH;
        e = erase_batch(j, x + done, part, notes);
        if (e == OK) done += part;
    }
    free(notes);
    if (e == E_NO_MEMORY) errno = ENOMEM;
    if (done < n) put_back(j, list, x + done, n - done);
    return done == n;
}

/* ---- a round ---- */

/* Deletions whose messages are among what was taken before, or have been erased already. */
static struct erasure *take_deletions(struct journal *j, lsn_t synced, size_t *ret_n) {
    *ret_n = 0;
    if (j->keeps_deletions || j->n_purging != 0) return NULL;
    return take_ready(&j->deletions, synced, ret_n);
}

void journal__erase(struct journal *j) {
    const lsn_t synced = commit_synced_lsn(j->commit);
    size_t n, n_deletions;
    lock_take(&j->mtx);
    struct erasure *deletions = take_deletions(j, synced, &n_deletions);
    struct erasure *all = take_ready(&j->erasures, synced, &n);
    const bool has_all = all != NULL || j->erasures.n == 0;
    lock_give(&j->mtx);
    const bool done = erase_all(j, &j->erasures, all, n) && has_all;
    lock_take(&j->mtx);
    const bool may_go = done && !j->keeps_deletions;
    for (size_t i = 0; !may_go && i < n_deletions; i++) {
        if (erasures_add(&j->deletions, &deletions[i]) != OK) break; /* they stay */
    }
    lock_give(&j->mtx);
    if (may_go) (void)erase_all(j, &j->deletions, deletions, n_deletions);
    free(deletions);
    free(all);
    lock_take(&j->mtx);
    j->n_erasures_left = j->erasures.n;
    lock_give(&j->mtx);
}

void journal__note_deletion(struct journal *j, struct journal_loc loc, lsn_t lsn) {
    const struct erasure x = {.loc = loc, .lsn = lsn};
    lock_take(&j->mtx);
    (void)!erasures_add(&j->deletions, &x); /* without memory it goes with its segment */
    lock_give(&j->mtx);
}

/* ---- what a crash has left half done ---- */

struct journal_path journal__notes_path(const struct journal *j) {
    struct journal_path p;
    struct wr w = wr_init(p.s, sizeof p.s); /* journal_open() checked the length of dir */
    wr_str(&w, j->dir);
    wr_str(&w, "/" JOURNAL_NOTES_NAME);
    wr_u8(&w, 0);
    return p;
}

enum err journal__load_notes(const struct journal *j, uint8_t **ret, size_t *ret_n) {
    const struct vfs *v = j->vfs;
    const struct journal_path path = journal__notes_path(j);
    uint64_t size = 0;
    size_t got = 0;
    int fd;
    *ret = NULL;
    *ret_n = 0;
    enum err e = v->open(v->ctx, path.s, O_RDONLY, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    e = v->size(v->ctx, fd, &size);
    if (size > MAX_NOTES_LEN) size = 0; /* not ours */
    if (e == OK && size != 0) {
        *ret = malloc(size);
        e = *ret != NULL ? v->read_at(v->ctx, fd, *ret, size, 0, &got) : E_NO_MEMORY;
    }
    const int error = errno;
    v->close(v->ctx, fd);
    errno = error;
    *ret_n = got / NOTE_LEN;
    return e;
}

/* A note that belongs to this segment, and to this use of the file. */
static bool fits(const uint8_t *note, uint32_t number, uint64_t salt, size_t len,
                 struct record_head *ret) {
    const struct record_place place = {salt, note_loc(note)};
    const uint64_t at = (uint64_t)place.loc.offset_8 * 8;
    return place.loc.segment == number && at >= SEGMENT_HEAD_LEN &&
           record_head_decode_alone(note + 8, &place, ret) == OK && ret->type == JREC_GONE &&
           at + ret->len <= len;
}

void journal__apply_notes(const uint8_t *notes, size_t n, uint32_t number, uint64_t salt,
                          uint8_t *segment, size_t len) {
    struct record_head h;
    for (const uint8_t *x = notes; n-- > 0; x += NOTE_LEN) {
        if (!fits(x, number, salt, len, &h)) continue;
        uint8_t *at = segment + (size_t)note_loc(x).offset_8 * 8;
        memcpy(at, x + 8, RECORD_HEAD_LEN);
        memset(at + RECORD_HEAD_LEN, 0, h.len - RECORD_HEAD_LEN);
    }
}

enum err journal__write_noted(struct journal *j, const uint8_t *notes, size_t n) {
    struct file_use u = {.file = {.fd = -1}};
    enum err e = OK;
    for (const uint8_t *x = notes; n-- > 0 && e == OK; x += NOTE_LEN) {
        struct record_head h;
        uint64_t salt = 0;
        const uint32_t number = note_loc(x).segment;
        if (has_segment(j, number, &salt) && fits(x, number, salt, j->segment_len, &h))
            e = overwrite(j, &u, x);
    }
    const enum err end = end_use(j, &u);
    return e == OK ? end : e;
}
