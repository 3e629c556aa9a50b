/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net_fixture.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static const struct client_opts PLAIN = {0};

/* ---- blocks ---- */

static void a_block_is_echoed(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    assert_int_equal(SSL_version(c.ssl), TLS1_3_VERSION);
    client_send(&c, 7);
    client_expect(&c, 7);
    client_send(&c, 8);
    client_expect(&c, 8);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void on_alarm(int number) {
    (void)number;
}

/* As libuv from 1.45 does with io_uring: calls on a socket with a time limit end with EINTR. */
static void interruptions_do_no_harm(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    const struct sigaction interrupt = {.sa_handler = on_alarm}; /* without SA_RESTART */
    const struct itimerval often = {{0, 200}, {0, 200}};
    assert_int_equal(sigaction(SIGALRM, &interrupt, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (uint32_t k = 0; k < 20; k++) {
        struct client c;
        client_open(&c, s, &PLAIN);
        client_send(&c, k);
        client_expect(&c, k);
        client_close(&c);
    }
    server_close(s);
}

static int stop_interruptions(void **state) {
    const struct itimerval never = {{0, 0}, {0, 0}};
    return setitimer(ITIMER_REAL, &never, NULL) != 0 ? -1 : forget_servers(state);
}

static void a_thousand_blocks_without_waiting(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 1000; i++) client_send(&c, i);
    for (uint32_t i = 0; i < 1000; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
}

static void records_need_not_fit_blocks(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    enum { N = 12 };
    static const size_t PIECES[] = {1000, 10000, 16383, 1, 16384};
    static uint8_t blocks[N * CONN_BLOCK_LEN];
    for (uint32_t i = 0; i < N; i++) fill_pattern(blocks + i * CONN_BLOCK_LEN, i);
    for (size_t k = 0; k < ARRAY_LEN(PIECES); k++) {
        const uint32_t n = PIECES[k] == 1 ? 1 : N; /* 16384 records are enough */
        client_write(&c, blocks, n * CONN_BLOCK_LEN, PIECES[k]);
        for (uint32_t i = 0; i < n; i++) client_expect(&c, i);
    }
    client_close(&c);
    server_close(s);
}

static void many_connections_at_once(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    enum { N = 40 };
    static struct client c[N];
    for (uint32_t i = 0; i < N; i++) client_open(&c[i], s, &PLAIN);
    for (uint32_t i = 0; i < N; i++) client_send(&c[i], i);
    for (uint32_t i = 0; i < N; i++) client_expect(&c[i], i);
    assert_int_equal(admission_connections(s->admission), N);
    for (uint32_t i = 0; i < N / 2; i++) client_close(&c[i]);
    wait_for(s, &s->n_closed, N / 2);
    server_close(s); /* closes the others */
    for (uint32_t i = N / 2; i < N; i++) {
        client_expect_end(&c[i]);
        client_close(&c[i]);
    }
}

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
                client_send(&c, 1);
                client_expect(&c, 1);
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
    struct server *s = server_open(&(struct server){0});
    const struct client_opts o = {.groups = "X448:X25519"};
    struct client c;
    client_open(&c, s, &o);
    assert_int_equal(c.n_hellos, 1);
    client_close(&c);
    server_close(s);
}

static void both_sides_know_the_same_tls_unique(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_send(&c, 1);
        client_expect(&c, 1); /* the session has been opened */
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
    struct server *s = server_open(&(struct server){0});
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
        client_send(&c, 1);
        client_expect(&c, 1);
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
    struct server *s = server_open(&(struct server){0});
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
    struct server *s = server_open(&(struct server){0});
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_send(&c, 1);
        client_expect(&c, 1); /* a ticket would have come before */
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
    struct server *s = server_open(&(struct server){0});
    struct cert_bundle b = new_bundle(CERT_ED25519);
    static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        const struct client_opts o = {.chain = {b.server_crt, b.ca_crt},
                                      .key = b.server_key,
                                      .max_version = VERSIONS[v]};
        struct client c;
        client_open(&c, s, &o);
        client_send(&c, 1);
        client_expect(&c, 1);
        X509 *x[2] = {read_x509(b.server_crt), read_x509(b.ca_crt)};
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
    struct server *s = server_open(&(struct server){0});
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
    struct server *s = server_open(&(struct server){0});
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
    client_send(&c, 1);
    client_expect(&c, 1); /* the old connection goes on */
    client_close(&c);
    server_close(s);
}

/* ---- peers that do not behave ---- */

static void deadlines_end_connections_that_stand_still(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.tls_timeout_ms = 50, .block_timeout_ms = 50});
    struct client idle, half, record, header;
    client_open(&idle, s, &PLAIN);
    client_open(&half, s, &PLAIN);
    client_open(&record, s, &PLAIN);
    client_open(&header, s, &PLAIN);
    wait_for(s, &s->n_open, 4);
    static const uint8_t NOTHING[CONN_BLOCK_LEN];
    client_write(&half, NOTHING, CONN_BLOCK_LEN / 2, CONN_BLOCK_LEN);
    static const uint8_t BEGUN_RECORD[] = {23, 3, 3, 0x40, 0x11, 1, 2, 3};
    assert_int_equal(send(record.fd, BEGUN_RECORD, sizeof BEGUN_RECORD, 0), sizeof BEGUN_RECORD);
    assert_int_equal(send(header.fd, BEGUN_RECORD, 5, 0),
                     5); /* OpenSSL has a buffer for the rest */
    const int silent = connect_to(listener_port(s->listener), 0);
    const int half_hello = connect_to(listener_port(s->listener), 0);
    static const uint8_t BEGUN_HELLO[] = {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    assert_int_equal(send(half_hello, BEGUN_HELLO, sizeof BEGUN_HELLO, 0), sizeof BEGUN_HELLO);
    wait_for(s, &s->n_closed, 3);
    wait_for(s, &s->n_tls_errors, 2);
    uint8_t byte;
    assert_true(recv_some(silent, &byte, 1) <= 0);
    assert_true(recv_some(half_hello, &byte, 1) <= 0);
    client_expect_end(&half);
    client_expect_end(&record);
    client_expect_end(&header);
    client_send(&idle, 5); /* between blocks one may be silent for as long as one likes */
    client_expect(&idle, 5);
    (void)close(silent);
    (void)close(half_hello);
    client_close(&idle);
    client_close(&half);
    client_close(&record);
    client_close(&header);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 2);
}

