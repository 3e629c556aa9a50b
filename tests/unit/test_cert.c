/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A server's certificates as they are loaded, and the session keys that they sign. */
#include "chain_fixture.h"

#include <openssl/ssl.h>
#include <sys/stat.h>

enum { MAX_SIGNED_KEY = 256, MAX_CHAIN_BYTES = 4096 };

/* ---- loading ---- */

static void put_cert(X509 *c, struct wr *w) {
    unsigned char *der = NULL;
    const int n = i2d_X509(c, &der);
    assert_true(n > 0);
    wr_large(w, bytes_of(der, (size_t)n));
    OPENSSL_free(der);
}

static struct bytes encode_chain(const struct chain *c, uint8_t buf[MAX_CHAIN_BYTES]) {
    struct wr w = wr_init(buf, MAX_CHAIN_BYTES);
    wr_u8(&w, (uint8_t)c->n);
    for (int i = 0; i < c->n; i++) put_cert(c->certs[i], &w);
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static void loaded_server_has_the_chain_and_the_fingerprint(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct chain certs = chain_of_bundle(&b);
        struct server_cert *c = load_bundle(&b, NOW);
        uint8_t buf[MAX_CHAIN_BYTES];
        assert_true(bytes_equal(server_cert_chain(c), encode_chain(&certs, buf)));
        assert_memory_equal(server_cert_fingerprint(c), b.fingerprint, SHA256_LEN);
        assert_int_equal(server_cert_expires_s(c), BEFORE + 999999LL * DAY);
        server_cert_free(c);
        chain_done(&certs);
        cert_bundle_done(&b);
    }
    server_cert_free(NULL);
}

/* Loading fails so, with these words in the message. */
static void assert_problem(const char *ca_crt, const char *server_crt, const char *server_key,
                           int64_t now_s, enum err want, const char *words) {
    struct folder d = new_folder(ca_crt, server_crt, server_key);
    struct server_cert *c = NULL;
    struct cert_problem problem;
    const enum err e = load(&d, now_s, &c, &problem);
    if (e != want || strstr(problem.text, words) == NULL) {
        fail_msg("%s instead of %s: %s", err_name(e), err_name(want), problem.text);
    }
    assert_null(c);
    folder_done(&d);
}

static void operator_is_told_what_is_wrong(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE), o = new_bundle(CERT_ED25519, BEFORE);
    assert_problem("", b.server_crt, b.server_key, NOW, E_CERT,
                   "ca.crt: has no readable certificate");
    assert_problem(b.ca_crt, "x", b.server_key, NOW, E_CERT,
                   "server.crt: has no readable certificate");
    assert_problem(b.ca_crt, b.server_crt, "x", NOW, E_KEY,
                   "server.key: has no readable private key");
    assert_problem(b.ca_crt, b.server_crt, o.server_key, NOW, E_KEY,
                   "server.key: is not the key of");
    assert_problem(o.ca_crt, b.server_crt, b.server_key, NOW, E_CERT,
                   "server.crt: is not signed by");
    assert_problem(b.ca_crt, b.server_crt, b.server_key, BEFORE + 999999LL * DAY + 1, E_CERT,
                   "ca.crt: expired on");
    cert_bundle_done(&b);
    cert_bundle_done(&o);
}

static void clock_behind_is_no_error(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    const int64_t times[] = {BEFORE - 1, BEFORE - 500LL * DAY, 0};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct folder d = new_folder(b.ca_crt, b.server_crt, b.server_key);
        struct server_cert *c = NULL;
        struct cert_problem problem;
        assert_int_equal(load(&d, times[i], &c, &problem), OK);
        assert_int_equal(server_cert_begins_s(c), BEFORE);
        server_cert_free(c);
        folder_done(&d);
    }
    cert_bundle_done(&b);
}

static void expired_leaf_names_the_command_that_helps(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE), young;
    const struct cert_request r = {.host = "h", .valid_from_s = BEFORE - 10LL * DAY};
    assert_int_equal(cert_bundle_renew(&r, b.ca_key, b.ca_crt, &young), OK);
    assert_problem(b.ca_crt, young.server_crt, young.server_key, BEFORE + 999995LL * DAY, E_CERT,
                   "server.crt: expired on 4762-");
    assert_problem(b.ca_crt, young.server_crt, young.server_key, BEFORE + 999995LL * DAY, E_CERT,
                   "`smp-server cert`");
    cert_bundle_done(&young);
    cert_bundle_done(&b);
}

