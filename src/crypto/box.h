/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* box.h -- the one authenticated encryption of SMP: XSalsa20-Poly1305 under HSalsa20(secret, 0),
 * tag first.
 *
 * The protocol text calls it crypto_box when the secret comes from a key agreement and secret_box
 * when it comes from a key chain; the bytes are made the same way (spec: wire, section 2; vectors:
 * primitives.json). Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum { BOX_KEY_LEN = 32, BOX_NONCE_LEN = 24, BOX_TAG_LEN = 16 };

/* The subkey that encrypts; secret: wipe with crypto_wipe(). */
struct box_key {
    uint8_t b[BOX_KEY_LEN];
};

struct box_nonce {
    uint8_t b[BOX_NONCE_LEN];
};

/* From a raw 32-byte shared point or chain block key. */
struct box_key box_key_from_secret(const uint8_t secret[BOX_KEY_LEN]);

/* The correlation id cut or zero-extended to 24 bytes. */
struct box_nonce box_nonce_from_corr_id(struct bytes corr_id);
struct box_nonce box_nonce_reverse(const struct box_nonce *n);

/* In place: buf holds BOX_TAG_LEN bytes of room, then n bytes of plain text; becomes tag and cipher
 * text. */
void box_seal(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf, size_t n);

/* In place: buf holds tag and cipher text, n bytes in all; on OK *ret views the plain text inside
 * buf. E_CRYPTO when n is too short or the tag is wrong (then buf is unchanged). */
MUST_USE enum err box_open(const struct box_key *k, const struct box_nonce *nonce, uint8_t *buf,
                           size_t n, struct bytes *ret);
