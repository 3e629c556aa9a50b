/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cert_fixture.h -- a server's certificates as PEM texts and as the files that they are loaded
 * from. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "crypto/cert.h"

static inline X509 *cert_of_pem(const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    X509 *c = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(c);
    return c;
}

static inline EVP_PKEY *key_of_pem(const char *pem) {
    BIO *b = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    assert_non_null(k);
    return k;
}

/* A folder with the three files of a server. */
struct folder {
    char dir[64], ca_crt[96], server_crt[96], server_key[96];
};

static inline void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline struct folder new_folder(const char *ca_crt, const char *server_crt,
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

static inline void folder_done(struct folder *d) {
    (void)unlink(d->ca_crt);
    (void)unlink(d->server_crt);
    (void)unlink(d->server_key);
    assert_int_equal(rmdir(d->dir), 0);
}

static inline enum err load(const struct folder *d, int64_t now_s, struct server_cert **ret,
                            struct cert_problem *ret_problem) {
    const struct cert_files f = {d->ca_crt, d->server_crt, d->server_key};
    const enum err e = server_cert_load(&f, now_s, ret, ret_problem);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

static inline struct server_cert *load_bundle(const struct cert_bundle *b, int64_t now_s) {
    struct folder d = new_folder(b->ca_crt, b->server_crt, b->server_key);
    struct server_cert *c = NULL;
    struct cert_problem problem;
    const enum err e = load(&d, now_s, &c, &problem);
    folder_done(&d);
    if (e != OK) fail_msg("%s", problem.text);
    return c;
}
