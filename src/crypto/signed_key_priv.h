/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* signed_key_priv.h -- the signed key of handshakes: SEQUENCE { SEQUENCE { SPKI },
 * AlgorithmIdentifier, BIT STRING }.
 *
 * The signature is over the inner SEQUENCE with its header (spec: wire, section 2, "signed key").
 * Private to this folder; pure; any thread. */
#pragma once

#include "crypto/key.h"

typedef struct evp_pkey_st EVP_PKEY;

/* signer is of signer_type, KEY_ED25519 or KEY_ED448. E_CRYPTO, E_LIMIT. */
MUST_USE enum err signed_key__write(EVP_PKEY *signer, enum key_type signer_type,
                                    const struct pubkey *k, struct wr *w);

/* The signature of text, written as it is. E_CRYPTO, E_LIMIT. */
MUST_USE enum err signed_key__sign(EVP_PKEY *signer, struct bytes text, struct wr *w);

/* E_SYNTAX when der is not of this form, E_CERT when it is not signed by the signer. */
MUST_USE enum err signed_key__read(struct bytes der, const struct pubkey *signer,
                                   struct pubkey *ret);
