/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* web_cert.h -- the certificate that browsers see: of an authority that they know, with its chain
 * and key. RSA of 2048 bits and more, P-256, P-384, Ed25519.
 *
 * What is in it besides, and whether it is valid now, is for the caller to judge: browsers tell
 * their users. Main thread. */
#pragma once

#include "base/bytes.h"
#include "crypto/cert.h"

struct web_cert;

/* Paths of PEM files, borrowed. *ret: web_cert_free(). E_SYS, E_CERT, E_KEY, E_NO_MEMORY, with
 * *ret_problem filled in as by server_cert_load(). */
MUST_USE enum err web_cert_load(const char *crt, const char *key, struct web_cert **ret,
                                struct cert_problem *ret_problem);
void web_cert_free(struct web_cert *c);               /* NULL is a no-op */
int64_t web_cert_expires_s(const struct web_cert *c); /* the first of its chain; Unix seconds */
int64_t web_cert_begins_s(const struct web_cert *c);  /* the last of its chain */
/* A name or an address, IPv6 with or without brackets. */
bool web_cert_is_for(const struct web_cert *c, const char *host);
/* Puts chain and key into an SSL_CTX. E_CERT. */
MUST_USE enum err web_cert_use(const struct web_cert *c, SSL_CTX *ctx);
