/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/queue_table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/lock.h"
#include "crypto/crypto.h"
#include "store/service_table.h"

enum { N_STRIPES = 256, N_KINDS = ID_NOTIFIER + 1, CACHE_LINE = 64 };

struct stripe {
    _Alignas(CACHE_LINE) struct lock mtx;
    /* guarded by mtx */
    struct idmap map;
};

struct queue_table {
    /* fixed after queue_table_new() */
    uint64_t stripe_seed[3];
    struct stripe index[N_KINDS][N_STRIPES];
    struct service_table services;
    /* atomic */
    _Atomic uint64_t n_queues, n_notifiers; /* relaxed: figures for reports */
};

/* ---- one queue ---- */

enum err queue_need_extra(struct queue *q) {
    if (q->extra == NULL) q->extra = calloc(1, sizeof *q->extra);
    return q->extra != NULL ? OK : E_NO_MEMORY;
}

struct link_entry *queue_link(const struct queue *q) {
    return q->extra != NULL ? q->extra->link : NULL;
}

struct notifier_entry *queue_notifier_of(const struct queue *q) {
    return q->extra != NULL ? q->extra->notifier : NULL;
}

struct service *queue_rcv_service(const struct queue *q) {
    return q->extra != NULL ? q->extra->rcv_service : NULL;
}

static bool is_small(const struct pubkey *k) {
    return pubkey_raw(k).n <= SMALL_KEY_LEN;
}

static struct pubkey small_key(uint8_t type, const uint8_t b[SMALL_KEY_LEN]) {
    struct pubkey k = {.type = type};
    if (type != KEY_NONE) memcpy(k.b, b, SMALL_KEY_LEN);
    return k;
}

struct pubkey queue_snd_key(const struct queue *q) {
    const struct pubkey *k = q->extra != NULL ? q->extra->snd_key : NULL;
    if (k != NULL && k->type != KEY_NONE) return *k;
    return small_key(q->snd_key_type, q->snd_key);
}

static enum err need_large_snd_key(struct queue *q) {
    const enum err e = queue_need_extra(q);
    if (e != OK) return e;
    if (q->extra->snd_key == NULL) q->extra->snd_key = calloc(1, sizeof *q->extra->snd_key);
    return q->extra->snd_key != NULL ? OK : E_NO_MEMORY;
}

enum err queue_reserve_snd_key(struct queue *q, const struct pubkey *k) {
    return is_small(k) ? OK : need_large_snd_key(q);
}

enum err queue_set_snd_key(struct queue *q, const struct pubkey *k) {
    if (is_small(k)) {
        q->snd_key_type = k->type;
        memcpy(q->snd_key, k->b, SMALL_KEY_LEN);
        return OK;
    }
    const enum err e = need_large_snd_key(q);
    if (e == OK) *q->extra->snd_key = *k;
    return e;
}

struct pubkey queue_small_rcv_key(const struct queue *q) {
    return small_key(q->rcv_key_type, q->rcv_key);
}

static bool are_small(const struct keyset *keys) {
    return keys->n == 1 && is_small(&keys->keys[0]);
}

enum err queue_reserve_rcv_keys(struct queue *q, const struct keyset *keys) {
    return are_small(keys) ? OK : queue_need_extra(q);
}

enum err queue_set_rcv_keys(struct queue *q, struct keyset *keys) {
    const bool small = are_small(keys);
    const enum err e = queue_reserve_rcv_keys(q, keys);
    if (e != OK) return e;
    if (q->extra != NULL) {
        keyset_unref(q->extra->rcv_keys);
        q->extra->rcv_keys = small ? NULL : keyset_ref(keys);
    }
    q->rcv_key_type = small ? keys->keys[0].type : (uint8_t)KEY_NONE;
    if (small) memcpy(q->rcv_key, keys->keys[0].b, SMALL_KEY_LEN);
    return OK;
}

void queue_push(struct queue *q, struct msg_entry *owned) {
    queue_changed(q);
    owned->next = NULL;
    if (q->tail != NULL) {
        q->tail->next = owned;
    } else {
        q->head = owned;
    }
    q->tail = owned;
    q->n_messages++;
}

