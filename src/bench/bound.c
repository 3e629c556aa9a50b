/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/bound.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/clock.h"
#include "crypto/authz.h"
#include "crypto/cert.h"
#include "net/tls.h"
#include "wire/block.h"

enum { BATCH = 16, ROUNDS = 8, ROUND_NS = 25000000, SHORT_TEXT_LEN = 96, N_CERTS = 2 };

/* A TLS connection whose two ends are in memory. */
struct tls_pair {
    SSL *server, *client;       /* owned */
    BIO *to_server, *to_client; /* owned by the SSL objects */
};

/* All that the operations work on. */
struct kit {
    const struct server_cert *certs[N_CERTS]; /* Ed25519, Ed448; borrowed from servers */
    SSL_CTX *servers[N_CERTS];                /* owned */
    SSL_CTX *client, *client_448;             /* owned */
    struct tls_pair pair;
    struct block_chain seals, opens;
    struct box_key key;
    struct x25519_pair x25519, session;
    struct ed25519_key ed25519;
    uint8_t short_sig[ED25519_SIG_LEN], long_sig[ED25519_SIG_LEN];
    uint8_t authenticator[AUTHENTICATOR_LEN];
    uint8_t block[SMP_BLOCK_LEN], blocks[BATCH][SMP_BLOCK_LEN];
    unsigned at; /* of blocks */
    bool has_failed;
};

static void check(struct kit *k, bool is_good) {
    if (!is_good) k->has_failed = true;
}

static struct bytes text_of(const struct kit *k, size_t n) {
    return bytes_of(k->block, n);
}

/* ---- TLS ---- */

static void tls_pair_free(struct tls_pair *p) {
    SSL_free(p->server);
    SSL_free(p->client);
    *p = (struct tls_pair){0};
}

static bool tls_pair_new(SSL_CTX *server, SSL_CTX *client, struct tls_pair *ret) {
    *ret = (struct tls_pair){.client = SSL_new(client),
                             .to_server = BIO_new(BIO_s_mem()),
                             .to_client = BIO_new(BIO_s_mem())};
    if (ret->client == NULL || ret->to_server == NULL || ret->to_client == NULL) return false;
    (void)BIO_up_ref(ret->to_server);
    (void)BIO_up_ref(ret->to_client);
    SSL_set_bio(ret->client, ret->to_client, ret->to_server);
    SSL_set_connect_state(ret->client);
    (void)server;
    return true;
}

/* The server's part, in nanoseconds; -1: it failed. */
static int64_t shake_hands(SSL_CTX *server, SSL_CTX *client, struct tls_pair *p) {
    if (!tls_pair_new(server, client, p)) return -1;
    int64_t spent_ns = 0;
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(p->client);
        const int64_t start_ns = clock_thread_cpu_ns();
        if (p->server == NULL) {
            p->server = SSL_new(server);
            if (p->server == NULL) return -1;
            SSL_set_bio(p->server, p->to_server, p->to_client);
            SSL_set_accept_state(p->server);
        }
        (void)SSL_do_handshake(p->server);
        spent_ns += clock_thread_cpu_ns() - start_ns;
    }
    return SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server) ? spent_ns : -1;
}

static int64_t handshake(struct kit *k, unsigned cert, SSL_CTX *client) {
    struct tls_pair p;
    const int64_t ns = shake_hands(k->servers[cert], client, &p);
    tls_pair_free(&p);
    return ns;
}

static int64_t run_tls_ed25519(struct kit *k) {
    return handshake(k, CERT_ED25519, k->client);
}

static int64_t run_tls_ed25519_x448(struct kit *k) {
    return handshake(k, CERT_ED25519, k->client_448);
}

static int64_t run_tls_ed448(struct kit *k) {
    return handshake(k, CERT_ED448, k->client);
}

static int64_t run_tls_ed448_x448(struct kit *k) {
    return handshake(k, CERT_ED448, k->client_448);
}

static void prepare_tls_seal(struct kit *k) {
    (void)BIO_reset(k->pair.to_client);
}

static void run_tls_seal(struct kit *k) {
    check(k, SSL_write(k->pair.server, k->block, SMP_BLOCK_LEN) == SMP_BLOCK_LEN);
}

static void prepare_tls_open(struct kit *k) {
    (void)BIO_reset(k->pair.to_server);
    for (int i = 0; i < BATCH; i++) {
        check(k, SSL_write(k->pair.client, k->block, SMP_BLOCK_LEN) == SMP_BLOCK_LEN);
    }
}