static void missing_file_is_named_with_the_reason(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    struct folder d = new_folder(b.ca_crt, b.server_crt, b.server_key);
    struct server_cert *c = NULL;
    struct cert_problem problem;
    assert_int_equal(unlink(d.server_key), 0);
    assert_int_equal(load(&d, NOW, &c, &problem), E_SYS);
    assert_non_null(strstr(problem.text, "server.key: cannot be opened: No such file"));
    folder_done(&d);
    cert_bundle_done(&b);
}

static char *pem_of_key(EVP_PKEY *k, const char *password) {
    BIO *b = BIO_new(BIO_s_mem());
    char *data = NULL;
    const int n_password = password != NULL ? (int)strlen(password) : 0;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(b, k,
                                                   password != NULL ? EVP_aes_256_cbc() : NULL,
                                                   password, n_password, NULL, NULL),
                     1);
    const long n = BIO_get_mem_data(b, &data);
    char *text = strndup(data, (size_t)n);
    BIO_free(b);
    return text;
}

static char *pem_of_cert(X509 *c) {
    BIO *b = BIO_new(BIO_s_mem());
    char *data = NULL;
    assert_int_equal(PEM_write_bio_X509(b, c), 1);
    const long n = BIO_get_mem_data(b, &data);
    char *text = strndup(data, (size_t)n);
    BIO_free(b);
    return text;
}

static void password_is_never_asked_for(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    EVP_PKEY *k = key_of_pem(b.server_key);
    char *pem = pem_of_key(k, "secret");
    assert_problem(b.ca_crt, b.server_crt, pem, NOW, E_KEY, "without a password");
    free(pem);
    EVP_PKEY_free(k);
    cert_bundle_done(&b);
}

static void other_algorithms_are_refused(void **state) {
    (void)state;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    struct chain c = chain_of(1);
    X509 *leaf = new_cert("leaf", key, c.certs[0], c.keys[0], NULL);
    char *ca_crt = pem_of_cert(c.certs[0]), *crt = pem_of_cert(leaf), *pem = pem_of_key(key, NULL);
    assert_problem(ca_crt, crt, pem, NOW, E_CERT, "neither Ed25519 nor Ed448");
    free(ca_crt);
    free(crt);
    free(pem);
    X509_free(leaf);
    EVP_PKEY_free(key);
    chain_done(&c);
}

/* ca.crt: the identity, then those above it. */
static char *join(const char *a, const char *b) {
    const size_t n = strlen(a) + strlen(b) + 1;
    char *text = malloc(n);
    assert_non_null(text);
    (void)snprintf(text, n, "%s%s", a, b);
    return text;
}

static void certificates_above_the_identity_are_part_of_the_chain(void **state) {
    (void)state;
    struct chain c = chain_of(3);
    char *leaf = pem_of_cert(c.certs[0]), *identity = pem_of_cert(c.certs[1]);
    char *root = pem_of_cert(c.certs[2]), *key = pem_of_key(c.keys[0], NULL);
    char *both = join(identity, root), *wrong = join(identity, leaf);
    struct folder d = new_folder(both, leaf, key);
    struct server_cert *server = NULL;
    struct cert_problem problem;
    assert_int_equal(load(&d, NOW, &server, &problem), OK);
    uint8_t buf[MAX_CHAIN_BYTES], h[SHA256_LEN];
    assert_true(bytes_equal(server_cert_chain(server), encode_chain(&c, buf)));
    assert_int_equal(X509_digest(c.certs[1], EVP_sha256(), h, NULL), 1);
    assert_memory_equal(server_cert_fingerprint(server), h, sizeof h);
    server_cert_free(server);
    folder_done(&d);
    assert_problem(wrong, leaf, key, NOW, E_CERT, "ca.crt: its certificates");
    free(leaf);
    free(identity);
    free(root);
    free(key);
    free(both);
    free(wrong);
    chain_done(&c);
}