struct msg_entry *queue_pop(struct queue *q) {
    struct msg_entry *m = q->head;
    queue_changed(q);
    q->head = m->next;
    if (q->head == NULL) q->tail = NULL;
    q->n_messages--;
    return m;
}

struct msg_entry *queue_find_msg(const struct queue *q, const struct id *msg_id) {
    struct msg_entry *m = q->head;
    while (m != NULL && !id_equal(&m->id, msg_id)) m = m->next;
    return m;
}

void queue_unlink(struct queue *q, struct msg_entry *m) {
    if (q->head == m) {
        (void)queue_pop(q);
        return;
    }
    queue_changed(q);
    struct msg_entry *before = q->head;
    while (before->next != m) before = before->next;
    before->next = m->next;
    if (q->tail == m) q->tail = before;
    q->n_messages--;
}

/* ---- queues ---- */

struct queue *queue_ref(struct queue *q) {
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    return q;
}

void msg_entry_free(struct msg_entry *m) {
    if (m == NULL) return;
    message_unref(m->ram);
    free(m);
}

static void free_link(struct link_entry *l) {
    if (l == NULL) return;
    link_data_unref(l->data);
    free(l);
}

static void free_notifier(struct notifier_entry *n) {
    if (n == NULL) return;
    for (struct ntf_entry *ntf = n->head, *next; ntf != NULL; ntf = next) {
        next = ntf->next;
        free(ntf);
    }
    crypto_wipe(n->rec.dh_secret, sizeof n->rec.dh_secret);
    free(n);
}

static void free_extra(struct queue_extra *x) {
    if (x == NULL) return;
    keyset_unref(x->rcv_keys);
    free(x->snd_key);
    free_link(x->link);
    free_notifier(x->notifier);
    block_info_unref(x->block);
    free(x);
}

void queue_unref(struct queue *q) {
    if (q == NULL || atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1) return;
    while (q->head != NULL) msg_entry_free(queue_pop(q));
    free_extra(q->extra);
    crypto_wipe(q->dh_secret, sizeof q->dh_secret);
    free(q);
}

const struct id *queue_rcv_id(const struct queue *q) {
    return &q->rcv_node.id;
}

const struct id *queue_snd_id(const struct queue *q) {
    return &q->snd_node.id;
}

const uint8_t *queue_dh_secret(const struct queue *q) {
    return q->dh_secret;
}

/* ---- stripes ---- */

/* High bits choose the stripe: the maps use the low ones, under another seed. */
static uint8_t stripe_number(const struct queue_table *t, const struct id *id) {
    return (uint8_t)(id_hash(t->stripe_seed, id) >> 32 & (N_STRIPES - 1));
}

static struct stripe *stripe_of(struct queue_table *t, enum queue_id_kind kind,
                                const struct id *id) {
    return &t->index[kind][stripe_number(t, id)];
}

static enum err index_insert(struct queue_table *t, enum queue_id_kind kind, struct idnode *node) {
    struct stripe *s = stripe_of(t, kind, &node->id);
    lock_take(&s->mtx);
    const enum err e = idmap_insert(&s->map, node);
    lock_give(&s->mtx);
    return e;
}

static void index_remove(struct queue_table *t, enum queue_id_kind kind,
                         const struct idnode *node) {
    struct stripe *s = stripe_of(t, kind, &node->id);
    lock_take(&s->mtx);
    const struct idnode *out = idmap_remove(&s->map, &node->id);
    lock_give(&s->mtx);
    assert(out == node);
    (void)out;
}

void queue_lock(struct queue_table *t, const struct queue *q) {
    lock_take(&t->index[ID_RECIPIENT][q->stripe].mtx);
}

void queue_unlock(struct queue_table *t, const struct queue *q) {
    lock_give(&t->index[ID_RECIPIENT][q->stripe].mtx);
}

/* ---- the table ---- */

