/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/attr.h"
#include "base/rd.h"
#include "crypto/cert.h"

/* A moment when everything of this file is valid: 15 January 2027. DAY is the grain of most checks.
 */
enum { NOW = 1800000000, DAY = 86400, BEFORE = NOW - 1000 * DAY };
enum { MAX_SIGNED_KEY = 256, MAX_CHAIN_BYTES = 4096 };

static const enum cert_algorithm ALGORITHMS[] = {CERT_ED25519, CERT_ED448};

/* ---- certificates ---- */

static X509 *cert_of_pem(const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(c);
    return c;
}

static EVP_PKEY *key_of_pem(const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(k);
    return k;
}

/* A chain under construction: certificates and, of each, its key. */
struct chain {
    X509 *certs[6];
    EVP_PKEY *keys[6];
    int n;
};

static void chain_done(struct chain *c) {
    for (int i = 0; i < c->n; i++) {
        X509_free(c->certs[i]);
        EVP_PKEY_free(c->keys[i]);
    }
}

static void add_extension(X509 *c, int nid, const char *value) {
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(x);
    assert_int_equal(X509_add_ext(c, x, -1), 1);
    X509_EXTENSION_free(x);
}

/* A certificate of its own key that is signed by another (NULL: by itself), valid from BEFORE for
 * 2000 days; constraints may be NULL. */
static X509 *new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                      const char *constraints) {
    X509 *c = X509_new();
    time_t from = BEFORE;
    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), 1), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(c, X509_get_subject_name(issuer != NULL ? issuer : c)),
                     1);
    assert_non_null(X509_time_adj_ex(X509_getm_notBefore(c), 0, 0, &from));
    assert_non_null(X509_time_adj_ex(X509_getm_notAfter(c), 2000, 0, &from));
    assert_int_equal(X509_set_pubkey(c, key), 1);
    if (constraints != NULL) add_extension(c, NID_basic_constraints, constraints);
    assert_true(X509_sign(c, issuer_key != NULL ? issuer_key : key, NULL) > 0);
    return c;
}

/* Puts a new certificate at the front, signed by the one that was there. */
static void push_front(struct chain *c, const char *name, const char *constraints) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *crt = new_cert(name, key, c->n > 0 ? c->certs[0] : NULL, c->n > 0 ? c->keys[0] : NULL,
                         constraints);
    for (int i = c->n; i > 0; i--) {
        c->certs[i] = c->certs[i - 1];
        c->keys[i] = c->keys[i - 1];
    }
    c->certs[0] = crt;
    c->keys[0] = key;
    c->n++;
}

/* n certificates, those above the leaf being CAs. */
static struct chain chain_of(int n) {
    static const char *const NAMES[] = {"root", "second", "third", "fourth", "fifth", "sixth"};
    struct chain c = {.n = 0};
    for (int i = 0; i < n; i++) push_front(&c, NAMES[i], i < n - 1 ? "critical,CA:TRUE" : NULL);
    return c;
}

static bool is_sound_at(const struct chain *c, int64_t now_s) {
    STACK_OF(X509) *s = sk_X509_new_null();
    for (int i = 0; i < c->n; i++) assert_true(sk_X509_push(s, c->certs[i]) > 0);
    const bool sound = cert_stack_is_sound(s, now_s);
    sk_X509_free(s);
    assert_int_equal(ERR_peek_error(), 0); /* or the next TLS call would see our errors */
    return sound;
}

static bool is_sound(const struct chain *c) {
    return is_sound_at(c, NOW);
}

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

/* ---- soundness of chains ---- */

static void chains_of_one_to_four_are_sound(void **state) {
    (void)state;
    for (int n = 1; n <= 6; n++) {
        struct chain c = chain_of(n);
        assert_int_equal(is_sound(&c), n <= 4);
        chain_done(&c);
    }
    const struct chain empty = {.n = 0};
    assert_false(is_sound(&empty));
}

