/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_worker.c -- the worker thread: keeps house.
 *
 * A round frees the oldest segments in which nothing lives, erases messages whose deletion is on
 * stable storage, moves what lives in the oldest segments if the journal is too large, zeroes and
 * stocks spare segments, and leaves a mark that proves the last group synced. The worker opens
 * files of its own: a write error is reported once to each open file, and the commit thread must
 * not miss one because the worker has seen it.
 *
 * Nothing here can lose a message: what fails is tried again next time, and an oldest segment that
 * cannot be freed stays. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/journal_priv.h"

/* ---- spares ---- */

/* Overwrites a file that was a segment, then keeps or removes it. What cannot be overwritten is
 * removed; but not while something is short: false then. */
static bool clean_spare(struct journal *j, struct spare s) {
    const struct vfs *v = j->vfs;
    const struct journal_path path = journal__path(j, FILE_SPARE, s.number);
    int fd;
    enum err e = v->open(v->ctx, path.s, O_RDWR, 0, &fd);
    if (e == E_SYS && vfs_is_shortage(errno)) {
        journal__put_spare(j, s);
        return false;
    }
    if (e == OK) {
        s.fd = fd;
        e = v->truncate(v->ctx, fd,
                        j->segment_len); /* files found at the start may have another length */
        if (e == OK) e = journal__zero_file(j, fd, ZERO_BY_PARTS);
    }
    s.clean = e == OK;
    if (s.clean) {
        journal__put_spare(j, s);
    } else {
        log_line(LOG_WARN, "journal-spare", "number=%u error=\"%s\"", s.number, strerror(errno));
        journal__remove_spare(j, s);
    }
    return true;
}

static void set_low_space(struct journal *j, bool low) {
    lock_take(&j->mtx);
    const bool changed = j->low_space != low;
    j->low_space = low;
    lock_give(&j->mtx);
    if (!changed) return;
    if (low) {
        log_line(LOG_WARN, "storage-nearly-full", "messages=refused deletions=accepted");
    } else {
        log_line(LOG_INFO, "storage-not-full-any-more", "messages=accepted");
    }
}

static void stock_spares(struct journal *j) {
    struct spare s;
    while (journal__take_spare(j, false, &s)) {
        if (!clean_spare(j, s)) return;
    }
    for (;;) {
        lock_take(&j->mtx);
        const bool enough = j->n_spares >= JOURNAL_N_SPARES;
        lock_give(&j->mtx);
        if (enough) break;
        if (journal__create_spare(j, ZERO_BY_PARTS, &s) != OK) {
            if (errno == ENOSPC || errno == EDQUOT) set_low_space(j, true);
            return;
        }
        journal__put_spare(j, s);
    }
    set_low_space(j, false);
}

/* ---- freeing ---- */

bool journal__free_oldest(struct journal *j) {
    lock_take(&j->mtx);
    const uint32_t number = j->first_segment;
    lock_give(&j->mtx);
    struct spare s;
    if (journal__retire(j, number, &s) != OK) {
        /* Is it gone or not? The order in which segments go must not be broken, so none goes any
         * more until the next start; but if something was short, it is there still. */
        j->stuck = !vfs_is_shortage(errno);
        log_line(LOG_ERROR, "journal-segment-not-freed", "segment=%u error=\"%s\"", number,
                 strerror(errno));
        return false;
    }
    lock_take(&j->mtx);
    j->n_live -=
        j->segments[0].n_live; /* given up by an owner who did not say so; see journal_forget() */
    j->live_bytes -= j->segments[0].live_bytes;
    j->first_segment++;
    j->n_segments--;
    memmove(&j->segments[0], &j->segments[1], j->n_segments * sizeof j->segments[0]);
    lock_give(&j->mtx);
    (void)clean_spare(j, s);
    return true;
}

