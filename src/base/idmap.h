/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* idmap.h -- intrusive hash map from ids to the structs that embed a node.
 *
 * The node carries the key, so an entry costs its node (32 bytes) and a share of the bucket array.
 * The hash is keyed with the seed given to idmap_init(): ids can be chosen by peers (SMP
 * "client-given sender id"), collisions must not be. The map owns its bucket array only, never the
 * entries, and does not lock: callers hold what guards it. */
#pragma once

#include "base/err.h"
#include "base/id.h"

struct idnode {
    struct idnode *next;
    struct id id;
};

struct idmap {
    struct idnode **buckets; /* owned; NULL until the first insert */
    size_t n_buckets;        /* 0 or a power of two */
    size_t n_entries;
    uint64_t seed[3];
};

void idmap_init(struct idmap *m, const uint64_t seed[3]); /* allocates nothing */
void idmap_done(struct idmap *m); /* frees the bucket array; entries are the caller's */
struct idnode *idmap_find(const struct idmap *m, const struct id *id); /* NULL when absent */
MUST_USE enum err idmap_insert(struct idmap *m,
                               struct idnode *node); /* E_EXISTS, E_NO_MEMORY (map unchanged) */
struct idnode *idmap_remove(struct idmap *m, const struct id *id); /* the node taken out, or NULL */

/* Calls visit for every entry; visit may free the entry it is given but must not touch the map. */
void idmap_each(const struct idmap *m, void (*visit)(struct idnode *node, void *ctx), void *ctx);

/* Visits the entries of one bucket and returns the next bucket, or 0 when that was the last (start
 * with 0). A map that grows between two calls may show an entry twice, never leave one out that was
 * there all along: its buckets only split. */
size_t idmap_scan(const struct idmap *m, size_t bucket,
                  void (*visit)(struct idnode *node, void *ctx), void *ctx);

/* Seeded 64-bit hash of an id; also used to choose lock stripes. */
uint64_t id_hash(const uint64_t seed[3], const struct id *id);
