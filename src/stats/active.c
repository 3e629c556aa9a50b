/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/active.h"

#include <stdlib.h>

enum {
    SLOTS_MIN = 256,
    /* A sample that was cut back to half is this large but for odds of less than 2^-1000. */
    SAMPLE_MIN = ACTIVE_SET_MAX / 8,
    LEVEL_MAX = 40, /* above the bits that choose a slot */
};

/* FNV-1 over the length, in four parts, and then the bytes, as hashable 1.4 does. */
uint64_t active_hash(struct bytes id) {
    static const uint64_t OFFSET = UINT64_C(14695981039346656037), PRIME = UINT64_C(1099511628211);
    uint64_t h = OFFSET;
    for (int shift = 48; shift >= 0; shift -= 16)
        h = h * PRIME ^ ((uint64_t)id.n >> shift & 0xffff);
    for (size_t i = 0; i < id.n; i++) h = h * PRIME ^ id.p[i];
    return h;
}

/* FNV-1 mixes its last bytes badly; slots and samples are chosen by this (the finalizer of
 * splitmix64: a bijection). */
static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

/* Leading zeros, at most LEVEL_MAX. */
static unsigned level_of(uint64_t mixed) {
    unsigned level = 0;
    while (level < LEVEL_MAX && (mixed >> (63 - level) & 1) == 0) level++;
    return level;
}

/* Where the hash is, or the free slot where it belongs. */
static size_t find(const struct active_set *s, uint64_t hash) {
    size_t i = mix(hash) & (s->n_slots - 1);
    while (s->slot[i] != 0 && s->slot[i] != hash) i = (i + 1) & (s->n_slots - 1);
    return i;
}

/* Takes slot i out, and closes the gap with what stands behind it because of a collision. */
static void remove_at(struct active_set *s, size_t i) {
    const size_t mask = s->n_slots - 1;
    for (size_t j = (i + 1) & mask; s->slot[j] != 0; j = (j + 1) & mask) {
        const size_t home = mix(s->slot[j]) & mask;
        if (((j - home) & mask) < ((j - i) & mask)) continue; /* its home is behind the gap */
        s->slot[i] = s->slot[j];
        i = j;
    }
    s->slot[i] = 0;
    s->n--;
}

/* Half of the hashes go. */
static void raise_level(struct active_set *s) {
    s->level++;
    for (size_t i = 0; i < s->n_slots; i++) {
        while (s->slot[i] != 0 && level_of(mix(s->slot[i])) < s->level) remove_at(s, i);
    }
}

static bool grow(struct active_set *s) {
    const struct active_set old = *s;
    s->n_slots = old.n_slots != 0 ? old.n_slots * 2 : SLOTS_MIN;
    s->slot = calloc(s->n_slots, sizeof *s->slot);
    if (s->slot == NULL) {
        *s = old;
        return false;
    }
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.slot[i] != 0) s->slot[find(s, old.slot[i])] = old.slot[i];
    }
    free(old.slot);
    return true;
}

/* False: there is no memory for even one. */
static bool make_room(struct active_set *s) {
    if (s->n < s->n_slots / 2 && s->n < ACTIVE_SET_MAX) return true;
    if (s->n < ACTIVE_SET_MAX && grow(s)) return true;
    while (s->n_slots != 0 && s->n >= s->n_slots / 2 && s->level < LEVEL_MAX) raise_level(s);
    return s->n < s->n_slots / 2;
}

void active_set_add(struct active_set *s, uint64_t hash) {
    if (hash == 0 || level_of(mix(hash)) < s->level) return;
    if (s->n_slots != 0 && s->slot[find(s, hash)] == hash) return;
    if (!make_room(s) || level_of(mix(hash)) < s->level) return;
    s->slot[find(s, hash)] = hash;
    s->n++;
}

uint64_t active_set_count(const struct active_set *s) {
    return (uint64_t)s->n << s->level;
}

void active_set_clear(struct active_set *s) {
    free(s->slot);
    *s = (struct active_set){.slot = NULL};
}

void active_set_restored(struct active_set *s) {
    unsigned level = LEVEL_MAX;
    if (s->n < SAMPLE_MIN) return;
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slot[i] == 0) continue;
        const unsigned l = level_of(mix(s->slot[i]));
        if (l < level) level = l;
    }
    s->level = level;
}

void active_set_copy(const struct active_set *s, int64_t *ret) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_slots; i++) {
        if (s->slot[i] != 0) ret[n++] = (int64_t)s->slot[i];
    }
}

static int by_value(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void active_sort(int64_t *hash, size_t n) {
    if (n != 0) qsort(hash, n, sizeof *hash, by_value);
}