static void a_session_may_set_a_deadline(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.has_session_deadline = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void reset(int fd) {
    const struct linger l = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    (void)close(fd);
}

static void what_is_not_tls_is_counted_and_closed(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    static const struct {
        const char *p;
        size_t n;
    } TEXTS[] = {
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
         sizeof "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" - 1},
        {"CONNECT a:1 HTTP/1.0\r\n\r\n", sizeof "CONNECT a:1 HTTP/1.0\r\n\r\n" - 1},
        {"SSH-2.0-x\r\n", sizeof "SSH-2.0-x\r\n" - 1},
        {"\x16\x03\x01\x00\x09hello all", sizeof "\x16\x03\x01\x00\x09hello all" - 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         sizeof "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" - 1},
    };
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        const int fd = connect_to(listener_port(s->listener), 0);
        assert_int_equal(send(fd, TEXTS[i].p, TEXTS[i].n, MSG_NOSIGNAL), TEXTS[i].n);
        uint8_t answer[64];
        while (recv_some(fd, answer, sizeof answer) > 0) {
        } /* perhaps an alert */
        (void)close(fd);
        wait_for(s, &s->n_tls_errors, ++n);
    }
    for (int i = 0; i < 50; i++) { /* half a message, or none, and gone */
        const int fd = connect_to(listener_port(s->listener), 0);
        if (i % 2 == 0) (void)send(fd, "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL);
        if (i % 3 == 0) {
            reset(fd);
        } else {
            (void)close(fd);
        }
    }
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 1);
    client_expect(&c, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_open, 1);
}

static void garbage_after_the_handshake_ends_the_connection(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    uint8_t record[5 + 40] = {23, 3, 3, 0, 40};
    assert_int_equal(send(c.fd, record, sizeof record, 0), sizeof record);
    wait_for(s, &s->n_closed, 1);
    client_expect_end(&c);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 1);
}