static void context_gets_chain_and_key(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    struct server_cert *c = load_bundle(&b, NOW);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    STACK_OF(X509) *rest = NULL;
    for (int i = 0; i < 2; i++) { /* a second time replaces */
        assert_int_equal(server_cert_use(c, ctx), OK);
        assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
        assert_int_equal(SSL_CTX_get0_chain_certs(ctx, &rest), 1);
        assert_int_equal(sk_X509_num(rest), 1);
    }
    SSL_CTX_free(ctx);
    server_cert_free(c);
    cert_bundle_done(&b);
}

/* ---- session keys ---- */

static void recorded_session_keys_verify(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS_N_SESSIONS; i++) {
        json_t *session = vectors_load(VECTORS_SESSIONS[i]);
        struct blob block;
        struct rd r = recorded_hello(session, &block);
        const struct bytes chain = take_chain(&r), signed_key = rd_large(&r);
        struct pubkey k;
        uint8_t want[X25519_LEN];
        hex_member(session, "serverSessionKeyPublic", want, sizeof want);
        assert_int_equal(rd_err(&r), OK);
        assert_int_equal(cert_chain_verify_key(chain, signed_key, NOW, &k), OK);
        assert_int_equal(k.type, KEY_X25519);
        assert_memory_equal(k.b, want, sizeof want);
        assert_int_equal(cert_chain_verify_key(chain, signed_key, BEFORE, &k), E_CERT);
        blob_freep(&block);
        json_decref(session);
    }
}

static struct bytes sign_key(const struct server_cert *c, uint8_t buf[MAX_SIGNED_KEY]) {
    const uint8_t pub[X25519_LEN] = {9, 8, 7};
    struct wr w = wr_init(buf, MAX_SIGNED_KEY);
    assert_int_equal(server_cert_sign_session_key(c, pub, &w), OK);
    return wr_bytes(&w);
}

static void signed_session_key_verifies(void **state) {
    (void)state;
    static const size_t SIZES[] = {122, 173}; /* as the reference's, for Ed25519 */
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct server_cert *c = load_bundle(&b, NOW);
        uint8_t buf[MAX_SIGNED_KEY], small[MAX_SIGNED_KEY];
        const struct bytes key = sign_key(c, buf);
        assert_int_equal(key.n, SIZES[i]);
        struct pubkey k;
        assert_int_equal(cert_chain_verify_key(server_cert_chain(c), key, NOW, &k), OK);
        assert_int_equal(k.type, KEY_X25519);
        assert_int_equal(k.b[0], 9);
        struct wr w = wr_init(small, key.n - 1);
        assert_int_equal(server_cert_sign_session_key(c, k.b, &w), E_LIMIT);
        server_cert_free(c);
        cert_bundle_done(&b);
    }
}

static struct pubkey leaf_key(const struct cert_bundle *b) {
    X509 *x = cert_of_pem(b->server_crt);
    uint8_t *der = NULL;
    struct pubkey k;
    const int n = i2d_PUBKEY(X509_get0_pubkey(x), &der);
    assert_true(n > 0);
    assert_int_equal(pubkey_from_spki(bytes_of(der, (size_t)n), &k), OK);
    OPENSSL_free(der);
    X509_free(x);
    return k;
}

/* By the key of the leaf, which signs the session key too. */
static void the_certificate_signs(void **state) {
    (void)state;
    static const size_t SIZES[] = {ED25519_SIG_LEN, ED448_SIG_LEN};
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct server_cert *c = load_bundle(&b, NOW);
        uint8_t sig[ED448_SIG_LEN];
        struct wr w = wr_init(sig, sizeof sig), small = wr_init(sig, SIZES[i] - 1);
        assert_int_equal(server_cert_sign(c, bytes_str("text"), &w), OK);
        assert_int_equal(wr_bytes(&w).n, SIZES[i]);
        const struct pubkey leaf = leaf_key(&b);
        assert_true(pubkey_verify(&leaf, wr_bytes(&w), bytes_str("text"), (struct bytes){0}));
        assert_false(pubkey_verify(&leaf, wr_bytes(&w), bytes_str("texts"), (struct bytes){0}));
        assert_int_equal(server_cert_sign(c, bytes_str("text"), &small), E_LIMIT);
        server_cert_free(c);
        cert_bundle_done(&b);
    }
}

