/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_write.c -- the journal as a sink of the commit thread.
 *
 * take() moves what was appended aside; write() puts it where its place says, with few calls:
 * heads, bodies and padding are parts of one vector, and bodies are written from the messages
 * themselves. A group may end segments and begin new ones. sync() makes all that was written
 * durable; what it has made durable is said by the durable_n of the records that follow, which is
 * how the next start tells a torn group from damage. A group with a PURGE is synced by write()
 * already: what the store log says of a queue that is deleted must not be on the disk without it.
 *
 * When there is no room, undo() overwrites with zeros what the group has written to the segment
 * where it began, and retires the segments that it began; drop() gives the places and numbers back.
 * Deletions are placed anew and go with the next group. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "crypto/crypto.h"
#include "store/disk/journal_priv.h"

/* ---- under the commit mutex ---- */

static lsn_t sink_limit(void *sink, lsn_t upto) {
    const struct journal *j = sink;
    if (j->pending_bytes <= JOURNAL_GROUP_BYTES) return upto;
    uint64_t n = 0;
    lsn_t whole = 0; /* the last lsn whose records are all within the limit */
    for (const struct jrec *r = j->pending.head; r != NULL; r = r->next) {
        n += r->h.len;
        if (n > JOURNAL_GROUP_BYTES && whole != 0) return whole < upto ? whole : upto;
        if (r->next == NULL || r->next->lsn != r->lsn) whole = r->lsn;
    }
    return upto;
}

static bool sink_take(void *sink, lsn_t upto) {
    struct journal *j = sink;
    assert(j->taken.head == NULL);
    if (upto == commit_current_lsn(j->commit) &&
        j->pending.head != NULL) { /* all: the usual case */
        j->taken = j->pending;
        jrec_list_init(&j->pending);
        j->pending_bytes = 0;
        return true;
    }
    while (j->pending.head != NULL && j->pending.head->lsn <= upto) {
        struct jrec *r = j->pending.head;
        j->pending.head = r->next;
        j->pending_bytes -= r->h.len;
        jrec_list_push(&j->taken, r);
    }
    if (j->pending.head == NULL) j->pending.tail = &j->pending.head;
    return j->taken.head != NULL;
}

/* ---- files of the commit thread ---- */

static enum err sync_dirty(struct journal *j) {
    const struct vfs *v = j->vfs;
    for (; j->n_dirty > 0; j->n_dirty--) {
        const enum err e = v->sync(v->ctx, j->dirty[j->n_dirty - 1].fd);
        if (e != OK) return E_SYS;
        v->close(v->ctx, j->dirty[j->n_dirty - 1].fd);
    }
    return OK;
}

/* The segment being written is ended: its file stays open until it is synced. */
static enum err put_cur_aside(struct journal *j) {
    if (j->cur.fd < 0) return OK;
    if (!j->cur_is_dirty) {
        j->vfs->close(j->vfs->ctx, j->cur.fd);
        j->cur.fd = -1;
        return OK;
    }
    if (j->n_dirty == JOURNAL_N_DIRTY && sync_dirty(j) != OK) {
        errno = EIO; /* whatever it was: a sync that failed is final */
        return E_SYS;
    }
    j->dirty[j->n_dirty++] = j->cur;
    j->cur.fd = -1;
    j->cur_is_dirty = false;
    return OK;
}

static enum err enter_segment(struct journal *j, const struct jrec *first) {
    enum err e = put_cur_aside(j);
    if (e != OK) return e;
    struct segment_head h = {
        .number = first->loc.segment,
        .len = j->segment_len,
        .first_n = first->h.n,
        .durable_n = j->synced_n,
        .created_s = env_now_s(j->env),
    };
    env_random(j->env, &h.salt, sizeof h.salt);
    int fd;
    e = journal__make_segment(j, &h, &fd);
    if (e != OK) return e;
    j->cur = (struct segment_fd){h.number, fd};
    lock_take(&j->mtx);
    journal__segment(j, h.number)->salt = h.salt;
    lock_give(&j->mtx);
    journal__kick(j); /* for the next spare, and to see what can be freed */
    return OK;
}

/* ---- writing ---- */

static enum err write_batch(struct journal *j) {
    if (j->n_iov == 0) return OK;
    const int n = j->n_iov;
    j->n_iov = 0;
    j->cur_is_dirty = true;
    return j->vfs->write_at(j->vfs->ctx, j->cur.fd, j->iov, n, j->iov_at);
}

