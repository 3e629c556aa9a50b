/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* due.h -- what is due to one session without being an answer: one list for the messages of its
 * queues, the notifications of its notifiers, and the service that it serves.
 *
 * The list names things and holds nothing of them. When a block is packed and has room the first
 * things that can go are pulled: the store is asked for the next message of that queue, the next
 * notifications of that notifier, the next of the service's queues. Nothing goes before the answers
 * that were there first. Blocks of answers and what is due take turns, so that neither starves. A
 * thing whose subscription has ended meanwhile is found so when its turn comes. Owner loop only.
 *
 * Memory: an entry for each thing that is due; nothing for what is not. */
#pragma once

#include "relay/delivery/outbox.h"

struct session;
struct relay_loop;
struct due_item;

enum due_kind {
    DUE_MESSAGE, /* of a queue */
    DUE_NOTIFICATIONS,
    DUE_SCAN, /* of the service: its queues are gone through */
    DUE_ALLS  /* of the service: all that had waited was sent before */
};

struct due_list {
    struct due_item *first, *last; /* owned */
};

struct due {
    struct due_list now;
    struct due_list at_tick; /* notifications that go out at the loop's next tick */
    struct due_list failed;  /* what could not be read; it is tried again */
    unsigned n;              /* in all of them */
    unsigned n_pulled[2];    /* of now: DUE_MESSAGE, DUE_NOTIFICATIONS */
    bool has_turn;           /* answers were written since the last message */
};

void due_init(struct due *d);
void due_done(struct due *d);

/* id: of the queue (its recipient id) or notifier; NULL for the service's. alone: shares no block
 * with answers. Notifications wait for due_tick(). E_NO_MEMORY. The caller wakes the session. */
MUST_USE enum err due_add(struct session *s, enum due_kind kind, const struct id *id, bool alone);
/* One whose message could not be read: again in a minute, then ever less often, in an hour at most.
 * E_NO_MEMORY. */
MUST_USE enum err due_add_failed(struct session *s, const struct id *queue_id);
void due_tick(struct due *d); /* the notifications may go */

/* Around the packing of the answers: when it is their turn, what is due goes first; then it gets
 * the room that answers left. */
void due_pack_first(struct session *s, struct packing *p);
void due_pack_rest(struct session *s, struct packing *p, bool has_answers);

bool due_is_empty(const struct due *d); /* nothing may go now */
bool due_awaits(const struct due *d);   /* messages or notifications that go as soon as they can */
size_t due_bytes(const struct due *d);  /* as outbox.pending_bytes */

/* Of a loop, once a minute while something failed. */
void due_retry(struct relay_loop *rl);