/* The reference makes certificates of services without any extension. */
static void anchor_needs_no_extension(void **state) {
    (void)state;
    struct chain c = {.n = 0};
    push_front(&c, "service", NULL);
    assert_true(is_sound(&c));
    push_front(&c, "leaf", NULL);
    assert_true(is_sound(&c));
    chain_done(&c);
}

static void chain_need_not_end_with_a_root(void **state) {
    (void)state;
    struct chain c = chain_of(3);
    struct chain without_root = c;
    without_root.n = 2;
    assert_true(is_sound(&without_root));
    without_root.n = 1; /* alone, it must be its own root */
    assert_false(is_sound(&without_root));
    chain_done(&c);
}

static void those_between_must_be_authorities(void **state) {
    (void)state;
    static const struct {
        const char *constraints;
        bool sound;
    } ROWS[] = {{NULL, false},
                {"CA:FALSE", false},
                {"critical,CA:TRUE", true},
                {"critical,CA:TRUE,pathlen:0", true}};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct chain c = chain_of(1);
        push_front(&c, "between", ROWS[i].constraints);
        push_front(&c, "leaf", NULL);
        assert_int_equal(is_sound(&c), ROWS[i].sound);
        chain_done(&c);
    }
    struct chain c = chain_of(1);
    push_front(&c, "may sign leaves only", "critical,CA:TRUE,pathlen:0");
    push_front(&c, "between", "critical,CA:TRUE");
    push_front(&c, "leaf", NULL);
    assert_false(is_sound(&c));
    chain_done(&c);
}

/* A chain whose leaf and root belong together does not lend their soundness to an identity in
 * between. */
static void foreign_identity_is_refused(void **state) {
    (void)state;
    struct chain evil = chain_of(2), victim = chain_of(2);
    const struct chain mixed = {.certs = {evil.certs[0], victim.certs[1], evil.certs[1]}, .n = 3};
    assert_false(is_sound(&mixed));
    const struct chain swapped = {.certs = {evil.certs[0], victim.certs[1]}, .n = 2};
    assert_false(is_sound(&swapped)); /* same names, other keys */
    const struct chain reversed = {.certs = {evil.certs[1], evil.certs[0]}, .n = 2};
    assert_false(is_sound(&reversed));
    chain_done(&evil);
    chain_done(&victim);
}

static void forged_self_signature_is_refused(void **state) {
    (void)state;
    struct chain real = chain_of(1);
    EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct chain forged = {.n = 1, .keys = {other}};
    forged.certs[0] = new_cert("root", other, NULL, real.keys[0], NULL);
    assert_false(is_sound(&forged));
    push_front(&forged, "leaf", NULL);
    assert_false(is_sound(&forged)); /* the root of a longer chain is checked too */
    chain_done(&forged);
    chain_done(&real);
}

static void dates_of_every_certificate_count(void **state) {
    (void)state;
    struct chain c = chain_of(2);
    assert_true(is_sound_at(&c, BEFORE));
    assert_false(is_sound_at(&c, BEFORE - 1));
    assert_true(is_sound_at(&c, BEFORE + 2000LL * DAY - 1));
    assert_false(is_sound_at(&c, BEFORE + 2000LL * DAY + 1));
    time_t late = NOW + DAY;
    for (int i = 0; i < 2; i++) { /* first the leaf, then the root alone is of tomorrow */
        struct chain d = chain_of(2);
        assert_non_null(X509_time_adj_ex(X509_getm_notBefore(d.certs[i]), 0, 0, &late));
        assert_true(X509_sign(d.certs[i], d.keys[1], NULL) > 0);
        assert_false(is_sound(&d));
        assert_true(is_sound_at(&d, NOW + 2 * DAY));
        chain_done(&d);
    }
    chain_done(&c);
}