static bool oldest_is_free(struct journal *j) {
    const lsn_t synced = commit_synced_lsn(j->commit);
    lock_take(&j->mtx);
    const bool yes = j->first_segment < j->closed_below && j->segments[0].n_live == 0 &&
                     j->segments[0].free_lsn <= synced;
    lock_give(&j->mtx);
    return yes;
}

/* ---- rounds ---- */

/* While nothing follows the last group, nothing on the disk says that it was synced: damage to it
 * would look like a torn group. */
static void leave_mark(struct journal *j) {
    lock_take(&j->mtx);
    const bool wanted = j->unproven;
    lock_give(&j->mtx);
    lsn_t lsn;
    if (!wanted || commit_begin(j->commit, &lsn) != OK) return;
    const enum err e = journal__append_plain(j, &(struct record_head){.type = JREC_MARK});
    commit_end(j->commit);
    if (e != OK) log_line(LOG_WARN, "journal-mark", "error=%s", err_name(e));
}

void journal_housekeep(struct journal *j) {
    while (!j->stuck && oldest_is_free(j) && journal__free_oldest(j)) continue;
    journal__erase(j);
    journal__compact(j);
    stock_spares(j);
    leave_mark(j);
}

/* What should not wait for the round: free segments, and spares to go on with. */
static void look_after_segments(struct journal *j) {
    while (!j->stuck && oldest_is_free(j) && journal__free_oldest(j)) continue;
    journal__compact(j);
    stock_spares(j);
}

uint8_t *journal__segment_buf(struct journal *j) {
    if (j->segment_buf == NULL) j->segment_buf = malloc(j->segment_len);
    return j->segment_buf;
}

void journal__kick(struct journal *j) {
    lock_take(&j->mtx);
    j->kicked = true;
    lock_wake(&j->wake);
    lock_give(&j->mtx);
}

/* Waits for something to do. True: the round is due. mtx held. */
static bool wait_for_work(struct journal *j, int64_t due_ms) {
    while (!j->stopping && !j->kicked) {
        const int64_t left_ms = due_ms - env_mono_ms(j->env);
        if (left_ms <= 0 || j->erasures.n > j->n_erasures_left + JOURNAL_MAX_ERASURES) return true;
        (void)lock_wait_ms(&j->wake, &j->mtx, left_ms);
    }
    return env_mono_ms(j->env) >= due_ms ||
           j->erasures.n > j->n_erasures_left + JOURNAL_MAX_ERASURES;
}

static void run(void *ctx) {
    struct journal *j = ctx;
    stock_spares(j);
    int64_t due_ms = env_mono_ms(j->env) + (int64_t)JOURNAL_ROUND_S * 1000;
    lock_take(&j->mtx);
    while (!j->stopping) {
        const bool due = wait_for_work(j, due_ms);
        const bool kicked = j->kicked;
        j->kicked = false;
        lock_give(&j->mtx);
        if (due) {
            journal_housekeep(j);
            due_ms = env_mono_ms(j->env) + (int64_t)JOURNAL_ROUND_S * 1000;
        } else if (kicked) {
            look_after_segments(j);
        }
        lock_take(&j->mtx);
    }
    lock_give(&j->mtx);
}

enum err journal_start(struct journal *j) {
    assert(!j->has_worker);
    enum err e = journal__start_readers(j);
    if (e != OK) return e;
    lock_take(&j->mtx);
    j->stopping = false;
    e = thread_start(&j->worker, "journal", run, j);
    j->has_worker = e == OK;
    lock_give(&j->mtx);
    if (e == OK) return OK;
    const int error = errno;
    journal__stop_readers(j);
    errno = error;
    return e;
}

void journal_stop(struct journal *j) {
    lock_take(&j->mtx);
    const bool running = j->has_worker;
    j->stopping = true;
    lock_wake(&j->wake);
    lock_give(&j->mtx);
    if (!running) return;
    journal__stop_readers(j);
    thread_join(&j->worker);
    lock_take(&j->mtx);
    j->has_worker = false;
    lock_give(&j->mtx);
}
