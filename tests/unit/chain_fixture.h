/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* chain_fixture.h -- chains of certificates: under construction, as smp-server init makes them, and
 * as the reference showed them in what was recorded. */
#pragma once

#include "cert_fixture.h"
#include "recorded.h"

#include <openssl/x509v3.h>

#include "base/attr.h"
#include "base/rd.h"

/* A moment when everything of these tests is valid: 15 January 2027. DAY is the grain of most
 * checks. */
enum { NOW = 1800000000, DAY = 86400, BEFORE = NOW - 1000 * DAY };

static const enum cert_algorithm ALGORITHMS[] = {CERT_ED25519, CERT_ED448};

/* ---- under construction ---- */

/* A chain under construction: certificates and, of each, its key. */
struct chain {
    X509 *certs[6];
    EVP_PKEY *keys[6];
    int n;
};

static inline void chain_done(struct chain *c) {
    for (int i = 0; i < c->n; i++) {
        X509_free(c->certs[i]);
        EVP_PKEY_free(c->keys[i]);
    }
}

static inline void add_extension(X509 *c, int nid, const char *value) {
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(x);
    assert_int_equal(X509_add_ext(c, x, -1), 1);
    X509_EXTENSION_free(x);
}

/* A certificate of its own key that is signed by another (NULL: by itself), valid from BEFORE for
 * 2000 days; constraints may be NULL. */
static inline X509 *new_cert(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
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
static inline void push_front(struct chain *c, const char *name, const char *constraints) {
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
static inline struct chain chain_of(int n) {
    static const char *const NAMES[] = {"root", "second", "third", "fourth", "fifth", "sixth"};
    struct chain c = {.n = 0};
    for (int i = 0; i < n; i++) push_front(&c, NAMES[i], i < n - 1 ? "critical,CA:TRUE" : NULL);
    return c;
}

static inline bool is_sound_at(const struct chain *c, int64_t now_s) {
    STACK_OF(X509) *s = sk_X509_new_null();
    for (int i = 0; i < c->n; i++) assert_true(sk_X509_push(s, c->certs[i]) > 0);
    const bool sound = cert_stack_is_sound(s, now_s);
    sk_X509_free(s);
    assert_int_equal(ERR_peek_error(), 0); /* or the next TLS call would see our errors */
    return sound;
}

static inline bool is_sound(const struct chain *c) {
    return is_sound_at(c, NOW);
}

/* ---- made by init ---- */

static inline struct cert_bundle new_bundle(enum cert_algorithm a, int64_t valid_from_s) {
    const struct cert_request r = {.algorithm = a,
                                   .host = "smp.example.org",
                                   .valid_from_s = valid_from_s};
    struct cert_bundle b;
    assert_int_equal(cert_bundle_new(&r, &b), OK);
    return b;
}

static inline struct chain chain_of_bundle(const struct cert_bundle *b) {
    return (struct chain){.certs = {cert_of_pem(b->server_crt), cert_of_pem(b->ca_crt)},
                          .keys = {key_of_pem(b->server_key), key_of_pem(b->ca_key)},
                          .n = 2};
}

/* ---- recorded ---- */

/* The chain of a recorded server hello, whose content is version range, session id, chain, signed
 * key. */
static inline struct rd recorded_hello(const json_t *session, struct blob *ret_block) {
    const json_t *block = json_array_get(json_object_get(session, "blocks"), 0);
    *ret_block = blob_of_hex(json_string_value(json_array_get(block, 1)));
    struct rd r = rd_init(blob_bytes(ret_block));
    r = rd_init(rd_large(&r));
    (void)rd_u32(&r);
    (void)rd_short(&r);
    return r;
}

/* The view of a chain, which the cursor passes. */
static inline struct bytes take_chain(struct rd *r) {
    const size_t start = r->at;
    const unsigned n = rd_list(r);
    for (unsigned i = 0; i < n; i++) (void)rd_large(r);
    assert_int_equal(rd_err(r), OK);
    return bytes_of(r->in.p + start, r->at - start);
}
