/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/service_record.h"

_Static_assert((int)IDS_HASH_LEN == (int)MD5_LEN, "the sum is one of MD5");

static void toggle(struct ids_sum *s, const struct id *id) {
    uint8_t hash[MD5_LEN];
    if (crypto_md5(id_bytes(id), hash) != OK) return;
    for (size_t i = 0; i < sizeof hash; i++) s->hash[i] ^= hash[i];
}

void ids_sum_add(struct ids_sum *s, const struct id *id) {
    toggle(s, id);
    s->n++;
}

void ids_sum_remove(struct ids_sum *s, const struct id *id) {
    if (s->n <= 1) {
        *s = (struct ids_sum){0};
    } else {
        toggle(s, id);
        s->n--;
    }
}