static void run_tls_open(struct kit *k) {
    check(k, SSL_read(k->pair.server, k->blocks[0], SMP_BLOCK_LEN) == SMP_BLOCK_LEN);
}

/* ---- blocks and bodies ---- */

static void run_block_seal(struct kit *k) {
    uint8_t *block = k->blocks[k->at++ % BATCH];
    struct wr w = block_begin(block, true);
    check(k, wr_skip(&w, wr_left(&w)) != NULL && block_seal(block, &w, &k->seals) == OK);
}

static void prepare_block_open(struct kit *k) {
    k->seals = k->opens;
    k->at = 0;
    for (int i = 0; i < BATCH; i++) run_block_seal(k);
    k->at = 0;
}

static void run_block_open(struct kit *k) {
    struct bytes content;
    check(k, block_open(k->blocks[k->at++ % BATCH], &k->opens, &content) == OK);
}

static void run_body_box(struct kit *k) {
    static const struct box_nonce NONCE;
    box_seal(&k->key, &NONCE, k->blocks[0], SMP_MSG_PADDED_LEN);
}

/* ---- authorization ---- */

static void run_authenticator(struct kit *k) {
    uint8_t hash[SHA512_LEN], buf[AUTHENTICATOR_LEN];
    const struct box_nonce nonce = {{0}};
    struct bytes opened;
    memcpy(buf, k->authenticator, sizeof buf);
    check(k, crypto_sha512_2(text_of(k, SMP_MSG_PADDED_LEN), (struct bytes){0}, hash) == OK &&
                 box_open(&k->key, &nonce, buf, sizeof buf, &opened) == OK &&
                 crypto_equal(opened, bytes_of(hash, sizeof hash)));
}

static void run_sha512(struct kit *k) {
    uint8_t hash[SHA512_LEN];
    check(k, crypto_sha512_2(text_of(k, SMP_MSG_PADDED_LEN), (struct bytes){0}, hash) == OK);
}

static void run_x25519(struct kit *k) {
    uint8_t secret[X25519_LEN];
    check(k, x25519_dh(k->x25519.priv, k->session.pub, secret) == OK);
}

static void verify(struct kit *k, const uint8_t *sig, size_t n) {
    const struct pubkey key = pubkey_from_ed25519(&k->ed25519);
    check(k, pubkey_verify(&key, bytes_of(sig, ED25519_SIG_LEN), text_of(k, n), (struct bytes){0}));
}

static void run_verify_short(struct kit *k) {
    verify(k, k->short_sig, SHORT_TEXT_LEN);
}

static void run_verify_long(struct kit *k) {
    verify(k, k->long_sig, SMP_MSG_PADDED_LEN);
}

/* ---- the SMP handshake: session key, its signature, agreement, chains ---- */

static void smp_handshake(struct kit *k, unsigned cert) {
    uint8_t signed_key[512], secret[X25519_LEN];
    struct wr w = wr_init(signed_key, sizeof signed_key);
    struct x25519_pair pair;
    struct block_chain sends, receives;
    x25519_pair_new(&ENV_SYSTEM, &pair);
    check(k, server_cert_sign_session_key(k->certs[cert], pair.pub, &w) == OK &&
                 x25519_dh(pair.priv, k->session.pub, secret) == OK &&
                 block_chains_init(text_of(k, 32), secret, &sends, &receives) == OK);
}

static void run_smp_ed25519(struct kit *k) {
    smp_handshake(k, CERT_ED25519);
}

static void run_smp_ed448(struct kit *k) {
    smp_handshake(k, CERT_ED448);
}

/* ---- the table ---- */

/* A block holds 135 SUBs of 121 bytes; of their answers, all that a block may. */
static const double PER_SUB = 1.0 / 135, PER_SOK = 1.0 / 255;

/* prepare: before each BATCH, not counted; run: once. Or timed: says itself what counts. */
struct op_row {
    const char *name, *text;
    void (*prepare)(struct kit *k);
    void (*run)(struct kit *k);
    int64_t (*timed)(struct kit *k);
    double counts[N_BOUNDS];
};

