/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_hold.h -- messages that are not written while their recipient may still acknowledge them.
 *
 * A message for a queue whose recipient is connected is delivered from RAM and kept there for
 * hold_ms. If its ACK comes within that, it never touches the disk, and its SEND is answered then:
 * it is delivered. Else it is written, and answered when that is durable. Nobody is told earlier,
 * so a crash loses nothing that was promised: the sender tries again.
 *
 * A held message has an lsn of its own kind, by which its fate is asked for, and stands in its
 * queue with a place that is none in the journal. Messages of a queue are written in their order:
 * one is held only at the head, or behind one that is held. ADR 23. */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/thread.h"
#include "store/queue_table.h"

struct files_store;

enum { HELD_MAX = 4096 }; /* messages, 64 MiB; more are written at once */

struct hold {
    /* fixed while it runs */
    unsigned hold_ms; /* 0: nothing is held */
    struct thread thread;
    struct lock mtx;
    struct lock_cond wake;
    /* guarded by mtx */
    uint64_t last_n;     /* given out */
    struct list waiting; /* struct held, the oldest first */
    unsigned n_waiting;
    bool dozes, stopping;
    /* atomic, release and acquire: fate of the held message n at n % HELD_MAX, and which n that is;
     * HELD_WAITS, HELD_DELIVERED, HELD_LOST, or the lsn with which it was written */
    struct held_fate {
        _Atomic uint64_t n;
        _Atomic lsn_t lsn;
    } * fates; /* owned */
    _Atomic uint64_t lost_upto;
};

MUST_USE enum err files_hold_init(struct hold *h, unsigned hold_ms); /* E_NO_MEMORY */
void files_hold_done(struct hold *h);                                /* also of zeros */
MUST_USE enum err files_hold_start(struct files_store *m);           /* E_SYS */
/* Writes what is held, and holds nothing any more. No-op when it does not run. */
void files_hold_stop(struct files_store *m);

bool files_is_held(const struct msg_entry *e); /* of a queue that is locked */
bool files_is_held_lsn(lsn_t lsn);
/* Of such an lsn; commit_fate() of what it was written with. Any thread. */
enum err files_hold_fate(const struct files_store *m, lsn_t lsn);
/* May it be delivered although its fate is open? Any thread. */
bool files_hold_waits(const struct hold *h, lsn_t lsn);

/* All below under the queue's lock. */
/* False: it is to be written at once. */
bool files_hold_message(struct files_store *m, struct queue *q, struct message *msg,
                        struct msg_entry *e);
/* It was written, and the group has failed. */
void files_hold_lost(struct hold *h, const struct msg_entry *e);
/* Its message is deleted: there is nothing to write. */
void files_hold_delivered(struct files_store *m, const struct msg_entry *e);
