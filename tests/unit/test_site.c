/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The site in memory: every page of the program can be filled in, and is at its paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "app/server/web_values.h"
#include "base/attr.h"
#include "crypto/crypto.h"
#include "web/assets.h"

static struct conf conf;
static struct web_values values;

static void set(char *field, size_t cap, const char *value) {
    assert_true(strlen(value) < cap);
    memcpy(field, value, strlen(value) + 1);
}

/* Of a server whose settings tell all that can be told, or nothing. */
static struct site *make(bool is_full) {
    static const uint8_t FINGERPRINT[SHA256_LEN] = {1, 2, 3};
    struct site *s = NULL;
    conf_init(&conf);
    if (is_full) {
        struct conf_information *i = &conf.information;
        set(conf.host, sizeof conf.host, "smp.example.org,abc.onion");
        set(conf.rules.create_password, sizeof conf.rules.create_password, "secret-word");
        set(i->source_code, sizeof i->source_code, "https://example.org/source/");
        set(i->operator, sizeof i->operator, "<b>&\"'");
        set(i->operator_country, sizeof i->operator_country, "FR");
        set(i->website, sizeof i->website, "javascript:alert(1)");
        set(i->hosting_type, sizeof i->hosting_type, "virtual");
        conf.message_ttl_s = 33 * 86400 + 3661;
    }
    assert_int_equal(web_values_make(&conf, bytes_of(FINGERPRINT, sizeof FINGERPRINT), &values),
                     OK);
    assert_int_equal(site_new(values.v, values.n, &s), OK);
    return s;
}

static struct bytes plain_at(const struct site *s, const char *path, enum web_lang lang) {
    const struct site_file *f = site_find(s, bytes_str(path), &lang);
    if (f == NULL) fail_msg("nothing at %s", path);
    return f != NULL ? f->bodies[f->by_lang ? lang : WEB_EN].coded[WEB_PLAIN] : (struct bytes){0};
}

static bool has(struct bytes page, const char *text) {
    return memmem(page.p, page.n, text, strlen(text)) != NULL;
}

static void test_paths(void **state) {
    (void)state;
    struct site *s = make(false);
    static const char *const THERE[] = {
        "/",
        "/index.html",
        "/index.en.html",
        "/index.fr.html",
        "/contact",
        "/contact/",
        "/contact/index.html",
        "/invitation",
        "/a",
        "/c/",
        "/g",
        "/r",
        "/i/index.ja.html",
        "/.well-known/apple-app-site-association",
        "/.well-known/assetlinks.json",
        "/well-known/assetlinks.json",
    };
    static const char *const NOT_THERE[] = {
        "",
        "/x",
        "/index",
        "/b",
        "/contact/x",
        "/pages/index.html",
        "/media",
        "/media/",
        "/media/style.css",
        "/countries.tsv",
        "/aa",
        "/.well-known/acme-challenge/x",
    };
    enum web_lang lang = WEB_EN;
    for (size_t i = 0; i < ARRAY_LEN(THERE); i++) (void)plain_at(s, THERE[i], WEB_EN);
    for (size_t i = 0; i < ARRAY_LEN(NOT_THERE); i++) {
        if (site_find(s, bytes_str(NOT_THERE[i]), &lang) != NULL) fail_msg("%s", NOT_THERE[i]);
    }
    site_unref(s);
}

static void test_languages(void **state) {
    (void)state;
    struct site *s = make(false);
    assert_true(has(plain_at(s, "/", WEB_JA), "<html lang=\"ja\""));
    assert_true(has(plain_at(s, "/", WEB_EN), "<html lang=\"en\""));
    assert_true(has(plain_at(s, "/index.fr.html", WEB_JA), "<html lang=\"fr\""));
    assert_true(has(plain_at(s, "/a/index.en.html", WEB_JA), "<html lang=\"en\""));
    site_unref(s);
}

/* Everything that a page names under /media/ is there, under its final name. */
static void check_media(const struct site *s, struct bytes page) {
    static const char MEDIA[] = "/media/";
    const uint8_t *end = page.p + page.n;
    for (const uint8_t *at = page.p;
         (at = memmem(at, (size_t)(end - at), MEDIA, sizeof MEDIA - 1)) != NULL; at++) {
        size_t n = 0;
        while (at + n < end && at[n] != '"' && at[n] != '\'' && at[n] != ')') n++;
        enum web_lang lang = WEB_EN;
        const struct site_file *f = site_find(s, bytes_of(at, n), &lang);
        if (f == NULL) fail_msg("no %.*s", (int)n, (const char *)at);
        if (f != NULL) assert_int_equal(f->cache, SITE_FOREVER);
    }
}

static void test_media(void **state) {
    (void)state;
    struct site *s = make(false);
    static const char *const PAGES[] = {"/", "/contact"};
    for (size_t i = 0; i < ARRAY_LEN(PAGES); i++) {
        for (unsigned l = 0; l < N_WEB_LANGS; l++)
            check_media(s, plain_at(s, PAGES[i], (enum web_lang)l));
    }
    site_unref(s);
}

