/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_priv.h -- what a backend provides: the operations of store.h as one const table, and the
 * head of its own struct. */
#pragma once

#include "store/store.h"

struct store_ops {
    enum err (*start)(struct store *s);
    enum err (*stop)(struct store *s, struct store_problem *ret_problem);
    void (*close)(struct store *s);
    enum err (*import_messages)(struct store *s, const char *path, uint64_t *ret_n,
                                struct store_problem *ret_problem);
    enum err (*export_messages)(struct store *s, const char *path, uint64_t *ret_n,
                                struct store_problem *ret_problem);
    lsn_t (*durable_lsn)(const struct store *s);
    bool (*is_lost)(const struct store *s, lsn_t lsn);
    void (*load)(struct store *s, struct store_lookup *lookups, size_t n, store_load_done *done,
                 void *ctx);
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
    enum err (*subscribe)(struct store *s, struct queue *q, struct subscriber sub,
                          struct subscriber *ret_prev);
    bool (*is_subscribed)(struct store *s, struct queue *q, struct subscriber sub);
    void (*unsubscribe)(struct store *s, struct queue *q, struct subscriber sub);
    enum err (*queue_delete)(struct store *s, struct queue *q, struct subscriber *ret_prev,
                             lsn_t *ret_lsn);
    enum err (*msg_write)(struct store *s, struct queue *q, struct message *owned,
                          struct msg_written *ret);
    enum err (*msg_peek)(struct store *s, struct queue *q, struct message **ret);
    enum err (*msg_ack)(struct store *s, struct queue *q, const struct id *msg_id,
                        struct message **ret_next, lsn_t *ret_lsn);
    enum err (*msg_count)(struct store *s, struct queue *q, unsigned *ret_n);
    bool (*msg_fetch)(struct store *s, struct queue *q, struct message *m, struct store_waiter *w);
    bool (*expire_step)(struct store *s, struct store_cursor *c, int64_t before_ts_s,
                        unsigned max_queues, unsigned *ret_expired);
    enum err (*expire_queue)(struct store *s, struct queue *q, int64_t before_ts_s,
                             unsigned *ret_expired);
    struct store_counts (*counts)(struct store *s);
};

/* First field of each backend's struct. */
struct store {
    const struct store_ops *ops;
};

enum err ram_open_memory(const struct store_opts *o, struct store **ret,
                         struct store_problem *ret_problem);
enum err ram_open_journal(const struct store_opts *o, struct store **ret,
                          struct store_problem *ret_problem);
