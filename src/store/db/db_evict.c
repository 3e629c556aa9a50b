/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_evict.c -- records that nobody uses leave RAM when there are too many: the hand of a clock
 * goes over the table, and what was not asked for since it last came by goes.
 *
 * What is under way holds its queue: a change that is not committed, a body in RAM, a session's
 * subscription. Notifications that wait are nowhere else. Whoever has found a queue by another id
 * just now sees that it is not live any more, and asks for it again. */
#include "store/db/db_store_priv.h"

enum {
    /* What a record takes, with its places in four maps and the allocator's share; and an entry. */
    RECORD_BYTES = 448,
    ENTRY_BYTES = 64,
    STEP_QUEUES = 64,
    TURN_QUEUES = 512, /* that one call looks at: when all are in use it must not look at all */
    STEP_ROOM = 1024,  /* a bucket is looked at whole */
};

void db_cache_init(struct db_cache *c) {
    *c = (struct db_cache){0};
    lock_init(&c->mtx, LOCK_DB_CACHE);
}

void db_cache_done(struct db_cache *c) {
    lock_done(&c->mtx);
}

void db_cache_left(struct db_store *m, const struct queue *q) {
    atomic_fetch_add_explicit(&m->cache.left[q->stripe], 1, memory_order_release);
}

static size_t bytes_in_ram(const struct db_store *m) {
    const int64_t n_entries = atomic_load_explicit(&m->cache.n_entries, memory_order_relaxed);
    const int64_t n_link = atomic_load_explicit(&m->cache.n_link_bytes, memory_order_relaxed);
    const int64_t n =
        (int64_t)queue_table_size(m->base.table) * RECORD_BYTES + n_entries * ENTRY_BYTES + n_link;
    return n > 0 ? (size_t)n : 0;
}

struct eviction {
    struct db_store *store;
    struct queue *gone[STEP_ROOM]; /* the table's references */
    unsigned n;
    uint64_t n_seen;
};

static bool may_go(struct queue *q) {
    const struct notifier_entry *n = queue_notifier_of(q);
    if (!queue_is_idle(q) || (n != NULL && n->n_ntfs != 0)) return false;
    const bool was_used = q->log_mark != 0;
    q->log_mark = 0;
    return !was_used;
}

/* Under the queue's lock. */
static void visit(struct queue *q, void *ctx) {
    struct eviction *x = ctx;
    struct db_cache *c = &x->store->cache;
    x->n_seen++;
    if (x->n == STEP_ROOM || !may_go(q)) return;
    const struct link_entry *l = queue_link(q);
    const int64_t n_link = l != NULL ? l->data->n_fixed + l->data->n_user : 0;
    atomic_fetch_sub_explicit(&c->n_entries, q->n_messages, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->n_link_bytes, n_link, memory_order_relaxed);
    q->live = false;
    db_cache_left(x->store, q);
    x->gone[x->n++] = q;
}

/* Some of them. False: that is enough for now, or all have been looked at twice. */
static bool step(struct eviction *x, uint64_t n_all) {
    struct db_cache *c = &x->store->cache;
    x->n = 0;
    if (!queue_table_scan(x->store->base.table, &c->cursor, STEP_QUEUES, visit, x))
        c->cursor = (struct store_cursor){0};
    for (unsigned i = 0; i < x->n; i++) queue_table_evict(x->store->base.table, x->gone[i]);
    return x->n_seen < TURN_QUEUES && x->n_seen < 2 * n_all + STEP_QUEUES;
}

void db_cache_trim(struct db_store *m) {
    struct eviction x = {.store = m};
    body_cache_trim(&m->bodies,
                    m->o.cache_bytes / 4 < MESSAGE_CACHE_BYTES ? m->o.cache_bytes / 4
                                                               : MESSAGE_CACHE_BYTES,
                    commit_durable_lsn(m->commit));
    if (bytes_in_ram(m) <= m->o.cache_bytes) return;
    lock_take(&m->cache.mtx);
    const uint64_t n_all = queue_table_size(m->base.table);
    while (bytes_in_ram(m) > m->o.cache_bytes && step(&x, n_all)) continue;
    lock_give(&m->cache.mtx);
}
