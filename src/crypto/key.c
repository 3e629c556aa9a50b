/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>

_Static_assert(X25519_LEN == crypto_scalarmult_BYTES, "libsodium's X25519");
_Static_assert(ED25519_SIG_LEN == crypto_sign_BYTES, "libsodium's Ed25519");

/* Signed texts are verified in one piece by both libraries. Room for all that a block can carry,
 * and for the service hash and the session id before it (SMP protocol, "Cryptographic algorithms":
 * Ed25519 and Ed448 are used without prehash). */
enum { MAX_TEXT = 16384 + 512 };

/* SEQUENCE { SEQUENCE { OID 1.3.101.<last> }, BIT STRING } (RFC 8410), up to the key. */
enum { SPKI_HEADER_LEN = 12 };
struct spki_form {
    uint8_t header[SPKI_HEADER_LEN];
    uint8_t key_len;
};

/* clang-format off */
static const struct spki_form FORMS[N_KEY_TYPES] = {
    [KEY_X25519]  = {{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00}, 32},
    [KEY_ED25519] = {{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}, 32},
    [KEY_X448]    = {{0x30, 0x42, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6f, 0x03, 0x39, 0x00}, 56},
    [KEY_ED448]   = {{0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00}, 57},
};
/* clang-format on */

static const struct spki_form *form(unsigned type) {
    return &FORMS[type < N_KEY_TYPES ? type : (unsigned)KEY_NONE];
}

size_t pubkey_spki_len(enum key_type t) {
    const size_t key_len = form(t)->key_len;
    return key_len != 0 ? SPKI_HEADER_LEN + key_len : 0;
}

enum err pubkey_from_spki(struct bytes der, struct pubkey *ret) {
    for (unsigned t = KEY_NONE + 1; t < N_KEY_TYPES; t++) {
        if (der.n != pubkey_spki_len(t)) continue;
        if (memcmp(der.p, FORMS[t].header, SPKI_HEADER_LEN) != 0) continue;
        *ret = (struct pubkey){.type = (uint8_t)t};
        memcpy(ret->b, der.p + SPKI_HEADER_LEN, FORMS[t].key_len);
        return OK;
    }
    return E_SYNTAX;
}

void pubkey_write_spki(const struct pubkey *k, struct wr *w) {
    if (pubkey_spki_len(k->type) == 0) return;
    wr_bytes_raw(w, bytes_of(form(k->type)->header, SPKI_HEADER_LEN));
    wr_bytes_raw(w, pubkey_raw(k));
}

struct bytes pubkey_raw(const struct pubkey *k) {
    return bytes_of(k->b, form(k->type)->key_len);
}

bool pubkey_equal(const struct pubkey *a, const struct pubkey *b) {
    return a->type == b->type && bytes_equal(pubkey_raw(a), pubkey_raw(b));
}

bool pubkey_can_authorize(const struct pubkey *k) {
    return k->type == KEY_X25519 || k->type == KEY_ED25519 || k->type == KEY_ED448;
}

static bool verify_ed25519(const struct pubkey *k, struct bytes sig, struct bytes text) {
    return crypto_sign_verify_detached(sig.p, text.p, text.n, k->b) == 0;
}

static bool verify_ed448(const struct pubkey *k, struct bytes sig, struct bytes text) {
    const struct bytes raw = pubkey_raw(k);
    ERR_set_mark();
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED448", NULL, raw.p, raw.n);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool good = pkey != NULL && ctx != NULL &&
                      EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, NULL) == 1 &&
                      EVP_DigestVerify(ctx, sig.p, sig.n, text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_pop_to_mark(); /* a refused signature must not look like an error of the next TLS call */
    return good;
}

bool pubkey_verify(const struct pubkey *k, struct bytes sig, struct bytes text_a,
                   struct bytes text_b) {
    uint8_t text[MAX_TEXT];
    struct wr w = wr_init(text, sizeof text);
    wr_bytes_raw(&w, text_a);
    wr_bytes_raw(&w, text_b);
    if (wr_err(&w) != OK) return false;
    if (k->type == KEY_ED25519 && sig.n == ED25519_SIG_LEN) {
        return verify_ed25519(k, sig, wr_bytes(&w));
    }
    if (k->type == KEY_ED448 && sig.n == ED448_SIG_LEN) return verify_ed448(k, sig, wr_bytes(&w));
    return false;
}

void x25519_pair_new(const struct env *env, struct x25519_pair *ret) {
    env_random(env, ret->priv, sizeof ret->priv);
    (void)crypto_scalarmult_base(ret->pub, ret->priv);
}

enum err x25519_dh(const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN],
                   uint8_t ret[X25519_LEN]) {
    /* libsodium refuses the points of low order, whose shared point is zero for every private key.
     */
    return crypto_scalarmult(ret, priv, pub) == 0 ? OK : E_CRYPTO;
}

struct pubkey pubkey_from_x25519(const uint8_t pub[X25519_LEN]) {
    struct pubkey k = {.type = KEY_X25519};
    memcpy(k.b, pub, X25519_LEN);
    return k;
}

/* ---- Ed25519, the signing side ---- */

_Static_assert(ED25519_LEN == crypto_sign_PUBLICKEYBYTES, "libsodium's Ed25519");
_Static_assert(ED25519_SECRET_LEN == crypto_sign_SECRETKEYBYTES, "libsodium's Ed25519");

void ed25519_key_new(const struct env *env, struct ed25519_key *ret) {
    uint8_t seed[crypto_sign_SEEDBYTES], pub[ED25519_LEN];
    env_random(env, seed, sizeof seed);
    (void)crypto_sign_seed_keypair(pub, ret->secret, seed); /* cannot fail */
    sodium_memzero(seed, sizeof seed);
}

struct pubkey pubkey_from_ed25519(const struct ed25519_key *k) {
    struct pubkey pub = {.type = KEY_ED25519};
    memcpy(pub.b, k->secret + ED25519_SECRET_LEN - ED25519_LEN, ED25519_LEN);
    return pub;
}

enum err ed25519_sign(const struct ed25519_key *k, struct bytes text_a, struct bytes text_b,
                      uint8_t ret[ED25519_SIG_LEN]) {
    uint8_t text[MAX_TEXT];
    struct wr w = wr_init(text, sizeof text);
    wr_bytes_raw(&w, text_a);
    wr_bytes_raw(&w, text_b);
    if (wr_err(&w) != OK) return wr_err(&w);
    (void)crypto_sign_detached(ret, NULL, text, w.at, k->secret); /* cannot fail */
    return OK;
}
