/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_priv.h -- what a backend provides: the operations of store.h as one const table, and the
 * head of its own struct. */
#pragma once

#include "base/lock.h"
#include "store/store.h"

struct store_ops {
    enum err (*start)(struct store *s);
    enum err (*stop)(struct store *s, struct store_problem *ret_problem);
    enum err (*save)(struct store *s, struct store_problem *ret_problem);
    void (*close)(struct store *s);
    enum err (*import_messages)(struct store *s, const char *path, uint64_t *ret_n,
                                struct store_problem *ret_problem);
    enum err (*import_reference)(struct store *s, const char *dir, uint64_t *ret_n,
                                 struct store_problem *ret_problem);
    enum err (*export_messages)(struct store *s, const char *path, uint64_t *ret_n,
                                struct store_problem *ret_problem);
    lsn_t (*durable_lsn)(const struct store *s);
    bool (*is_lost)(const struct store *s, lsn_t lsn);
    bool (*load)(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w);
    enum err (*queue_view)(struct store *s, struct queue *q, struct queue_view *ret);
    enum err (*queue_create)(struct store *s, const struct queue_rec *rec, struct queue **ret_queue,
                             lsn_t *ret_lsn);
    enum err (*queue_secure)(struct store *s, struct queue *q, const struct pubkey *key,
                             lsn_t *ret_lsn);
    enum err (*queue_set_keys)(struct store *s, struct queue *q, struct keyset *keys,
                               lsn_t *ret_lsn);
    enum err (*link_set)(struct store *s, struct queue *q, struct link_data *link, lsn_t *ret_lsn);
    enum err (*link_get)(struct store *s, struct queue *q, const struct id *link_id,
                         struct link_data **ret);
    enum err (*link_delete)(struct store *s, struct queue *q, lsn_t *ret_lsn);
    enum err (*queue_suspend)(struct store *s, struct queue *q, lsn_t *ret_lsn);
    enum err (*queue_touch)(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn);
    enum err (*queue_block)(struct store *s, struct queue *q, struct block_info *info,
                            struct subscriber *ret_sub, lsn_t *ret_lsn);
    enum err (*queue_unblock)(struct store *s, struct queue *q, lsn_t *ret_lsn);
    enum err (*subscribe)(struct store *s, struct queue *q, const struct sub_request *r,
                          struct sub_moved *ret);
    bool (*is_subscribed)(struct store *s, struct queue *q, enum sub_party party,
                          struct subscriber sub);
    void (*unsubscribe)(struct store *s, struct queue *q, enum sub_party party,
                        struct subscriber sub);
    enum err (*queue_delete)(struct store *s, struct queue *q, struct queue_ended *ret,
                             lsn_t *ret_lsn);
    enum err (*notifier_set)(struct store *s, struct queue *q, const struct queue_notifier *n,
                             struct sub_ended *ret_ended, lsn_t *ret_lsn);
    enum err (*notifier_delete)(struct store *s, struct queue *q, struct sub_ended *ret_ended,
                                lsn_t *ret_lsn);
    enum err (*ntf_add)(struct store *s, struct queue *q, const struct id *msg_id, int64_t ts_s,
                        struct ntf_added *ret);
    enum err (*ntf_take)(struct store *s, struct queue *q, const struct id *notifier_id,
                         struct subscriber sub, unsigned max, struct ntf_batch *ret);
    enum err (*service_open)(struct store *s, const struct service_rec *rec, bool may_create,
                             struct service **ret, lsn_t *ret_lsn);
    void (*service_subscribe)(struct store *s, struct service *svc, enum sub_party party,
                              struct subscriber sub, struct subscriber *ret_prev,
                              struct ids_sum *ret_sum);
    bool (*service_is_subscribed)(struct store *s, struct service *svc, struct subscriber sub);
    void (*service_unsubscribe)(struct store *s, struct service *svc, struct subscriber sub);
    bool (*service_scan)(struct store *s, struct service *svc, enum sub_party party,
                         struct store_cursor *c, unsigned max_queues,
                         void (*found)(struct queue *q, void *ctx), void *ctx);
    enum err (*msg_write)(struct store *s, struct queue *q, struct message *owned,
                          struct msg_written *ret);
    enum err (*msg_peek)(struct store *s, struct queue *q, struct message **ret);
    enum err (*msg_ack)(struct store *s, struct queue *q, const struct id *msg_id,
                        struct msg_acked *ret);
    enum err (*msg_count)(struct store *s, struct queue *q, unsigned *ret_n);
    bool (*msg_next)(struct store *s, struct store_next *n, struct store_waiter *w);
    bool (*expire_step)(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                        unsigned max_queues, unsigned *ret_expired);
    enum err (*expire_queue)(struct store *s, struct queue *q, int64_t before_ts_s,
                             unsigned *ret_expired);
    bool (*ntf_expire_step)(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                            unsigned max_queues, unsigned *ret_expired);
    struct store_counts (*counts)(struct store *s);
};

/* First field of each backend's struct. */
struct store {
    const struct store_ops *ops;
};

/* A thread that waits: pass &b->waiter, and when the answer is not there at once, call
 * store__wait(). store.c */
struct store_blocking {
    struct store_waiter waiter;
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    bool done;
};
void store__blocking_init(struct store_blocking *b);
void store__wait(struct store_blocking *b);
void store__blocking_done(struct store_blocking *b);

enum err ram_open_memory(const struct store_opts *o, struct store **ret,
                         struct store_problem *ret_problem);
enum err ram_open_journal(const struct store_opts *o, struct store **ret,
                          struct store_problem *ret_problem);
