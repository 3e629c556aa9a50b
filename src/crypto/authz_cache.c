/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/authz_cache.h"

#include <assert.h>
#include <stdlib.h>

#include "base/idmap.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"

_Static_assert((int)ID_LEN <= (int)X25519_LEN, "a place is chosen by the first bytes of a key");

struct entry {
    struct list in_session;
    const struct authz_session *owner; /* borrowed; NULL: free */
    uint64_t used;                     /* the cache's clock at the last use */
    uint8_t pub[X25519_LEN];
    struct box_key key; /* secret */
};

enum { ENTRIES_LEN = AUTHZ_CACHE_ENTRIES * sizeof(struct entry) };

struct authz_cache {
    uint64_t seed[3];
    uint64_t clock;
    struct entry
        *entries; /* owned, of secret.h: AUTHZ_CACHE_ENTRIES of them, all zero until used */
};

enum err authz_cache_new(const uint64_t seed[3], struct authz_cache **ret) {
    struct authz_cache *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    c->entries = secret_new(ENTRIES_LEN);
    if (c->entries == NULL) {
        free(c);
        return E_NO_MEMORY;
    }
    memcpy(c->seed, seed, sizeof c->seed);
    *ret = c;
    return OK;
}

void authz_cache_free(struct authz_cache *owned) {
    if (owned == NULL) return;
    secret_free(owned->entries, ENTRIES_LEN);
    free(owned);
}

static void clear(struct entry *e) {
    list_remove(&e->in_session);
    crypto_wipe(e, sizeof *e);
}

void authz_session_init(struct authz_session *s, struct authz_cache *borrowed) {
    s->cache = borrowed;
    list_init(&s->entries);
}

void authz_session_done(struct authz_session *s) {
    for (struct list *l; (l = list_first(&s->entries)) != NULL;)
        clear(CONTAINER_OF(l, struct entry, in_session));
}

/* The places of a key: AUTHZ_CACHE_WAYS entries. */
static struct entry *places(const struct authz_cache *c, const struct pubkey *k) {
    struct id id;
    memcpy(id.b, k->b, sizeof id.b);
    const size_t n_sets = AUTHZ_CACHE_ENTRIES / AUTHZ_CACHE_WAYS;
    return &c->entries[id_hash(c->seed, &id) % n_sets * AUTHZ_CACHE_WAYS];
}

const struct box_key *authz_session_find(const struct authz_session *s, const struct pubkey *k) {
    struct entry *e = places(s->cache, k);
    for (size_t i = 0; i < AUTHZ_CACHE_WAYS; i++, e++) {
        if (e->owner != s || memcmp(e->pub, k->b, sizeof e->pub) != 0) continue;
        e->used = ++s->cache->clock;
        return &e->key;
    }
    return NULL;
}

void authz_session_add(struct authz_session *s, const struct pubkey *k, const struct box_key *key) {
    assert(k->type == KEY_X25519);
    struct entry *set = places(s->cache, k), *e = set;
    for (size_t i = 1; i < AUTHZ_CACHE_WAYS; i++) {
        if (set[i].used < e->used) e = &set[i]; /* free ones were used never */
    }
    if (e->owner != NULL) clear(e);
    *e = (struct entry){.owner = s, .used = ++s->cache->clock, .key = *key};
    memcpy(e->pub, k->b, sizeof e->pub);
    list_push_back(&s->entries, &e->in_session);
}
