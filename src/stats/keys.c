/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/keys.h"

#include "base/rd.h"
#include "base/wr.h"

static const char MAGIC[] = "smp-stats-key 1\n";

_Static_assert(sizeof MAGIC - 1 == 16, "the file's first bytes");

void stats_keys_renew(struct stats_keys *k, enum stat_period p, const struct env *env) {
    env_random(env, k->key[p], sizeof k->key[p]);
}

uint64_t stats_keyed(const struct stats_keys *k, enum stat_period p, uint64_t hash) {
    uint8_t b[sizeof hash];
    struct wr w = wr_init(b, sizeof b);
    wr_i64(&w, (int64_t)hash);
    return crypto_siphash(k->key[p], wr_bytes(&w));
}

void stats_keys_write(const struct stats_keys *k, const uint8_t before[SHA256_LEN],
                      const uint8_t now[SHA256_LEN], uint8_t ret[STATS_KEY_FILE_LEN]) {
    struct wr w = wr_init(ret, STATS_KEY_FILE_LEN);
    wr_str(&w, MAGIC);
    wr_bytes_raw(&w, bytes_of(k->key, sizeof k->key));
    wr_bytes_raw(&w, bytes_of(before, SHA256_LEN));
    wr_bytes_raw(&w, bytes_of(now, SHA256_LEN));
}

bool stats_keys_read(struct bytes file, const uint8_t state[SHA256_LEN], struct stats_keys *ret) {
    struct rd r = rd_init(file);
    const struct bytes magic = rd_take(&r, sizeof MAGIC - 1);
    const struct bytes keys = rd_take(&r, sizeof ret->key);
    const struct bytes before = rd_take(&r, SHA256_LEN), now = rd_take(&r, SHA256_LEN);
    if (rd_end(&r) != OK || !bytes_equal(magic, bytes_str(MAGIC))) return false;
    const struct bytes it = bytes_of(state, SHA256_LEN);
    if (!bytes_equal(it, before) && !bytes_equal(it, now)) return false;
    memcpy(ret->key, keys.p, sizeof ret->key);
    return true;
}