static bool is_dated_at(const struct chain *c, int64_t now_s) {
    STACK_OF(X509) *s = sk_X509_new_null();
    for (int i = 0; i < c->n; i++) assert_true(sk_X509_push(s, c->certs[i]) > 0);
    const bool dated = cert_stack_is_dated(s, now_s);
    sk_X509_free(s);
    return dated;
}

/* Dates can be told from other reasons to refuse a chain. */
static void dates_are_told_alone(void **state) {
    (void)state;
    struct chain c = chain_of(2);
    assert_true(is_dated_at(&c, BEFORE));
    assert_false(is_dated_at(&c, BEFORE - 1));
    assert_false(is_dated_at(&c, BEFORE + 2000LL * DAY + 1));
    struct chain foreign = chain_of(2);
    const struct chain mixed = {.certs = {c.certs[0], foreign.certs[1]}, .n = 2};
    assert_true(is_dated_at(&mixed, NOW) && !is_sound_at(&mixed, NOW));
    chain_done(&foreign);
    chain_done(&c);
}

static void unknown_critical_extension_is_refused(void **state) {
    (void)state;
    struct chain c = chain_of(2);
    add_extension(c.certs[0], NID_netscape_comment, "critical,DER:0c0141");
    assert_true(X509_sign(c.certs[0], c.keys[1], NULL) > 0);
    assert_false(is_sound(&c));
    chain_done(&c);
}

