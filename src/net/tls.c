/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/rd.h"
#include "base/wr.h"
#include "crypto/cert.h"
#include "net/tls_priv.h"

enum {
    /* Clients and servers send their chain once more in the SMP handshake, inside one block: a
       longer one cannot be used. */
    PEER_CHAIN_MAX_BYTES = 16384,
};

/* Apps that use the web port offer http/1.1 alone, and speak SMP all the same. */
static const char *const ALPN_TAKEN[] = {ALPN_SMP, ALPN_HTTP2, ALPN_HTTP1};

/* ---- the certificate of a context ---- */

static int cert_slot = -1; /* fixed after the first context */

static void free_cert(void *ctx, void *cert, CRYPTO_EX_DATA *data, int slot, long n, void *arg) {
    (void)ctx;
    (void)data;
    (void)slot;
    (void)n;
    (void)arg;
    server_cert_free(cert);
}

static enum err keep_cert(SSL_CTX *ctx, struct server_cert *owned_cert) {
    if (cert_slot < 0) cert_slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_cert);
    if (cert_slot >= 0 && SSL_CTX_set_ex_data(ctx, cert_slot, owned_cert) == 1) return OK;
    server_cert_free(owned_cert);
    return E_NO_MEMORY;
}

const struct server_cert *tls_ctx_cert(const SSL_CTX *ctx) {
    return cert_slot >= 0 ? SSL_CTX_get_ex_data(ctx, cert_slot) : NULL;
}

const struct server_cert *tls_server_cert(const SSL *ssl) {
    return tls_ctx_cert(SSL_get_SSL_CTX(ssl));
}

/* ---- parameters ---- */

static bool alpn_is_taken(struct bytes name) {
    for (size_t i = 0; i < ARRAY_LEN(ALPN_TAKEN); i++) {
        if (bytes_equal(name, bytes_str(ALPN_TAKEN[i]))) return true;
    }
    return false;
}

/* Called only when the client sent a list: the first name of it that is taken. */
static int select_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                       const unsigned char *list, unsigned list_len, void *arg) {
    (void)ssl;
    (void)arg;
    struct rd r = rd_init(bytes_of(list, list_len));
    while (rd_left(&r) > 0 && rd_err(&r) == OK) {
        const struct bytes name = rd_short(&r);
        if (!alpn_is_taken(name)) continue;
        *ret = name.p;
        *ret_len = (unsigned char)name.n;
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Only the form of the chain is checked: which services are known is decided above, by fingerprint.
 */
static int verify_peer(X509_STORE_CTX *store, void *arg) {
    const struct env *env = arg;
    STACK_OF(X509) *chain =
        X509_STORE_CTX_get0_untrusted(store); /* all that was sent, leaf first */
    if (cert_stack_is_sound(chain, env_now_s(env))) return 1;
    X509_STORE_CTX_set_error(store, cert_stack_is_dated(chain, env_now_s(env))
                                        ? X509_V_ERR_CERT_REJECTED
                                        : X509_V_ERR_CERT_HAS_EXPIRED);
    return 0;
}

static bool set_algorithms(SSL_CTX *ctx) {
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-CHACHA20-POLY1305") == 1 &&
           /* The cheap one first; a client that sent a share of X448 alone is taken at that,
              without a retry request. */
           SSL_CTX_set1_groups_list(ctx, "X25519:X448") == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, "ed25519:ed448") == 1;
}

/* A resumed session would have no Finished message of its own, on which the binding of keys to the
 * connection rests. Early data is skipped, a record's worth (RFC 8446, section 4.2.10): a browser
 * may have a ticket of the server that was here before. */
static bool forbid_resumption(SSL_CTX *ctx) {
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
           SSL_CTX_set_recv_max_early_data(ctx, SSL3_RT_MAX_PLAIN_LENGTH) == 1;
}

static void set_behaviour(SSL_CTX *ctx, const struct env *env) {
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* This is what makes idle connections cheap: 13 instead of 45 KiB. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* A read ends after a record that carries no data (key update, alert), so that a stream of them
     * cannot hold the loop. */
    (void)SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify_peer, (void *)(uintptr_t)env); /* read only */
    SSL_CTX_set_max_cert_list(ctx, PEER_CHAIN_MAX_BYTES);
}