static void a_reset_ends_the_session(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 1);
    wait_for(s, &s->n_blocks, 1);
    reset(c.fd);
    c.fd = -1;
    wait_for(s, &s->n_closed, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

/* Waits until the server has stopped filling blocks, and returns how many it has filled. */
static unsigned wait_until_blocked(struct server *s) {
    unsigned before = UINT_MAX, now = peek(s, &s->n_filled);
    while (now != before || now == 0) {
        before = now;
        const struct timespec pause = {0, 100000000};
        (void)nanosleep(&pause, NULL);
        now = peek(s, &s->n_filled);
    }
    return now;
}

static void a_peer_that_does_not_read_stops_only_itself(void **state) {
    (void)state;
    enum { N_FLOOD = 1500 }; /* 24 MiB, more than the kernel takes */
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client slow, brisk;
    client_open(&slow, s, &small);
    assert_true(wait_until_blocked(s) < N_FLOOD / 2);
    client_open(&brisk, s, &PLAIN);
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&brisk, i);
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&slow, i);
    client_close(&slow);
    client_close(&brisk);
    server_close(s);
    assert_int_equal(s->n_filled, 2 * N_FLOOD);
}

/* A key update must be answered by TLS itself, while it cannot write. */
static void key_updates_while_writing_is_blocked(void **state) {
    (void)state;
    enum { N_FLOOD = 1000 };
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client c;
    client_open(&c, s, &small);
    (void)wait_until_blocked(s);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        client_send(&c, i);
        wait_for(s, &s->n_blocks, i + 1);
    }
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void many_key_updates(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(SSL_key_update(c.ssl, i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED
                                                          : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        client_send(&c, i);
        client_expect(&c, i);
    }
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

/* ---- what a session can do ---- */

static void resume_last(struct server *s) {
    assert(s->last != NULL);
    s->pause_after = 0;
    conn_resume_read(s->last->conn);
}

static void reading_can_be_paused(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.pause_after = 2, .block_timeout_ms = 50});
    struct client c;
    client_open(&c, s, &PLAIN);
    static uint8_t blocks[5 * CONN_BLOCK_LEN];
    for (uint32_t i = 0; i < 5; i++) fill_pattern(blocks + i * CONN_BLOCK_LEN, i);
    /* The pause falls into the midst of a record, of which TLS has decrypted the rest. */
    client_write(&c, blocks, sizeof blocks, 10000);
    client_expect(&c, 0);
    client_expect(&c, 1);
    /* The begun third block must not time out: it is not the peer who is late. */
    const struct timespec pause = {1, 200000000};
    (void)nanosleep(&pause, NULL);
    assert_int_equal(peek(s, &s->n_blocks), 2);
    on_loop(s, resume_last);
    for (uint32_t i = 2; i < 5; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
}

static void a_paused_connection_notices_the_end(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.pause_after = 1});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0);
    client_expect(&c, 0);
    client_send(&c, 1);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    assert_int_equal(peek(s, &s->n_blocks), 1);
    server_close(s);
}

static void finish_writes_what_is_left(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.finish_after = 3});
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 3; i++) client_send(&c, i);
    for (uint32_t i = 0; i < 3; i++) client_expect(&c, i);
    client_expect_end(&c);
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_blocks, 3);
}

static void finish_waits_for_what_is_to_come(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.finish_after = 1, .is_held = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 7);
    wait_for(s, &s->n_blocks, 1);
    on_loop(s, session_release);
    client_expect(&c, 7);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
}

static void but_not_for_ever_nor_for_nobody(void **state) {
    (void)state;
    for (int leaves = 0; leaves < 2; leaves++) {
        struct server *s = server_open(&(
            struct server){.finish_after = 1, .is_held = true, .tls_timeout_ms = leaves ? 0 : 300});
        struct client c;
        client_open(&c, s, &PLAIN);
        client_send(&c, 7);
        wait_for(s, &s->n_blocks, 1);
        if (leaves) client_close(&c);
        wait_for(s, &s->n_closed, 1);
        if (!leaves) client_close(&c);
        server_close(s);
    }
}