enum err queue_table_new(const struct env *env, struct queue_table **ret) {
    struct queue_table *t = aligned_alloc(CACHE_LINE, sizeof *t);
    if (t == NULL) return E_NO_MEMORY;
    uint64_t map_seed[3];
    env_random(env, map_seed, sizeof map_seed);
    env_random(env, t->stripe_seed, sizeof t->stripe_seed);
    atomic_init(&t->n_queues, 0);
    atomic_init(&t->n_notifiers, 0);
    service_table_init(&t->services, env);
    for (unsigned k = 0; k < N_KINDS; k++) {
        for (unsigned i = 0; i < N_STRIPES; i++) {
            lock_init(&t->index[k][i].mtx, LOCK_QUEUES);
            idmap_init(&t->index[k][i].map, map_seed);
        }
    }
    *ret = t;
    return OK;
}

static void drop_queue(struct idnode *node, void *ctx) {
    (void)ctx;
    queue_unref(CONTAINER_OF(node, struct queue, rcv_node));
}

void queue_table_free(struct queue_table *t) {
    if (t == NULL) return;
    for (unsigned i = 0; i < N_STRIPES; i++)
        idmap_each(&t->index[ID_RECIPIENT][i].map, drop_queue, NULL);
    for (unsigned k = 0; k < N_KINDS; k++) {
        for (unsigned i = 0; i < N_STRIPES; i++) {
            idmap_done(&t->index[k][i].map);
            lock_done(&t->index[k][i].mtx);
        }
    }
    service_table_done(&t->services);
    free(t);
}

static struct queue *queue_of(enum queue_id_kind kind, struct idnode *node) {
    switch (kind) {
    case ID_RECIPIENT:
        return CONTAINER_OF(node, struct queue, rcv_node);
    case ID_SENDER:
        return CONTAINER_OF(node, struct queue, snd_node);
    case ID_LINK:
    case ID_NOTIFIER:
        break;
    }
    return CONTAINER_OF(node, struct queue_alias, node)->queue;
}

struct queue *queue_table_find(struct queue_table *t, enum queue_id_kind kind,
                               const struct id *id) {
    struct stripe *s = stripe_of(t, kind, id);
    lock_take(&s->mtx);
    struct idnode *node = idmap_find(&s->map, id);
    struct queue *q = node != NULL ? queue_ref(queue_of(kind, node)) : NULL;
    lock_give(&s->mtx);
    return q;
}

/* A recipient's id is found under the lock of its queue: one lock is enough. */
struct queue *queue_table_find_locked(struct queue_table *t, enum queue_id_kind kind,
                                      const struct id *id) {
    struct queue *q;
    if (kind == ID_RECIPIENT) {
        struct stripe *s = stripe_of(t, kind, id);
        lock_take(&s->mtx);
        struct idnode *node = idmap_find(&s->map, id);
        if (node != NULL) {
            q = CONTAINER_OF(node, struct queue, rcv_node);
            if (q->live) return queue_ref(q);
        }
        lock_give(&s->mtx);
        return NULL;
    }
    q = queue_table_find(t, kind, id);
    if (q == NULL) return NULL;
    queue_lock(t, q);
    if (q->live) return q;
    queue_unlock(t, q);
    queue_unref(q);
    return NULL;
}

/* ---- links ---- */

enum err queue_table_add_link(struct queue_table *t, struct queue *q, struct link_data *data,
                              struct link_entry **ret) {
    struct link_entry *l = calloc(1, sizeof *l);
    if (l == NULL) return E_NO_MEMORY;
    l->alias.node.id = data->link_id;
    l->alias.queue = q;
    l->data = link_data_ref(data);
    const enum err e = index_insert(t, ID_LINK, &l->alias.node);
    if (e != OK) {
        free_link(l);
        return e;
    }
    *ret = l;
    return OK;
}

void queue_table_remove_link(struct queue_table *t, struct link_entry *owned) {
    if (owned == NULL) return;
    index_remove(t, ID_LINK, &owned->alias.node);
    free_link(owned);
}

/* ---- notifiers ---- */

