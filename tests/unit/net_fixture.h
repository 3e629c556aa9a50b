/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* net_fixture.h -- a server of blocks on a loop of its own, and a blocking TLS client for it.
 *
 * The server echoes blocks, unless its fields say otherwise; they are set before server_open().
 * What happens is counted under a lock, and the test waits for counts (wait_for), never for time.
 * A block is known by its number: all its bytes follow from that. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cert_fixture.h"
#include "crypto/cert.h"
#include "crypto/crypto.h"
#include "net/admission.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/tls.h"

enum {
    WAIT_S = 20,       /* after that a test has failed: long, for slow machines */
    MAX_QUEUED = 4096, /* blocks that a session may owe */
    LONG_TIMEOUT_MS = 60000,
};

/* Runs before all tests. */
static inline int init_net(void **state) {
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    return crypto_init() == OK ? 0 : -1;
}

static inline void fill_pattern(uint8_t *block, uint32_t number) {
    memset(block, (int)(number % 251), CONN_BLOCK_LEN);
    memcpy(block, &number, sizeof number);
}

/* The number of a block, or UINT32_MAX when it is damaged. */
static inline uint32_t read_pattern(const uint8_t *block) {
    uint32_t number;
    memcpy(&number, block, sizeof number);
    for (size_t i = sizeof number; i < CONN_BLOCK_LEN; i++) {
        if (block[i] != number % 251) return UINT32_MAX;
    }
    return number;
}

/* ---- certificates ---- */

static inline struct cert_bundle new_bundle(enum cert_algorithm algorithm) {
    const struct cert_request r = {algorithm, "localhost", time(NULL) - 3600};
    struct cert_bundle b;
    assert_int_equal(cert_bundle_new(&r, &b), OK);
    return b;
}

static inline SSL_CTX *new_server_ctx(enum cert_algorithm algorithm) {
    struct cert_bundle b = new_bundle(algorithm);
    struct server_cert *cert = load_bundle(&b, time(NULL));
    SSL_CTX *ctx = NULL;
    assert_int_equal(tls_server_ctx_new(cert, &ENV_SYSTEM, &ctx), OK);
    cert_bundle_done(&b);
    return ctx;
}

/* ---- server ---- */

struct session;

struct server {
    /* set by the test before server_open() */
    struct admission_opts limits;
    int64_t tls_timeout_ms, block_timeout_ms; /* 0: long */
    const char *host;                         /* NULL: 127.0.0.1; "*": all addresses */
    SSL_CTX *tls;                             /* owned; NULL: a new Ed25519 one */
    unsigned n_flood;                         /* blocks to send without being asked */
    unsigned pause_after;                     /* 0: never; blocks after which reading is paused */
    unsigned finish_after, close_after;       /* 0: never */
    bool refuses_blocks, refuses_sessions;
    bool is_held;              /* nothing is sent, but will be: session_release() */
    bool has_session_deadline; /* of 1 ms */
    enum err (*on_up)(struct stream *s, const struct stream_opts *o); /* NULL: conn_up() */
    void (*inspect)(struct conn *c, struct server *s); /* called at on_open; may be NULL */

    /* test thread only */
    struct server *next; /* of SERVERS */
    bool is_open;

    /* owned; fixed while the loop runs */
    struct loop *loop;
    struct listener *listener;
    struct admission *admission;
    struct conn_opts opts;

    /* owner loop only */
    struct session *last; /* the youngest open session */

    /* guarded by mtx */
    pthread_mutex_t mtx;
    char tls_error[64]; /* the last one */
    pthread_cond_t changed;
    unsigned n_open, n_closed, n_blocks, n_filled, n_tls_errors, n_calls, n_damaged;
    uint8_t unique[TLS_UNIQUE_MAX];
    size_t unique_len;
    bool has_alpn;
    uint8_t chain[CONN_BLOCK_LEN];
    size_t chain_len;
};

struct session {
    struct conn *conn;
    struct server *server;
    unsigned n_received, n_sent;
    unsigned n_queued;
    uint32_t queued[MAX_QUEUED];
};

static inline void count(struct server *s, unsigned *counter) {
    pthread_mutex_lock(&s->mtx);
    (*counter)++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mtx);
}

static inline unsigned peek(struct server *s, const unsigned *counter) {
    pthread_mutex_lock(&s->mtx);
    const unsigned n = *counter;
    pthread_mutex_unlock(&s->mtx);
    return n;
}

