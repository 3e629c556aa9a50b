/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* active.h -- how many different queues were active, in bounded memory.
 *
 * A set holds 64-bit hashes of queue ids: those of the reference, keyed (stats/keys.h), so that its
 * state file can be read and written. Up to ACTIVE_SET_MAX the count is exact. A set that grows
 * beyond it keeps every second hash (level 1), then every fourth, and so on, chosen by the hash
 * itself; what is kept times 2^level estimates the count with a standard error below 0.3 %
 * (adaptive sampling). When memory cannot be had the level rises earlier: counting never fails.
 *
 * The level needs no place in the state file: in a sample of this size all hashes have so many
 * leading zeros only if they were chosen so.
 *
 * No locks: the owner guards it. */
#pragma once

#include "base/bytes.h"
#include "base/id.h"

enum { ACTIVE_SET_MAX = 1 << 18 }; /* hashes of a set: 4 MiB */

/* All zero: empty. */
struct active_set {
    uint64_t *slot; /* owned; open addressing, 0: free; n_slots of them */
    size_t n_slots; /* 0 or a power of two */
    size_t n;       /* hashes held */
    unsigned level; /* 1 of 2^level hashes is held */
};

/* The hash of ids in the reference's state file. The hash 0, one in 2^64, is not counted. */
uint64_t active_hash(struct bytes id);
void active_set_add(struct active_set *s, uint64_t hash);
uint64_t active_set_count(const struct active_set *s);
void active_set_clear(struct active_set *s); /* empty again, without memory */
/* After the hashes of a file were added: finds the level that they were written with. */
void active_set_restored(struct active_set *s);
/* Copies the hashes, in no order. ret has room for s->n. */
void active_set_copy(const struct active_set *s, int64_t *ret);
/* Sorts hashes as the file has them: as signed numbers, ascending. */
void active_sort(int64_t *hash, size_t n);
