/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store.h -- the one contract of all storage backends: what holds for all of it, and the life of a
 * store. Its parts: records.h, messages.h, ntfs.h, subscribe.h.
 *
 * Every mutation returns an lsn, its position in the order of changes. A reply or delivery that
 * depends on it must not leave the server before store_fate() says so; on_durable is called (from
 * any thread) whenever fates were decided. Backends that promise nothing beyond the process return
 * 0, which is always durable.
 *
 * Callbacks (on_durable, store_waiter) come between store_start() and the return of store_stop(),
 * which calls those that are still due; none comes later.
 *
 * Functions never block on I/O. Four may answer later: store_load(), which finds queues,
 * store_msg_next(), whose message may have its body on disk, store_service_open() and
 * store_service_scan(). They answer before they return (true), or call the waiter that they were
 * given, once, from any thread: a store knows no loops, so whoever asks posts the answer to its
 * own. Until then what was handed in belongs to the store. The order of answers is any; who needs
 * one waits before asking again. All functions may be called from any thread, and for one queue
 * from several threads at once; each takes effect at one instant. A struct queue is counted and
 * stays valid, though perhaps deleted, while a reference is held: on a deleted queue everything
 * answers E_AUTH, as if it had never been. Other errors: E_STORE (storage failed; nothing changed),
 * E_NO_MEMORY. Semantics: SMP protocol, "SMP Queues"; spec: behaviour. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/err.h"

struct store;
struct queue;   /* counted: records.h */
struct service; /* lives while it is in use: subscribe.h */
struct stats_sheet;
typedef uint64_t lsn_t;

/* What expires, and how often it is looked for. */
struct store_expiry {
    int64_t message_ttl_s, ntf_ttl_s; /* 0: never */
    int64_t service_ttl_s;            /* of one without queues that is not used; 0: never */
    int64_t interval_s;               /* between two passes */
    bool at_start;                    /* messages: the first pass at once, not after an interval */
    struct stats_sheet *stats;        /* of its thread; borrowed; may be NULL */
};

/* What every backend is told. What is one backend's own (where its files are, how to reach it) is
 * in the header that opens it: store/nothing.h, store/files.h. */
struct store_opts {
    const struct env *env;         /* borrowed */
    unsigned quota;                /* messages per queue */
    void (*on_durable)(void *ctx); /* any thread; may be NULL */
    void *ctx;
    struct store_expiry expiry;
};

/* What kept a store from starting or stopping, in words for the operator: what, where, what to do.
 * Always terminated. */
struct store_problem {
    char text[600];
};

/* Its threads, before anything is changed; and the logs of a stop, which were read, are set aside:
 * until then a start that failed can be repeated. E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_start(struct store *s);
/* Orderly: makes everything durable, saves what is saved at a stop. Nothing may be changed any
 * more. On an error the rest was done. Nothing without a store_start() that was OK. */
MUST_USE enum err store_stop(struct store *s, struct store_problem *ret_problem);
/* Writes what is saved at a stop, while the store is used: what changes meanwhile may be in it or
 * not. What a store writes as it happens, it does not write here. Blocks; any thread, one at a
 * time. E_SYS, E_STORE, E_NO_MEMORY. */
MUST_USE enum err store_save(struct store *s, struct store_problem *ret_problem);
/* Every struct queue reference must have been given back. NULL is a no-op. */
void store_close(struct store *s);

/* What has become of the change with this lsn. OK: it is durable. E_PENDING: not known yet.
 * E_CLOSED: not known for so long that nobody should wait for it any more (there is no database);
 * look-ups and messages that cannot be found out end with it too, and the connection of who waits
 * is to be closed. Any other error is its answer: it could not be made durable (E_STORE) and was
 * undone, or the storage has refused it. Undone are messages and new queues; any other change of a
 * queue stays, and is written as soon as that can be done. */
enum err store_fate(const struct store *s, lsn_t lsn);

/* Is this the change of a message that may be delivered before its fate is known? */
bool store_is_held(const struct store *s, lsn_t lsn);

/* When a change is made durable: as soon as that can be done; or together with the next change that
 * is. Whoever waits for one that was made at leisure asks how long that is reasonable, and hurries
 * it then, or earlier when something else has to wait for it (in_vain: the time is over). 0: at
 * once. Any thread; lsn 0 is a no-op. */
enum store_pace { PACE_AT_ONCE, PACE_AT_LEISURE };
unsigned store_leisure_ms(struct store *s);
void store_hurry(struct store *s, lsn_t lsn, bool in_vain);

/* How an answer comes that is not there at once; embed it in what waits. ready() is called once, by
 * any thread, which holds no lock of the store. */
struct store_waiter {
    void (*ready)(struct store_waiter *w);
};

enum sub_party { SUB_RECIPIENT, SUB_NOTIFIER, N_SUB_PARTIES }; /* of a queue */

struct store_counts {
    uint64_t n_queues, n_messages;
    uint64_t n_notifiers, n_ntfs; /* queues with a notifier; notifications that wait */
    uint64_t n_services[N_SUB_PARTIES], n_service_queues[N_SUB_PARTIES];
    unsigned n_standbys; /* other servers that wait to take over */
    unsigned state;      /* 0: changes are taken; 1: refused for want of room; 2: for good */
};
struct store_counts store_counts(struct store *s);
/* Is it worth while to begin a session? False: what the store needs has been away for so long that
 * who waits is sent away. Any thread. */
bool store_admits(const struct store *s);
