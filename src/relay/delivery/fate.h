/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* fate.h -- the one way to wait for the disk.
 *
 * A change of the store is durable at once or later, or it is lost (store/store.h). What depends on
 * it asks at the desk of its loop. While its fate is open the waiter stays at the desk, and is told
 * on that loop when it is not. A loop at whose desk nobody waits is not woken.
 *
 * Desks are opened and closed while the store's threads run: once fate_desk_close() has returned
 * nothing is posted for that desk any more. */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "net/loop.h"
#include "store/store.h"

/* All desks of a store. */
struct fates {
    /* fixed after fates_init() */
    const struct store *store; /* borrowed */
    /* guarded by mtx */
    struct lock mtx;
    struct list desks; /* borrowed */
};
void fates_init(struct fates *f, const struct store *store);
void fates_done(struct fates *f); /* all desks are closed */
/* To be called when fates were decided: store_opts.on_durable. Any thread. */
void fates_changed(struct fates *f);

struct fate_desk {
    /* fixed after fate_desk_open() */
    struct fates *fates; /* borrowed */
    struct loop *loop;   /* borrowed */
    /* guarded by fates.mtx */
    struct list in_fates;
    /* owner loop only */
    struct list waiting; /* borrowed */
    /* atomic: exchanged only, acquire/release. Either the loop's exchange sees what was published
     * before the other thread's, or that one sees the loop's. */
    _Atomic bool is_waited_at; /* by somebody, or something was left, and the loop has not been
                                  called since */
    _Atomic bool is_called;    /* call is on its way */
    struct loop_msg call;
};

/* Embed it in what waits; told() is called once for each fate_ask() that said E_PENDING. */
struct fate_waiter {
    struct list in_desk;
    lsn_t lsn;
    void (*told)(struct fate_waiter *w, enum err fate); /* store_fate() */
};
void fate_waiter_init(struct fate_waiter *w, void (*told)(struct fate_waiter *w, enum err fate));

/* Any thread, before the first question. */
void fate_desk_open(struct fates *f, struct loop *l, struct fate_desk *ret);
/* Any thread, when the loop's has ended. Nobody waits; a call that is on its way is run before the
 * desk goes: loop_join(), loop_free(). */
void fate_desk_close(struct fate_desk *d);

/* Any thread: what the desk's loop is to be told, but not before the fate of this change is known:
 * so that it is woken once. It may be told earlier, with something else. */
void fate_leave(struct fate_desk *d, lsn_t lsn, struct loop_msg *owned);

/* All below: owner of the desk's loop. */
/* As store_fate(). E_PENDING: w->told() will be called, of this lsn alone. */
MUST_USE enum err fate_ask(struct fate_desk *d, lsn_t lsn, struct fate_waiter *w);
void fate_forget(struct fate_waiter *w); /* w is not told any more */
