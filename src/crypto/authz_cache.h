/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* authz_cache.h -- the agreements of authenticators that have verified, so that the next one of the
 * same key in the same session costs a fifth.
 *
 * One cache serves all sessions of a thread: a table of fixed size, whose pages cost memory once
 * they are used. It is a cache of sets: a key has AUTHZ_CACHE_WAYS places, and takes that which was
 * used longest ago. Whoever fills it with keys of its own makes others agree anew, as they would
 * without it.
 *
 * What it tells by time: nothing to those who are refused, as authz.c makes the agreement anew for
 * each refusal. Who holds a key learns whether it was used lately in this session, which is that
 * of a proxy for all its clients, and whether others needed the place.
 *
 * An entry is wiped when its place is taken, when its session ends, and with the cache. */
#pragma once

#include "base/list.h"
#include "crypto/box.h"
#include "crypto/key.h"

/* 3.4 MB for each thread if all is used: more than 10,000 sessions that send to three queues each.
 */
enum { AUTHZ_CACHE_ENTRIES = 32768, AUTHZ_CACHE_WAYS = 4 };

struct authz_cache; /* of one thread */

/* The part of one session. Owner thread only. */
struct authz_session {
    struct authz_cache *cache; /* borrowed */
    struct list entries;
};

/* seed: keys the choice of places, so that peers cannot. E_NO_MEMORY. */
MUST_USE enum err authz_cache_new(const uint64_t seed[3], struct authz_cache **ret);
void authz_cache_free(struct authz_cache *owned); /* after its sessions; NULL is a no-op */

void authz_session_init(struct authz_session *s, struct authz_cache *borrowed);
void authz_session_done(struct authz_session *s); /* wipes its entries; twice does no harm */

/* The agreement with this X25519 key, valid until the next call with this cache; NULL: not here. */
const struct box_key *authz_session_find(const struct authz_session *s, const struct pubkey *k);
/* Only after a verification; the key is not there yet. */
void authz_session_add(struct authz_session *s, const struct pubkey *k, const struct box_key *key);
