/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The certificates that smp-server init and cert make. */
#include "chain_fixture.h"

#include <openssl/ssl.h>

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

static int setup(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_have_the_form_of_the_reference),
        cmocka_unit_test(openssl_verifies_what_we_make),
        cmocka_unit_test(fingerprint_is_that_of_the_ca),
        cmocka_unit_test(host_must_fit_a_common_name),
        cmocka_unit_test(renewal_keeps_the_identity),
    };
    return cmocka_run_group_tests_name("cert_new", tests, setup, NULL);
}
