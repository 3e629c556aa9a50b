/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subscribe.c -- who gets the messages and notifications of a queue: a session, or the session that
 * serves the service which the queue is associated with. Associations are part of the record, so a
 * change of one is logged; who listens is in the registry of this process, where a queue that has a
 * service has no entry of its own. */
#include <assert.h>

#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"
#include "store/text/record.h"

/* ---- who it is ---- */

static struct subscriber server_of(const struct store *s, const struct service *svc) {
    return subs_find(s->subs, SUBS_SERVICE, service_id(svc));
}

struct subscriber store__subscriber(const struct store *s, const struct queue *q) {
    const struct service *svc = queue_rcv_service(q);
    return svc != NULL ? server_of(s, svc) : subs_find(s->subs, SUBS_QUEUE, queue_rcv_id(q));
}

struct subscriber store__ntf_subscriber(const struct store *s, const struct notifier_entry *n) {
    return n->service != NULL ? server_of(s, n->service)
                              : subs_find(s->subs, SUBS_NOTIFIER, &n->rec.id);
}

struct subscriber store__end_sub(const struct store *s, const struct queue *q) {
    const struct service *svc = queue_rcv_service(q);
    return svc != NULL ? server_of(s, svc) : subs_end(s->subs, SUBS_QUEUE, queue_rcv_id(q));
}

struct subscriber store__end_ntf_sub(const struct store *s, const struct notifier_entry *n) {
    return n->service != NULL ? server_of(s, n->service)
                              : subs_end(s->subs, SUBS_NOTIFIER, &n->rec.id);
}

/* ---- subscribing ---- */

/* What a subscription of one party is to. */
struct sub_place {
    struct service **service; /* NULL: there is none, and none is wanted */
    enum subs_kind kind;
    const struct id *id; /* by which it is listened to, and the service counts it */
    char party;          /* as in the log */
};

static enum err recipient_place(struct queue *q, bool for_service, struct sub_place *ret) {
    if (for_service && queue_need_extra(q) != OK) return E_NO_MEMORY;
    struct service **service = q->extra != NULL ? &q->extra->rcv_service : NULL;
    *ret = (struct sub_place){service, SUBS_QUEUE, queue_rcv_id(q), 'R'};
    return OK;
}

static enum err notifier_place(struct queue *q, const struct id *id, struct sub_place *ret) {
    struct notifier_entry *n = queue_notifier_of(q);
    if (n == NULL || !id_equal(&n->rec.id, id)) return E_AUTH;
    *ret = (struct sub_place){&n->service, SUBS_NOTIFIER, &n->rec.id, 'N'};
    return OK;
}

/* Makes or removes the association; whoever served the service before has to be told. */
static enum err associate(struct store *s, struct queue *q, const struct sub_request *r,
                          const struct sub_place *p, struct sub_moved *ret) {
    struct record line = {
        .tag = RECORD_QUEUE_SERVICE,
        .rcv_id = *queue_rcv_id(q),
        .party = p->party,
        .has_service = r->service != NULL,
    };
    if (r->service != NULL) line.service_id = *service_id(r->service);
    const enum err e = store__record(s, q, &line, &ret->lsn);
    if (e != OK) return e;
    assert(p->service != NULL);
    struct service *old = *p->service;
    ret->was_served = old != NULL;
    ret->prev = old != NULL ? server_of(s, old) : subs_end(s->subs, p->kind, p->id);
    service_uncount(old, r->party, p->id);
    service_count(r->service, r->party, p->id);
    *p->service = r->service;
    ret->associated = r->service != NULL;
    return OK;
}

/* For a session itself. With an association goes the only other one who could have listened. */
static enum err subscribe_session(struct store *s, struct queue *q, const struct sub_request *r,
                                  const struct sub_place *p, struct sub_moved *ret) {
    const bool is_served = p->service != NULL && *p->service != NULL;
    enum err e = subs_take(s->subs, p->kind, p->id, r->sub, &ret->prev);
    if (e != OK || !is_served) return e;
    e = associate(s, q, r, p, ret);
    if (e != OK) subs_leave(s->subs, p->kind, p->id, r->sub);
    return e;
}

/* For a service, which the session serves from now on. */
static enum err subscribe_service(struct store *s, struct queue *q, const struct sub_request *r,
                                  const struct sub_place *p, struct sub_moved *ret) {
    struct ids_sum sum;
    assert(p->service != NULL);
    enum err e = subs_reserve(s->subs, service_id(r->service));
    if (e == OK && *p->service != r->service) e = associate(s, q, r, p, ret);
    if (e != OK) return e;
    e = store_service_subscribe(s, r->service, r->party, r->sub, &ret->server, &sum);
    assert(e == OK);
    return e;
}

/* Under the queue's lock. */
static enum err subscribe_locked(struct store *s, struct queue *q, const struct sub_request *r,
                                 struct sub_moved *ret) {
    struct sub_place p;
    enum err e = r->party == SUB_RECIPIENT ? recipient_place(q, r->service != NULL, &p)
                                           : notifier_place(q, &r->notifier_id, &p);
    if (e != OK) return e;
    e = r->service != NULL ? subscribe_service(s, q, r, &p, ret)
                           : subscribe_session(s, q, r, &p, ret);
    if (e != OK) return e;
    ret->has_due = r->party == SUB_NOTIFIER ? queue_notifier_of(q)->head != NULL : q->head != NULL;
    return OK;
}

enum err store_subscribe(struct store *s, struct queue *q, const struct sub_request *r,
                         struct sub_moved *ret) {
    *ret = (struct sub_moved){0};
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    e = subscribe_locked(s, q, r, ret);
    store__unlock(s, q);
    return e;
}

bool store_is_subscribed(struct store *s, struct queue *q, enum sub_party party,
                         struct subscriber sub) {
    if (store__lock_live(s, q) != OK) return false;
    const struct notifier_entry *n = queue_notifier_of(q);
    bool is = false;
    if (party == SUB_RECIPIENT) is = subscriber_equal(store__subscriber(s, q), sub);
    if (party == SUB_NOTIFIER && n != NULL) is = subscriber_equal(store__ntf_subscriber(s, n), sub);
    store__unlock(s, q);
    return is;
}

/* Without the queue: what is gone has no listener. */
void store_unsubscribe(struct store *s, enum sub_party party, const struct id *id,
                       struct subscriber sub) {
    subs_leave(s->subs, party == SUB_RECIPIENT ? SUBS_QUEUE : SUBS_NOTIFIER, id, sub);
}

/* ---- blocking ---- */

enum err store_queue_block(struct store *s, struct queue *q, struct block_info *info,
                           struct subscriber *ret_sub, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_BLOCK,
                             .rcv_id = *queue_rcv_id(q),
                             .info = bytes_of(info->text, info->n)};
    struct block_info *old = NULL;
    e = queue_need_extra(q);
    if (e == OK) e = store__record(s, q, &r, ret_lsn);
    if (e == OK) {
        old = q->extra->block;
        q->extra->block = block_info_ref(info);
        q->status = STATUS_BLOCKED;
        *ret_sub = store__subscriber(s, q);
    }
    store__unlock(s, q);
    block_info_unref(old);
    return e;
}

enum err store_queue_unblock(struct store *s, struct queue *q, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_UNBLOCK, .rcv_id = *queue_rcv_id(q)};
    struct block_info *old = NULL;
    e = store__record(s, q, &r, ret_lsn);
    if (e == OK) {
        q->status = STATUS_ACTIVE;
        if (q->extra != NULL) old = STEAL(q->extra->block);
    }
    store__unlock(s, q);
    block_info_unref(old);
    return e;
}
