/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The certificate for browsers: when its files are read again, and what is shown meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "app/server/page_cert.h"
#include "base/log.h"

static char dir[] = "/tmp/test_page_cert.XXXXXX";
static char other[64];
static struct conf conf;
static struct page_cert cert;

static FILE *create(const char *path) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    return f;
}

static void write_cert(EVP_PKEY *key, const char *path) {
    X509 *x = X509_new();
    assert_non_null(x);
    (void)X509_gmtime_adj(X509_getm_notBefore(x), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(x), 86400L * 90);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = create(path);
    assert_int_equal(PEM_write_X509(f, x), 1);
    (void)fclose(f);
    X509_free(x);
}

static void write_key(EVP_PKEY *key, const char *path) {
    FILE *f = create(path);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
}

static EVP_PKEY *new_key(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    return key;
}

/* As tools that renew do: beside it, and then in its place. */
static void replace_cert(EVP_PKEY *key) {
    write_cert(key, other);
    assert_int_equal(rename(other, conf.web_cert), 0);
}

static void replace_key(EVP_PKEY *key) {
    write_key(key, other);
    assert_int_equal(rename(other, conf.web_key), 0);
}

static bool shows(EVP_PKEY *key) {
    return cert.tls != NULL && EVP_PKEY_eq(SSL_CTX_get0_privatekey(cert.tls), key) == 1;
}

static int setup(void **state) {
    (void)state;
    log_set_level(LOG_ERROR);
    conf_init(&conf);
    conf.web_https = 443;
    conf.ports.n = 1;
    conf.ports.port[0] = 443;
    (void)snprintf(conf.web_static_path, sizeof conf.web_static_path, "%s", dir);
    (void)snprintf(conf.web_cert, sizeof conf.web_cert, "%s/web.crt", dir);
    (void)snprintf(conf.web_key, sizeof conf.web_key, "%s/web.key", dir);
    (void)snprintf(other, sizeof other, "%s/new", dir);
    page_cert_init(&cert);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    page_cert_done(&cert);
    (void)unlink(conf.web_cert);
    (void)unlink(conf.web_key);
    conf_done(&conf);
    return 0;
}

static void test_there_is_none_until_it_comes(void **state) {
    (void)state;
    EVP_PKEY *key = new_key();
    assert_false(page_cert_look(&cert, &conf, true));
    assert_null(cert.tls);
    assert_true(atomic_load(&cert.expires_s) == PAGE_CERT_NONE);
    replace_key(key);
    assert_false(page_cert_look(&cert, &conf, false));
    replace_cert(key);
    assert_true(page_cert_look(&cert, &conf, false));
    assert_true(shows(key));
    assert_true(atomic_load(&cert.expires_s) < PAGE_CERT_NONE);
    EVP_PKEY_free(key);
}

static void test_it_is_read_when_it_has_changed(void **state) {
    (void)state;
    EVP_PKEY *key = new_key();
    replace_key(key);
    replace_cert(key);
    assert_true(page_cert_look(&cert, &conf, false));
    const SSL_CTX *first = cert.tls;
    assert_false(page_cert_look(&cert, &conf, false));
    assert_ptr_equal(cert.tls, first);
    replace_cert(key);
    assert_true(page_cert_look(&cert, &conf, false));
    assert_true(page_cert_look(&cert, &conf, true)); /* whoever asks has a reason */
    assert_true(shows(key));
    EVP_PKEY_free(key);
}

static void test_the_old_one_is_shown_until_the_new_one_is_whole(void **state) {
    (void)state;
    EVP_PKEY *old = new_key(), *new = new_key();
    replace_key(old);
    replace_cert(old);
    assert_true(page_cert_look(&cert, &conf, false));
    replace_cert(new);
    assert_false(page_cert_look(&cert, &conf, false));
    assert_true(shows(old));
    assert_int_equal(truncate(conf.web_cert, 100), 0);
    replace_key(new);
    assert_false(page_cert_look(&cert, &conf, false));
    assert_true(shows(old));
    replace_cert(new);
    assert_true(page_cert_look(&cert, &conf, false));
    assert_true(shows(new));
    EVP_PKEY_free(old);
    EVP_PKEY_free(new);
}

static void test_it_stays_when_its_files_go(void **state) {
    (void)state;
    EVP_PKEY *key = new_key();
    replace_key(key);
    replace_cert(key);
    assert_true(page_cert_look(&cert, &conf, false));
    assert_int_equal(unlink(conf.web_cert), 0);
    assert_false(page_cert_look(&cert, &conf, false));
    assert_true(shows(key));
    EVP_PKEY_free(key);
}

/* No descriptor is left: what was there is not read, though it may be. */
static void test_what_could_not_be_read_is_read_later(void **state) {
    (void)state;
    EVP_PKEY *old = new_key(), *new = new_key();
    struct rlimit limit;
    replace_key(old);
    replace_cert(old);
    assert_true(page_cert_look(&cert, &conf, false));
    replace_key(new);
    replace_cert(new);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const bool is_read = page_cert_look(&cert, &conf, false);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_false(is_read);
    assert_true(shows(old));
    assert_true(page_cert_look(&cert, &conf, false));
    assert_true(shows(new));
    assert_false(page_cert_look(&cert, &conf, false));
    EVP_PKEY_free(old);
    EVP_PKEY_free(new);
}

/* Who opens it would wait for somebody who writes. */
static void test_a_pipe_is_no_file(void **state) {
    (void)state;
    struct web_cert *loaded = NULL;
    struct problem p;
    assert_int_equal(mkfifo(conf.web_cert, 0600), 0);
    assert_int_equal(page_cert_load(&conf, &loaded, &p), E_SYS);
    assert_null(loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(test_there_is_none_until_it_comes),
        TEST(test_it_is_read_when_it_has_changed),
        TEST(test_the_old_one_is_shown_until_the_new_one_is_whole),
        TEST(test_it_stays_when_its_files_go),
        TEST(test_what_could_not_be_read_is_read_later),
        TEST(test_a_pipe_is_no_file),
    };
    if (mkdtemp(dir) == NULL) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(dir);
    return failed;
}
