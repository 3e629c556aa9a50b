/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/cert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "crypto/signed_key_priv.h"
#include "crypto/x509_priv.h"

struct server_cert {
    struct stack_st_X509
        *chain;    /* owned; leaf, identity, and the roots above it if ca.crt holds any */
    EVP_PKEY *key; /* owned; of the leaf */
    enum key_type key_type;
    uint8_t fingerprint[SHA256_LEN];
    uint8_t *encoded; /* owned */
    size_t n_encoded;
};

enum { MAX_CA_CERTS = 3, MAX_DER = UINT16_MAX };

static void say(struct cert_problem *ret, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct cert_problem *ret, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(ret->text, sizeof ret->text, fmt, ap);
    va_end(ap);
}

/* ---- reading ---- */

static FILE *open_file(const char *path, struct cert_problem *ret_problem) {
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        char text[128];
        ret_problem->path = path;
        ret_problem->number = errno;
        say(ret_problem, "%s: cannot be opened: %s", path, strerror_r(errno, text, sizeof text));
    }
    return f;
}

static void close_file(FILE **f) {
    if (*f != NULL) (void)fclose(*f);
}

/* Appends up to max certificates of a PEM file, at least one. */
static enum err read_certs(const char *path, int max, struct stack_st_X509 *chain,
                           struct cert_problem *ret_problem) {
    CLEANUP(close_file) FILE *f = open_file(path, ret_problem);
    if (f == NULL) return E_SYS;
    int n = 0;
    while (n < max) {
        X509 *c = PEM_read_X509(f, NULL, x509__no_password, NULL);
        if (c == NULL) break;
        const enum err e = x509__push(chain, c);
        if (e != OK) return e;
        n++;
    }
    const bool ended = n == max || ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (n > 0 && ended) return OK;
    say(ret_problem, "%s: has no readable certificate (PEM): restore it from your backup", path);
    return E_CERT;
}

static enum err read_key(const char *path, EVP_PKEY **ret, struct cert_problem *ret_problem) {
    CLEANUP(close_file) FILE *f = open_file(path, ret_problem);
    if (f == NULL) return E_SYS;
    EVP_PKEY *key = x509__read_key(f);
    if (key == NULL) {
        say(ret_problem,
            "%s: has no readable private key (PEM, without a password): restore it from "
            "your backup, or make a new pair with `smp-server cert`",
            path);
        return E_KEY;
    }
    *ret = key;
    return OK;
}

static enum err read_files(const struct cert_files *f, struct server_cert *c,
                           struct cert_problem *ret_problem) {
    enum err e = read_certs(f->server_crt, 1, c->chain, ret_problem);
    if (e != OK) return e;
    e = read_certs(f->ca_crt, MAX_CA_CERTS + 1, c->chain, ret_problem);
    if (e != OK) return e;
    return read_key(f->server_key, &c->key, ret_problem);
}

/* ---- dates ---- */

/* otherwise: of a date that cannot be read. */
static int64_t seconds_of(const ASN1_TIME *t, int64_t otherwise) {
    struct tm tm = {0};
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : otherwise;
}

int64_t server_cert_begins_s(const struct server_cert *c) {
    int64_t last = INT64_MIN;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        const int64_t t = seconds_of(X509_get0_notBefore(sk_X509_value(c->chain, i)), INT64_MIN);
        last = t > last ? t : last;
    }
    return last;
}

int64_t server_cert_expires_s(const struct server_cert *c) {
    int64_t first = INT64_MAX;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        const int64_t t = seconds_of(X509_get0_notAfter(sk_X509_value(c->chain, i)), INT64_MAX);
        first = t < first ? t : first;
    }
    return first;
}

/* ---- checking ---- */

static const char *const NEW_ONLINE_CERT = "make a new one with `smp-server cert`";
static const char *const NO_OTHER_CA =
    "clients refuse it, and the addresses of this server contain its "
    "fingerprint: restore ca.crt from your backup";

static void format_day(const ASN1_TIME *t, char *ret, size_t cap) {
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(ret, cap, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        (void)snprintf(ret, cap, "an unreadable date");
    }
}

static enum err check_dates(const X509 *c, const char *path, const char *remedy, int64_t at_s,
                            struct cert_problem *ret_problem) {
    char day[64];
    if (!x509__has_expired(c, at_s)) return OK;
    format_day(X509_get0_notAfter(c), day, sizeof day);
    say(ret_problem, "%s: expired on %s: %s", path, day, remedy);
    return E_CERT;
}

static enum err check_type(const X509 *c, const char *path, const char *remedy,
                           struct pubkey *ret_key, struct cert_problem *ret_problem) {
    if (x509__pubkey(c, ret_key) == OK) return OK;
    say(ret_problem, "%s: its key is neither Ed25519 nor Ed448: %s", path, remedy);
    return E_CERT;
}

