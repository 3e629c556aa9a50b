/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/box.h"

#include <sodium.h>

#include "crypto/crypto.h"

_Static_assert(BOX_KEY_LEN == crypto_secretbox_KEYBYTES, "libsodium's key");
_Static_assert(BOX_KEY_LEN == crypto_core_hsalsa20_OUTPUTBYTES, "libsodium's subkey");
_Static_assert(BOX_NONCE_LEN == crypto_secretbox_NONCEBYTES, "libsodium's nonce");
_Static_assert((int)BOX_TAG_LEN == (int)POLY1305_LEN, "a tag");
_Static_assert(BOX_NONCE_LEN == crypto_core_hsalsa20_INPUTBYTES + crypto_stream_salsa20_NONCEBYTES,
               "what HSalsa20 and Salsa20 take");

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

/* ---- the cipher: stream and tag are called apart, because OpenSSL's Poly1305 uses wider registers
 * than libsodium's ---- */

enum { FIRST_LEN = 32 }; /* bytes of text that share the stream's first block with the tag's key */

struct stream {
    uint8_t key[crypto_stream_salsa20_KEYBYTES]; /* secret, as the next */
    uint8_t first[POLY1305_KEY_LEN + FIRST_LEN]; /* the stream's first block */
    const uint8_t *nonce;                        /* borrowed: the part that Salsa20 takes */
};

static void stream_init(struct stream *s, const struct box_key *k, const struct box_nonce *nonce) {
    (void)crypto_core_hsalsa20(s->key, nonce->b, k->b, NULL);
    s->nonce = nonce->b + crypto_core_hsalsa20_INPUTBYTES;
    (void)crypto_stream_salsa20(s->first, sizeof s->first, s->nonce, s->key);
}

static void stream_xor(const struct stream *s, uint8_t *text, size_t n) {
    const size_t n_first = n < FIRST_LEN ? n : FIRST_LEN;
    for (size_t i = 0; i < n_first; i++) text[i] ^= s->first[POLY1305_KEY_LEN + i];
    if (n > n_first)
        (void)crypto_stream_salsa20_xor_ic(text + n_first, text + n_first, n - n_first, s->nonce, 1,
                                           s->key);
}

void box_seal(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf, size_t n) {
    struct stream s;
    stream_init(&s, k, nonce);
    stream_xor(&s, buf + BOX_TAG_LEN, n);
    crypto_poly1305(s.first, bytes_of(buf + BOX_TAG_LEN, n), buf);
    crypto_wipe(&s, sizeof s);
}

enum err box_open(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf, size_t n,
                  struct bytes *ret) {
    if (n < BOX_TAG_LEN) return E_CRYPTO;
    const struct bytes text = bytes_of(buf + BOX_TAG_LEN, n - BOX_TAG_LEN);
    uint8_t tag[BOX_TAG_LEN];
    struct stream s;
    stream_init(&s, k, nonce);
    crypto_poly1305(s.first, text, tag);
    /* The tag is checked before anything is written. */
    const bool good = crypto_equal(bytes_of(tag, sizeof tag), bytes_of(buf, sizeof tag));
    if (good) {
        stream_xor(&s, buf + BOX_TAG_LEN, text.n);
        *ret = text;
    }
    crypto_wipe(&s, sizeof s);
    return good ? OK : E_CRYPTO;
}
