/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tls_web.h -- TLS for browsers, and on one port with SMP (spec: web, section 8).
 *
 * Browsers get a certificate of an authority that they know, X25519, P-256 and P-384, AES-GCM and
 * ChaCha20, and h2 or http/1.1, the first of these on their list; they are asked for no
 * certificate. No session is resumed. */
#pragma once

#include "net/tls.h"

struct web_cert;

/* For a port of browsers alone. cert is borrowed for the call. As tls_server_ctx_new(). */
MUST_USE enum err tls_web_ctx_new(const struct web_cert *cert, const struct env *env,
                                  SSL_CTX **ret);
/* For a port that both come to. It looks at the client's hello, and goes on as smp or as web with
 * all that these have; both are counted (one more owner each).
 *
 * Who names no server is a client of SMP; so is who names one and lists smp/1, but neither h2 nor
 * http/1.1 (older apps). All others are browsers. web NULL, as there is no certificate: who lists
 * one of those two is refused (alert unrecognized_name), others are clients of SMP. */
MUST_USE enum err tls_shared_ctx_new(SSL_CTX *smp, SSL_CTX *web, const struct env *env,
                                     SSL_CTX **ret);
/* Has a browser agreed on HTTP/2? From the end of the handshake on. */
bool tls_is_http2(const SSL *ssl);
/* Is this connection of a shared port a browser's? From the end of its handshake on. */
bool tls_is_web(const SSL *ssl);