/* A clock that is behind says nothing against certificates: they are judged at their beginning. */
static enum err check(const struct cert_files *f, int64_t now_s, struct server_cert *c,
                      struct cert_problem *ret_problem) {
    const int64_t begins_s = server_cert_begins_s(c), at_s = now_s > begins_s ? now_s : begins_s;
    X509 *leaf = sk_X509_value(c->chain, 0), *identity = sk_X509_value(c->chain, 1);
    struct pubkey leaf_key, ca_key;
    enum err e = check_type(leaf, f->server_crt, NEW_ONLINE_CERT, &leaf_key, ret_problem);
    if (e == OK) e = check_type(identity, f->ca_crt, NO_OTHER_CA, &ca_key, ret_problem);
    if (e == OK) e = check_dates(identity, f->ca_crt, NO_OTHER_CA, at_s, ret_problem);
    if (e == OK) e = check_dates(leaf, f->server_crt, NEW_ONLINE_CERT, at_s, ret_problem);
    if (e != OK) return e;
    c->key_type = leaf_key.type;
    if (!x509__is_signed_by(leaf, identity)) {
        say(ret_problem, "%s: is not signed by %s: restore the pair from your backup, or %s",
            f->server_crt, f->ca_crt, NEW_ONLINE_CERT);
        return E_CERT;
    }
    if (!cert_stack_is_sound(c->chain, at_s)) {
        say(ret_problem, "%s: %s", f->ca_crt,
            "its certificates are more than 3, or do not sign one another in order, or are not "
            "CA certificates: restore it from your backup");
        return E_CERT;
    }
    if (X509_check_private_key(leaf, c->key) != 1) {
        say(ret_problem,
            "%s: is not the key of %s: restore the pair from your backup, or make a new "
            "pair with `smp-server cert`",
            f->server_key, f->server_crt);
        return E_KEY;
    }
    return OK;
}

/* ---- what is kept ---- */

/* The DER of one certificate as a large string. */
static enum err put_cert(X509 *c, struct wr *w) {
    const int n = i2d_X509(c, NULL);
    if (n <= 0 || n > MAX_DER) return E_CERT;
    wr_u16(w, (uint16_t)n);
    unsigned char *to = wr_skip(w, (size_t)n);
    if (to == NULL) return E_LIMIT;
    return i2d_X509(c, &to) == n ? OK : E_CERT;
}

static enum err encode(struct server_cert *c) {
    const int n = sk_X509_num(c->chain);
    size_t size = 1;
    for (int i = 0; i < n; i++) {
        const int n_der = i2d_X509(sk_X509_value(c->chain, i), NULL);
        size += 2 + (n_der > 0 ? (size_t)n_der : 0);
    }
    c->encoded = malloc(size);
    if (c->encoded == NULL) return E_NO_MEMORY;
    struct wr w = wr_init(c->encoded, size);
    wr_u8(&w, (uint8_t)n);
    for (int i = 0; i < n; i++) {
        const size_t start = w.at + 2;
        const enum err e = put_cert(sk_X509_value(c->chain, i), &w);
        if (e != OK) return e;
        if (i != 1) continue;
        const struct bytes identity = bytes_of(c->encoded + start, w.at - start);
        if (crypto_sha256(identity, c->fingerprint) != OK) return E_CRYPTO;
    }
    c->n_encoded = w.at;
    return wr_err(&w);
}

static enum err fill(const struct cert_files *f, int64_t now_s, struct server_cert *c,
                     struct cert_problem *ret_problem) {
    c->chain = sk_X509_new_null();
    if (c->chain == NULL) return E_NO_MEMORY;
    enum err e = read_files(f, c, ret_problem);
    if (e == OK) e = check(f, now_s, c, ret_problem);
    return e == OK ? encode(c) : e;
}

enum err server_cert_load(const struct cert_files *f, int64_t now_s, struct server_cert **ret,
                          struct cert_problem *ret_problem) {
    *ret_problem = (struct cert_problem){.path = NULL};
    say(ret_problem, "the certificates cannot be loaded: out of memory, or OpenSSL fails");
    struct server_cert *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    const enum err e = fill(f, now_s, c, ret_problem);
    ERR_clear_error();
    if (e == OK) *ret = c;
    if (e != OK) server_cert_free(c);
    return e;
}

void server_cert_free(struct server_cert *c) {
    if (c == NULL) return;
    x509__stack_free(c->chain);
    EVP_PKEY_free(c->key);
    free(c->encoded);
    free(c);
}

const uint8_t *server_cert_fingerprint(const struct server_cert *c) {
    return c->fingerprint;
}

struct bytes server_cert_chain(const struct server_cert *c) {
    return bytes_of(c->encoded, c->n_encoded);
}

enum err server_cert_sign_session_key(const struct server_cert *c, const uint8_t pub[X25519_LEN],
                                      struct wr *w) {
    const struct pubkey k = pubkey_from_x25519(pub);
    return signed_key__write(c->key, c->key_type, &k, w);
}

enum err server_cert_sign(const struct server_cert *c, struct bytes text, struct wr *w) {
    return signed_key__sign(c->key, text, w);
}

enum err server_cert_use(const struct server_cert *c, SSL_CTX *ctx) {
    if (SSL_CTX_use_certificate(ctx, sk_X509_value(c->chain, 0)) != 1) return E_CERT;
    if (SSL_CTX_use_PrivateKey(ctx, c->key) != 1) return E_CERT;
    if (SSL_CTX_clear_chain_certs(ctx) != 1) return E_CERT;
    for (int i = 1; i < sk_X509_num(c->chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(c->chain, i)) != 1) return E_CERT;
    }
    return OK;
}
