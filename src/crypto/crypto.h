/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* crypto.h -- start-up, hashes, and the two rules for secrets: compare in constant time, wipe on
 * release.
 *
 * This folder is the only user of libsodium and libcrypto. Everything here may be called from any
 * thread after crypto_init(). Primitives: SMP protocol, "Cryptographic algorithms" (spec: wire,
 * section 2). */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum { MD5_LEN = 16, SHA1_LEN = 20, SHA256_LEN = 32, SHA384_LEN = 48, SHA512_LEN = 64 };
enum { SIPHASH_KEY_LEN = 16 };
enum { POLY1305_KEY_LEN = 32, POLY1305_LEN = 16 };

/* Once, before threads start. E_CRYPTO when a library or algorithm is missing. */
MUST_USE enum err crypto_init(void);

/* Constant time in the content (not in the lengths, which are public). */
bool crypto_equal(struct bytes a, struct bytes b);
void crypto_wipe(void *p, size_t n); /* not removed by the optimiser */

/* E_CRYPTO when the library fails, which is for want of memory. MD5 only for the sums of ids that
 * the protocol asks for, and SHA-1 for the upgrade to WebSocket: nothing is protected by them. */
MUST_USE enum err crypto_md5(struct bytes m, uint8_t ret[MD5_LEN]);
MUST_USE enum err crypto_sha1(struct bytes m, uint8_t ret[SHA1_LEN]);
MUST_USE enum err crypto_sha256(struct bytes m, uint8_t ret[SHA256_LEN]);
MUST_USE enum err crypto_sha3_384(struct bytes m, uint8_t ret[SHA384_LEN]);
/* SHA-512 over the concatenation of two views, so that "what is signed" needs no copy. */
MUST_USE enum err crypto_sha512_2(struct bytes a, struct bytes b, uint8_t ret[SHA512_LEN]);

/* Poly1305 of RFC 8439; the key is used once and is the caller's to wipe. */
void crypto_poly1305(const uint8_t key[POLY1305_KEY_LEN], struct bytes m,
                     uint8_t ret[POLY1305_LEN]);

/* SipHash-2-4: a hash that tells nothing of m without the key. */
uint64_t crypto_siphash(const uint8_t key[SIPHASH_KEY_LEN], struct bytes m);

/* HKDF of RFC 5869 with SHA-512, extract and expand. E_CRYPTO when n_out > 255 * 64. */
MUST_USE enum err crypto_hkdf(struct bytes salt, struct bytes ikm, struct bytes info,
                              uint8_t *ret_out, size_t n_out);