static void add_iov(struct journal *j, const void *p, size_t n) {
    union { /* write_at only reads from it */
        const void *in;
        void *out;
    } base = {.in = p};
    if (n != 0) j->iov[j->n_iov++] = (struct iovec){base.out, n};
}

static struct bytes body_of(const struct jrec *r) {
    if (r->h.type == JREC_COPY) return bytes_of(r->body, r->h.body_len);
    return r->msg != NULL ? message_body(r->msg) : (struct bytes){0};
}

static void add_record(struct journal *j, struct jrec *r, uint64_t salt) {
    static const uint8_t PADDING[8];
    const struct bytes body = body_of(r);
    r->h.durable_n = j->synced_n;
    r->h.body_crc = crc32c(0, body.p, body.n);
    const struct record_place place = {salt, r->loc};
    record_head_encode(&r->h, &place, r->head);
    if (j->n_iov == 0) j->iov_at = (uint64_t)r->loc.offset_8 * 8;
    add_iov(j, r->head, sizeof r->head);
    add_iov(j, body.p, body.n);
    add_iov(j, PADDING, r->h.len - RECORD_HEAD_LEN - body.n);
    j->written_n = r->h.n;
}

/* All that was written is on stable storage; but nothing is said about it yet. */
static enum err flush(struct journal *j) {
    enum err e = sync_dirty(j);
    if (e == OK && j->cur_is_dirty) e = j->vfs->sync(j->vfs->ctx, j->cur.fd);
    if (e != OK) return E_SYS;
    j->cur_is_dirty = false;
    return OK;
}

static enum err write_taken(struct journal *j, bool *ret_purges) {
    enum err e = OK;
    uint64_t salt = 0;
    uint32_t salt_of = 0;
    j->n_iov = 0;
    for (struct jrec *r = j->taken.head; r != NULL && e == OK; r = r->next) {
        if (r->loc.segment != j->cur.number || j->cur.fd < 0) {
            e = write_batch(j);
            if (e == OK) e = enter_segment(j, r);
            if (e != OK) break;
        }
        if (salt_of != r->loc.segment) {
            lock_take(&j->mtx);
            salt = journal__segment(j, r->loc.segment)->salt;
            lock_give(&j->mtx);
            salt_of = r->loc.segment;
        }
        if (j->n_iov + 3 > JOURNAL_N_IOV) e = write_batch(j);
        if (e == OK) add_record(j, r, salt);
        if (r->h.type == JREC_PURGE) *ret_purges = true;
    }
    return e == OK ? write_batch(j) : e;
}

static enum err sink_write(void *sink) {
    struct journal *j = sink;
    bool purges = false;
    const enum err e = write_taken(j, &purges);
    if (e != OK || !purges || flush(j) == OK) return e;
    errno = EIO; /* whatever it was: a sync that failed is final */
    return E_SYS;
}

static enum err sink_sync(void *sink) {
    struct journal *j = sink;
    if (flush(j) != OK) return E_SYS;
    j->synced_n = j->written_n;
    if (j->cur.fd < 0) return OK;
    lock_take(&j->mtx);
    j->closed_below = j->cur.number;
    lock_give(&j->mtx);
    return OK;
}

/* ---- no room ---- */

static enum err retire_cur(struct journal *j) {
    struct spare s;
    if (j->cur.fd >= 0) j->vfs->close(j->vfs->ctx, j->cur.fd);
    j->cur.fd = -1;
    j->cur_is_dirty = false;
    const enum err e = journal__retire(j, j->cur.number, &s);
    if (e == OK) journal__put_spare(j, s);
    return e;
}

/* Makes `number` the current segment again, which may have been put aside. */
static enum err reopen(struct journal *j, uint32_t number) {
    if (j->cur.fd >= 0 && j->cur.number == number) return OK;
    if (j->n_dirty > 0 && j->dirty[j->n_dirty - 1].number == number) {
        j->cur = j->dirty[--j->n_dirty];
        j->cur_is_dirty = true;
        return OK;
    }
    const struct journal_path path = journal__path(j, FILE_SEGMENT, number);
    j->cur.number = number;
    return j->vfs->open(j->vfs->ctx, path.s, O_RDWR, 0, &j->cur.fd) == OK ? OK : E_SYS;
}

