/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* keys.h -- the secrets by which hashes of queue ids are kept, one for each period.
 *
 * The hash of an id that the reference keeps can be computed by everybody who knows the id; so each
 * goes through SipHash with a key of its period before it is kept. A key is random, made when its
 * period begins and forgotten with the period: from then on nobody can tell whose the hashes of old
 * files are.
 *
 * The file of keys is written before the state file, and names by their SHA-256 the state files
 * whose hashes are made with these keys: the one before, and the one that comes. A state file that
 * it does not name was written by the reference (or the keys were lost): its hashes go through the
 * keys once more. Pure; any thread. */
#pragma once

#include "base/env.h"
#include "crypto/crypto.h"
#include "stats/stats.h"

struct stats_keys {
    uint8_t key[N_STAT_PERIODS][SIPHASH_KEY_LEN];
};

enum { STATS_KEY_FILE_LEN = 16 + N_STAT_PERIODS * SIPHASH_KEY_LEN + 2 * SHA256_LEN };

void stats_keys_renew(struct stats_keys *k, enum stat_period p, const struct env *env);
uint64_t stats_keyed(const struct stats_keys *k, enum stat_period p, uint64_t hash);

/* What the file is to hold: docs/FORMATS.md. */
void stats_keys_write(const struct stats_keys *k, const uint8_t before[SHA256_LEN],
                      const uint8_t now[SHA256_LEN], uint8_t ret[STATS_KEY_FILE_LEN]);
/* False: it is no such file, or does not name this state file. */
bool stats_keys_read(struct bytes file, const uint8_t state[SHA256_LEN], struct stats_keys *ret);
