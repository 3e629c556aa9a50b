/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/point_priv.h"

#include <openssl/bn.h>

/* Both are little-endian coordinates without the sign bit. The other points of low order have y = 1
 * and y = -1: those fail the test of point_exists() too, as their x is 0. */
static const uint8_t ED25519_LOW_ORDER_Y[][X25519_LEN] = {
    {0}, /* order 4; the next two, of order 8, are the roots of d y^4 + 2 y^2 - 1 */
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
     0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
     0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
     0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
     0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
};

/* u = (1 + y) / (1 - y) of those and of y = -1 (0); p - 1, p and p + 1 are other names of -1, 0
 * and 1. */
static const uint8_t X25519_LOW_ORDER_U[][X25519_LEN] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

static bool is_listed(const uint8_t key[X25519_LEN], const uint8_t (*list)[X25519_LEN], size_t n) {
    uint8_t c[X25519_LEN];
    memcpy(c, key, sizeof c);
    c[X25519_LEN - 1] &= 0x7f;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(c, list[i], sizeof c) == 0) return true;
    }
    return false;
}

/* Twisted Edwards curves a x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo p, of RFC 8032. */
struct curve {
    const char *p, *d; /* hexadecimal */
    bool a_is_minus_1; /* else a = 1 */
};

static const struct curve ED25519 =
    {"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
     "52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3", true};
static const struct curve ED448 =
    {"fffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff"
     "ffffffffffffffffffffffffffffffffffffffffffffffff",
     "fffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff"
     "ffffffffffffffffffffffffffffffffffffffffffff6756",
     false};

/* Whether x^2 = (1 - y^2) / (a - d y^2) has a solution other than 0. The quotient is a square
 * exactly when the product is. */
static bool has_x(const struct curve *c, const BIGNUM *y, BN_CTX *ctx) {
    BIGNUM *p = BN_CTX_get(ctx), *d = BN_CTX_get(ctx), *yy = BN_CTX_get(ctx);
    BIGNUM *top = BN_CTX_get(ctx), *bottom = BN_CTX_get(ctx);
    if (bottom == NULL || BN_hex2bn(&p, c->p) == 0 || BN_hex2bn(&d, c->d) == 0) return false;
    if (BN_cmp(y, p) >= 0) return false; /* not the canonical name of a coordinate */
    if (BN_mod_sqr(yy, y, p, ctx) != 1 || BN_mod_mul(bottom, d, yy, p, ctx) != 1) return false;
    if (BN_copy(top, yy) == NULL || BN_sub_word(top, 1) != 1) return false;
    const int shifted = c->a_is_minus_1 ? BN_add_word(bottom, 1) : BN_sub_word(bottom, 1);
    if (shifted != 1 || BN_mul(top, top, bottom, ctx) != 1) return false;
    return BN_kronecker(top, p, ctx) == 1;
}

static bool point_exists(const struct curve *c, const uint8_t *y_bytes, size_t n) {
    bool found = false;
    BIGNUM *y = BN_lebin2bn(y_bytes, (int)n, NULL);
    BN_CTX *ctx = BN_CTX_new();
    if (y != NULL && ctx != NULL) {
        BN_CTX_start(ctx);
        found = has_x(c, y, ctx);
        BN_CTX_end(ctx);
    }
    BN_CTX_free(ctx);
    BN_free(y);
    return found;
}

static bool is_usable_ed25519(const struct pubkey *k) {
    if (is_listed(k->b, ED25519_LOW_ORDER_Y, ARRAY_LEN(ED25519_LOW_ORDER_Y))) return false;
    uint8_t y[X25519_LEN];
    memcpy(y, k->b, sizeof y);
    y[sizeof y - 1] &= 0x7f; /* the sign of x */
    return point_exists(&ED25519, y, sizeof y);
}

static bool is_usable_ed448(const struct pubkey *k) {
    const struct bytes raw = pubkey_raw(k);
    /* The last byte holds nothing but the sign of x. */
    return (raw.p[raw.n - 1] & 0x7f) == 0 && point_exists(&ED448, raw.p, raw.n - 1);
}

bool point__is_usable(const struct pubkey *k) {
    switch (k->type) {
    case KEY_X25519:
        return !is_listed(k->b, X25519_LOW_ORDER_U, ARRAY_LEN(X25519_LOW_ORDER_U));
    case KEY_ED25519:
        return is_usable_ed25519(k);
    case KEY_ED448:
        return is_usable_ed448(k);
    default:
        return false;
    }
}