/* With RSA, which is what certificates of 112 bits and less are made with. */
static void weak_signatures_are_refused(void **state) {
    (void)state;
    const struct {
        size_t bits;
        const EVP_MD *md;
        bool sound;
    } rows[] = {{2048, EVP_sha256(), true}, {2048, EVP_sha1(), false}, {1024, EVP_sha256(), false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        EVP_PKEY *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", rows[i].bits);
        X509 *unsigned_cert = new_cert("root", rsa, NULL, NULL, NULL);
        assert_true(X509_sign(unsigned_cert, rsa, rows[i].md) > 0);
        X509 *c =
            X509_dup(unsigned_cert); /* OpenSSL has kept what it knew of the first signature */
        const struct chain alone = {.certs = {c}, .n = 1};
        assert_int_equal(is_sound(&alone), rows[i].sound);
        X509_free(c);
        X509_free(unsigned_cert);
        EVP_PKEY_free(rsa);
    }
}

/* ---- creation ---- */

static struct cert_bundle new_bundle(enum cert_algorithm a, int64_t valid_from_s) {
    const struct cert_request r = {.algorithm = a,
                                   .host = "smp.example.org",
                                   .valid_from_s = valid_from_s};
    struct cert_bundle b;
    assert_int_equal(cert_bundle_new(&r, &b), OK);
    return b;
}

static struct chain chain_of_bundle(const struct cert_bundle *b) {
    return (struct chain){.certs = {cert_of_pem(b->server_crt), cert_of_pem(b->ca_crt)},
                          .keys = {key_of_pem(b->server_key), key_of_pem(b->ca_key)},
                          .n = 2};
}

/* The chain of a recorded server hello, whose content is version range, session id, chain, signed
 * key. */
static struct rd recorded_hello(const json_t *session, struct blob *ret_block) {
    const json_t *block = json_array_get(json_object_get(session, "blocks"), 0);
    *ret_block = blob_of_hex(json_string_value(json_array_get(block, 1)));
    struct rd r = rd_init(blob_bytes(ret_block));
    r = rd_init(rd_large(&r));
    (void)rd_u32(&r);
    (void)rd_short(&r);
    return r;
}

/* The view of a chain, which the cursor passes. */
static struct bytes take_chain(struct rd *r) {
    const size_t start = r->at;
    const unsigned n = rd_list(r);
    for (unsigned i = 0; i < n; i++) (void)rd_large(r);
    assert_int_equal(rd_err(r), OK);
    return bytes_of(r->in.p + start, r->at - start);
}

static struct chain reference_chain(void) {
    json_t *session = vectors_load("session-v18.json");
    struct blob block;
    struct rd r = recorded_hello(session, &block);
    struct rd certs = rd_init(take_chain(&r));
    struct chain c = {.n = (int)rd_list(&certs)};
    assert_int_equal(c.n, 2);
    for (int i = 0; i < c.n; i++) {
        const struct bytes der = rd_large(&certs);
        const unsigned char *at = der.p;
        c.certs[i] = d2i_X509(NULL, &at, (long)der.n);
        assert_non_null(c.certs[i]);
    }
    blob_freep(&block);
    json_decref(session);
    return c;
}

static void assert_same_names(const X509_NAME *ours, const X509_NAME *theirs, bool is_host) {
    assert_int_equal(X509_NAME_entry_count(ours), X509_NAME_entry_count(theirs));
    for (int i = 0; i < X509_NAME_entry_count(ours); i++) {
        const X509_NAME_ENTRY *a = X509_NAME_get_entry(ours, i),
                              *b = X509_NAME_get_entry(theirs, i);
        const ASN1_STRING *x = X509_NAME_ENTRY_get_data(a), *y = X509_NAME_ENTRY_get_data(b);
        assert_int_equal(OBJ_cmp(X509_NAME_ENTRY_get_object(a), X509_NAME_ENTRY_get_object(b)), 0);
        assert_int_equal(ASN1_STRING_type(x), ASN1_STRING_type(y));
        if (!is_host) assert_int_equal(ASN1_STRING_cmp(x, y), 0);
    }
}

/* Same extensions in the same order; the same bytes too, unless they are made of keys. */
static void assert_same_extensions(const X509 *ours, const X509 *theirs) {
    assert_int_equal(X509_get_ext_count(ours), X509_get_ext_count(theirs));
    for (int i = 0; i < X509_get_ext_count(ours); i++) {
        X509_EXTENSION *a = X509_get_ext(ours, i), *b = X509_get_ext(theirs, i);
        const int nid = OBJ_obj2nid(X509_EXTENSION_get_object(a));
        assert_int_equal(nid, OBJ_obj2nid(X509_EXTENSION_get_object(b)));
        assert_int_equal(X509_EXTENSION_get_critical(a), X509_EXTENSION_get_critical(b));
        const ASN1_OCTET_STRING *x = X509_EXTENSION_get_data(a), *y = X509_EXTENSION_get_data(b);
        assert_int_equal(ASN1_STRING_length(x), ASN1_STRING_length(y));
        const bool of_keys =
            nid == NID_subject_key_identifier || nid == NID_authority_key_identifier;
        if (!of_keys) assert_int_equal(ASN1_STRING_cmp(x, y), 0);
    }
}

static int validity_days(const X509 *c) {
    int days = 0, seconds = 0;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(c), X509_get0_notAfter(c)),
                     1);
    assert_int_equal(seconds, 0);
    return days;
}

static void certificates_have_the_form_of_the_reference(void **state) {
    (void)state;
    struct chain theirs = reference_chain();
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    struct chain ours = chain_of_bundle(&b);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(X509_get_version(ours.certs[i]), X509_get_version(theirs.certs[i]));
        assert_same_names(X509_get_subject_name(ours.certs[i]),
                          X509_get_subject_name(theirs.certs[i]), i == 0);
        assert_same_names(X509_get_issuer_name(ours.certs[i]),
                          X509_get_issuer_name(theirs.certs[i]), false);
        assert_same_extensions(ours.certs[i], theirs.certs[i]);
        assert_int_equal(validity_days(ours.certs[i]), validity_days(theirs.certs[i]));
        assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(ours.certs[i])), 20);
        assert_int_equal(X509_get_signature_nid(ours.certs[i]),
                         X509_get_signature_nid(theirs.certs[i]));
    }
    chain_done(&ours);
    chain_done(&theirs);
    cert_bundle_done(&b);
}

