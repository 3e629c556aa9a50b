/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/web_cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto/x509_priv.h"

struct web_cert {
    struct stack_st_X509 *chain; /* owned; leaf first */
    EVP_PKEY *key;               /* owned; of the leaf */
};

enum { CHAIN_MAX = 8, RSA_MIN_BITS = 2048 };

static enum err refuse(struct cert_problem *ret, enum err e, const char *path, const char *what) {
    (void)snprintf(ret->text, sizeof ret->text, "%s %s", path, what);
    return e;
}

/* Without waiting, should it be a pipe. NULL with errno. */
static FILE *open_regular(const char *path) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        FILE *f = fdopen(fd, "r");
        if (f != NULL) return f; /* which has taken fd over */
    } else {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    }
    const int number = errno;
    (void)close(fd);
    errno = number;
    return NULL;
}

static FILE *open_file(const char *path, struct cert_problem *ret_problem) {
    FILE *f = open_regular(path);
    if (f != NULL) return f;
    ret_problem->path = path;
    ret_problem->number = errno;
    (void)refuse(ret_problem, E_SYS, path, "cannot be opened");
    return NULL;
}

static enum err read_chain(const char *path, struct web_cert *c, struct cert_problem *p) {
    FILE *f = open_file(path, p);
    if (f == NULL) return E_SYS;
    enum err e = OK;
    X509 *x;
    ERR_clear_error();
    while (e == OK && sk_X509_num(c->chain) < CHAIN_MAX &&
           (x = PEM_read_X509(f, NULL, x509__no_password, NULL)) != NULL)
        e = x509__push(c->chain, x);
    (void)fclose(f);
    if (e != OK) return e;
    const int n = sk_X509_num(c->chain);
    /* Else one of them is cut off or damaged. */
    const bool has_ended =
        n == CHAIN_MAX || ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (n > 0 && has_ended) return OK;
    return refuse(p, E_CERT, path, "has no readable certificate (PEM)");
}

static enum err read_key(const char *path, struct web_cert *c, struct cert_problem *p) {
    FILE *f = open_file(path, p);
    if (f == NULL) return E_SYS;
    c->key = x509__read_key(f);
    (void)fclose(f);
    if (c->key != NULL) return OK;
    return refuse(p, E_KEY, path, "has no readable private key (PEM, without a password)");
}

static bool is_known_kind(const EVP_PKEY *key) {
    char group[32] = "";
    if (EVP_PKEY_is_a(key, "ED25519") == 1) return true;
    if (EVP_PKEY_is_a(key, "RSA") == 1) return EVP_PKEY_get_bits(key) >= RSA_MIN_BITS;
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0);
}

static enum err fill(const char *crt, const char *key, struct web_cert *c, struct cert_problem *p) {
    c->chain = sk_X509_new_null();
    if (c->chain == NULL) return E_NO_MEMORY;
    enum err e = read_chain(crt, c, p);
    if (e == OK) e = read_key(key, c, p);
    if (e != OK) return e;
    if (!is_known_kind(c->key))
        return refuse(p, E_KEY, key,
                      "is of a kind that is not taken: RSA of 2048 bits and more, P-256, P-384 and "
                      "Ed25519 are");
    if (X509_check_private_key(sk_X509_value(c->chain, 0), c->key) != 1)
        return refuse(p, E_KEY, key, "is not the key of the certificate");
    return OK;
}

enum err web_cert_load(const char *crt, const char *key, struct web_cert **ret,
                       struct cert_problem *ret_problem) {
    *ret_problem = (struct cert_problem){.path = NULL};
    (void)refuse(ret_problem, E_NO_MEMORY, crt, "cannot be loaded: out of memory");
    struct web_cert *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    const enum err e = fill(crt, key, c, ret_problem);
    ERR_clear_error();
    if (e == OK) {
        *ret = c;
    } else {
        web_cert_free(c);
    }
    return e;
}

void web_cert_free(struct web_cert *c) {
    if (c == NULL) return;
    x509__stack_free(c->chain);
    EVP_PKEY_free(c->key);
    free(c);
}

int64_t web_cert_expires_s(const struct web_cert *c) {
    int64_t first_s = INT64_MAX;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        struct tm tm = {0};
        if (ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(c->chain, i)), &tm) != 1) continue;
        const int64_t t_s = (int64_t)timegm(&tm);
        if (t_s < first_s) first_s = t_s;
    }
    return first_s;
}

int64_t web_cert_begins_s(const struct web_cert *c) {
    int64_t last_s = INT64_MIN;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        struct tm tm = {0};
        if (ASN1_TIME_to_tm(X509_get0_notBefore(sk_X509_value(c->chain, i)), &tm) != 1) continue;
        const int64_t t_s = (int64_t)timegm(&tm);
        if (t_s > last_s) last_s = t_s;
    }
    return last_s;
}

bool web_cert_is_for(const struct web_cert *c, const char *host) {
    enum { ADDRESS_MAX = 64 };
    X509 *leaf = sk_X509_value(c->chain, 0);
    const size_t n = strlen(host);
    if (n > 2 && n < ADDRESS_MAX && host[0] == '[' && host[n - 1] == ']') {
        char bare[ADDRESS_MAX];
        memcpy(bare, host + 1, n - 2);
        bare[n - 2] = '\0';
        return X509_check_ip_asc(leaf, bare, 0) == 1;
    }
    return X509_check_host(leaf, host, 0, 0, NULL) == 1 || X509_check_ip_asc(leaf, host, 0) == 1;
}

enum err web_cert_use(const struct web_cert *c, SSL_CTX *ctx) {
    if (SSL_CTX_use_certificate(ctx, sk_X509_value(c->chain, 0)) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, c->key) != 1)
        return E_CERT;
    for (int i = 1; i < sk_X509_num(c->chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(c->chain, i)) != 1) return E_CERT;
    }
    return OK;
}