static inline void wait_for(struct server *s, const unsigned *counter, unsigned value) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    int r = 0;
    pthread_mutex_lock(&s->mtx);
    while (*counter < value && r == 0) r = pthread_cond_timedwait(&s->changed, &s->mtx, &until);
    const unsigned got = *counter;
    pthread_mutex_unlock(&s->mtx);
    assert_in_range(got, value, UINT_MAX);
}

static inline enum err session_open(struct conn *c, void *server, void **ret) {
    struct server *s = server;
    if (s->refuses_sessions) return E_VERSION;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) return E_NO_MEMORY;
    session->conn = c;
    session->server = s;
    s->last = session;
    const struct bytes unique = conn_tls_unique(c);
    pthread_mutex_lock(&s->mtx);
    memcpy(s->unique, unique.p, unique.n);
    s->unique_len = unique.n;
    s->has_alpn = conn_has_alpn(c);
    struct bytes chain;
    if (conn_peer_chain(c, s->chain, sizeof s->chain, &chain) == OK) s->chain_len = chain.n;
    pthread_mutex_unlock(&s->mtx);
    if (s->inspect != NULL) s->inspect(c, s);
    if (s->has_session_deadline) conn_set_deadline(c, loop_now_ms(conn_loop(c)) + 1);
    if (s->n_flood != 0) conn_want_write(c);
    *ret = session;
    count(s, &s->n_open);
    return OK;
}

static inline enum err session_block(void *ctx, uint8_t *block) {
    struct session *session = ctx;
    struct server *s = session->server;
    const uint32_t number = read_pattern(block);
    memset(block, 0xee, CONN_BLOCK_LEN); /* it is scratch */
    if (number == UINT32_MAX) count(s, &s->n_damaged);
    session->n_received++;
    if (session->n_queued < MAX_QUEUED) session->queued[session->n_queued++] = number;
    conn_want_write(session->conn);
    if (session->n_received == s->pause_after) conn_pause_read(session->conn);
    if (session->n_received == s->finish_after) conn_finish(session->conn);
    if (session->n_received == s->close_after) conn_close(session->conn);
    count(s, &s->n_blocks);
    return s->refuses_blocks ? E_BLOCK : OK;
}

static inline bool session_fill(void *ctx, uint8_t *block) {
    struct session *session = ctx;
    struct server *s = session->server;
    if (s->is_held) return false;
    if (s->n_flood != 0) {
        if (session->n_sent == s->n_flood) return false;
        fill_pattern(block, session->n_sent++);
    } else {
        if (session->n_sent == session->n_queued) return false;
        fill_pattern(block, session->queued[session->n_sent++]);
    }
    count(s, &s->n_filled);
    return true;
}

static inline bool session_awaits(void *ctx) {
    const struct session *session = ctx;
    return session->server->is_held;
}

/* On the loop. */
static inline void session_release(struct server *s) {
    s->is_held = false;
    if (s->last != NULL) conn_want_write(s->last->conn);
}

static inline void session_close(void *ctx) {
    struct session *session = ctx;
    struct server *s = session->server;
    if (s->last == session) s->last = NULL;
    conn_want_write(
        session->conn); /* harmless, as all that a session may do by mistake at its end */
    conn_close(session->conn);
    free(session);
    count(s, &s->n_closed);
}

static inline void server_tls_error(void *server, const char *reason) {
    struct server *s = server;
    pthread_mutex_lock(&s->mtx);
    (void)snprintf(s->tls_error, sizeof s->tls_error, "%s", reason);
    pthread_mutex_unlock(&s->mtx);
    count(s, &s->n_tls_errors);
}

static const struct conn_ops ECHO_OPS = {
    .on_open = session_open,
    .on_block = session_block,
    .fill = session_fill,
    .awaits = session_awaits,
    .on_close = session_close,
};

/* The servers of a test; they are freed after it (forget_servers), not with the frame of a test
 * that fails while their loops run. */
static struct server *SERVERS;

