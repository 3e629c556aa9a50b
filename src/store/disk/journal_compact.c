/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_compact.c -- keeps the journal within about twice what lives in it.
 *
 * Segments are freed oldest first, always: a deletion is never older than what it deletes, so it is
 * still there as long as that is. What lives in the oldest segment is copied to the end of the
 * journal; once the copies are on stable storage and their owners look for them there, the segment
 * is freed. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "store/disk/journal_priv.h"

enum { SLACK_SEGMENTS = 2 };

static bool is_too_large(struct journal *j) {
    lock_take(&j->mtx);
    const uint64_t bytes = (uint64_t)j->n_segments * j->segment_len;
    const bool yes = bytes > 2 * j->live_bytes + (uint64_t)SLACK_SEGMENTS * j->segment_len &&
                     j->first_segment < j->closed_below;
    lock_give(&j->mtx);
    return yes;
}

static enum err read_segment(struct journal *j, uint32_t number, uint8_t *buf) {
    const struct vfs *v = j->vfs;
    const struct journal_path path = journal__path(j, FILE_SEGMENT, number);
    int fd;
    enum err e = v->open(v->ctx, path.s, O_RDONLY, 0, &fd);
    if (e != OK) return E_SYS;
    size_t got = 0;
    e = v->read_at(v->ctx, fd, buf, j->segment_len, 0, &got);
    v->close(v->ctx, fd);
    if (e == OK) memset(buf + got, 0, j->segment_len - got);
    return e;
}

/* Asks the owner about one record. */
static void offer(struct journal *j, const struct record_head *h, struct journal_loc loc,
                  struct bytes body) {
    const struct journal_msg m = {
        .queue = h->queue,
        .msg = h->msg,
        .ts_s = h->ts_s,
        .notification = (h->flags & RECORD_FLAG_NOTIFICATION) != 0,
        .is_quota = (h->flags & RECORD_FLAG_QUOTA) != 0,
        .body_len = h->body_len,
        .order = h->order,
        .loc = loc,
    };
    j->relocating_bad = !record_body_is_whole(h, body); /* most often erased */
    j->owner.relocate(j->owner.ctx, &m, body);
    j->relocating_bad = false;
}

/* Offers all messages of a segment to the owner. False: the segment is not readable to its end, or
 * a live message is damaged. */
static bool offer_all(struct journal *j, uint32_t number, const uint8_t *buf) {
    struct segment_head head;
    if (segment_head_decode(bytes_of(buf, j->segment_len), &head) != OK || head.number != number) {
        return false;
    }
    const uint32_t len = head.len < j->segment_len ? head.len : j->segment_len;
    for (uint32_t at = SEGMENT_HEAD_LEN; at < len;) {
        struct record_head h;
        const struct record_place place = {head.salt, {number, at / 8}};
        if (record_head_decode(bytes_of(buf + at, len - at), &place, &h) != OK) return false;
        if (h.type == JREC_END) return !j->met_bad;
        if (h.type == JREC_MSG || h.type == JREC_COPY) {
            offer(j, &h, place.loc, bytes_of(buf + at + RECORD_HEAD_LEN, h.body_len));
        }
        at += h.len;
    }
    return false;
}

/* False: not now. */
static bool empty_oldest(struct journal *j) {
    lock_take(&j->mtx);
    const uint32_t number = j->first_segment;
    lock_give(&j->mtx);
    uint8_t *buf = journal__segment_buf(j);
    if (buf == NULL || read_segment(j, number, buf) != OK) return false;
    j->met_bad = j->copy_failed = false;
    const unsigned n_failures = commit_n_failures(j->commit);
    if (commit_state(j->commit) != COMMIT_OK) return false;
    const bool is_offered = offer_all(j, number, buf);
    crypto_wipe(buf, j->segment_len);
    if (!is_offered) {
        j->stuck = true;
        log_line(LOG_ERROR, "journal-damaged",
                 "segment=%u action=\"stop and start the server: it will say where\"", number);
        return false;
    }
    if (commit_flush(j->commit) != OK || j->copy_failed) return false;
    /* Nobody was refused in the meantime, so what was not copied is dead, even if we count it as
     * live. */
    if (commit_state(j->commit) != COMMIT_OK || commit_n_failures(j->commit) != n_failures)
        return false;
    return journal__free_oldest(j);
}

void journal__compact(struct journal *j) {
    lock_take(&j->mtx);
    uint32_t n_left = j->n_segments; /* once around is enough: then all that was dead is gone */
    lock_give(&j->mtx);
    while (n_left-- > 0 && !j->stuck && is_too_large(j)) {
        if (!empty_oldest(j)) break;
    }
}
