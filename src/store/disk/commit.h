/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* commit.h -- one thread that makes changes durable in groups.
 *
 * A sink (the store log, the message journal) collects what is appended to it; every append gets
 * the next lsn. The commit thread takes all that has collected, in all sinks, writes and syncs it,
 * and publishes the lsn: each group is what came in during the last sync, so the group adapts to
 * the disk. Appending takes one mutex and does no I/O.
 *
 * With sync interval, a group is published once it is written, and synced at most interval_ms
 * later: what an operator chooses who prefers speed to the last second of messages.
 *
 * Failure: a group that cannot be written or synced is never published, nor is what was appended
 * after it. COMMIT_FULL (no space, or no descriptor or memory for a file: vfs_is_shortage()): the
 * sinks have undone what they wrote, or will as soon as they can; appends are refused, the
 * thread tries again every second and goes on by itself. COMMIT_FAILED (anything else; above all a
 * failed sync, after which nobody knows what is on the disk): appends are refused until the server
 * is started again. Those who wait for an lsn of a failed group learn it from commit_fate(). One
 * log line per change of state.
 *
 * What is lost and what is kept in COMMIT_FULL: a message can be taken back, and is (its sender is
 * told to try again). A line of the store log or a deletion has changed the state in RAM already
 * and is harmless to have: it stays queued and is written first when there is room, although
 * whoever asked for it was told that it failed. So RAM and disk agree again without anybody rolling
 * back records. But a new queue, whose ids nobody was told, is deleted: asked for again it is
 * another one. */
#pragma once

#include "base/err.h"
#include "base/env.h"
#include "store/store.h"

struct commit;

enum commit_state { COMMIT_OK, COMMIT_FULL, COMMIT_FAILED };

/* Called by the commit thread; limit(), take() and drop() with the mutex held, the others without.
 */
struct commit_sink {
    lsn_t (*limit)(
        void *sink,
        lsn_t upto); /* the last lsn, at most upto, that one group should hold; may be NULL */
    bool (*take)(
        void *sink,
        lsn_t upto); /* moves what has collected up to this lsn aside for write(); false: nothing */
    enum err (*write)(void *sink); /* writes what was taken; E_SYS with errno, E_NO_MEMORY */
    enum err (*sync)(void *sink);  /* all that was ever written; E_SYS */
    enum err (*undo)(void *sink);  /* a shortage, here or in another sink: leaves nothing of the
                                      group in the files; E_SYS. If that fails for a shortage too,
                                      it is left to retry() */
    void (*drop)(void *sink); /* the group and all that collected since has failed; what must not
                                 get lost is put back */
    void (*done)(
        void *sink,
        bool ok); /* the fate of what was taken or dropped, after it was published (or not) */
    enum err (*retry)(void *sink); /* after COMMIT_FULL: finishes undo(); is there room again? OK,
                                      E_SYS, E_NO_MEMORY */
    bool goes_first;               /* its write() and sync() come before those of the others */
    void *sink;
};

struct commit_opts {
    const struct env *env;
    unsigned interval_ms;          /* 0: sync always, before publishing */
    void (*on_durable)(void *ctx); /* commit thread; also when the state changed */
    void *ctx;
    /* Commit thread, now and then: a path that is not what it was when it was opened; NULL: all are
     * there. May be NULL. */
    const char *(*missing)(void *ctx);
    struct stats_sheet *stats; /* of the commit thread; borrowed; NULL: nothing is counted */
};

MUST_USE enum err commit_new(const struct commit_opts *o, struct commit **ret);
void commit_add_sink(struct commit *c,
                     const struct commit_sink *sink); /* before commit_start(); at most 4 */
MUST_USE enum err commit_start(struct commit *c);
/* Writes and syncs what is left, then ends the thread. E_STORE when something could not be made
 * durable. */
MUST_USE enum err commit_stop(struct commit *c);
void commit_free(
    struct commit *c); /* NULL is a no-op; after commit_stop() or without commit_start() */

/* Around an append: on OK the mutex is held and *ret_lsn is the new change's; E_STORE (mutex not
 * held) when changes are refused. */
MUST_USE enum err commit_begin(struct commit *c, lsn_t *ret_lsn);
void commit_end(struct commit *c);
/* The same for a change that may wait for company: it goes with the next group, and begins none
 * until commit_hurry() is called, or for some seconds. So who waits for it has to call that. */
void commit_end_at_leisure(struct commit *c);
/* How long it is reasonable to wait for company before commit_hurry(); 0: not at all. Under load
 * that is as long as it takes until the next change comes; without load there is none to wait for,
 * nor where it was waited for in vain. Any thread. */
unsigned commit_leisure_ms(struct commit *c);
/* in_vain: commit_leisure_ms() are over. Any thread. */
void commit_hurry(struct commit *c, lsn_t lsn, bool in_vain);

/* The change that is being appended: between commit_begin() and commit_end(), or in a sink's
 * limit(), take() or drop(). */
lsn_t commit_current_lsn(const struct commit *c);

lsn_t commit_last_lsn(struct commit *c);          /* the last one given out; any thread */
lsn_t commit_durable_lsn(const struct commit *c); /* published; any thread; acquire */
/* On stable storage. With sync interval this lags behind commit_durable_lsn(): what cannot be taken
 * back waits for it. */
lsn_t commit_synced_lsn(const struct commit *c);
/* Was this change in a group that failed? commit_durable_lsn() passes over such groups once there
 * is room again. Any thread; a few loads while nothing failed. Of failures long past, changes
 * between two failures may be said to be lost too: they became durable long ago, nobody waits for
 * them. */
bool commit_is_lost(const struct commit *c, lsn_t lsn);
/* As store_fate(). Any thread. */
enum err commit_fate(const struct commit *c, lsn_t lsn);
enum commit_state commit_state(const struct commit *c); /* any thread */
/* Has not grown, and the state is COMMIT_OK: nothing was refused or lost in the meantime. Any
 * thread. */
unsigned commit_n_failures(const struct commit *c);
/* Blocks until all that was appended so far is on stable storage and the sinks are done with it;
 * E_STORE. For tests, import, orderly saves and the journal's worker; never on a loop, never in a
 * sink. */
MUST_USE enum err commit_flush(struct commit *c);