/* A running server with the settings of *template. Its counts may be read after server_close(). */
static inline struct server *server_open(const struct server *template) {
    struct server *s = malloc(sizeof *s);
    assert_non_null(s);
    *s = *template;
    (void)pthread_mutex_init(&s->mtx, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    if (s->tls == NULL) s->tls = new_server_ctx(CERT_ED25519);
    assert_int_equal(admission_new(&s->limits, &ENV_SYSTEM, &s->admission), OK);
    assert_int_equal(loop_new(0, &ENV_SYSTEM, &s->loop), OK);
    s->opts = (struct conn_opts){
        .ops = &ECHO_OPS,
        .stream.on_up = s->on_up != NULL ? s->on_up : conn_up,
        .stream.server = s,
        .stream.admission = s->admission,
        .stream.tls_timeout_ms = s->tls_timeout_ms != 0 ? s->tls_timeout_ms : LONG_TIMEOUT_MS,
        .block_timeout_ms = s->block_timeout_ms != 0 ? s->block_timeout_ms : LONG_TIMEOUT_MS,
        .stream.on_tls_error = server_tls_error,
        .controls_per_s = 10,
    };
    const bool is_any = s->host != NULL && strcmp(s->host, "*") == 0;
    const struct listener_addr a = {.host = is_any            ? NULL
                                            : s->host != NULL ? s->host
                                                              : "127.0.0.1"};
    assert_int_equal(listener_open(s->loop, &a, s->tls, &s->opts.stream, &s->listener), OK);
    assert_int_not_equal(listener_port(s->listener), 0);
    assert_int_equal(loop_start(s->loop), OK);
    s->is_open = true;
    s->next = SERVERS;
    SERVERS = s;
    return s;
}

static inline struct server *usual_server(void) {
    return server_open(&(struct server){0});
}

static inline void server_stop(struct server *s) {
    s->is_open = false;
    loop_stop(s->loop);
    loop_join(s->loop);
    listener_close(s->listener);
}

static inline void server_done(struct server *s) {
    loop_free(s->loop);
    admission_free(s->admission);
    SSL_CTX_free(s->tls);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->mtx);
}

/* Stops it, and checks what must hold in the end whatever happened. */
static inline void server_close(struct server *s) {
    server_stop(s);
    assert_int_equal(loop_n_conns(s->loop), 0);
    assert_int_equal(s->n_open, s->n_closed);
    assert_int_equal(s->n_damaged, 0);
    assert_int_equal(admission_connections(s->admission), 0);
    server_done(s);
}

/* Runs after each test: one that failed has left its servers at work. */
static inline int forget_servers(void **state) {
    (void)state;
    while (SERVERS != NULL) {
        struct server *s = SERVERS;
        SERVERS = s->next;
        if (s->is_open) {
            server_stop(s);
            server_done(s);
        }
        free(s);
    }
    return 0;
}

/* Runs fn(server) on the loop and waits until it has. */
struct call {
    struct loop_msg msg;
    struct server *server;
    void (*fn)(struct server *s);
};

static inline void run_call(struct loop_msg *m) {
    struct call *c = (struct call *)m;
    c->fn(c->server);
    count(c->server, &c->server->n_calls);
}

static inline void on_loop(struct server *s, void (*fn)(struct server *s)) {
    const unsigned before = peek(s, &s->n_calls);
    struct call c = {{NULL, run_call}, s, fn};
    loop_post(s->loop, &c.msg);
    wait_for(s, &s->n_calls, before + 1);
}

/* ---- client ---- */

struct client_opts {
    const char *groups;   /* NULL: X25519:X448 */
    const char *alpn;     /* NULL: smp/1; "": none; else a list in the encoding of TLS */
    int max_version;      /* 0: TLS 1.3 */
    const char *chain[3]; /* PEM, leaf first; NULL: no client certificate */
    const char *key;
    int receive_buffer; /* 0: the kernel's choice */
};

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    unsigned n_hellos; /* ClientHello messages sent: 2 after a retry request */
};

