/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* key.h -- public keys as they travel (DER SubjectPublicKeyInfo), signatures and X25519 agreement.
 *
 * Only the exact canonical encoding of each algorithm is accepted: 44 bytes for X25519 and Ed25519,
 * 68 for X448, 69 for Ed448 (spec: wire, section 2). Pure but for key pair generation, which draws
 * from env. Any thread. */
#pragma once

#include "base/bytes.h"
#include "base/env.h"
#include "base/err.h"
#include "base/wr.h"

enum { X25519_LEN = 32, ED25519_SIG_LEN = 64, ED448_SIG_LEN = 114, PUBKEY_MAX = 57, SPKI_MAX = 69 };

enum key_type { KEY_NONE, KEY_X25519, KEY_ED25519, KEY_X448, KEY_ED448, N_KEY_TYPES };

struct pubkey {
    uint8_t type; /* enum key_type */
    uint8_t b[PUBKEY_MAX];
};

/* E_SYNTAX unless der is exactly the canonical encoding of a key of one of the four types. */
MUST_USE enum err pubkey_from_spki(struct bytes der, struct pubkey *ret);
/* The DER alone, no length byte; nothing for KEY_NONE. */
void pubkey_write_spki(const struct pubkey *k, struct wr *w);
size_t pubkey_spki_len(enum key_type t);         /* 44, 68, 69; 0 for KEY_NONE */
struct bytes pubkey_raw(const struct pubkey *k); /* borrowed from k */
/* For public values: not constant time. */
bool pubkey_equal(const struct pubkey *a, const struct pubkey *b);
/* The types a queue key may have: X25519, Ed25519, Ed448. */
bool pubkey_can_authorize(const struct pubkey *k);

/* The text is the concatenation of two views. False for another key type, wrong length, bad point
 * or bad signature. */
bool pubkey_verify(const struct pubkey *k, struct bytes sig, struct bytes text_a,
                   struct bytes text_b);

struct x25519_pair {
    uint8_t priv[X25519_LEN]; /* secret: wipe */
    uint8_t pub[X25519_LEN];
};
void x25519_pair_new(const struct env *env, struct x25519_pair *ret);
/* E_CRYPTO when the result is all zero (point of low order). ret is secret: wipe. */
MUST_USE enum err x25519_dh(const uint8_t priv[X25519_LEN], const uint8_t pub[X25519_LEN],
                            uint8_t ret[X25519_LEN]);
struct pubkey pubkey_from_x25519(const uint8_t pub[X25519_LEN]);

enum { ED25519_LEN = 32, ED25519_SECRET_LEN = 64 };
struct ed25519_key {
    uint8_t secret[ED25519_SECRET_LEN]; /* seed, then public key; secret: wipe */
};
void ed25519_key_new(const struct env *env, struct ed25519_key *ret);
struct pubkey pubkey_from_ed25519(const struct ed25519_key *k);
/* The text is the concatenation of two views. E_LIMIT when it is longer than a block can carry. */
MUST_USE enum err ed25519_sign(const struct ed25519_key *k, struct bytes text_a,
                               struct bytes text_b, uint8_t ret[ED25519_SIG_LEN]);
