/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/box.h"

#include <sodium.h>

_Static_assert(BOX_KEY_LEN == crypto_secretbox_KEYBYTES, "libsodium's key");
_Static_assert(BOX_KEY_LEN == crypto_core_hsalsa20_OUTPUTBYTES, "libsodium's subkey");
_Static_assert(BOX_NONCE_LEN == crypto_secretbox_NONCEBYTES, "libsodium's nonce");
_Static_assert(BOX_TAG_LEN == crypto_secretbox_MACBYTES, "libsodium's tag");

struct box_key box_key_from_secret(const uint8_t secret[BOX_KEY_LEN]) {
    static const uint8_t zeros[crypto_core_hsalsa20_INPUTBYTES];
    struct box_key k;
    (void)crypto_core_hsalsa20(k.b, zeros, secret, NULL); /* NULL: the standard constant */
    return k;
}

struct box_nonce box_nonce_from_corr_id(struct bytes corr_id) {
    struct box_nonce n = {{0}};
    const size_t len = corr_id.n < BOX_NONCE_LEN ? corr_id.n : BOX_NONCE_LEN;
    if (len != 0) memcpy(n.b, corr_id.p, len);
    return n;
}

struct box_nonce box_nonce_reverse(const struct box_nonce *n) {
    struct box_nonce r;
    for (size_t i = 0; i < BOX_NONCE_LEN; i++) r.b[i] = n->b[BOX_NONCE_LEN - 1 - i];
    return r;
}

void box_seal(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf, size_t n) {
    uint8_t *text = buf + BOX_TAG_LEN;
    (void)crypto_secretbox_detached(text, buf, text, n, nonce->b, k->b);
}

enum err box_open(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf, size_t n,
                  struct bytes *ret) {
    if (n < BOX_TAG_LEN) return E_CRYPTO;
    uint8_t *text = buf + BOX_TAG_LEN;
    const size_t n_text = n - BOX_TAG_LEN;
    /* The tag is checked before anything is written. */
    if (crypto_secretbox_open_detached(text, text, buf, n_text, nonce->b, k->b) != 0) {
        return E_CRYPTO;
    }
    *ret = bytes_of(text, n_text);
    return OK;
}