static void damaged_session_key_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct server_cert *c = load_bundle(&b, NOW);
        const struct bytes chain = server_cert_chain(c);
        uint8_t buf[MAX_SIGNED_KEY];
        const size_t n = sign_key(c, buf).n;
        struct pubkey k = {.type = KEY_NONE};
        for (size_t at = 0; at < n; at++) {
            uint8_t *prefix = malloc(at != 0 ? at : 1);
            assert_non_null(prefix);
            memcpy(prefix, buf, at);
            assert_int_equal(cert_chain_verify_key(chain, bytes_of(prefix, at), NOW, &k), E_SYNTAX);
            free(prefix);
            buf[at] ^= 1;
            assert_int_not_equal(cert_chain_verify_key(chain, bytes_of(buf, n), NOW, &k), OK);
            buf[at] ^= 1;
        }
        assert_int_equal(cert_chain_verify_key(chain, bytes_of(buf, n + 1), NOW, &k), E_SYNTAX);
        assert_int_equal(k.type, KEY_NONE);
        assert_int_equal(ERR_peek_error(), 0);
        server_cert_free(c);
        cert_bundle_done(&b);
    }
}

static void session_key_of_another_server_is_refused(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE), o = new_bundle(CERT_ED25519, BEFORE);
    struct cert_bundle big = new_bundle(CERT_ED448, BEFORE);
    struct server_cert *c = load_bundle(&b, NOW), *other = load_bundle(&o, NOW),
                       *other_type = load_bundle(&big, NOW);
    uint8_t buf[MAX_SIGNED_KEY];
    struct pubkey k;
    assert_int_equal(cert_chain_verify_key(server_cert_chain(c), sign_key(other, buf), NOW, &k),
                     E_CERT);
    assert_int_equal(cert_chain_verify_key(server_cert_chain(c), sign_key(other_type, buf), NOW,
                                           &k),
                     E_CERT);
    server_cert_free(c);
    server_cert_free(other);
    server_cert_free(other_type);
    cert_bundle_done(&b);
    cert_bundle_done(&o);
    cert_bundle_done(&big);
}

static void malformed_chains_are_refused(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    struct server_cert *c = load_bundle(&b, NOW);
    const struct bytes chain = server_cert_chain(c);
    uint8_t buf[MAX_SIGNED_KEY];
    const struct bytes key = sign_key(c, buf);
    struct pubkey k;
    for (size_t n = 0; n < chain.n; n++) {
        uint8_t *prefix = malloc(n != 0 ? n : 1);
        assert_non_null(prefix);
        memcpy(prefix, chain.p, n);
        assert_int_equal(cert_chain_verify_key(bytes_of(prefix, n), key, NOW, &k), E_SYNTAX);
        free(prefix);
    }
    uint8_t *longer = malloc(chain.n + 1);
    assert_non_null(longer);
    memcpy(longer, chain.p, chain.n);
    longer[chain.n] = 0;
    assert_int_equal(cert_chain_verify_key(bytes_of(longer, chain.n + 1), key, NOW, &k), E_SYNTAX);
    longer[0] = 5; /* more than the protocol allows is not even parsed */
    assert_int_equal(cert_chain_verify_key(bytes_of(longer, chain.n), key, NOW, &k), E_CERT);
    assert_int_equal(cert_chain_verify_key(bytes_of("\x01\0\0", 3), key, NOW, &k), E_SYNTAX);
    assert_int_equal(ERR_peek_error(), 0);
    free(longer);
    server_cert_free(c);
    cert_bundle_done(&b);
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loaded_server_has_the_chain_and_the_fingerprint),
        cmocka_unit_test(operator_is_told_what_is_wrong),
        cmocka_unit_test(clock_behind_is_no_error),
        cmocka_unit_test(expired_leaf_names_the_command_that_helps),
        cmocka_unit_test(missing_file_is_named_with_the_reason),
        cmocka_unit_test(password_is_never_asked_for),
        cmocka_unit_test(other_algorithms_are_refused),
        cmocka_unit_test(certificates_above_the_identity_are_part_of_the_chain),
        cmocka_unit_test(context_gets_chain_and_key),
        cmocka_unit_test(recorded_session_keys_verify),
        cmocka_unit_test(signed_session_key_verifies),
        cmocka_unit_test(the_certificate_signs),
        cmocka_unit_test(damaged_session_key_is_refused),
        cmocka_unit_test(session_key_of_another_server_is_refused),
        cmocka_unit_test(malformed_chains_are_refused),
    };
    return cmocka_run_group_tests_name("cert", tests, setup, NULL);
}
