/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* services.c -- service clients: who they are, who serves them, what waits for them. */
#include "model/limits.h"
#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"

/* The table's mutex is held, so that one certificate does not get two records. */
static enum err create_locked(struct store *s, const struct service_rec *rec,
                              struct service **ret) {
    struct service_table *t = queue_table_services(s->table);
    return t->n < SERVICES_MAX ? service_table_add(t, rec, ret) : E_LIMIT;
}

/* What a full disk refused is tried again when the service comes back. */
enum err store_service_open(struct store *s, const struct service_rec *rec, bool may_create,
                            struct service **ret, lsn_t *ret_lsn) {
    struct service_table *t = queue_table_services(s->table);
    lock_take(&t->mtx);
    struct service *svc = service_table_by_cert(t, rec->cert_hash);
    enum err e = OK;
    if (svc == NULL) e = may_create ? create_locked(s, rec, &svc) : E_NOT_FOUND;
    if (e == OK && svc->role != rec->role) e = E_SERVICE;
    if (e == OK) e = s->ops->service(s, svc, rec);
    if (e == OK) {
        *ret = svc;
        *ret_lsn = svc->lsn;
    }
    lock_give(&t->mtx);
    return e;
}

/* ---- serving ---- */

/* The sum is that of the instant in which `sub` takes over. */
enum err store_service_subscribe(struct store *s, struct service *svc, enum sub_party party,
                                 struct subscriber sub, struct subscriber *ret_prev,
                                 struct ids_sum *ret_sum) {
    lock_take(&svc->mtx);
    const enum err e = subs_take(s->subs, SUBS_SERVICE, service_id(svc), sub, ret_prev);
    if (e == OK) *ret_sum = svc->sums[party];
    lock_give(&svc->mtx);
    return e;
}

bool store_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub) {
    return subscriber_equal(subs_find(s->subs, SUBS_SERVICE, service_id(svc)), sub);
}

void store_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub) {
    subs_leave(s->subs, SUBS_SERVICE, service_id(svc), sub);
}

struct service_scan {
    const struct service *service;
    enum sub_party party;
    void (*found)(struct queue *q, void *ctx);
    void *ctx;
};

/* Under the queue's lock. */
static void visit(struct queue *q, void *ctx) {
    const struct service_scan *scan = ctx;
    const struct notifier_entry *n = queue_notifier_of(q);
    const bool is_found = scan->party == SUB_RECIPIENT
                              ? queue_rcv_service(q) == scan->service && q->head != NULL
                              : n != NULL && n->service == scan->service && n->head != NULL;
    if (is_found) scan->found(q, scan->ctx);
}

bool store_service_scan(struct store *s, struct service *svc, enum sub_party party,
                        struct store_cursor *c, unsigned max_queues,
                        void (*found)(struct queue *q, void *ctx), void *ctx) {
    struct service_scan scan = {svc, party, found, ctx};
    return queue_table_scan(s->table, c, max_queues, visit, &scan);
}
