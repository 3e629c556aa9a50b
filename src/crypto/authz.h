/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* authz.h -- does an authorization fit a key? In the same time whether the key is wrong, of another
 * type, or there is no key.
 *
 * An authorization is a signature (64 bytes: Ed25519, 114: Ed448) or an 80-byte authenticator:
 * crypto_box of the SHA-512 of what is signed, with the agreement of the queue key and the server's
 * session key and the correlation id as nonce. When the key is absent or of another type than the
 * authorization, or is one that the libraries refuse at first sight (no point of its curve, or one
 * of low order), a dummy key of the authorization's type is verified against and the answer is no
 * (SMP protocol, "Authentication of commands"; spec: behaviour, "Authorization"). Pure but
 * for the agreements that it may keep; any thread that owns these. */
#pragma once

#include "crypto/authz_cache.h"
#include "crypto/box.h"

enum { AUTHENTICATOR_LEN = 80 };

/* True for the four lengths that an authorization may have: 0, 64, 80, 114. */
bool authz_length_ok(size_t n);

/* All that a verification needs besides the key. Everything borrowed. */
struct authz {
    struct bytes auth;           /* the authorization */
    struct bytes text_a, text_b; /* what is signed, in two parts */
    struct bytes corr_id;
    const uint8_t *session_priv; /* the server's X25519 session key, X25519_LEN bytes */
    struct authz_session *known; /* agreements of this session; NULL: every one is made anew */
};

/* Whether any of the n keys verifies. n = 0 or KEY_NONE keys take the dummy path. Constant time in
 * the sense above for n <= 1; an empty authorization is refused at once. */
bool authz_verify(const struct authz *a, const struct pubkey *keys, size_t n);

/* The same in steps of one key each, for who has to do something else in between. Begin with zeros,
 * and with the same keys for all steps. */
struct authz_steps {
    size_t next;
    bool tried;
};
enum authz_verdict { AUTHZ_NO, AUTHZ_YES, AUTHZ_MORE };
enum authz_verdict authz_step(const struct authz *a, const struct pubkey *keys, size_t n,
                              struct authz_steps *s);

/* The other side: the authenticator of a text in two parts. k is of the agreement of the queue key
 * and the server's session key, which does not change as long as the session lasts. E_CRYPTO. */
MUST_USE enum err authz_box(const struct box_key *k, struct bytes text_a, struct bytes text_b,
                            struct bytes corr_id, uint8_t ret[AUTHENTICATOR_LEN]);