/* As `openssl verify -CAfile ca.crt -purpose sslserver server.crt` does. */
static void openssl_verifies_what_we_make(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct chain c = chain_of_bundle(&b);
        X509_STORE *store = X509_STORE_new();
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        assert_int_equal(X509_STORE_add_cert(store, c.certs[1]), 1);
        assert_int_equal(X509_STORE_CTX_init(ctx, store, c.certs[0], NULL), 1);
        X509_STORE_CTX_set_time(ctx, 0, NOW);
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_CHECK_SS_SIGNATURE);
        assert_int_equal(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER), 1);
        if (X509_verify_cert(ctx) != 1) {
            fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        }
        X509_STORE_CTX_free(ctx);
        X509_STORE_free(store);
        assert_true(is_sound(&c));
        assert_int_equal(X509_check_host(c.certs[0], "smp.example.org", 0, 0, NULL), 1);
        chain_done(&c);
        cert_bundle_done(&b);
    }
}

static void fingerprint_is_that_of_the_ca(void **state) {
    (void)state;
    struct cert_bundle b = new_bundle(CERT_ED25519, BEFORE);
    struct chain c = chain_of_bundle(&b);
    uint8_t h[SHA256_LEN];
    assert_int_equal(X509_digest(c.certs[1], EVP_sha256(), h, NULL), 1);
    assert_memory_equal(h, b.fingerprint, sizeof h);
    chain_done(&c);
    cert_bundle_done(&b);
}

static void host_must_fit_a_common_name(void **state) {
    (void)state;
    char host[CERT_HOST_MAX + 2];
    memset(host, 'a', sizeof host);
    host[CERT_HOST_MAX + 1] = '\0';
    struct cert_request r = {.host = host, .valid_from_s = BEFORE};
    struct cert_bundle b;
    assert_int_equal(cert_bundle_new(&r, &b), E_LIMIT);
    host[CERT_HOST_MAX] = '\0';
    assert_int_equal(cert_bundle_new(&r, &b), OK);
    cert_bundle_done(&b);
    assert_null(b.ca_key);
    cert_bundle_done(&b); /* again is harmless */
    r.host = "";
    assert_int_equal(cert_bundle_new(&r, &b), E_LIMIT);
}

static void renewal_keeps_the_identity(void **state) {
    (void)state;
    struct cert_bundle old = new_bundle(CERT_ED448, BEFORE), new, mixed;
    enum cert_algorithm algorithm;
    char host[CERT_HOST_MAX + 1];
    assert_int_equal(cert_read_request(old.server_crt, &algorithm, host), OK);
    assert_int_equal(algorithm, CERT_ED448);
    assert_string_equal(host, "smp.example.org");
    const struct cert_request r = {.algorithm = CERT_ED25519, .host = host, .valid_from_s = NOW};
    assert_int_equal(cert_bundle_renew(&r, old.ca_key, old.ca_crt, &new), OK);
    assert_null(new.ca_key);
    assert_null(new.ca_crt);
    assert_memory_equal(new.fingerprint, old.fingerprint, sizeof old.fingerprint);
    uint8_t identity[SHA256_LEN];
    assert_int_equal(cert_read_fingerprint(old.ca_crt, identity), OK);
    assert_memory_equal(identity, old.fingerprint, sizeof identity);
    assert_int_equal(cert_read_fingerprint("no certificate", identity), E_CERT);
    mixed = new;
    mixed.ca_crt = old.ca_crt;
    mixed.ca_key = old.ca_key;
    struct chain c = chain_of_bundle(&mixed);
    assert_true(is_sound(&c));
    assert_int_equal(EVP_PKEY_get_id(c.keys[0]), EVP_PKEY_ED25519);
    chain_done(&c);
    assert_int_equal(cert_bundle_renew(&r, old.server_key, old.ca_crt, &mixed), E_KEY);
    assert_int_equal(cert_bundle_renew(&r, "no key", old.ca_crt, &mixed), E_KEY);
    assert_int_equal(cert_bundle_renew(&r, old.ca_key, "no certificate", &mixed), E_CERT);
    assert_int_equal(cert_read_request("no certificate", &algorithm, host), E_CERT);
    assert_int_equal(ERR_peek_error(), 0);
    cert_bundle_done(&new);
    cert_bundle_done(&old);
}