static void finish_has_a_time_limit(void **state) {
    (void)state;
    struct server *s = server_open(
        &(struct server){.n_flood = UINT_MAX, .finish_after = 1, .tls_timeout_ms = 300});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0); /* and reads nothing */
    wait_for(s, &s->n_closed, 1);
    client_close(&c);
    server_close(s);
}

static void close_writes_nothing_more(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.close_after = 1});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_filled, 0);
}

static void an_error_of_the_session_closes(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.refuses_blocks = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    struct server *closed = server_open(&(struct server){.refuses_sessions = true});
    client_open(&c, closed, &PLAIN);
    client_expect_end(&c);
    client_close(&c);
    server_close(closed);
    assert_int_equal(closed->n_open, 0);
}

static void take_queues(struct conn *c, struct server *s) {
    (void)s;
    assert(conn_take_new_queue(c));
    assert(!conn_take_new_queue(c));
}

static void limits_are_those_of_the_admission(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.limits = {.connections_per_address = 1,
                                                               .new_queues_per_minute = 1,
                                                               .limit_localhost = true},
                                                    .inspect = take_queues});
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    const int fd = connect_to(listener_port(s->listener), 0);
    uint8_t byte;
    assert_true(recv_some(fd, &byte, 1) <= 0);
    (void)close(fd);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    s->inspect = NULL; /* read by the loop only when somebody connects */
    client_open(&c, s, &PLAIN);
    client_send(&c, 1);
    client_expect(&c, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void close_all(struct server *s) {
    loop_close_conns(s->loop, 5000);
}

static void an_orderly_stop_finishes_all(void **state) {
    (void)state;
    enum { N_FLOOD = 300 };
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    struct client c[3];
    for (int i = 0; i < 3; i++) client_open(&c[i], s, &PLAIN);
    const int silent = connect_to(listener_port(s->listener), 0);
    wait_for(s, &s->n_open, 3);
    on_loop(s, close_all);
    for (int i = 0; i < 3; i++) {
        for (uint32_t k = 0; k < N_FLOOD; k++) client_expect(&c[i], k);
        client_expect_end(&c[i]);
        client_close(&c[i]);
    }
    wait_for(s, &s->n_closed, 3);
    (void)close(silent);
    server_close(s);
}

/* ---- listener ---- */

static void addresses_are_checked(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){0});
    struct listener *ls = NULL;
    const uint16_t port = listener_port(s->listener);
    static const char *const BAD[] = {"localhost", "", "1.2.3", "::g", "1.2.3.4.5"};
    struct loop *l = NULL;
    assert_int_equal(loop_new(1, &ENV_SYSTEM, &l), OK);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        const struct listener_addr a = {.host = BAD[i], .port = 0};
        assert_int_equal(listener_probe(&a), E_SYNTAX);
        assert_int_equal(listener_open(l, &a, s->tls, &s->opts.stream, &ls), E_SYNTAX);
    }
    const struct listener_addr taken = {.host = "127.0.0.1", .port = port};
    assert_int_equal(listener_probe(&taken), E_SYS);
    assert_int_equal(errno, EADDRINUSE);
    const struct listener_addr elsewhere = {.host = "192.0.2.1", .port = 0};
    assert_int_equal(listener_open(l, &elsewhere, s->tls, &s->opts.stream, &ls), E_SYS);
    assert_int_equal(errno, EADDRNOTAVAIL);
    /* Another loop may share the port. */
    assert_int_equal(listener_open(l, &taken, s->tls, &s->opts.stream, &ls), OK);
    assert_int_equal(listener_port(ls), port);
    loop_free(l); /* closes the listener that was left open */
    server_close(s);
    listener_close(NULL);
    const struct listener_addr any = {.host = NULL, .port = 0};
    assert_int_equal(listener_probe(&any), OK);
}

static bool can_connect_v6(uint16_t port) {
    const struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return false;
    const bool is_connected = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return is_connected;
}

static bool has_ipv6(void) {
    const struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return false;
    const bool is_bound = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return is_bound;
}

