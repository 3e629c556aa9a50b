/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/idmap.h"

#include <stdlib.h>

enum { MIN_BUCKETS = 4 };

/* 64 x 64 -> 128 bit multiply folded to 64 bits: every input bit reaches every output bit. */
static uint64_t fold(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 u128;
    const u128 p = (u128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t id_hash(const uint64_t seed[3], const struct id *id) {
    uint64_t w[3];
    memcpy(w, id->b, sizeof w);
    const uint64_t h = fold(w[0] ^ seed[0], w[1] ^ seed[1]);
    return fold(h ^ w[2] ^ seed[2], seed[0] ^ 0x9e3779b97f4a7c15U);
}

void idmap_init(struct idmap *m, const uint64_t seed[3]) {
    *m = (struct idmap){.seed = {seed[0], seed[1], seed[2]}};
}

void idmap_done(struct idmap *m) {
    free(m->buckets);
    m->buckets = NULL;
    m->n_buckets = m->n_entries = 0;
}

/* The link that points to the entry with this id, or to the NULL at the end of its chain. */
static struct idnode **find_link(const struct idmap *m, const struct id *id) {
    struct idnode **link = &m->buckets[id_hash(m->seed, id) & (m->n_buckets - 1)];
    while (*link != NULL && !id_equal(&(*link)->id, id)) link = &(*link)->next;
    return link;
}

struct idnode *idmap_find(const struct idmap *m, const struct id *id) {
    return m->n_buckets != 0 ? *find_link(m, id) : NULL;
}

static enum err grow(struct idmap *m) {
    const size_t n = m->n_buckets != 0 ? m->n_buckets * 2 : MIN_BUCKETS;
    struct idnode **buckets = calloc(n, sizeof(struct idnode *));
    if (buckets == NULL) return E_NO_MEMORY;
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct idnode *node = m->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            struct idnode **to = &buckets[id_hash(m->seed, &node->id) & (n - 1)];
            node->next = *to;
            *to = node;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
    return OK;
}

enum err idmap_insert(struct idmap *m, struct idnode *node) {
    struct idnode **to = m->n_buckets != 0 ? find_link(m, &node->id) : NULL;
    if (to != NULL && *to != NULL) return E_EXISTS;
    if (to == NULL || m->n_entries == m->n_buckets) {
        const enum err e = grow(m);
        if (e != OK) return e;
        to = find_link(m, &node->id);
    }
    node->next = NULL;
    *to = node;
    m->n_entries++;
    return OK;
}

struct idnode *idmap_remove(struct idmap *m, const struct id *id) {
    if (m->n_buckets == 0) return NULL;
    struct idnode **link = find_link(m, id);
    struct idnode *node = *link;
    if (node == NULL) return NULL;
    *link = node->next;
    node->next = NULL;
    m->n_entries--;
    return node;
}

size_t idmap_scan(const struct idmap *m, size_t bucket,
                  void (*visit)(struct idnode *node, void *ctx), void *ctx) {
    if (bucket >= m->n_buckets) return 0;
    for (struct idnode *node = m->buckets[bucket], *next; node != NULL; node = next) {
        next = node->next;
        visit(node, ctx);
    }
    return bucket + 1 < m->n_buckets ? bucket + 1 : 0;
}

void idmap_each(const struct idmap *m, void (*visit)(struct idnode *node, void *ctx), void *ctx) {
    for (size_t i = 0; i < m->n_buckets; i++) (void)idmap_scan(m, i, visit, ctx);
}
