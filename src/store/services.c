/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* services.c -- service clients: who they are, who serves them, what waits for them. */
#include <stdlib.h>

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
void store__service_open(struct store *s, struct store_service_open *o) {
    struct service_table *t = queue_table_services(s->table);
    lock_take(&t->mtx);
    struct service *svc = service_table_by_cert(t, o->rec.cert_hash);
    enum err e = OK;
    if (svc == NULL) e = o->may_create ? create_locked(s, &o->rec, &svc) : E_NOT_FOUND;
    if (e == OK && svc->role != o->rec.role) e = E_SERVICE;
    if (e == OK) e = s->ops->service(s, svc, &o->rec);
    if (e == OK) {
        service_use(t, svc);
        o->ret_service = svc;
        o->ret_lsn = svc->lsn;
    }
    o->ret_err = e;
    lock_give(&t->mtx);
}

void store_service_close(struct store *s, struct service *svc) {
    struct service_table *t = queue_table_services(s->table);
    lock_take(&t->mtx);
    service_unuse(svc, env_now_s(s->expiry.env));
    lock_give(&t->mtx);
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

/* ---- what waits for one ---- */

/* Has the queue, or its notifier, something for the service? */
static bool has_due(const struct queue *q, const struct notifier_entry *n,
                    const struct store_scan *scan) {
    if (scan->party == SUB_RECIPIENT)
        return queue_rcv_service(q) == scan->service && q->head != NULL;
    return n != NULL && n->service == scan->service && n->head != NULL;
}

/* Under the queue's lock. */
static void visit(struct queue *q, void *ctx) {
    struct store_scan *scan = ctx;
    const struct notifier_entry *n = queue_notifier_of(q);
    if (!has_due(q, n, scan)) return;
    struct store_found *f = malloc(sizeof *f);
    if (f == NULL) {
        scan->ret_err = E_NO_MEMORY;
        return;
    }
    *f = (struct store_found){.next = scan->ret_found, .queue = queue_ref(q)};
    if (scan->party == SUB_NOTIFIER) f->notifier_id = n->rec.id;
    scan->ret_found = f;
}

void store__service_scan(struct store *s, struct store_scan *scan) {
    scan->ret_found = NULL;
    scan->ret_err = OK;
    scan->ret_more = queue_table_scan(s->table, &scan->cursor, scan->max_queues, visit, scan);
}

void store_scan_done(struct store_scan *scan) {
    for (struct store_found *f; (f = scan->ret_found) != NULL;) {
        scan->ret_found = f->next;
        queue_unref(f->queue);
        free(f);
    }
}
