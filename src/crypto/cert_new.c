/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/cert.h"

#include <stdlib.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/x509_priv.h"

/* As long as the reference does: identities are for good, and clients know them by their
 * fingerprint. */
enum { VALID_DAYS = 999999 };
enum { SERIAL_BITS = 159 }; /* 20 bytes, positive: the most that RFC 5280 allows */

struct extension {
    int nid;
    const char *value;
};

/* The extensions and their order are those of the reference, whose certificates OpenSSL's command
 * line makes (spec: operations, 2). */
static const struct extension CA_EXTENSIONS[] = {
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
    {NID_basic_constraints, "critical,CA:TRUE"},
};
static const struct extension ONLINE_EXTENSIONS[] = {
    {NID_basic_constraints, "CA:FALSE"},
    {NID_key_usage, "digitalSignature,nonRepudiation,keyAgreement"},
    {NID_ext_key_usage, "serverAuth"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
};

/* Who is to be certified, and by whom. All borrowed. */
struct subject {
    const char *common_name, *organization; /* organization may be NULL */
    EVP_PKEY *key;
    X509 *issuer; /* NULL: self-signed */
    EVP_PKEY *issuer_key;
    const struct extension *extensions;
    size_t n_extensions;
    int64_t valid_from_s;
};

static EVP_PKEY *new_key(enum cert_algorithm a) {
    return EVP_PKEY_Q_keygen(NULL, NULL, a == CERT_ED448 ? "ED448" : "ED25519");
}

static bool add_name(X509_NAME *name, const char *field, const char *value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

static bool set_names(X509 *c, const struct subject *s) {
    X509_NAME *name = X509_get_subject_name(c);
    if (!add_name(name, "CN", s->common_name)) return false;
    if (s->organization != NULL && !add_name(name, "O", s->organization)) return false;
    return X509_set_issuer_name(c, s->issuer != NULL ? X509_get_subject_name(s->issuer) : name) ==
           1;
}

static bool set_serial(X509 *c) {
    BIGNUM *n = BN_new();
    const bool done = n != NULL &&
                      BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                      BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c)) != NULL;
    BN_free(n);
    return done;
}

static bool set_dates(X509 *c, int64_t from_s) {
    time_t from = (time_t)from_s;
    return X509_time_adj_ex(X509_getm_notBefore(c), 0, 0, &from) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(c), VALID_DAYS, 0, &from) != NULL;
}

static bool add_extensions(X509 *c, const struct subject *s) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, s->issuer != NULL ? s->issuer : c, c, NULL, NULL, 0);
    for (size_t i = 0; i < s->n_extensions; i++) {
        const struct extension *x = &s->extensions[i];
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, x->nid, x->value);
        const bool added = ext != NULL && X509_add_ext(c, ext, -1) == 1;
        X509_EXTENSION_free(ext);
        if (!added) return false;
    }
    return true;
}

/* NULL when OpenSSL fails. */
static X509 *certify(const struct subject *s) {
    CLEANUP(x509__freep) X509 *c = X509_new();
    if (c == NULL || X509_set_version(c, X509_VERSION_3) != 1) return NULL;
    if (!set_serial(c) || !set_names(c, s) || !set_dates(c, s->valid_from_s)) return NULL;
    /* Key identifiers are made of the key: it goes in before the extensions. */
    if (X509_set_pubkey(c, s->key) != 1 || !add_extensions(c, s)) return NULL;
    return X509_sign(c, s->issuer_key, NULL) > 0 ? STEAL(c) : NULL;
}

/* ---- PEM ---- */

/* NUL-terminated copy of what was written, owned by the caller; NULL when memory is short. */
static char *text_of(BIO *b) {
    char *data = NULL;
    const long n = BIO_get_mem_data(b, &data);
    return n > 0 ? strndup(data, (size_t)n) : NULL;
}

static char *cert_to_pem(X509 *c) {
    CLEANUP(x509__bio_freep) BIO *b = BIO_new(BIO_s_mem());
    return b != NULL && PEM_write_bio_X509(b, c) == 1 ? text_of(b) : NULL;
}

static char *key_to_pem(EVP_PKEY *k) {
    CLEANUP(x509__bio_freep) BIO *b = BIO_new(BIO_s_mem());
    if (b == NULL || PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) != 1)
        return NULL;
    return text_of(b);
}

static X509 *cert_from_pem(const char *text) {
    CLEANUP(x509__bio_freep) BIO *b = BIO_new_mem_buf(text, -1);
    return b != NULL ? PEM_read_bio_X509(b, NULL, x509__no_password, NULL) : NULL;
}

static EVP_PKEY *key_from_pem(const char *text) {
    CLEANUP(x509__bio_freep) BIO *b = BIO_new_mem_buf(text, -1);
    return b != NULL ? PEM_read_bio_PrivateKey(b, NULL, x509__no_password, NULL) : NULL;
}

/* ---- bundles ---- */

static bool host_fits(const char *host) {
    const size_t n = strlen(host);
    return n >= 1 && n <= CERT_HOST_MAX;
}

static enum err take_fingerprint(const X509 *ca, uint8_t ret[SHA256_LEN]) {
    unsigned n = 0;
    return X509_digest(ca, EVP_sha256(), ret, &n) == 1 && n == SHA256_LEN ? OK : E_CRYPTO;
}

