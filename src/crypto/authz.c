/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/authz.h"

#include "crypto/crypto.h"
#include "crypto/point_priv.h"

_Static_assert(AUTHENTICATOR_LEN == BOX_TAG_LEN + SHA512_LEN, "a box that holds a SHA-512");

/* Keys that nobody holds: the coordinate is the start of SHAKE-256("smp-server dummy <algorithm>
 * key <i>") with the sign bits cleared, for the smallest i that gives a point of the curve (0 for
 * Ed25519, 1 for Ed448, 0 for X25519, where every value does). None has a low order, so that
 * verifying with them is the full work. */
/* clang-format off */
static const struct pubkey DUMMIES[N_KEY_TYPES] = {
    [KEY_X25519] = {KEY_X25519, {
        0xf1, 0x6e, 0xff, 0x23, 0xce, 0xfc, 0xc2, 0x69, 0x3c, 0x98, 0xb4, 0xb1,
        0x74, 0xb5, 0x73, 0x1f, 0xb5, 0xfe, 0x72, 0x11, 0xb5, 0x85, 0x30, 0x8c,
        0xe2, 0x5d, 0x5a, 0xc2, 0xa3, 0xb3, 0x33, 0x2a}},
    [KEY_ED25519] = {KEY_ED25519, {
        0x46, 0x59, 0x1c, 0xae, 0xaf, 0x82, 0x98, 0x36, 0x5a, 0x46, 0xb9, 0x07,
        0xa6, 0x42, 0xda, 0x4a, 0x25, 0xc8, 0xb3, 0xf3, 0x40, 0x25, 0x61, 0x19,
        0xfb, 0x77, 0xf5, 0x72, 0x06, 0x1c, 0xdf, 0x39}},
    [KEY_ED448] = {KEY_ED448, {
        0x33, 0x40, 0xea, 0x35, 0x29, 0x17, 0xf7, 0xa2, 0xa1, 0x9c, 0x71, 0x6f,
        0x24, 0x5f, 0xfc, 0xcd, 0x1f, 0x8c, 0x72, 0x71, 0x2f, 0xd3, 0xa1, 0xa0,
        0x98, 0xa4, 0xb2, 0xda, 0xbb, 0x04, 0xaa, 0x00, 0xe1, 0x31, 0x51, 0xe3,
        0x56, 0xa9, 0x32, 0x3a, 0xc6, 0xef, 0x95, 0x08, 0xfd, 0x4b, 0xe8, 0xf9,
        0x62, 0x10, 0xa9, 0x1c, 0xf6, 0x40, 0xa4, 0xba, 0x00}},
};
/* clang-format on */

static enum key_type type_of_length(size_t n) {
    switch (n) {
    case ED25519_SIG_LEN:
        return KEY_ED25519;
    case ED448_SIG_LEN:
        return KEY_ED448;
    case AUTHENTICATOR_LEN:
        return KEY_X25519;
    default:
        return KEY_NONE;
    }
}

bool authz_length_ok(size_t n) {
    return n == 0 || type_of_length(n) != KEY_NONE;
}

static enum err agree(const struct authz *a, const struct pubkey *k, struct box_key *ret) {
    uint8_t shared[X25519_LEN];
    const enum err e = x25519_dh(a->session_priv, k->b, shared);
    if (e == OK) *ret = box_key_from_secret(shared);
    crypto_wipe(shared, sizeof shared);
    return e;
}

/* Whether the authenticator is the box of `hash`. */
static bool opens_to(const struct authz *a, const struct box_key *key, struct bytes hash) {
    uint8_t buf[AUTHENTICATOR_LEN];
    const struct box_nonce nonce = box_nonce_from_corr_id(a->corr_id);
    struct bytes opened;
    memcpy(buf, a->auth.p, sizeof buf);
    return box_open(key, &nonce, buf, sizeof buf, &opened) == OK && crypto_equal(opened, hash);
}

static bool verify_authenticator(const struct authz *a, const struct pubkey *k) {
    uint8_t hash[SHA512_LEN];
    if (crypto_sha512_2(a->text_a, a->text_b, hash) != OK) return false;
    const struct bytes expected = bytes_of(hash, sizeof hash);
    const struct box_key *known = a->known != NULL ? authz_session_find(a->known, k) : NULL;
    if (known != NULL && opens_to(a, known, expected)) return true;
    struct box_key key; /* made anew for a refusal: it takes the same time for all */
    if (agree(a, k, &key) != OK) return false;
    const bool good = opens_to(a, &key, expected);
    if (good && known == NULL && a->known != NULL) authz_session_add(a->known, k, &key);
    crypto_wipe(&key, sizeof key);
    return good;
}

static bool verify(const struct authz *a, const struct pubkey *k) {
    return k->type == KEY_X25519 ? verify_authenticator(a, k)
                                 : pubkey_verify(k, a->auth, a->text_a, a->text_b);
}

/* A refusal costs one check of the key and one full verification, even when the stored key is one
 * that the libraries refuse early: then the dummy is verified against. An Ed25519 key is checked
 * after its verification, which refuses such a key before any work: good signatures are spared the
 * check, a fifth of their cost. Elsewhere the check is small, and the refusal comes late. */
static bool try_key(const struct authz *a, const struct pubkey *k) {
    const bool check_later = k->type == KEY_ED25519;
    if (check_later && verify(a, k)) return true;
    const bool usable = point__is_usable(k);
    if (check_later && usable) return false;
    return verify(a, usable ? k : &DUMMIES[k->type]) && usable;
}

enum authz_verdict authz_step(const struct authz *a, const struct pubkey *keys, size_t n,
                              struct authz_steps *s) {
    const enum key_type type = type_of_length(a->auth.n);
    if (type == KEY_NONE) return AUTHZ_NO;
    while (s->next < n && keys[s->next].type != type) s->next++;
    if (s->next < n) {
        s->tried = true;
        return try_key(a, &keys[s->next++]) ? AUTHZ_YES : s->next < n ? AUTHZ_MORE : AUTHZ_NO;
    }
    if (!s->tried) (void)try_key(a, &DUMMIES[type]);
    return AUTHZ_NO;
}

bool authz_verify(const struct authz *a, const struct pubkey *keys, size_t n) {
    struct authz_steps s = {0};
    enum authz_verdict v;
    do {
        v = authz_step(a, keys, n, &s);
    } while (v == AUTHZ_MORE);
    return v == AUTHZ_YES;
}

enum err authz_box(const struct box_key *k, struct bytes text_a, struct bytes text_b,
                   struct bytes corr_id, uint8_t ret[AUTHENTICATOR_LEN]) {
    const struct box_nonce nonce = box_nonce_from_corr_id(corr_id);
    uint8_t hash[SHA512_LEN];
    const enum err e = crypto_sha512_2(text_a, text_b, hash);
    if (e != OK) return e;
    memcpy(ret + BOX_TAG_LEN, hash, sizeof hash);
    box_seal(k, &nonce, ret, sizeof hash);
    return OK;
}
