/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tls_priv.h -- what the contexts for clients of SMP and for browsers have in common. */
#pragma once

#include <openssl/ssl.h>

#include "base/attr.h"
#include "net/tls.h"

#define ALPN_SMP   "smp/1"
#define ALPN_HTTP2 "h2"
#define ALPN_HTTP1 "http/1.1"

static inline void tls__ctx_freep(SSL_CTX **ctx) {
    SSL_CTX_free(*ctx);
}

/* The parameters of SMP, without certificate and ALPN. env: as in tls.h. */
MUST_USE enum err tls__ctx_new(const SSL_METHOD *method, const struct env *env, SSL_CTX **ret);