/* clang-format off */
#define ROW(name, text, prepare, run, timed, ...) {name, text, prepare, run, timed, {__VA_ARGS__}}
static const struct op_row OPS[] = {
    /*                                                                              relay plain signed sub connect */
    ROW("tls_seal", "TLS, encrypt 16 KiB", prepare_tls_seal, run_tls_seal, NULL,           3, 3, 3, PER_SOK, 2),
    ROW("tls_open", "TLS, decrypt 16 KiB", prepare_tls_open, run_tls_open, NULL,           2, 2, 2, PER_SUB, 2),
    ROW("block_seal", "block, HKDF and box", NULL, run_block_seal, NULL,                   3, 0, 0, PER_SOK, 1),
    ROW("block_open", "block, HKDF and open", prepare_block_open, run_block_open, NULL,    2, 0, 0, PER_SUB, 1),
    ROW("body_box", "message body, box", NULL, run_body_box, NULL,                         1, 1, 1, 0, 0),
    ROW("authenticator", "authenticator of 16 KiB, key known", NULL, run_authenticator, NULL, 1, 1, 0, 0, 0),
    ROW("verify_short", "Ed25519 verify, short", NULL, run_verify_short, NULL,             1, 1, 1, 1, 0),
    ROW("verify_long", "Ed25519 verify, 16 KiB", NULL, run_verify_long, NULL,              0, 0, 1, 0, 0),
    ROW("tls_ed25519_x25519", "TLS handshake, Ed25519, X25519", NULL, NULL, run_tls_ed25519, 0, 0, 0, 0, 1),
    ROW("smp_ed25519", "SMP handshake, Ed25519", NULL, run_smp_ed25519, NULL,              0, 0, 0, 0, 1),
    ROW("x25519", "X25519 (authenticator, key not known)", NULL, run_x25519, NULL,         0, 0, 0, 0, 0),
    ROW("sha512", "SHA-512 of 16 KiB", NULL, run_sha512, NULL,                             0, 0, 0, 0, 0),
    ROW("tls_ed25519_x448", "TLS handshake, Ed25519, X448", NULL, NULL, run_tls_ed25519_x448, 0, 0, 0, 0, 0),
    ROW("tls_ed448_x25519", "TLS handshake, Ed448, X25519", NULL, NULL, run_tls_ed448,     0, 0, 0, 0, 0),
    ROW("tls_ed448_x448", "TLS handshake, Ed448, X448", NULL, NULL, run_tls_ed448_x448,    0, 0, 0, 0, 0),
    ROW("smp_ed448", "SMP handshake, Ed448", NULL, run_smp_ed448, NULL,                    0, 0, 0, 0, 0),
};
#undef ROW
/* clang-format on */
enum { N_OPS = ARRAY_LEN(OPS) };
_Static_assert((int)N_OPS <= (int)BOUND_OPS_MAX, "room for all");

const char *bound_name(enum bound b) {
    static const char *const NAMES[N_BOUNDS] = {"relay", "relay_plain", "relay_signed", "sub",
                                                "connect"};
    return NAMES[b];
}

/* ---- making the kit ---- */

/* server_cert_load() wants files: these are in memory. */
static bool memory_file(const char *text, char ret_path[64]) {
    const int fd = memfd_create("smp-bench", MFD_CLOEXEC);
    if (fd < 0) return false;
    (void)snprintf(ret_path, 64, "/proc/self/fd/%d", fd);
    const size_t n = strlen(text);
    return write(fd, text, n) == (ssize_t)n;
}

static void close_memory_file(const char *path) {
    const char *number = strrchr(path, '/');
    if (number != NULL) (void)close((int)strtol(number + 1, NULL, 10));
}

static enum err make_cert(enum cert_algorithm algorithm, struct server_cert **ret) {
    const int64_t now_s = env_now_s(&ENV_SYSTEM);
    const struct cert_request request = {.algorithm = algorithm,
                                         .host = "localhost",
                                         .valid_from_s = now_s};
    struct cert_bundle b = {0};
    struct cert_problem problem;
    char ca[64] = "", crt[64] = "", key[64] = "";
    enum err e = cert_bundle_new(&request, &b);
    if (e == OK && (!memory_file(b.ca_crt, ca) || !memory_file(b.server_crt, crt) ||
                    !memory_file(b.server_key, key))) {
        e = E_SYS;
    }
    const struct cert_files files = {.ca_crt = ca, .server_crt = crt, .server_key = key};
    if (e == OK) e = server_cert_load(&files, now_s, ret, &problem);
    close_memory_file(ca);
    close_memory_file(crt);
    close_memory_file(key);
    cert_bundle_done(&b);
    return e;
}

