/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* TLS as the server speaks it: versions, groups, certificates of both sides, names of protocols. */
#include "net_fixture.h"

static const struct client_opts PLAIN = {0};

/* ---- TLS ---- */

static void tls_versions_certificates_and_groups(void **state) {
    (void)state;
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const enum cert_algorithm ALGORITHMS[] = {CERT_ED25519, CERT_ED448};
    static const struct {
        const char *offered;
        int chosen;
    } GROUPS[] = {{"X25519", NID_X25519}, {"X448", NID_X448}, {"X25519:X448", NID_X25519}};
    for (size_t a = 0; a < ARRAY_LEN(ALGORITHMS); a++) {
        struct server *s = server_open(&(struct server){.tls = new_server_ctx(ALGORITHMS[a])});
        for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
            for (size_t g = 0; g < ARRAY_LEN(GROUPS); g++) {
                const struct client_opts o = {.max_version = VERSIONS[v],
                                              .groups = GROUPS[g].offered};
                struct client c;
                client_open(&c, s, &o);
                assert_int_equal(SSL_version(c.ssl), VERSIONS[v]);
                EVP_PKEY *key = NULL;
                assert_int_equal(SSL_get_peer_tmp_key(c.ssl, &key), 1);
                assert_int_equal(EVP_PKEY_get_id(key), GROUPS[g].chosen);
                EVP_PKEY_free(key);
                assert_non_null(strstr(SSL_get_cipher(c.ssl), "CHACHA20"));
                client_echo(&c, 1);
                client_close(&c);
            }
        }
        server_close(s);
        assert_int_equal(s->n_tls_errors, 0);
    }
}

/* The key share that came with the ClientHello is taken, though the other group is the cheaper. */
static void no_retry_for_a_client_that_begins_with_x448(void **state) {
    (void)state;
    struct server *s = usual_server();
    const struct client_opts o = {.groups = "X448:X25519"};
    struct client c;
    client_open(&c, s, &o);
    assert_int_equal(c.n_hellos, 1);
    client_close(&c);
    server_close(s);
}

static void both_sides_know_the_same_tls_unique(void **state) {
    (void)state;
    struct server *s = usual_server();
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_echo(&c, 1); /* the session has been opened */
        uint8_t mine[TLS_UNIQUE_MAX], raw[TLS_UNIQUE_MAX];
        const size_t n = tls_unique(c.ssl, mine);
        assert_int_equal(n, VERSIONS[v] == TLS1_2_VERSION ? 12 : 32);
        assert_int_equal(SSL_get_finished(c.ssl, raw, sizeof raw), n);
        assert_memory_equal(mine, raw, n);
        pthread_mutex_lock(&s->mtx);
        assert_int_equal(s->unique_len, n);
        assert_memory_equal(s->unique, mine, n);
        pthread_mutex_unlock(&s->mtx);
        client_close(&c);
    }
    server_close(s);
}

static void assert_alpn(const SSL *ssl, const char *agreed) {
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(ssl, &name, &len);
    assert_int_equal(len, strlen(agreed));
    if (len != 0) assert_memory_equal(name, agreed, len);
    assert_int_equal(tls_has_alpn(ssl), len != 0);
}

static void alpn_is_optional_but_must_fit(void **state) {
    (void)state;
    struct server *s = usual_server();
    static const struct {
        const char *list;
        const char *agreed;
    } GOOD[] = {
        {"\5smp/1", "smp/1"},
        {"", ""},
        {"\10http/1.1", "http/1.1"},
        {"\2h2", "h2"},
        {"\3foo\2h2\5smp/1\10http/1.1", "h2"},
        {"\5smp/1\2h2", "smp/1"},
        {"\10http/1.1\5smp/1", "http/1.1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++) {
        const struct client_opts o = {.alpn = GOOD[i].list};
        struct client c;
        client_open(&c, s, &o);
        client_echo(&c, 1);
        pthread_mutex_lock(&s->mtx);
        assert_int_equal(s->has_alpn, GOOD[i].agreed[0] != '\0');
        pthread_mutex_unlock(&s->mtx);
        assert_alpn(c.ssl, GOOD[i].agreed);
        client_close(&c);
    }
    assert_int_equal(peek(s, &s->n_tls_errors), 0);
    static const char *const BAD[] = {"\3foo",    "\5smp/2",     "\4smp/",
                                      "\6smp/11", "\10http/1.0", "\3h2c"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        const struct client_opts o = {.alpn = BAD[i]};
        struct client c;
        client_init(&c, listener_port(s->listener), &o);
        ERR_clear_error();
        assert_int_not_equal(client_handshake(&c), 1);
        assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
                         SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL);
        client_close(&c);
    }
    wait_for(s, &s->n_tls_errors, ARRAY_LEN(BAD));
    server_close(s);
    assert_int_equal(s->n_tls_errors, ARRAY_LEN(BAD));
    assert_int_equal(s->n_open, ARRAY_LEN(GOOD));
}

