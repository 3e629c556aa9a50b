/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/tls_web.h"

#include <stdlib.h>

#include "base/rd.h"
#include "crypto/web_cert.h"
#include "net/tls_priv.h"

static const char SUITES[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char CIPHERS[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
/* Literals: the macros of OpenSSL that take them cast their const away. */
#define GROUPS "X25519:P-256:P-384"
#define SIGNATURES                                                                                 \
    "ECDSA+SHA256:ECDSA+SHA384:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"                   \
    "rsa_pss_rsae_sha512"

/* ---- browsers ---- */

static int select_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                       const unsigned char *list, unsigned list_len, void *arg) {
    (void)ssl;
    (void)arg;
    struct rd r = rd_init(bytes_of(list, list_len));
    while (rd_left(&r) > 0 && rd_err(&r) == OK) {
        const struct bytes name = rd_short(&r);
        if (!bytes_equal(name, bytes_str(ALPN_HTTP2)) && !bytes_equal(name, bytes_str(ALPN_HTTP1)))
            continue;
        *ret = name.p;
        *ret_len = (unsigned char)name.n;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

enum err tls_web_ctx_new(const struct web_cert *cert, const struct env *env, SSL_CTX **ret) {
    CLEANUP(tls__ctx_freep) SSL_CTX *ctx = NULL;
    enum err e = tls__ctx_new(TLS_server_method(), env, &ctx);
    if (e != OK) return e;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    if (SSL_CTX_set_ciphersuites(ctx, SUITES) != 1 || SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
        SSL_CTX_set1_groups_list(ctx, GROUPS) != 1 ||
        SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) != 1)
        return E_CRYPTO;
    /* Where a browser has no AES in hardware and says so. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    e = web_cert_use(cert, ctx);
    if (e == OK) *ret = STEAL(ctx);
    return e;
}

/* ---- both on one port ---- */

/* Fixed once its context is made. */
struct choice {
    SSL_CTX *smp, *web; /* counted; web NULL: there is none */
};

static int choice_slot = -1; /* fixed after the first */

static void free_choice(void *ctx, void *choice, CRYPTO_EX_DATA *data, int slot, long n,
                        void *arg) {
    (void)ctx;
    (void)data;
    (void)slot;
    (void)n;
    (void)arg;
    struct choice *c = choice;
    if (c == NULL) return;
    SSL_CTX_free(c->smp);
    SSL_CTX_free(c->web);
    free(c);
}

/* The certificate and its signatures come with the context; what SSL_new() has copied does not. */
static bool become_web(SSL *ssl, SSL_CTX *web) {
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    (void)SSL_set_options(ssl, SSL_OP_PRIORITIZE_CHACHA);
    return SSL_set_SSL_CTX(ssl, web) != NULL && SSL_set_ciphersuites(ssl, SUITES) == 1 &&
           SSL_set_cipher_list(ssl, CIPHERS) == 1 && SSL_set1_groups_list(ssl, GROUPS) == 1;
}

/* Which names of ALPN are in a hello. */
static void read_alpn(SSL *ssl, bool *ret_smp, bool *ret_http) {
    const unsigned char *p = NULL;
    size_t n = 0;
    *ret_smp = *ret_http = false;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
                                  &n) != 1)
        return;
    struct rd extension = rd_init(bytes_of(p, n));
    struct rd list = rd_init(rd_large(&extension));
    while (rd_left(&list) > 0 && rd_err(&list) == OK) {
        const struct bytes name = rd_short(&list);
        if (bytes_equal(name, bytes_str(ALPN_SMP))) *ret_smp = true;
        if (bytes_equal(name, bytes_str(ALPN_HTTP2)) || bytes_equal(name, bytes_str(ALPN_HTTP1)))
            *ret_http = true;
    }
}

static int on_hello(SSL *ssl, int *ret_alert, void *arg) {
    const struct choice *c = arg;
    const unsigned char *p = NULL;
    size_t n = 0;
    bool has_smp, has_http;
    read_alpn(ssl, &has_smp, &has_http);
    const bool has_name = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) == 1;
    const bool is_browser = has_name && (has_http || !has_smp);
    *ret_alert = SSL_AD_INTERNAL_ERROR;
    bool is_done = true;
    if (is_browser && c->web != NULL) {
        is_done = become_web(ssl, c->web);
    } else if (is_browser && has_http) {
        *ret_alert = SSL_AD_UNRECOGNIZED_NAME;
        is_done = false;
    } else {
        is_done = SSL_set_SSL_CTX(ssl, c->smp) != NULL;
    }
    return is_done ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

static enum err keep_choice(SSL_CTX *ctx, SSL_CTX *smp, SSL_CTX *web) {
    if (choice_slot < 0) choice_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_choice);
    struct choice *c = choice_slot >= 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL || SSL_CTX_set_ex_data(ctx, choice_slot, c) != 1) {
        free(c);
        return E_NO_MEMORY;
    }
    c->smp = smp;
    c->web = web;
    (void)SSL_CTX_up_ref(smp);
    if (web != NULL) (void)SSL_CTX_up_ref(web);
    SSL_CTX_set_client_hello_cb(ctx, on_hello, c);
    return OK;
}

enum err tls_shared_ctx_new(SSL_CTX *smp, SSL_CTX *web, const struct env *env, SSL_CTX **ret) {
    CLEANUP(tls__ctx_freep) SSL_CTX *ctx = NULL;
    enum err e = tls__ctx_new(TLS_server_method(), env, &ctx);
    if (e == OK) e = keep_choice(ctx, smp, web);
    if (e == OK) *ret = STEAL(ctx);
    return e;
}

bool tls_is_http2(const SSL *ssl) {
    const unsigned char *name = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(ssl, &name, &n);
    return bytes_equal(bytes_of(name, n), bytes_str(ALPN_HTTP2));
}

bool tls_is_web(const SSL *ssl) {
    return tls_server_cert(ssl) == NULL;
}
