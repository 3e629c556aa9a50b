/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The list of backends, and the calls that go through a backend's table. */
#include "store/store.h"

#include "store/store_priv.h"

const struct store_backend STORE_BACKENDS[] = {
    {"memory", ram_open_memory},
    {"journal", ram_open_journal},
};
const size_t N_STORE_BACKENDS = ARRAY_LEN(STORE_BACKENDS);

enum err store_open(const char *backend, const struct store_opts *o, struct store **ret,
                    struct store_problem *ret_problem) {
    for (size_t i = 0; i < N_STORE_BACKENDS; i++) {
        if (strcmp(STORE_BACKENDS[i].name, backend) == 0) {
            return STORE_BACKENDS[i].open(o, ret, ret_problem);
        }
    }
    return E_NOT_FOUND;
}

/* ---- threads that wait ---- */

static void blocking_ready(struct store_waiter *w) {
    struct store_blocking *b = CONTAINER_OF(w, struct store_blocking, waiter);
    lock_take(&b->mtx);
    b->done = true;
    lock_wake(&b->cond);
    lock_give(&b->mtx);
}

void store__blocking_init(struct store_blocking *b) {
    b->waiter = (struct store_waiter){blocking_ready};
    b->done = false;
    lock_init(&b->mtx, LOCK_STORE_WAIT);
    lock_cond_init(&b->cond);
}

void store__wait(struct store_blocking *b) {
    lock_take(&b->mtx);
    while (!b->done) lock_wait(&b->cond, &b->mtx);
    lock_give(&b->mtx);
}

void store__blocking_done(struct store_blocking *b) {
    lock_cond_done(&b->cond);
    lock_done(&b->mtx);
}

/* ---- through the table ---- */

enum err store_start(struct store *s) {
    return s->ops->start(s);
}

enum err store_stop(struct store *s, struct store_problem *ret_problem) {
    return s->ops->stop(s, ret_problem);
}

void store_close(struct store *s) {
    if (s != NULL) s->ops->close(s);
}

enum err store_save(struct store *s, struct store_problem *ret_problem) {
    return s->ops->save(s, ret_problem);
}

enum err store_import_messages(struct store *s, const char *path, uint64_t *ret_n,
                               struct store_problem *ret_problem) {
    return s->ops->import_messages(s, path, ret_n, ret_problem);
}

enum err store_import_reference(struct store *s, const char *dir, uint64_t *ret_n,
                                struct store_problem *ret_problem) {
    return s->ops->import_reference(s, dir, ret_n, ret_problem);
}

enum err store_export_messages(struct store *s, const char *path, uint64_t *ret_n,
                               struct store_problem *ret_problem) {
    return s->ops->export_messages(s, path, ret_n, ret_problem);
}

bool store_is_lost(const struct store *s, lsn_t lsn) {
    return s->ops->is_lost(s, lsn);
}

lsn_t store_durable_lsn(const struct store *s) {
    return s->ops->durable_lsn(s);
}

bool store_load(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w) {
    return s->ops->load(s, lookups, n, w);
}

void store_load_wait(struct store *s, struct store_lookup *lookups, size_t n) {
    struct store_blocking b;
    store__blocking_init(&b);
    if (!store_load(s, lookups, n, &b.waiter)) store__wait(&b);
    store__blocking_done(&b);
}

enum err store_queue_view(struct store *s, struct queue *q, struct queue_view *ret) {
    return s->ops->queue_view(s, q, ret);
}

const struct pubkey *queue_view_rcv_keys(const struct queue_view *v, size_t *ret_n) {
    *ret_n = v->rcv_keys != NULL ? v->rcv_keys->n : 1;
    return v->rcv_keys != NULL ? v->rcv_keys->keys : &v->rcv_key;
}

void queue_view_done(struct queue_view *v) {
    keyset_unref(v->rcv_keys);
    block_info_unref(v->block);
    *v = (struct queue_view){0};
}

enum err store_queue_create(struct store *s, const struct queue_rec *rec, struct queue **ret_queue,
                            lsn_t *ret_lsn) {
    return s->ops->queue_create(s, rec, ret_queue, ret_lsn);
}

enum err store_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                            lsn_t *ret_lsn) {
    return s->ops->queue_secure(s, q, key, ret_lsn);
}

enum err store_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys,
                              lsn_t *ret_lsn) {
    return s->ops->queue_set_keys(s, q, keys, ret_lsn);
}

enum err store_link_set(struct store *s, struct queue *q, struct link_data *link, lsn_t *ret_lsn) {
    return s->ops->link_set(s, q, link, ret_lsn);
}

enum err store_link_get(struct store *s, struct queue *q, const struct id *link_id,
                        struct link_data **ret) {
    return s->ops->link_get(s, q, link_id, ret);
}

