/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which chains of certificates are sound, and when. */
#include "chain_fixture.h"

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
    };
    return cmocka_run_group_tests_name("cert_chain", tests, setup, NULL);
}