static void all_addresses_means_both_families(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.host = "*"});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 1);
    client_expect(&c, 1);
    client_close(&c);
    assert_int_equal(can_connect_v6(listener_port(s->listener)), has_ipv6());
    server_close(s);
}

static void accepting_goes_on_when_descriptors_are_back(void **state) {
    (void)state;
    /* Valgrind plays the limit: it accepts, and closes what is above it. */
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded != NULL && strstr(preloaded, "vgpreload") != NULL) skip();
    struct server *s = server_open(&(struct server){0});
    struct client c;
    const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(next >= 0);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next + 1; /* the client's socket takes the last one */
    (void)close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    client_init(&c, listener_port(s->listener), &PLAIN); /* the kernel connects it */
    const struct timespec pause = {0, 300000000};
    (void)nanosleep(&pause, NULL);
    assert_int_equal(admission_connections(s->admission), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(client_handshake(&c), 1);
    client_send(&c, 1);
    client_expect(&c, 1);
    client_close(&c);
    server_close(s);
}

static int init(void **state) {
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_block_is_echoed, forget_servers),
        cmocka_unit_test_teardown(interruptions_do_no_harm, stop_interruptions),
        cmocka_unit_test_teardown(a_thousand_blocks_without_waiting, forget_servers),
        cmocka_unit_test_teardown(records_need_not_fit_blocks, forget_servers),
        cmocka_unit_test_teardown(many_connections_at_once, forget_servers),
        cmocka_unit_test_teardown(tls_versions_certificates_and_groups, forget_servers),
        cmocka_unit_test_teardown(no_retry_for_a_client_that_begins_with_x448, forget_servers),
        cmocka_unit_test_teardown(both_sides_know_the_same_tls_unique, forget_servers),
        cmocka_unit_test_teardown(alpn_is_optional_but_must_fit, forget_servers),
        cmocka_unit_test_teardown(other_ciphers_are_refused, forget_servers),
        cmocka_unit_test_teardown(sessions_cannot_be_resumed, forget_servers),
        cmocka_unit_test_teardown(client_certificates_are_shown_to_the_session, forget_servers),
        cmocka_unit_test_teardown(a_client_chain_that_does_not_hold_is_refused, forget_servers),
        cmocka_unit_test_teardown(a_new_certificate_serves_new_connections, forget_servers),
        cmocka_unit_test_teardown(deadlines_end_connections_that_stand_still, forget_servers),
        cmocka_unit_test_teardown(a_session_may_set_a_deadline, forget_servers),
        cmocka_unit_test_teardown(what_is_not_tls_is_counted_and_closed, forget_servers),
        cmocka_unit_test_teardown(garbage_after_the_handshake_ends_the_connection, forget_servers),
        cmocka_unit_test_teardown(a_reset_ends_the_session, forget_servers),
        cmocka_unit_test_teardown(a_peer_that_does_not_read_stops_only_itself, forget_servers),
        cmocka_unit_test_teardown(key_updates_while_writing_is_blocked, forget_servers),
        cmocka_unit_test_teardown(many_key_updates, forget_servers),
        cmocka_unit_test_teardown(reading_can_be_paused, forget_servers),
        cmocka_unit_test_teardown(a_paused_connection_notices_the_end, forget_servers),
        cmocka_unit_test_teardown(finish_writes_what_is_left, forget_servers),
        cmocka_unit_test_teardown(finish_waits_for_what_is_to_come, forget_servers),
        cmocka_unit_test_teardown(but_not_for_ever_nor_for_nobody, forget_servers),
        cmocka_unit_test_teardown(finish_has_a_time_limit, forget_servers),
        cmocka_unit_test_teardown(close_writes_nothing_more, forget_servers),
        cmocka_unit_test_teardown(an_error_of_the_session_closes, forget_servers),
        cmocka_unit_test_teardown(limits_are_those_of_the_admission, forget_servers),
        cmocka_unit_test_teardown(an_orderly_stop_finishes_all, forget_servers),
        cmocka_unit_test_teardown(addresses_are_checked, forget_servers),
        cmocka_unit_test_teardown(all_addresses_means_both_families, forget_servers),
        cmocka_unit_test_teardown(accepting_goes_on_when_descriptors_are_back, forget_servers),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