enum err store_link_delete(struct store *s, struct queue *q, lsn_t *ret_lsn) {
    return s->ops->link_delete(s, q, ret_lsn);
}

enum err store_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn) {
    return s->ops->queue_suspend(s, q, ret_lsn);
}

enum err store_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn) {
    return s->ops->queue_touch(s, q, day, ret_lsn);
}

enum err store_queue_block(struct store *s, struct queue *q, struct block_info *info,
                           struct subscriber *ret_sub, lsn_t *ret_lsn) {
    return s->ops->queue_block(s, q, info, ret_sub, ret_lsn);
}

enum err store_queue_unblock(struct store *s, struct queue *q, lsn_t *ret_lsn) {
    return s->ops->queue_unblock(s, q, ret_lsn);
}

enum err store_subscribe(struct store *s, struct queue *q, const struct sub_request *r,
                         struct sub_moved *ret) {
    return s->ops->subscribe(s, q, r, ret);
}

bool store_is_subscribed(struct store *s, struct queue *q, enum sub_party party,
                         struct subscriber sub) {
    return s->ops->is_subscribed(s, q, party, sub);
}

void store_unsubscribe(struct store *s, struct queue *q, enum sub_party party,
                       struct subscriber sub) {
    s->ops->unsubscribe(s, q, party, sub);
}

enum err store_queue_delete(struct store *s, struct queue *q, struct queue_ended *ret,
                            lsn_t *ret_lsn) {
    return s->ops->queue_delete(s, q, ret, ret_lsn);
}

enum err store_notifier_set(struct store *s, struct queue *q, const struct queue_notifier *n,
                            struct sub_ended *ret_ended, lsn_t *ret_lsn) {
    return s->ops->notifier_set(s, q, n, ret_ended, ret_lsn);
}

enum err store_notifier_delete(struct store *s, struct queue *q, struct sub_ended *ret_ended,
                               lsn_t *ret_lsn) {
    return s->ops->notifier_delete(s, q, ret_ended, ret_lsn);
}

enum err store_ntf_add(struct store *s, struct queue *q, const struct id *msg_id, int64_t ts_s,
                       struct ntf_added *ret) {
    return s->ops->ntf_add(s, q, msg_id, ts_s, ret);
}

enum err store_ntf_take(struct store *s, struct queue *q, const struct id *notifier_id,
                        struct subscriber sub, unsigned max, struct ntf_batch *ret) {
    return s->ops->ntf_take(s, q, notifier_id, sub, max, ret);
}

enum err store_service_open(struct store *s, const struct service_rec *rec, bool may_create,
                            struct service **ret, lsn_t *ret_lsn) {
    return s->ops->service_open(s, rec, may_create, ret, ret_lsn);
}

void store_service_subscribe(struct store *s, struct service *svc, enum sub_party party,
                             struct subscriber sub, struct subscriber *ret_prev,
                             struct ids_sum *ret_sum) {
    s->ops->service_subscribe(s, svc, party, sub, ret_prev, ret_sum);
}

bool store_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub) {
    return s->ops->service_is_subscribed(s, svc, sub);
}

void store_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub) {
    s->ops->service_unsubscribe(s, svc, sub);
}

bool store_service_scan(struct store *s, struct service *svc, enum sub_party party,
                        struct store_cursor *c, unsigned max_queues,
                        void (*found)(struct queue *q, void *ctx), void *ctx) {
    return s->ops->service_scan(s, svc, party, c, max_queues, found, ctx);
}

enum err store_msg_write(struct store *s, struct queue *q, struct message *owned,
                         struct msg_written *ret) {
    return s->ops->msg_write(s, q, owned, ret);
}

enum err store_msg_peek(struct store *s, struct queue *q, struct message **ret) {
    return s->ops->msg_peek(s, q, ret);
}

enum err store_msg_ack(struct store *s, struct queue *q, const struct id *msg_id,
                       struct msg_acked *ret) {
    return s->ops->msg_ack(s, q, msg_id, ret);
}

enum err store_msg_count(struct store *s, struct queue *q, unsigned *ret_n) {
    return s->ops->msg_count(s, q, ret_n);
}

bool store_msg_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    return s->ops->msg_next(s, n, w);
}

bool store_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                       unsigned max_queues, unsigned *ret_expired) {
    return s->ops->expire_step(s, c, before_ts_s, max_queues, ret_expired);
}

enum err store_expire_queue(struct store *s, struct queue *q, int64_t before_ts_s,
                            unsigned *ret_expired) {
    return s->ops->expire_queue(s, q, before_ts_s, ret_expired);
}

bool store_ntf_expire_step(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                           unsigned max_queues, unsigned *ret_expired) {
    return s->ops->ntf_expire_step(s, c, before_ts_s, max_queues, ret_expired);
}

struct store_counts store_counts(struct store *s) {
    return s->ops->counts(s);
}
