/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tls.h -- the TLS parameters of SMP (spec: wire, section 1).
 *
 * TLS 1.3 and 1.2, ChaCha20-Poly1305 only, groups X448 and X25519, signatures Ed448 and Ed25519,
 * the first of the client's ALPN names that is smp/1, h2 or http/1.1 (none of them: fatal alert
 * no_application_protocol; no ALPN at all: taken), no regard to server names, client certificates
 * asked for but not required and checked by cert_stack_is_sound(), no renegotiation, no resumption,
 * no tickets, no compression, no 0-RTT. */
#pragma once

#include "base/bytes.h"
#include "base/env.h"
#include "base/err.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
struct server_cert;

enum { TLS_UNIQUE_MAX = 64 };

/* The context keeps the certificate as long as it lives, which is until the last of its listeners
 * and connections has ended; on an error it is freed at once. *ret owned by the caller:
 * tls_ctx_free(). E_CERT, E_NO_MEMORY, E_CRYPTO when OpenSSL lacks an algorithm. Start-up (or
 * reload) only: one thread. env is borrowed as long as the context lives: its clock says whether
 * client certificates are within their dates. */
MUST_USE enum err tls_server_ctx_new(struct server_cert *owned_cert, const struct env *env,
                                     SSL_CTX **ret);
/* The same for connections that we make: ALPN smp/1, no server name, and of the server's chain only
 * its form is checked, as of clients' (whoever knows the server's fingerprint compares it:
 * tls_peer_chain()). As above. */
MUST_USE enum err tls_client_ctx_new(const struct env *env, SSL_CTX **ret);
void tls_ctx_ref(SSL_CTX *ctx);  /* any thread: one more owner */
void tls_ctx_free(SSL_CTX *ctx); /* any thread; NULL is a no-op */

/* The certificate that the handshake of a server's connection uses, borrowed from it; NULL on a
 * client's. */
const struct server_cert *tls_server_cert(const SSL *ssl);
const struct server_cert *tls_ctx_cert(const SSL_CTX *ctx); /* the same, of its context */

/* tls-unique of RFC 5929: the client's first Finished message. Returns its length, 0 before the
 * handshake is complete. */
size_t tls_unique(const SSL *ssl, uint8_t ret[TLS_UNIQUE_MAX]);
/* Whether ALPN was agreed on; a client without it is legacy: version 6 only. */
bool tls_has_alpn(const SSL *ssl);
/* The chain that the peer presented, in SMP encoding (non-empty list of large strings, DER), into
 * buf; empty when it sent none. E_LIMIT when it does not fit. */
MUST_USE enum err tls_peer_chain(const SSL *ssl, uint8_t *buf, size_t cap, struct bytes *ret);
