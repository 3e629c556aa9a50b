/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* point_priv.h -- would the libraries do their full work with this public key, or refuse it at
 * first sight?
 *
 * libsodium and OpenSSL return early for a key that is no point of the curve (Ed25519, Ed448) or a
 * point of low order (Ed25519, X25519). A peer can have such a key stored with its queue: KEY and
 * NKEY do not prove that anyone holds the private part. authz.c asks here, so that the time of an
 * answer does not tell that such a queue exists. No authorization that the libraries would accept
 * is refused for it. Private to this folder; pure; not constant time: public keys only. */
#pragma once

#include "crypto/key.h"

/* False also for KEY_NONE, X448, and when memory is short. */
bool point__is_usable(const struct pubkey *k);
