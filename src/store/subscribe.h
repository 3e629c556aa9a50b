/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscribe.h -- who gets what comes to a queue: subscriptions, and services, which subscribe to
 * many queues at once. What holds for all functions is in store.h.
 *
 * A queue has one subscriber for its messages and one for its notifications. Each is a session, or
 * a service that the queue is associated with; then it is whatever session serves that service.
 * Associations are part of the record; which session it is, a registry of this process says
 * (subs/subs.h), in which a store looks and writes under its queue's lock. */
#pragma once

#include "model/service_record.h"
#include "store/store.h"
#include "subs/subs.h"

struct sub_request {
    enum sub_party party;
    struct id notifier_id; /* SUB_NOTIFIER: E_AUTH when the queue has another one by now */
    struct subscriber sub;
    struct service *service; /* the queue becomes associated with it, and `sub` serves it from now
                              * on; NULL: `sub` itself, and the queue with no service */
};
struct sub_moved {
    struct subscriber prev;   /* who had the queue, itself or for another service */
    struct subscriber server; /* who served `service` before */
    bool was_served;          /* prev had it for another service: that association ended */
    bool associated;          /* newly with `service` */
    bool has_due; /* messages, or for SUB_NOTIFIER notifications, are there for the subscriber */
    lsn_t lsn;
};
MUST_USE enum err store_subscribe(struct store *s, struct queue *q, const struct sub_request *r,
                                  struct sub_moved *ret);
/* Is `sub` the subscriber now? False for a deleted queue. */
bool store_is_subscribed(struct store *s, struct queue *q, enum sub_party party,
                         struct subscriber sub);
/* Takes `sub` out, if it is the subscriber itself. id: of the queue's recipient, or of its
 * notifier.
 */
void store_unsubscribe(struct store *s, enum sub_party party, const struct id *id,
                       struct subscriber sub);

/* ---- services ---- */

struct store_service_open {
    struct service_rec rec;      /* what it points to is borrowed until it is answered */
    bool may_create;             /* false: only a service that is known */
    struct service *ret_service; /* when OK: in use until store_service_close() */
    lsn_t ret_lsn;               /* what depends on it waits for this */
    enum err ret_err; /* OK; E_NOT_FOUND: unknown; E_SERVICE: known in another role; E_LIMIT: there
                         are too many; E_STORE, E_NO_MEMORY */
};
/* The service known by rec.cert_hash, or a new one of this record. As store_load(). */
MUST_USE bool store_service_open(struct store *s, struct store_service_open *o,
                                 struct store_waiter *w);
/* A service that nobody uses, and that has no queues, is forgotten after service_ttl_s. */
void store_service_close(struct store *s, struct service *svc);
const struct id *service_id(const struct service *svc); /* borrowed; never changes */
/* Makes `sub` the session that serves all queues of this party; *ret_prev is who was, *ret_sum what
 * they are. E_NO_MEMORY. */
MUST_USE enum err store_service_subscribe(struct store *s, struct service *svc,
                                          enum sub_party party, struct subscriber sub,
                                          struct subscriber *ret_prev, struct ids_sum *ret_sum);
bool store_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub);
void store_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub);

struct store_cursor {
    uint64_t at[4]; /* private to the backend; start with zeroes */
};
/* A queue that is associated with a service and has something to deliver to it. */
struct store_found {
    struct store_found *next;
    struct queue *queue;   /* counted */
    struct id notifier_id; /* SUB_NOTIFIER */
};
struct store_scan {
    struct service *service;
    enum sub_party party;
    struct store_cursor cursor; /* moves on */
    unsigned max_queues;        /* about so many are looked at */
    struct store_found *ret_found;
    bool ret_more;    /* there are queues yet to be looked at */
    enum err ret_err; /* OK, E_STORE, E_NO_MEMORY: some may be missing */
};
/* Finds some of a service's queues. As store_load(). */
MUST_USE bool store_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w);
void store_scan_done(struct store_scan *scan); /* gives back what was found */
