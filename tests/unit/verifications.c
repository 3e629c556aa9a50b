/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "verifications.h"

#include "crypto/point_priv.h"

static struct verifications counted;

bool __real_point__is_usable(const struct pubkey *k);
bool __wrap_point__is_usable(const struct pubkey *k);
bool __real_pubkey_verify(const struct pubkey *k, struct bytes sig, struct bytes text_a,
                          struct bytes text_b);
bool __wrap_pubkey_verify(const struct pubkey *k, struct bytes sig, struct bytes text_a,
                          struct bytes text_b);
enum err __real_x25519_dh(const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN],
                          uint8_t ret[X25519_LEN]);
enum err __wrap_x25519_dh(const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN],
                          uint8_t ret[X25519_LEN]);

struct verifications verifications_taken(void) {
    const struct verifications v = counted;
    counted = (struct verifications){0};
    return v;
}

static void count(const struct pubkey *k) {
    if (__real_point__is_usable(k)) counted.full[k->type]++;
}

bool __wrap_point__is_usable(const struct pubkey *k) {
    counted.checks++;
    return __real_point__is_usable(k);
}

bool __wrap_pubkey_verify(const struct pubkey *k, struct bytes sig, struct bytes text_a,
                          struct bytes text_b) {
    count(k);
    return __real_pubkey_verify(k, sig, text_a, text_b);
}

enum err __wrap_x25519_dh(const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN],
                          uint8_t ret[X25519_LEN]) {
    const struct pubkey k = pubkey_from_x25519(pub);
    count(&k);
    return __real_x25519_dh(priv, pub, ret);
}
