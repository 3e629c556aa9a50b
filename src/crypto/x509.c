/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/x509_priv.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { MIN_SECURITY_BITS = 112 };

enum err x509__push(struct stack_st_X509 *s, X509 *owned) {
    if (sk_X509_push(s, owned) > 0) return OK;
    X509_free(owned);
    return E_NO_MEMORY;
}

/* -1 when the time is not after now, 1 when it is, 0 when it cannot be read. */
static int compare(const ASN1_TIME *t, int64_t now_s) {
    time_t now = (time_t)now_s;
    return X509_cmp_time(t, &now);
}

bool x509__has_begun(const X509 *c, int64_t now_s) {
    return compare(X509_get0_notBefore(c), now_s) == -1;
}

bool x509__has_expired(const X509 *c, int64_t now_s) {
    return compare(X509_get0_notAfter(c), now_s) != 1;
}

enum err x509__pubkey(const X509 *c, struct pubkey *ret) {
    EVP_PKEY *key = X509_get0_pubkey(c);
    if (key == NULL) return E_CERT;
    struct pubkey k = {.type = KEY_NONE};
    if (EVP_PKEY_is_a(key, "ED25519") == 1) k.type = KEY_ED25519;
    if (EVP_PKEY_is_a(key, "ED448") == 1) k.type = KEY_ED448;
    size_t n = sizeof k.b;
    if (k.type == KEY_NONE || EVP_PKEY_get_raw_public_key(key, k.b, &n) != 1) return E_CERT;
    *ret = k;
    return OK;
}

bool x509__is_strong(X509 *c, const EVP_PKEY *issuer_key) {
    int bits = 0;
    return X509_get_signature_info(c, NULL, NULL, &bits, NULL) == 1 && bits >= MIN_SECURITY_BITS &&
           EVP_PKEY_get_security_bits(issuer_key) >= MIN_SECURITY_BITS;
}

bool x509__is_signed_by(X509 *c, X509 *issuer) {
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return key != NULL && X509_check_issued(issuer, c) == X509_V_OK && x509__is_strong(c, key) &&
           X509_verify(c, key) == 1;
}

int x509__no_password(char *buf, int size, int writing, void *ctx) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

EVP_PKEY *x509__read_key(FILE *f) {
    (void)setvbuf(f, NULL, _IONBF, 0); /* the library's buffer would not be wiped */
    return PEM_read_PrivateKey(f, NULL, x509__no_password, NULL);
}
