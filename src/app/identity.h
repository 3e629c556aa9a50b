/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* identity.h -- the certificates that the server runs with: loaded, checked against the fingerprint
 * file, and put into a TLS context. Main thread. */
#pragma once

#include "app/paths.h"
#include "crypto/cert.h"

typedef struct ssl_ctx_st SSL_CTX;

struct identity {
    struct identity *older; /* owned: what it replaced, which connections and the relay still use */
    struct server_cert *cert; /* owned */
    SSL_CTX *tls;             /* owned */
};

/* Does the fingerprint file name this CA certificate? E_SYS, E_NO_MEMORY, E_IDENTITY. */
MUST_USE enum err identity_check_fingerprint(const struct paths *paths,
                                             const uint8_t fingerprint[SHA256_LEN],
                                             struct problem *ret_problem);
/* The value of --sign-algorithm. E_CONFIG. */
MUST_USE enum err identity_parse_algorithm(const char *name, enum cert_algorithm *ret,
                                           struct problem *ret_problem);
/* What to do with ca.key; joint is what stands before its path. */
void identity_print_advice(const struct paths *paths, const char *joint);

/* *ret is freed by identity_free(). Any error with ret_problem filled in. */
MUST_USE enum err identity_load(const struct paths *paths, struct identity **ret,
                                struct problem *ret_problem);
void identity_free(struct identity *id); /* with all the older ones; NULL is a no-op */
struct bytes identity_fingerprint(const struct identity *id); /* borrowed */

bool identity_is_same(const struct identity *a,
                      const struct identity *b); /* the same certificates */
/* Whether both have one private key of the online certificate. E_CRYPTO, E_LIMIT. */
MUST_USE enum err identity_has_same_key(const struct identity *a, const struct identity *b,
                                        bool *ret);