/* What is to be undone, if anything is. After an error it goes on where it stopped. */
static enum err finish_undo(struct journal *j) {
    const struct undo *u = &j->undo;
    if (!u->wanted) return OK;
    const uint32_t begun = u->from.segment;
    enum err e = OK;
    while (j->cur.number > begun && e == OK) { /* those are of the group that failed */
        e = retire_cur(j);
        if (e == OK) e = reopen(j, j->cur.number - 1);
    }
    if (e != OK) return e;
    if (j->cur.number == begun) {
        e = reopen(j, begun);
        if (e == OK) e = journal__write_zeros(j, j->cur.fd, (uint64_t)u->from.offset_8 * 8, u->to);
        if (e != OK) return e;
    }
    j->undo.wanted = false;
    if (j->cur.number < begun) return OK; /* nothing was written at all */
    if (j->vfs->sync(j->vfs->ctx, j->cur.fd) == OK) return OK;
    errno = EIO; /* whatever it was: a sync that failed is final */
    return E_SYS;
}

static enum err sink_undo(void *sink) {
    struct journal *j = sink;
    const struct jrec *first = j->taken.head;
    j->undo = (struct undo){.wanted = true, .from = first->loc};
    for (const struct jrec *r = first; r != NULL && r->loc.segment == first->loc.segment;
         r = r->next) {
        j->undo.to = (uint64_t)r->loc.offset_8 * 8 + r->h.len;
    }
    j->written_n = first->h.n - 1;
    return finish_undo(j);
}

/* Forgets the places from `from` on. Takes the message records among `lost` out of the counts, but
 * for those deleted since: these were taken out then, and their erasures, which are all still
 * listed, go. */
static void rewind_table(struct journal *j, const struct jrec_list *lost, struct journal_loc from) {
    lock_take(&j->mtx);
    size_t n = 0;
    struct erasures *l = &j->erasures;
    for (size_t i = 0; i < l->n; i++) {
        const struct erasure *x = &l->v[i];
        const bool before = x->loc.segment < from.segment ||
                            (x->loc.segment == from.segment && x->loc.offset_8 < from.offset_8);
        if (before) {
            l->v[n++] = *x;
        } else {
            journal__count_live(j, x->loc, x->body_len, 1);
        }
    }
    l->n = n;
    for (const struct jrec *r = lost->head; r != NULL; r = r->next) {
        if (r->h.type == JREC_MSG || r->h.type == JREC_COPY) {
            journal__count_live(j, r->loc, r->h.body_len, -1);
        }
    }
    j->n_segments = from.segment - j->first_segment + 1;
    lock_give(&j->mtx);
}

static void sink_drop(void *sink) {
    struct journal *j = sink;
    struct jrec_list all = j->taken, deletes, ends, lost;
    if (all.head == NULL) jrec_list_init(&all);
    if (all.head == NULL)
        all = j->pending;
    else if (j->pending.head != NULL)
        *all.tail = j->pending.head;
    jrec_list_init(&j->pending);
    jrec_list_init(&j->taken);
    j->pending_bytes = 0;
    if (all.head == NULL) return;
    const struct journal_loc from = all.head->loc;
    const uint64_t from_n = all.head->h.n;
    jrec_list_init(&deletes);
    jrec_list_init(&ends);
    jrec_list_init(&lost);
    for (struct jrec *r = all.head, *next; r != NULL; r = next) {
        next = r->next;
        const bool is_kept = r->h.type == JREC_DELETE || r->h.type == JREC_PURGE;
        jrec_list_push(is_kept ? &deletes : r->h.type == JREC_END ? &ends : &lost, r);
    }
    rewind_table(j, &lost, from);
    j->pos = from;
    j->next_n = from_n;
    /* There are fewer records now, so there are segment ends and entries of the table enough. */
    for (struct jrec *r = deletes.head, *next; r != NULL; r = next) {
        next = r->next;
        struct jrec *end = ends.head, *after = end != NULL ? end->next : NULL;
        bool used;
        r->lsn = 0;
        journal__place(j, r, end, &used);
        if (used) ends.head = after;
    }
    for (struct jrec *end = ends.head, *next; end != NULL; end = next) {
        next = end->next;
        free(end);
    }
    j->taken = lost;
    if (lost.head == NULL) jrec_list_init(&j->taken);
}

static enum err sink_retry(void *sink) {
    struct journal *j = sink;
    struct spare s;
    enum err e = finish_undo(j);
    if (e == OK) e = j->vfs->sync_dir(j->vfs->ctx, j->dir); /* as the next segment will */
    if (e != OK) return E_SYS;
    journal__kick(j); /* to stock spares, and to see that there is room */
    if (!journal__take_spare(j, true, &s)) e = journal__create_spare(j, ZERO_AT_ONCE, &s);
    if (e == OK) journal__put_spare(j, s);
    return e;
}

/* ---- the fate ---- */

