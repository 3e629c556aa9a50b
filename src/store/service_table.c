/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/service_table.h"

#include <stdlib.h>

void service_table_init(struct service_table *t, const struct env *env) {
    uint64_t seed[3];
    env_random(env, seed, sizeof seed);
    *t = (struct service_table){0};
    lock_init(&t->mtx, LOCK_SERVICES);
    idmap_init(&t->by_id, seed);
    idmap_init(&t->by_cert, seed);
}

static void free_service(struct idnode *node, void *ctx) {
    (void)ctx;
    struct service *svc = CONTAINER_OF(node, struct service, by_id);
    lock_done(&svc->mtx);
    free(svc->line);
    free(svc);
}

void service_table_done(struct service_table *t) {
    idmap_done(&t->by_cert);
    idmap_each(&t->by_id, free_service, NULL);
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