/* ---- loading ---- */

/* A folder with the three files of a server. */
struct folder {
    char dir[64], ca_crt[96], server_crt[96], server_key[96];
};

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct folder new_folder(const char *ca_crt, const char *server_crt,
                                const char *server_key) {
    struct folder d = {.dir = "/tmp/test_cert.XXXXXX"};
    assert_non_null(mkdtemp(d.dir));
    (void)snprintf(d.ca_crt, sizeof d.ca_crt, "%s/ca.crt", d.dir);
    (void)snprintf(d.server_crt, sizeof d.server_crt, "%s/server.crt", d.dir);
    (void)snprintf(d.server_key, sizeof d.server_key, "%s/server.key", d.dir);
    write_file(d.ca_crt, ca_crt);
    write_file(d.server_crt, server_crt);
    write_file(d.server_key, server_key);
    return d;
}

static void folder_done(struct folder *d) {
    (void)unlink(d->ca_crt);
    (void)unlink(d->server_crt);
    (void)unlink(d->server_key);
    assert_int_equal(rmdir(d->dir), 0);
}

static enum err load(const struct folder *d, int64_t now_s, struct server_cert **ret,
                     struct cert_problem *ret_problem) {
    const struct cert_files f = {d->ca_crt, d->server_crt, d->server_key};
    const enum err e = server_cert_load(&f, now_s, ret, ret_problem);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static struct server_cert *load_bundle(const struct cert_bundle *b) {
    struct folder d = new_folder(b->ca_crt, b->server_crt, b->server_key);
    struct server_cert *c = NULL;
    struct cert_problem problem;
    if (load(&d, NOW, &c, &problem) != OK) fail_msg("%s", problem.text);
    folder_done(&d);
    return c;
}

static void loaded_server_has_the_chain_and_the_fingerprint(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct chain certs = chain_of_bundle(&b);
        struct server_cert *c = load_bundle(&b);
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
    struct server_cert *c = load_bundle(&b);
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
        struct server_cert *c = load_bundle(&b);
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

static void damaged_session_key_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++) {
        struct cert_bundle b = new_bundle(ALGORITHMS[i], BEFORE);
        struct server_cert *c = load_bundle(&b);
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
    struct server_cert *c = load_bundle(&b), *other = load_bundle(&o),
                       *other_type = load_bundle(&big);
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
    struct server_cert *c = load_bundle(&b);
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
        cmocka_unit_test(chains_of_one_to_four_are_sound),
        cmocka_unit_test(anchor_needs_no_extension),
        cmocka_unit_test(chain_need_not_end_with_a_root),
        cmocka_unit_test(those_between_must_be_authorities),
        cmocka_unit_test(foreign_identity_is_refused),
        cmocka_unit_test(forged_self_signature_is_refused),
        cmocka_unit_test(dates_of_every_certificate_count),
        cmocka_unit_test(dates_are_told_alone),
        cmocka_unit_test(unknown_critical_extension_is_refused),
        cmocka_unit_test(weak_signatures_are_refused),
        cmocka_unit_test(certificates_have_the_form_of_the_reference),
        cmocka_unit_test(openssl_verifies_what_we_make),
        cmocka_unit_test(fingerprint_is_that_of_the_ca),
        cmocka_unit_test(host_must_fit_a_common_name),
        cmocka_unit_test(renewal_keeps_the_identity),
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
        cmocka_unit_test(damaged_session_key_is_refused),
        cmocka_unit_test(session_key_of_another_server_is_refused),
        cmocka_unit_test(malformed_chains_are_refused),
    };
    return cmocka_run_group_tests_name("cert", tests, setup, NULL);
}