static enum err make_tls(struct kit *k) {
    enum err e = OK;
    for (unsigned i = 0; i < N_CERTS && e == OK; i++) {
        struct server_cert *cert = NULL;
        e = make_cert((enum cert_algorithm)i, &cert);
        k->certs[i] = cert;
        if (e == OK) e = tls_server_ctx_new(cert, &ENV_SYSTEM, &k->servers[i]);
    }
    if (e == OK) e = tls_client_ctx_new(&ENV_SYSTEM, &k->client);
    if (e == OK) e = tls_client_ctx_new(&ENV_SYSTEM, &k->client_448);
    if (e != OK) return e;
    if (SSL_CTX_set1_groups_list(k->client_448, "X448") != 1) return E_CRYPTO;
    return shake_hands(k->servers[CERT_ED25519], k->client, &k->pair) >= 0 ? OK : E_CRYPTO;
}

static enum err make_keys(struct kit *k) {
    uint8_t secret[X25519_LEN];
    const struct bytes none = {0};
    env_random(&ENV_SYSTEM, k->block, sizeof k->block);
    env_random(&ENV_SYSTEM, k->seals.key, sizeof k->seals.key);
    k->opens = k->seals;
    x25519_pair_new(&ENV_SYSTEM, &k->x25519);
    x25519_pair_new(&ENV_SYSTEM, &k->session);
    ed25519_key_new(&ENV_SYSTEM, &k->ed25519);
    enum err e = x25519_dh(k->x25519.priv, k->session.pub, secret);
    if (e != OK) return e;
    k->key = box_key_from_secret(secret);
    e = ed25519_sign(&k->ed25519, text_of(k, SHORT_TEXT_LEN), none, k->short_sig);
    if (e == OK) e = ed25519_sign(&k->ed25519, text_of(k, SMP_MSG_PADDED_LEN), none, k->long_sig);
    if (e != OK) return e;
    return authz_box(&k->key, text_of(k, SMP_MSG_PADDED_LEN), none, none, k->authenticator);
}

static void kit_free(struct kit *k) {
    tls_pair_free(&k->pair);
    for (unsigned i = 0; i < N_CERTS; i++) {
        tls_ctx_free(k->servers[i]);
    }
    tls_ctx_free(k->client);
    tls_ctx_free(k->client_448);
    crypto_wipe(k, sizeof *k);
    free(k);
}

/* ---- measuring ---- */

/* Nanoseconds of BATCH operations. */
static int64_t run_batch(struct kit *k, const struct op_row *o) {
    int64_t spent_ns = 0;
    if (o->timed != NULL) {
        for (int i = 0; i < BATCH; i++) {
            const int64_t ns = o->timed(k);
            check(k, ns >= 0);
            spent_ns += ns;
        }
        return spent_ns;
    }
    if (o->prepare != NULL) o->prepare(k);
    const int64_t start_ns = clock_thread_cpu_ns();
    for (int i = 0; i < BATCH; i++) o->run(k);
    return clock_thread_cpu_ns() - start_ns;
}

/* The best of some rounds: what disturbs (caches that others fill, a slower clock) only adds. */
static double measure(struct kit *k, const struct op_row *o) {
    double best_ns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t spent_ns = 0;
        unsigned n = 0;
        while (spent_ns < ROUND_NS && !k->has_failed) {
            spent_ns += run_batch(k, o);
            n += BATCH;
        }
        const double each = n != 0 ? (double)spent_ns / n : 0;
        if (round == 0 || each < best_ns) best_ns = each;
    }
    return best_ns / CLOCK_NS_PER_US;
}

static void measure_all(struct kit *k, void (*progress)(double share), struct bounds *ret) {
    for (int i = 0; i < N_OPS; i++) {
        const struct op_row *o = &OPS[i];
        struct bound_op *op = &ret->ops[ret->n_ops++];
        if (progress != NULL) progress((double)i / N_OPS);
        *op = (struct bound_op){.name = o->name, .text = o->text, .us = measure(k, o)};
        for (size_t b = 0; b < N_BOUNDS; b++) {
            op->counts[b] = o->counts[b];
            ret->us[b] += o->counts[b] * op->us;
        }
    }
}

enum err bounds_measure(void (*progress)(double share), struct bounds *ret) {
    struct kit *k = calloc(1, sizeof *k);
    if (k == NULL) return E_NO_MEMORY;
    *ret = (struct bounds){0};
    enum err e = make_tls(k);
    if (e == OK) e = make_keys(k);
    if (e == OK) measure_all(k, progress, ret);
    if (e == OK && k->has_failed) e = E_CRYPTO;
    kit_free(k);
    return e;
}