static void other_ciphers_are_refused(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_init(&c, listener_port(s->listener), &PLAIN);
    assert_int_equal(SSL_set_ciphersuites(c.ssl, "TLS_AES_128_GCM_SHA256"), 1);
    assert_int_not_equal(client_handshake(&c), 1);
    client_close(&c);
    wait_for(s, &s->n_tls_errors, 1);
    server_close(s);
    assert_string_equal(s->tls_error, "no shared cipher");
}

static void sessions_cannot_be_resumed(void **state) {
    (void)state;
    struct server *s = usual_server();
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_echo(&c, 1); /* a ticket would have come before */
        SSL_SESSION *session = SSL_get1_session(c.ssl);
        assert_false(SSL_SESSION_has_ticket(session));
        client_close(&c);
        client_init(&c, listener_port(s->listener), &o);
        (void)SSL_set_session(c.ssl, session);
        assert_int_equal(client_handshake(&c), 1);
        assert_false(SSL_session_reused(c.ssl));
        SSL_SESSION_free(session);
        client_close(&c);
    }
    server_close(s);
}

static void client_certificates_are_shown_to_the_session(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct cert_bundle b = new_bundle(CERT_ED25519);
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.chain = {b.server_crt, b.ca_crt},
                                      .key = b.server_key,
                                      .max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_echo(&c, 1);
        X509 *x[2] = {cert_of_pem(b.server_crt), cert_of_pem(b.ca_crt)};
        uint8_t want[CONN_BLOCK_LEN] = {2};
        size_t n = 1;
        for (int i = 0; i < 2; i++) {
            const int len = i2d_X509(x[i], NULL);
            want[n++] = (uint8_t)(len >> 8);
            want[n++] = (uint8_t)len;
            uint8_t *p = want + n;
            n += (size_t)i2d_X509(x[i], &p);
            X509_free(x[i]);
        }
        pthread_mutex_lock(&s->mtx);
        assert_int_equal(s->chain_len, n);
        assert_memory_equal(s->chain, want, n);
        pthread_mutex_unlock(&s->mtx);
        client_close(&c);
    }
    cert_bundle_done(&b);
    server_close(s);
}

static void a_client_chain_that_does_not_hold_is_refused(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct cert_bundle b = new_bundle(CERT_ED25519), other = new_bundle(CERT_ED25519);
    const struct client_opts o = {.chain = {b.server_crt, other.ca_crt}, .key = b.server_key};
    struct client c;
    client_init(&c, listener_port(s->listener), &o);
    (void)client_handshake(&c); /* with TLS 1.3 the client learns only afterwards */
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_tls_errors, 1);
    cert_bundle_done(&b);
    cert_bundle_done(&other);
    server_close(s);
    assert_int_equal(s->n_open, 0);
}

static SSL_CTX *next_tls; /* for use_next_tls() */

static void use_next_tls(struct server *s) {
    listener_set_tls(s->listener, next_tls);
}

static X509 *peer_cert(struct server *s) {
    struct client c;
    client_open(&c, s, &PLAIN);
    X509 *x = SSL_get1_peer_certificate(c.ssl);
    assert_non_null(x);
    client_close(&c);
    return x;
}

static void a_new_certificate_serves_new_connections(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    X509 *before = peer_cert(s);
    next_tls = new_server_ctx(CERT_ED448);
    on_loop(s, use_next_tls);
    SSL_CTX_free(next_tls); /* the listener has its own reference */
    X509 *after = peer_cert(s);
    assert_int_not_equal(X509_cmp(before, after), 0);
    X509_free(before);
    X509_free(after);
    client_echo(&c, 1); /* the old connection goes on */
    client_close(&c);
    server_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(tls_versions_certificates_and_groups, forget_servers),
        cmocka_unit_test_teardown(no_retry_for_a_client_that_begins_with_x448, forget_servers),
        cmocka_unit_test_teardown(both_sides_know_the_same_tls_unique, forget_servers),
        cmocka_unit_test_teardown(alpn_is_optional_but_must_fit, forget_servers),
        cmocka_unit_test_teardown(other_ciphers_are_refused, forget_servers),
        cmocka_unit_test_teardown(sessions_cannot_be_resumed, forget_servers),
        cmocka_unit_test_teardown(client_certificates_are_shown_to_the_session, forget_servers),
        cmocka_unit_test_teardown(a_client_chain_that_does_not_hold_is_refused, forget_servers),
        cmocka_unit_test_teardown(a_new_certificate_serves_new_connections, forget_servers),
    };
    return cmocka_run_group_tests(tests, init_net, NULL);
}