static void test_values(void **state) {
    (void)state;
    struct site *s = make(true);
    const struct bytes page = plain_at(s, "/", WEB_FR);
    assert_true(has(page, "smp://AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@smp.example.org"));
    assert_true(has(page, "http://abc.onion"));
    assert_true(has(page, "&lt;b&gt;&amp;&quot;&#39;"));
    assert_true(has(page, "France"));
    assert_true(has(page, "https://example.org/source/"));
    assert_true(has(page, "javascript:alert(1)"));
    assert_false(has(page, "href=\"javascript"));
    assert_false(has(page, "<b>"));
    assert_false(has(page, "secret-word"));
    assert_false(has(page, "{{"));
    site_unref(s);
}

static const char *value(const char *name) {
    for (size_t i = 0; i < values.n; i++) {
        if (strcmp(values.v[i].name, name) == 0) return values.v[i].value;
    }
    fail_msg("no value %s", name);
    return NULL;
}

/* Without the source code nothing else is told of those who run it. */
static void test_conditions(void **state) {
    (void)state;
    site_unref(make(true));
    assert_string_equal(value("operator"), "<b>&\"'");
    assert_string_equal(value("website_link"), "");
    assert_string_equal(value("onion_host"), "abc.onion");
    assert_string_equal(value("auth_on"), "1");
    assert_string_equal(value("ttl_months"), "1");
    assert_string_equal(value("ttl_months_many"), "");
    assert_string_equal(value("ttl_days"), "3");
    assert_string_equal(value("ttl_hours"), "1");
    assert_string_equal(value("ttl_minutes"), "1");
    assert_string_equal(value("ttl_seconds"), "1");
    conf.information.source_code[0] = '\0';
    conf.message_ttl_s = 14 * 86400;
    assert_int_equal(web_values_make(&conf, bytes_str("fingerprint"), &values), OK);
    assert_string_equal(value("operator"), "");
    assert_string_equal(value("about"), "");
    assert_string_equal(value("hosting_virtual"), "");
    assert_string_equal(value("ttl_weeks"), "2");
    assert_string_equal(value("ttl_days"), "");
}

static void test_codings(void **state) {
    (void)state;
    struct site *s = make(false);
    enum web_lang lang = WEB_EN;
    const struct site_file *f = site_find(s, bytes_str("/"), &lang);
    assert_non_null(f);
    const struct site_body *b = &f->bodies[WEB_EN];
    assert_true(b->coded[WEB_GZIP].n > 0 && b->coded[WEB_GZIP].n < b->coded[WEB_PLAIN].n);
    assert_true(b->coded[WEB_BROTLI].n > 0 && b->coded[WEB_BROTLI].n < b->coded[WEB_PLAIN].n);
    assert_int_equal(b->coded[WEB_GZIP].p[0], 0x1f);
    assert_int_equal(strlen(b->tag), 16);
    site_unref(s);
}

struct visit {
    unsigned n, until;
};

static enum err count(void *ctx, const char *path, struct bytes content) {
    struct visit *v = ctx;
    assert_true(path[0] != '/' && content.n != 0);
    return ++v->n == v->until ? E_SYS : OK;
}

static void test_files(void **state) {
    (void)state;
    struct site *s = make(false);
    struct visit all = {0, 0}, some = {0, 3};
    assert_int_equal(site_each_file(s, count, &all), OK);
    assert_true(all.n >= 32 + 4 + 3); /* 8 folders of 4, well-known, media */
    assert_int_equal(site_each_file(s, count, &some), E_SYS);
    assert_int_equal(some.n, 3);
    site_unref(s);
}

static int set_up(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

/* Its page in each language and its files, and nothing of the other site. */
static void test_dashboard(void **state) {
    (void)state;
    struct site *other = make(true), *s = NULL;
    site_unref(other);
    assert_int_equal(site_new_dashboard(values.v, values.n, &s), OK);
    static const char *const THERE[] = {
        "/",
        "/index.html",
        "/index.en.html",
        "/index.fr.html",
        "/index.ja.html",
        "/dashboard.css",
        "/dashboard.js",
        "/icon.svg",
        "/uplot.txt",
    };
    for (size_t i = 0; i < ARRAY_LEN(THERE); i++)
        assert_true(plain_at(s, THERE[i], WEB_EN).n > 100);
    assert_true(has(plain_at(s, "/", WEB_EN), "<h1>smp.example.org</h1>"));
    assert_true(has(plain_at(s, "/", WEB_JA), "lang=\"ja\""));
    assert_true(has(plain_at(s, "/uplot.txt", WEB_EN), "MIT License"));
    static const char *const MISSING[] = {"/a", "/contact", "/index.de.html", "/link.html", ""};
    for (size_t i = 0; i < ARRAY_LEN(MISSING); i++) {
        enum web_lang lang = WEB_EN;
        assert_null(site_find(s, bytes_str(MISSING[i]), &lang));
    }
    struct site_form form;
    enum web_lang lang = WEB_EN;
    const struct site_file *f = site_find(s, bytes_str("/dashboard.js"), &lang);
    site_choose(&f->bodies[0], bytes_str("gzip"), &form);
    assert_string_equal(form.coding, "gzip");
    assert_true(form.body.n < f->bodies[0].coded[WEB_PLAIN].n / 2);
    site_choose(&f->bodies[0], bytes_str(""), &form);
    assert_null(form.coding);
    site_unref(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),     cmocka_unit_test(test_dashboard),
        cmocka_unit_test(test_languages), cmocka_unit_test(test_media),
        cmocka_unit_test(test_values),    cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_codings),   cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