enum err tls__ctx_new(const SSL_METHOD *method, const struct env *env, SSL_CTX **ret) {
    ERR_clear_error();
    CLEANUP(tls__ctx_freep) SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL) return E_NO_MEMORY;
    if (!set_algorithms(ctx) || !forbid_resumption(ctx)) return E_CRYPTO;
    set_behaviour(ctx, env);
    (void)SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE); /* heeded by servers alone */
    *ret = STEAL(ctx);
    return OK;
}

enum err tls_server_ctx_new(struct server_cert *owned_cert, const struct env *env, SSL_CTX **ret) {
    CLEANUP(tls__ctx_freep) SSL_CTX *ctx = NULL;
    enum err e = tls__ctx_new(TLS_server_method(), env, &ctx);
    if (e != OK) {
        server_cert_free(owned_cert);
        return e;
    }
    e = keep_cert(ctx, owned_cert);
    if (e != OK) return e;
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    e = server_cert_use(owned_cert, ctx);
    if (e != OK) return e;
    *ret = STEAL(ctx);
    return OK;
}

enum err tls_client_ctx_new(const struct env *env, SSL_CTX **ret) {
    uint8_t alpn[1 + sizeof ALPN_SMP];
    struct wr w = wr_init(alpn, sizeof alpn);
    wr_short(&w, bytes_str(ALPN_SMP));
    CLEANUP(tls__ctx_freep) SSL_CTX *ctx = NULL;
    const enum err e = tls__ctx_new(TLS_client_method(), env, &ctx);
    if (e != OK) return e;
    if (SSL_CTX_set_alpn_protos(ctx, alpn, (unsigned)w.at) != 0) return E_NO_MEMORY; /* 0 is good */
    *ret = STEAL(ctx);
    return OK;
}

void tls_ctx_ref(SSL_CTX *ctx) {
    (void)SSL_CTX_up_ref(ctx);
}

void tls_ctx_free(SSL_CTX *ctx) {
    SSL_CTX_free(ctx);
}

size_t tls_unique(const SSL *ssl, uint8_t ret[TLS_UNIQUE_MAX]) {
    if (!SSL_is_init_finished(ssl)) return 0;
    const size_t n = SSL_is_server(ssl) ? SSL_get_peer_finished(ssl, ret, TLS_UNIQUE_MAX)
                                        : SSL_get_finished(ssl, ret, TLS_UNIQUE_MAX);
    return n <= TLS_UNIQUE_MAX
               ? n
               : TLS_UNIQUE_MAX; /* the calls return the full length, which no hash exceeds */
}

bool tls_has_alpn(const SSL *ssl) {
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(ssl, &name, &len);
    return len != 0;
}

static void write_cert(struct wr *w, const X509 *x) {
    const int len = i2d_X509(x, NULL);
    const size_t mark = wr_mark_u16(w);
    uint8_t *p =
        wr_skip(w, len > 0 ? (size_t)len : SIZE_MAX); /* SIZE_MAX: never fits, so it fails */
    if (p != NULL) (void)i2d_X509(x, &p);
    wr_close_u16(w, mark);
}

enum err tls_peer_chain(const SSL *ssl, uint8_t *buf, size_t cap, struct bytes *ret) {
    const X509 *leaf = SSL_get0_peer_certificate(ssl);
    if (leaf == NULL) {
        *ret = (struct bytes){0};
        return OK;
    }
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
    /* On the server's side the chain is without the leaf, on the client's side with it. */
    const int first = SSL_is_server(ssl) ? 0 : 1;
    const int n = chain != NULL ? sk_X509_num(chain) : 0;
    if (n - first >= UINT8_MAX) return E_LIMIT;
    struct wr w = wr_init(buf, cap);
    wr_u8(&w, (uint8_t)(n > first ? 1 + n - first : 1));
    write_cert(&w, leaf);
    for (int i = first; i < n; i++) write_cert(&w, sk_X509_value(chain, i));
    if (wr_err(&w) != OK) return wr_err(&w);
    *ret = wr_bytes(&w);
    return OK;
}
