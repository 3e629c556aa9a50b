/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/crypto.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>

_Static_assert(POLY1305_KEY_LEN == crypto_onetimeauth_KEYBYTES, "libsodium's key");
_Static_assert(POLY1305_LEN == crypto_onetimeauth_BYTES, "libsodium's tag");
_Static_assert(SIPHASH_KEY_LEN == crypto_shorthash_KEYBYTES, "libsodium's key");
_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "libsodium's hash");
_Static_assert(SHA512_LEN == crypto_auth_hmacsha512_BYTES, "HKDF counts in SHA-512 blocks");

/* Set by crypto_init() before threads start, only read afterwards. Never freed: they serve until
 * the process ends. */
static EVP_MD *md_md5, *md_sha1, *md_sha256, *md_sha3_384, *md_sha512;
static EVP_MAC *mac_poly1305; /* NULL: this libcrypto has none */

enum err crypto_init(void) {
    if (sodium_init() < 0) return E_CRYPTO;
    if (md_md5 == NULL) md_md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    if (md_sha1 == NULL) md_sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    if (md_sha256 == NULL) md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (md_sha3_384 == NULL) md_sha3_384 = EVP_MD_fetch(NULL, "SHA3-384", NULL);
    if (md_sha512 == NULL) md_sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    if (mac_poly1305 == NULL) mac_poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    const bool complete = md_md5 != NULL && md_sha1 != NULL && md_sha256 != NULL &&
                          md_sha3_384 != NULL && md_sha512 != NULL;
    ERR_clear_error();
    return complete ? OK : E_CRYPTO;
}

bool crypto_equal(struct bytes a, struct bytes b) {
    return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

void crypto_wipe(void *p, size_t n) {
    sodium_memzero(p, n);
}

/* Libraries promise their compilers that pointers are not NULL, even those to nothing. */
static const uint8_t *start_of(struct bytes b) {
    static const uint8_t nothing[1];
    return b.p != NULL ? b.p : nothing;
}

static enum err digest(const EVP_MD *md, struct bytes m, uint8_t *ret) {
    return EVP_Digest(start_of(m), m.n, ret, NULL, md, NULL) == 1 ? OK : E_CRYPTO;
}

enum err crypto_md5(struct bytes m, uint8_t ret[MD5_LEN]) {
    return digest(md_md5, m, ret);
}

enum err crypto_sha1(struct bytes m, uint8_t ret[SHA1_LEN]) {
    return digest(md_sha1, m, ret);
}

enum err crypto_sha256(struct bytes m, uint8_t ret[SHA256_LEN]) {
    return digest(md_sha256, m, ret);
}

enum err crypto_sha3_384(struct bytes m, uint8_t ret[SHA384_LEN]) {
    return digest(md_sha3_384, m, ret);
}

enum err crypto_sha512_2(struct bytes a, struct bytes b, uint8_t ret[SHA512_LEN]) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool done = ctx != NULL && EVP_DigestInit_ex2(ctx, md_sha512, NULL) == 1 &&
                      EVP_DigestUpdate(ctx, start_of(a), a.n) == 1 &&
                      EVP_DigestUpdate(ctx, start_of(b), b.n) == 1 &&
                      EVP_DigestFinal_ex(ctx, ret, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? OK : E_CRYPTO;
}

static bool poly1305_libcrypto(const uint8_t key[POLY1305_KEY_LEN], struct bytes m,
                               uint8_t ret[POLY1305_LEN]) {
    if (mac_poly1305 == NULL) return false;
    size_t n = 0;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac_poly1305);
    const bool done = ctx != NULL && EVP_MAC_init(ctx, key, POLY1305_KEY_LEN, NULL) == 1 &&
                      EVP_MAC_update(ctx, start_of(m), m.n) == 1 &&
                      EVP_MAC_final(ctx, ret, &n, POLY1305_LEN) == 1;
    EVP_MAC_CTX_free(ctx);
    return done;
}

/* libcrypto's uses the widest registers that there are; libsodium's needs nothing and cannot fail.
 */
void crypto_poly1305(const uint8_t key[POLY1305_KEY_LEN], struct bytes m,
                     uint8_t ret[POLY1305_LEN]) {
    if (!poly1305_libcrypto(key, m, ret)) (void)crypto_onetimeauth(ret, start_of(m), m.n, key);
}

uint64_t crypto_siphash(const uint8_t key[SIPHASH_KEY_LEN], struct bytes m) {
    uint8_t h[crypto_shorthash_BYTES];
    uint64_t v = 0;
    (void)crypto_shorthash(h, start_of(m), m.n, key);
    for (size_t i = sizeof h; i != 0; i--) v = v << 8 | h[i - 1]; /* little endian */
    return v;
}

/* HMAC-SHA-512 over the concatenation of three views, from a state that has taken the key: several
 * with one key take it once. */
static void hmac(const crypto_auth_hmacsha512_state *keyed, struct bytes a, struct bytes b,
                 struct bytes c, uint8_t ret[SHA512_LEN]) {
    crypto_auth_hmacsha512_state state = *keyed;
    (void)crypto_auth_hmacsha512_update(&state, start_of(a), a.n);
    (void)crypto_auth_hmacsha512_update(&state, start_of(b), b.n);
    (void)crypto_auth_hmacsha512_update(&state, start_of(c), c.n);
    (void)crypto_auth_hmacsha512_final(&state, ret);
    crypto_wipe(&state, sizeof state);
}

static void hmac_key(struct bytes key, crypto_auth_hmacsha512_state *ret) {
    (void)crypto_auth_hmacsha512_init(ret, start_of(key), key.n);
}

enum err crypto_hkdf(struct bytes salt, struct bytes ikm, struct bytes info, uint8_t *ret_out,
                     size_t n_out) {
    if (n_out > (size_t)UINT8_MAX * SHA512_LEN) return E_CRYPTO;
    const struct bytes none = {0};
    uint8_t prk[SHA512_LEN], t[SHA512_LEN];
    crypto_auth_hmacsha512_state keyed;
    hmac_key(salt, &keyed);
    hmac(&keyed, ikm, none, none, prk);
    hmac_key(bytes_of(prk, sizeof prk), &keyed);
    struct bytes previous = none;
    for (uint8_t i = 1; n_out > 0; i++) {
        hmac(&keyed, previous, info, bytes_of(&i, 1), t);
        previous = bytes_of(t, sizeof t);
        const size_t n = n_out < sizeof t ? n_out : sizeof t;
        memcpy(ret_out, t, n);
        ret_out += n;
        n_out -= n;
    }
    crypto_wipe(&keyed, sizeof keyed);
    crypto_wipe(prk, sizeof prk);
    crypto_wipe(t, sizeof t);
    return OK;
}