static inline int connect_to(uint16_t port, int receive_buffer) {
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    const struct timeval limit = {WAIT_S, 0};
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (receive_buffer != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    int r;
    do r = connect(fd, (const struct sockaddr *)&a, sizeof a);
    while (r != 0 && errno == EINTR);
    assert_true(r == 0 || errno == EISCONN);
    return fd;
}

static inline void note_message(int is_write, int version, int type, const void *p, size_t n,
                                SSL *ssl, void *arg) {
    (void)version;
    (void)ssl;
    struct client *c = arg;
    const uint8_t *message = p;
    if (is_write && type == SSL3_RT_HANDSHAKE && n > 0 && message[0] == SSL3_MT_CLIENT_HELLO) {
        c->n_hellos++;
    }
}

static inline void use_client_cert(SSL_CTX *ctx, const struct client_opts *o) {
    if (o->chain[0] == NULL) return;
    X509 *leaf = cert_of_pem(o->chain[0]);
    EVP_PKEY *key = key_of_pem(o->key);
    assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(leaf);
    EVP_PKEY_free(key);
    for (int i = 1; i < 3 && o->chain[i] != NULL; i++) {
        assert_int_equal(SSL_CTX_add_extra_chain_cert(ctx, cert_of_pem(o->chain[i])), 1);
    }
}

/* Connects, without the handshake. */
static inline void client_init(struct client *c, uint16_t port, const struct client_opts *o) {
    *c = (struct client){.fd = connect_to(port, o->receive_buffer)};
    c->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(c->ctx);
    char groups[64]; /* the macro wants it writable */
    (void)snprintf(groups, sizeof groups, "%s", o->groups != NULL ? o->groups : "X25519:X448");
    assert_int_equal(SSL_CTX_set1_groups_list(c->ctx, groups), 1);
    if (o->max_version != 0) {
        assert_int_equal(SSL_CTX_set_max_proto_version(c->ctx, o->max_version), 1);
    }
    use_client_cert(c->ctx, o);
    SSL_CTX_set_msg_callback(c->ctx, note_message);
    SSL_CTX_set_msg_callback_arg(c->ctx, c);
    c->ssl = SSL_new(c->ctx);
    assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
    const char *alpn = o->alpn != NULL ? o->alpn : "\5smp/1";
    if (alpn[0] == '\0') return;
    assert_int_equal(SSL_set_alpn_protos(c->ssl, (const uint8_t *)alpn, (unsigned)strlen(alpn)), 0);
}

/* As recv(), whatever interrupts it. */
static inline ssize_t recv_some(int fd, void *p, size_t n) {
    ssize_t r;
    do r = recv(fd, p, n, 0);
    while (r < 0 && errno == EINTR);
    return r;
}

/* Whether a call of OpenSSL that gave r is to be made again: a signal interrupted it, or what libuv
 * had io_uring do for this thread. A limit that ran out is EAGAIN. */
static inline bool is_interrupted(const struct client *c, int r) {
    return r <= 0 && !SSL_want_nothing(c->ssl) && errno == EINTR;
}

/* As SSL_connect(), whatever interrupts it. */
static inline int client_handshake(struct client *c) {
    int r;
    do {
        errno = 0;
        ERR_clear_error();
        r = SSL_connect(c->ssl);
    } while (is_interrupted(c, r));
    return r;
}

/* As SSL_read(), whatever interrupts it. */
static inline int client_read(struct client *c, uint8_t *p, size_t n) {
    int r;
    do {
        errno = 0;
        ERR_clear_error();
        r = SSL_read(c->ssl, p, (int)n);
    } while (is_interrupted(c, r));
    return r;
}

static inline void client_open(struct client *c, const struct server *s,
                               const struct client_opts *o) {
    client_init(c, listener_port(s->listener), o);
    if (client_handshake(c) != 1) {
        fail_msg("handshake: %s", ERR_reason_error_string(ERR_peek_last_error()));
    }
}

static inline void client_close(struct client *c) {
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    if (c->fd >= 0) (void)close(c->fd);
}

/* Writes n bytes in records of at most `piece`. */
static inline void client_write(struct client *c, const uint8_t *p, size_t n, size_t piece) {
    for (size_t at = 0; at < n;) {
        const size_t part = n - at < piece ? n - at : piece;
        int r;
        do {
            errno = 0;
            r = SSL_write(c->ssl, p + at, (int)part);
        } while (is_interrupted(c, r));
        assert_int_equal(r, (int)part);
        at += part;
    }
}

static inline void client_send(struct client *c, uint32_t number) {
    uint8_t block[CONN_BLOCK_LEN];
    fill_pattern(block, number);
    client_write(c, block, sizeof block, sizeof block);
}

/* Expects the block with this number. */
static inline void client_expect(struct client *c, uint32_t number) {
    uint8_t block[CONN_BLOCK_LEN];
    for (size_t at = 0; at < sizeof block;) {
        const int n = client_read(c, block + at, sizeof block - at);
        if (n <= 0) fail_msg("block %u: SSL error %d", number, SSL_get_error(c->ssl, n));
        at += (size_t)n;
    }
    assert_int_equal(read_pattern(block), number);
}

/* Sends a block that comes back. */
static inline void client_echo(struct client *c, uint32_t number) {
    client_send(c, number);
    client_expect(c, number);
}

/* Expects the end of the connection, and nothing before it. */
static inline void client_expect_end(struct client *c) {
    uint8_t byte;
    const int n = client_read(c, &byte, 1);
    assert_true(n <= 0);
    const int why = SSL_get_error(c->ssl, n);
    assert_true(why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL ||
                (why == SSL_ERROR_SYSCALL && errno != EAGAIN));
}
