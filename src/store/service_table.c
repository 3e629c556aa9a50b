/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/service_table.h"

#include <assert.h>
#include <stdlib.h>

void service_table_init(struct service_table *t, const struct env *env) {
    uint64_t seed[3];
    env_random(env, seed, sizeof seed);
    *t = (struct service_table){0};
    lock_init(&t->mtx, LOCK_SERVICES);
    idmap_init(&t->by_id, seed);
    idmap_init(&t->by_cert, seed);
}

static void free_service(struct service *svc) {
    lock_done(&svc->mtx);
    free(svc->line);
    free(svc);
}

static void free_node(struct idnode *node, void *ctx) {
    (void)ctx;
    free_service(CONTAINER_OF(node, struct service, by_id));
}

void service_table_done(struct service_table *t) {
    idmap_done(&t->by_cert);
    idmap_each(&t->by_id, free_node, NULL);
    idmap_done(&t->by_id);
    lock_done(&t->mtx);
}

/* ---- finding and adding ---- */

/* A certificate's key in the map: a SHA-256 is as good cut to the length of an id. */
static struct id cert_key(const uint8_t hash[SHA256_LEN]) {
    struct id key;
    memcpy(key.b, hash, ID_LEN);
    return key;
}

static enum err need_locked(struct service_table *t, const struct id *id, struct service **ret) {
    struct idnode *node = idmap_find(&t->by_id, id);
    if (node != NULL) {
        *ret = CONTAINER_OF(node, struct service, by_id);
        return OK;
    }
    struct service *svc = calloc(1, sizeof *svc);
    if (svc == NULL) return E_NO_MEMORY;
    svc->by_id.id = *id;
    const enum err e = idmap_insert(&t->by_id, &svc->by_id);
    if (e != OK) {
        free(svc);
        return e;
    }
    lock_init(&svc->mtx, LOCK_SERVICE);
    *ret = svc;
    return OK;
}

enum err service_table_need(struct service_table *t, const struct id *id, struct service **ret) {
    lock_take(&t->mtx);
    const enum err e = need_locked(t, id, ret);
    lock_give(&t->mtx);
    return e;
}

struct service *service_table_by_cert(struct service_table *t, const uint8_t hash[SHA256_LEN]) {
    const struct id key = cert_key(hash);
    struct idnode *node = idmap_find(&t->by_cert, &key);
    return node != NULL ? CONTAINER_OF(node, struct service, by_cert) : NULL;
}

enum err service_table_add(struct service_table *t, const struct service_rec *rec,
                           struct service **ret) {
    struct service *svc;
    enum err e = need_locked(t, &rec->id, &svc);
    if (e != OK) return e;
    if (svc->is_described) return E_EXISTS;
    svc->by_cert.id = cert_key(rec->cert_hash);
    e = idmap_insert(&t->by_cert, &svc->by_cert);
    if (e != OK) return e;
    svc->is_described = true;
    svc->role = rec->role;
    svc->used_s = rec->created_at_s;
    memcpy(svc->cert_hash, rec->cert_hash, sizeof svc->cert_hash);
    if (t->last != NULL) t->last->next = svc;
    if (t->first == NULL) t->first = svc;
    t->last = svc;
    t->n++;
    *ret = svc;
    return OK;
}

enum err service_set_line(struct service *svc, struct bytes line) {
    svc->line = malloc(line.n);
    if (svc->line == NULL) return E_NO_MEMORY;
    memcpy(svc->line, line.p, line.n);
    svc->n_line = line.n;
    return OK;
}

/* ---- forgetting ---- */

void service_use(struct service_table *t, struct service *svc) {
    svc->n_users++;
    if (svc->is_forgotten) t->n_forgotten--;
    svc->is_forgotten = false;
}

void service_unuse(struct service *svc, int64_t now_s) {
    assert(svc->n_users != 0);
    svc->n_users--;
    svc->used_s = now_s;
}

/* Only a session gives queues to a service, so one that is not used gets none. */
static bool has_queues(struct service *svc) {
    bool has = false;
    lock_take(&svc->mtx);
    for (unsigned p = 0; p < N_SUB_PARTIES; p++) has = has || svc->sums[p].n != 0;
    lock_give(&svc->mtx);
    return has;
}

void service_table_forget(struct service_table *t, int64_t before_s) {
    lock_take(&t->mtx);
    for (struct service *svc = t->first; svc != NULL; svc = svc->next) {
        if (svc->is_forgotten || svc->n_users != 0 || svc->used_s >= before_s || has_queues(svc))
            continue;
        svc->is_forgotten = true;
        t->n_forgotten++;
    }
    lock_give(&t->mtx);
}

size_t service_table_n_forgotten(struct service_table *t) {
    lock_take(&t->mtx);
    const size_t n = t->n_forgotten;
    lock_give(&t->mtx);
    return n;
}

static void remove_locked(struct service_table *t, struct service *svc) {
    (void)idmap_remove(&t->by_id, &svc->by_id.id);
    (void)idmap_remove(&t->by_cert, &svc->by_cert.id);
    t->n--;
    t->n_forgotten--;
    free_service(svc);
}

void service_table_sweep(struct service_table *t, bool logs_are_new) {
    lock_take(&t->mtx);
    struct service **at = &t->first;
    t->last = NULL;
    while (*at != NULL) {
        struct service *svc = *at;
        if (svc->is_forgotten && !svc->is_logged && (logs_are_new || !svc->is_left_out)) {
            *at = svc->next;
            remove_locked(t, svc);
        } else {
            t->last = svc;
            at = &svc->next;
        }
    }
    lock_give(&t->mtx);
}

void service_table_counts(struct service_table *t, uint64_t ret_services[N_SUB_PARTIES],
                          uint64_t ret_queues[N_SUB_PARTIES]) {
    for (unsigned p = 0; p < N_SUB_PARTIES; p++) ret_services[p] = ret_queues[p] = 0;
    lock_take(&t->mtx);
    for (struct service *svc = t->first; svc != NULL; svc = svc->next) {
        if (svc->role == SERVICE_MESSAGING) ret_services[SUB_RECIPIENT]++;
        if (svc->role == SERVICE_NOTIFIER) ret_services[SUB_NOTIFIER]++;
        lock_take(&svc->mtx);
        for (unsigned p = 0; p < N_SUB_PARTIES; p++) ret_queues[p] += (uint64_t)svc->sums[p].n;
        lock_give(&svc->mtx);
    }
    lock_give(&t->mtx);
}

/* ---- one service ---- */

void service_count(struct service *svc, enum sub_party party, const struct id *id) {
    if (svc == NULL) return;
    lock_take(&svc->mtx);
    ids_sum_add(&svc->sums[party], id);
    lock_give(&svc->mtx);
}

void service_uncount(struct service *svc, enum sub_party party, const struct id *id) {
    if (svc == NULL) return;
    lock_take(&svc->mtx);
    ids_sum_remove(&svc->sums[party], id);
    lock_give(&svc->mtx);
}

const struct id *service_id(const struct service *svc) {
    return &svc->by_id.id;
}
