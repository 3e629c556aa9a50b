/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* identity.h -- the certificates that the server runs with: loaded, checked against the fingerprint
 * file, and put into a TLS context. Main thread. */
#pragma once

#include "app/files/paths.h"
#include "crypto/cert.h"

typedef struct ssl_ctx_st SSL_CTX;

struct identity {
    SSL_CTX *tls;                   /* owned: one reference */
    const struct server_cert *cert; /* borrowed from tls */
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
/* Connections made with it keep what they need of it. NULL is a no-op. */
void identity_free(struct identity *id);
struct bytes identity_fingerprint(const struct identity *id); /* borrowed */

bool identity_is_same(const struct identity *a,
                      const struct identity *b); /* the same certificates */