/* The copy is on the disk: now one of the two places is dead. */
static void finish_copy(struct journal *j, const struct jrec *r) {
    const struct journal_msg m = {
        .queue = r->h.queue,
        .msg = r->h.msg,
        .ts_s = r->h.ts_s,
        .notification = (r->h.flags & RECORD_FLAG_NOTIFICATION) != 0,
        .is_quota = (r->h.flags & RECORD_FLAG_QUOTA) != 0,
        .body_len = r->h.body_len,
        .order = r->h.order,
        .loc = r->loc,
    };
    const bool moved = j->owner.moved(j->owner.ctx, &m, r->from);
    /* Not moved: it was deleted in the meantime, at an lsn that has been given out by now. */
    const struct erasure dead = {.loc = moved ? r->from : r->loc,
                                 .lsn = moved ? r->lsn : commit_last_lsn(j->commit),
                                 .body_len = r->h.body_len};
    lock_take(&j->mtx);
    struct segment *s = journal__segment(j, dead.loc.segment);
    if (moved && s != NULL) {
        /* The segment is about to be freed; but should it stay, this must not outlive its deletion.
         */
        if (s->free_lsn < dead.lsn) s->free_lsn = dead.lsn;
        if (journal__add_erasure(j, &dead) != OK) j->keeps_deletions = true;
        journal__count_live(j, dead.loc, dead.body_len, -1);
    } else if (!moved && journal__add_erasure(j, &dead) == OK) {
        journal__count_live(j, dead.loc, dead.body_len, -1);
    } else if (!moved) {
        j->keeps_deletions = true;
    }
    lock_give(&j->mtx);
}

static void sink_done(void *sink, bool ok) {
    struct journal *j = sink;
    bool unproven = false, marked = false;
    for (struct jrec *r = j->taken.head, *next; r != NULL; r = next) {
        next = r->next;
        if (ok && r->h.type == JREC_COPY) finish_copy(j, r);
        /* Of one that was kept from a group that failed the lsn is not known any more. */
        if (ok && (r->h.type == JREC_DELETE || r->h.type == JREC_PURGE))
            journal__note_deletion(j, r->loc, r->lsn != 0 ? r->lsn : commit_last_lsn(j->commit));
        if (!ok && r->h.type == JREC_MSG) j->owner.lost(j->owner.ctx, &r->h.queue, &r->h.msg);
        if (r->h.type == JREC_MARK) {
            marked = true;
        } else {
            unproven = true;
        }
        message_unref(r->msg);
        if (r->h.type == JREC_COPY) crypto_wipe(r->body, r->h.body_len);
        free(r);
    }
    jrec_list_init(&j->taken);
    if (!ok || !(unproven || marked)) return;
    lock_take(&j->mtx);
    j->unproven = unproven;
    lock_give(&j->mtx);
}

const char *journal_missing(struct journal *j) {
    if (j->cur.fd < 0) return NULL;
    const struct journal_path path = journal__path(j, FILE_SEGMENT, j->cur.number);
    if (vfs_has_name(j->vfs, j->cur.fd, path.s)) return NULL;
    memcpy(j->missing, path.s, sizeof j->missing);
    return j->missing;
}

void journal__init_sink(struct journal *j, struct commit_sink *ret) {
    *ret = (struct commit_sink){
        .limit = sink_limit,
        .take = sink_take,
        .write = sink_write,
        .sync = sink_sync,
        .undo = sink_undo,
        .drop = sink_drop,
        .done = sink_done,
        .retry = sink_retry,
        .goes_first = true,
        .sink = j,
    };
}

/* ---- the end ---- */

enum err journal__write_end(struct journal *j) {
    if (j->cur.fd < 0) return OK;
    struct jrec r =
        {.loc = j->pos,
         .h = {.len = RECORD_HEAD_LEN, .type = JREC_END, .n = j->next_n, .order = j->next_n}};
    add_record(j, &r, journal__segment(j, j->cur.number)->salt);
    j->next_n++;
    const enum err e = write_batch(j);
    return e == OK ? sink_sync(j) : e;
}

void journal__close_files(struct journal *j) {
    for (; j->n_dirty > 0; j->n_dirty--) j->vfs->close(j->vfs->ctx, j->dirty[j->n_dirty - 1].fd);
    if (j->cur.fd >= 0) j->vfs->close(j->vfs->ctx, j->cur.fd);
    for (unsigned i = 0; i < j->n_spares; i++) {
        if (j->spares[i].fd >= 0) j->vfs->close(j->vfs->ctx, j->spares[i].fd);
    }
}
