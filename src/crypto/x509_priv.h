/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* x509_priv.h -- what the certificate files of this folder share about one certificate. Private to
 * this folder. */
#pragma once

#include <openssl/x509.h>
#include <stdio.h>

#include "base/attr.h"
#include "crypto/cert.h"

static inline void x509__freep(X509 **c) {
    X509_free(*c);
}

static inline void x509__pkey_freep(EVP_PKEY **k) {
    EVP_PKEY_free(*k);
}

static inline void x509__bio_freep(BIO **b) {
    (void)BIO_free(*b); /* a memory BIO wipes what it held */
}

static inline void x509__stack_free(struct stack_st_X509 *s) {
    sk_X509_pop_free(s, X509_free);
}

static inline void x509__stack_freep(struct stack_st_X509 **s) {
    x509__stack_free(*s);
}

/* Appends; the stack takes the certificate over in any case. */
MUST_USE enum err x509__push(struct stack_st_X509 *s, X509 *owned);

bool x509__has_begun(const X509 *c, int64_t now_s);
bool x509__has_expired(const X509 *c, int64_t now_s);
/* Neither hash nor key could be forged today, whatever the algorithm. */
bool x509__is_strong(X509 *c, const EVP_PKEY *issuer_key);
bool x509__is_signed_by(X509 *c, X509 *issuer);

/* E_CERT unless the key is Ed25519 or Ed448. */
MUST_USE enum err x509__pubkey(const X509 *c, struct pubkey *ret);

/* Never asks: a key that needs a password is not for a server that starts on its own. */
int x509__no_password(char *buf, int size, int writing, void *ctx);
/* The private key of a PEM file that was opened just now; none of its text stays in memory. NULL:
 * there is none that can be read. */
EVP_PKEY *x509__read_key(FILE *f);