static enum err add_notifier(struct queue_table *t, struct queue *q,
                             const struct queue_notifier *rec, struct notifier_entry **ret) {
    struct notifier_entry *n = calloc(1, sizeof *n);
    if (n == NULL) return E_NO_MEMORY;
    n->alias.node.id = rec->id;
    n->alias.queue = q;
    n->rec = *rec;
    enum err e =
        rec->has_service ? service_table_need(&t->services, &rec->service_id, &n->service) : OK;
    if (e == OK) e = index_insert(t, ID_NOTIFIER, &n->alias.node);
    if (e != OK) {
        free_notifier(n);
        return e;
    }
    atomic_fetch_add_explicit(&t->n_notifiers, 1, memory_order_relaxed);
    *ret = n;
    return OK;
}

enum err queue_table_add_notifier(struct queue_table *t, struct queue *q,
                                  const struct queue_notifier *rec, struct notifier_entry **ret) {
    const enum err e = add_notifier(t, q, rec, ret);
    if (e == OK) service_count((*ret)->service, SUB_NOTIFIER, &rec->id);
    return e;
}

static void remove_notifier(struct queue_table *t, struct notifier_entry *owned) {
    if (owned == NULL) return;
    index_remove(t, ID_NOTIFIER, &owned->alias.node);
    atomic_fetch_sub_explicit(&t->n_notifiers, 1, memory_order_relaxed);
    free_notifier(owned);
}

void queue_table_remove_notifier(struct queue_table *t, struct notifier_entry *owned) {
    if (owned == NULL) return;
    service_uncount(owned->service, SUB_NOTIFIER, &owned->rec.id);
    remove_notifier(t, owned);
}

/* ---- adding and removing queues ---- */

/* The parts of a record that live in queue_extra, but link and notifier, which are indexed. */
static enum err set_extra(struct queue_table *t, struct queue *q, const struct queue_rec *rec) {
    if (rec->block == NULL && !rec->has_rcv_service && rec->link == NULL && rec->notifier == NULL)
        return OK;
    const enum err e = queue_need_extra(q);
    if (e != OK) return e;
    if (rec->block != NULL) q->extra->block = block_info_ref(rec->block);
    if (!rec->has_rcv_service) return OK;
    return service_table_need(&t->services, &rec->rcv_service_id, &q->extra->rcv_service);
}

static enum err queue_new(struct queue_table *t, const struct queue_rec *rec, struct queue **ret) {
    struct queue *q = calloc(1, sizeof *q);
    if (q == NULL) return E_NO_MEMORY;
    q->rcv_node.id = rec->rcv_id;
    q->snd_node.id = rec->snd_id;
    q->stripe = stripe_number(t, &rec->rcv_id);
    memcpy(q->dh_secret, rec->dh_secret, sizeof q->dh_secret);
    q->mode = (uint8_t)rec->mode;
    q->status = (uint8_t)rec->status;
    q->updated_day = rec->updated_day;
    atomic_init(&q->refs, 1);
    atomic_init(&q->version, 0);
    enum err e = queue_set_rcv_keys(q, rec->rcv_keys);
    if (e == OK) e = queue_set_snd_key(q, &rec->snd_key);
    if (e == OK) e = set_extra(t, q, rec);
    if (e != OK) {
        queue_unref(q);
        return e;
    }
    *ret = q;
    return OK;
}

/* What services count of a queue as it is. */
static void count_services(const struct queue *q,
                           void (*count)(struct service *, enum sub_party, const struct id *)) {
    const struct notifier_entry *n = queue_notifier_of(q);
    count(queue_rcv_service(q), SUB_RECIPIENT, queue_rcv_id(q));
    if (n != NULL) count(n->service, SUB_NOTIFIER, &n->rec.id);
}

static void unindex_others(struct queue_table *t, struct queue *q) {
    if (q->extra != NULL) {
        remove_notifier(t, STEAL(q->extra->notifier));
        queue_table_remove_link(t, STEAL(q->extra->link));
    }
    index_remove(t, ID_SENDER, &q->snd_node);
}