static enum err add_online(const struct cert_request *r, X509 *ca, EVP_PKEY *ca_key,
                           struct cert_bundle *b) {
    CLEANUP(x509__pkey_freep) EVP_PKEY *key = new_key(r->algorithm);
    if (key == NULL) return E_CRYPTO;
    const struct subject s = {.common_name = r->host,
                              .key = key,
                              .issuer = ca,
                              .issuer_key = ca_key,
                              .extensions = ONLINE_EXTENSIONS,
                              .n_extensions = ARRAY_LEN(ONLINE_EXTENSIONS),
                              .valid_from_s = r->valid_from_s};
    CLEANUP(x509__freep) X509 *crt = certify(&s);
    if (crt == NULL) return E_CRYPTO;
    b->server_key = key_to_pem(key);
    b->server_crt = cert_to_pem(crt);
    if (b->server_key == NULL || b->server_crt == NULL) return E_NO_MEMORY;
    return take_fingerprint(ca, b->fingerprint);
}

static enum err make_both(const struct cert_request *r, struct cert_bundle *b) {
    CLEANUP(x509__pkey_freep) EVP_PKEY *key = new_key(r->algorithm);
    if (key == NULL) return E_CRYPTO;
    const struct subject s = {.common_name = "SMP server CA",
                              .organization = "SimpleX",
                              .key = key,
                              .issuer_key = key,
                              .extensions = CA_EXTENSIONS,
                              .n_extensions = ARRAY_LEN(CA_EXTENSIONS),
                              .valid_from_s = r->valid_from_s};
    CLEANUP(x509__freep) X509 *ca = certify(&s);
    if (ca == NULL) return E_CRYPTO;
    b->ca_key = key_to_pem(key);
    b->ca_crt = cert_to_pem(ca);
    if (b->ca_key == NULL || b->ca_crt == NULL) return E_NO_MEMORY;
    return add_online(r, ca, key, b);
}

/* Hands over what was made, or undoes it. */
static enum err finish(enum err e, struct cert_bundle *made, struct cert_bundle *ret) {
    if (e == OK) *ret = *made;
    if (e != OK) cert_bundle_done(made);
    ERR_clear_error();
    return e;
}

enum err cert_bundle_new(const struct cert_request *r, struct cert_bundle *ret) {
    if (!host_fits(r->host)) return E_LIMIT;
    struct cert_bundle b = {0};
    return finish(make_both(r, &b), &b, ret);
}

static enum err renew(const struct cert_request *r, const char *ca_key, const char *ca_crt,
                      struct cert_bundle *b) {
    CLEANUP(x509__freep) X509 *ca = cert_from_pem(ca_crt);
    if (ca == NULL) return E_CERT;
    CLEANUP(x509__pkey_freep) EVP_PKEY *key = key_from_pem(ca_key);
    if (key == NULL || X509_check_private_key(ca, key) != 1) return E_KEY;
    struct pubkey ca_pub;
    const enum err e = x509__pubkey(ca, &ca_pub); /* a CA of another kind cannot sign like this */
    return e == OK ? add_online(r, ca, key, b) : e;
}

enum err cert_bundle_renew(const struct cert_request *r, const char *ca_key, const char *ca_crt,
                           struct cert_bundle *ret) {
    if (!host_fits(r->host)) return E_LIMIT;
    struct cert_bundle b = {0};
    return finish(renew(r, ca_key, ca_crt, &b), &b, ret);
}

static void free_secret(char *text) {
    if (text != NULL) crypto_wipe(text, strlen(text));
    free(text);
}

void cert_bundle_done(struct cert_bundle *b) {
    free_secret(b->ca_key);
    free_secret(b->server_key);
    free(b->ca_crt);
    free(b->server_crt);
    *b = (struct cert_bundle){0};
}

enum err cert_read_fingerprint(const char *ca_crt, uint8_t ret[SHA256_LEN]) {
    CLEANUP(x509__freep) X509 *ca = cert_from_pem(ca_crt);
    const enum err e = ca != NULL ? take_fingerprint(ca, ret) : E_CERT;
    ERR_clear_error();
    return e;
}

/* The common name, if there is exactly one and it is a plain text that fits. */
static bool read_common_name(X509 *c, char ret_host[CERT_HOST_MAX + 1]) {
    const X509_NAME *name = X509_get_subject_name(c);
    const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) return false;
    unsigned char *text = NULL;
    const int n =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    const bool fits = n >= 1 && n <= CERT_HOST_MAX && memchr(text, 0, (size_t)n) == NULL;
    if (fits) memcpy(ret_host, text, (size_t)n);
    if (fits) ret_host[n] = '\0';
    OPENSSL_free(text);
    return fits;
}

enum err cert_read_request(const char *server_crt, enum cert_algorithm *ret_algorithm,
                           char ret_host[CERT_HOST_MAX + 1]) {
    CLEANUP(x509__freep) X509 *c = cert_from_pem(server_crt);
    struct pubkey k = {.type = KEY_NONE};
    const bool good = c != NULL && x509__pubkey(c, &k) == OK && read_common_name(c, ret_host);
    ERR_clear_error();
    if (!good) return E_CERT;
    *ret_algorithm = k.type == KEY_ED448 ? CERT_ED448 : CERT_ED25519;
    return OK;
}