/* Into all indexes but that of recipients, so that a queue which can be found there is complete. */
static enum err index_others(struct queue_table *t, struct queue *q, const struct queue_rec *rec) {
    enum err e = index_insert(t, ID_SENDER, &q->snd_node);
    if (e != OK) return e;
    if (rec->link != NULL) e = queue_table_add_link(t, q, rec->link, &q->extra->link);
    if (e == OK && rec->notifier != NULL)
        e = add_notifier(t, q, rec->notifier, &q->extra->notifier);
    if (e != OK) unindex_others(t, q);
    return e;
}

/* Under its lock: in the index of recipients, and live if it is admitted. */
static enum err admit(struct queue_table *t, struct queue *q, struct queue_admission admission) {
    struct idmap *map = &t->index[ID_RECIPIENT][q->stripe].map;
    enum err e = idmap_insert(map, &q->rcv_node);
    if (e != OK) return e;
    if (admission.admit != NULL) e = admission.admit(q, admission.ctx);
    if (e != OK) {
        (void)idmap_remove(map, queue_rcv_id(q));
        return e;
    }
    q->live = true;
    (void)queue_ref(q); /* the table's own */
    atomic_fetch_add_explicit(&t->n_queues, 1, memory_order_relaxed);
    if (!admission.is_back) count_services(q, service_count);
    return OK;
}

enum err queue_table_add(struct queue_table *t, const struct queue_rec *rec,
                         struct queue_admission admission, struct queue **ret_queue) {
    struct queue *q;
    enum err e = queue_new(t, rec, &q);
    if (e != OK) return e;
    e = index_others(t, q, rec);
    if (e != OK) {
        queue_unref(q);
        return e;
    }
    queue_lock(t, q);
    e = admit(t, q, admission);
    queue_unlock(t, q);
    if (e != OK) {
        unindex_others(t, q);
        queue_unref(q);
        return e;
    }
    *ret_queue = q;
    return OK;
}

void queue_table_remove(struct queue_table *t, struct queue *q) {
    count_services(q, service_uncount);
    queue_table_evict(t, q);
}

bool queue_is_idle(const struct queue *q) {
    return atomic_load_explicit(&q->refs, memory_order_acquire) == 1;
}

void queue_table_evict(struct queue_table *t, struct queue *q) {
    index_remove(t, ID_RECIPIENT, &q->rcv_node);
    unindex_others(t, q);
    atomic_fetch_sub_explicit(&t->n_queues, 1, memory_order_relaxed);
    queue_unref(q);
}

/* ---- walking ---- */

struct scan {
    void (*visit)(struct queue *q, void *ctx);
    void *ctx;
    unsigned n;
};

static void scan_node(struct idnode *node, void *ctx) {
    struct scan *scan = ctx;
    struct queue *q = CONTAINER_OF(node, struct queue, rcv_node);
    scan->n++;
    if (q->live) scan->visit(q, scan->ctx);
}

bool queue_table_scan(struct queue_table *t, struct store_cursor *c, unsigned max,
                      void (*visit)(struct queue *q, void *ctx), void *ctx) {
    struct scan scan = {visit, ctx, 0};
    uint64_t *stripe = &c->at[0], *bucket = &c->at[1];
    while (*stripe < N_STRIPES && scan.n < max) {
        struct stripe *s = &t->index[ID_RECIPIENT][*stripe];
        lock_take(&s->mtx);
        do {
            *bucket = idmap_scan(&s->map, (size_t)*bucket, scan_node, &scan);
        } while (*bucket != 0 && scan.n < max);
        lock_give(&s->mtx);
        if (*bucket == 0) ++*stripe;
    }
    return *stripe < N_STRIPES;
}

struct service_table *queue_table_services(struct queue_table *t) {
    return &t->services;
}

uint64_t queue_table_size(const struct queue_table *t) {
    return atomic_load_explicit(&t->n_queues, memory_order_relaxed);
}

uint64_t queue_table_n_notifiers(const struct queue_table *t) {
    return atomic_load_explicit(&t->n_notifiers, memory_order_relaxed);
}
