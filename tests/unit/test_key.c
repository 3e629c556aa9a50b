/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include <sodium.h>

#include "crypto/crypto.h"
#include "crypto/key.h"

enum { N_LOW_ORDER = 7 };

static const struct {
    enum key_type type;
    const char *spki; /* of a key of zeros, but for its last byte */
} FORMS[] = {
    {KEY_X25519, "302a300506032b656e032100"
                 "0000000000000000000000000000000000000000000000000000000000000007"},
    {KEY_ED25519, "302a300506032b6570032100"
                  "0000000000000000000000000000000000000000000000000000000000000007"},
    {KEY_X448, "3042300506032b656f033900"
               "00000000000000000000000000000000000000000000000000000000"
               "00000000000000000000000000000000000000000000000000000007"},
    {KEY_ED448, "3043300506032b6571033a00"
                "00000000000000000000000000000000000000000000000000000000"
                "0000000000000000000000000000000000000000000000000000000007"},
};

static void every_type_has_one_encoding(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        struct blob der = blob_of_hex(FORMS[i].spki);
        struct pubkey k;
        assert_int_equal(pubkey_from_spki(blob_bytes(&der), &k), OK);
        assert_int_equal(k.type, FORMS[i].type);
        assert_int_equal(pubkey_spki_len(k.type), der.n);
        const struct bytes raw = pubkey_raw(&k);
        assert_memory_equal(raw.p, der.p + 12, raw.n);
        assert_int_equal(raw.n, der.n - 12);
        uint8_t buf[SPKI_MAX];
        struct wr w = wr_init(buf, sizeof buf);
        pubkey_write_spki(&k, &w);
        assert_true(bytes_equal(wr_bytes(&w), blob_bytes(&der)));
        blob_freep(&der);
    }
}

static void prefixes_additions_and_other_headers_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
        struct blob der = blob_of_hex(FORMS[i].spki);
        struct pubkey k;
        for (size_t n = 0; n < der.n; n++) {
            uint8_t *prefix = malloc(n != 0 ? n : 1);
            assert_non_null(prefix);
            memcpy(prefix, der.p, n);
            assert_int_equal(pubkey_from_spki(bytes_of(prefix, n), &k), E_SYNTAX);
            free(prefix);
        }
        uint8_t longer[SPKI_MAX + 1] = {0};
        memcpy(longer, der.p, der.n);
        assert_int_equal(pubkey_from_spki(bytes_of(longer, der.n + 1), &k), E_SYNTAX);
        for (size_t at = 0; at < 12; at++) {
            der.p[at] ^= 0x40; /* 6e, 6f, 70, 71 do not become one another */
            assert_int_equal(pubkey_from_spki(blob_bytes(&der), &k), E_SYNTAX);
            der.p[at] ^= 0x40;
        }
        blob_freep(&der);
    }
}

static void no_key_has_no_encoding(void **state) {
    (void)state;
    const struct pubkey k = {.type = KEY_NONE};
    uint8_t buf[1];
    struct wr w = wr_init(buf, sizeof buf);
    pubkey_write_spki(&k, &w);
    assert_int_equal(wr_bytes(&w).n, 0);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(pubkey_spki_len(KEY_NONE), 0);
    assert_int_equal(pubkey_spki_len(N_KEY_TYPES), 0);
    assert_int_equal(pubkey_raw(&k).n, 0);
    assert_false(pubkey_can_authorize(&k));
}

static void keys_are_equal_by_type_and_content(void **state) {
    (void)state;
    struct pubkey a = {.type = KEY_ED25519, .b = {1}}, b = a;
    assert_true(pubkey_equal(&a, &b));
    b.b[31] = 1;
    assert_false(pubkey_equal(&a, &b));
    b = a;
    b.type = KEY_X25519;
    assert_false(pubkey_equal(&a, &b));
    assert_true(pubkey_can_authorize(&a));
    assert_true(pubkey_can_authorize(&b));
    b.type = KEY_ED448;
    assert_true(pubkey_can_authorize(&b));
    b.type = KEY_X448;
    assert_false(pubkey_can_authorize(&b));
}

/* ---- signatures: RFC 8032, section 7 ---- */

static const struct {
    enum key_type type;
    const char *key, *text, *sig;
} SIGNATURES[] = {
    {KEY_ED25519, "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    {KEY_ED448,
     "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778"
     "edf124769b46c7061bd6783df1e50f6cd1fa1abeafe8256180",
     "",
     "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f"
     "2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980ff0d2028d4b18a"
     "9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db"
     "b61149f05a7363268c71d95808ff2e652600"},
    {KEY_ED448,
     "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c086"
     "6aea01eb00742802b8438ea4cb82169c235160627b4c3a9480",
     "03",
     "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f435"
     "2541b143c4b981b7e18f62de8ccdf633fc1bf037ab7cd779805e0dbcc0aae1cb"
     "cee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
     "f3348ab21aa4adafd1d234441cf807c03a00"},
};

struct signature {
    struct pubkey key;
    struct blob text, sig;
};

static struct signature standard_signature(size_t i) {
    struct signature s = {.key = {.type = (uint8_t)SIGNATURES[i].type},
                          .text = blob_of_hex(SIGNATURES[i].text),
                          .sig = blob_of_hex(SIGNATURES[i].sig)};
    hex_into(SIGNATURES[i].key, s.key.b, pubkey_raw(&s.key).n);
    return s;
}

static void signature_done(struct signature *s) {
    blob_freep(&s->text);
    blob_freep(&s->sig);
}

static void standard_signatures_verify_wherever_the_text_is_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SIGNATURES); i++) {
        struct signature s = standard_signature(i);
        for (size_t cut = 0; cut <= s.text.n; cut++) {
            const struct bytes a = bytes_of(s.text.p, cut);
            const struct bytes b = bytes_of(s.text.p + cut, s.text.n - cut);
            assert_true(pubkey_verify(&s.key, blob_bytes(&s.sig), a, b));
        }
        assert_false(
            pubkey_verify(&s.key, blob_bytes(&s.sig), blob_bytes(&s.text), bytes_str("x")));
        signature_done(&s);
    }
}

static void changed_or_cut_signatures_do_not_verify(void **state) {
    (void)state;
    const struct bytes none = {0};
    for (size_t i = 0; i < ARRAY_LEN(SIGNATURES); i++) {
        struct signature s = standard_signature(i);
        for (size_t at = 0; at < s.sig.n; at++) {
            s.sig.p[at] ^= 1;
            assert_false(pubkey_verify(&s.key, blob_bytes(&s.sig), blob_bytes(&s.text), none));
            s.sig.p[at] ^= 1;
            assert_false(pubkey_verify(&s.key, bytes_of(s.sig.p, at), blob_bytes(&s.text), none));
        }
        signature_done(&s);
    }
}

static void other_keys_do_not_verify(void **state) {
    (void)state;
    const struct bytes none = {0};
    for (size_t i = 0; i < ARRAY_LEN(SIGNATURES); i++) {
        struct signature s = standard_signature(i);
        for (unsigned type = 0; type < N_KEY_TYPES; type++) {
            if (type == SIGNATURES[i].type) continue;
            s.key.type = (uint8_t)type;
            assert_false(pubkey_verify(&s.key, blob_bytes(&s.sig), blob_bytes(&s.text), none));
        }
        s.key.type = (uint8_t)SIGNATURES[i].type;
        memset(s.key.b, 0xff, sizeof s.key.b); /* no point of any curve */
        assert_false(pubkey_verify(&s.key, blob_bytes(&s.sig), blob_bytes(&s.text), none));
        memset(s.key.b, 0, sizeof s.key.b); /* a point of low order */
        assert_false(pubkey_verify(&s.key, blob_bytes(&s.sig), blob_bytes(&s.text), none));
        signature_done(&s);
    }
}

static void long_texts_are_verified_up_to_a_limit(void **state) {
    (void)state;
    enum { LONG = 16384 + 65, TOO_LONG = 20000 };
    struct pubkey k = {.type = KEY_ED25519};
    uint8_t secret[crypto_sign_SECRETKEYBYTES], sig[ED25519_SIG_LEN];
    static uint8_t text[TOO_LONG];
    assert_int_equal(crypto_sign_keypair(k.b, secret), 0);
    const struct bytes s = bytes_of(sig, sizeof sig);
    assert_int_equal(crypto_sign_detached(sig, NULL, text, LONG, secret), 0);
    assert_true(pubkey_verify(&k, s, bytes_of(text, 65), bytes_of(text + 65, LONG - 65)));
    assert_int_equal(crypto_sign_detached(sig, NULL, text, TOO_LONG, secret), 0);
    assert_false(pubkey_verify(&k, s, bytes_of(text, 65), bytes_of(text + 65, TOO_LONG - 65)));
}

/* ---- agreement: RFC 7748, section 5.2 ---- */

static void agreement_is_the_standard_one(void **state) {
    (void)state;
    uint8_t a[X25519_LEN], b_pub[X25519_LEN], want[X25519_LEN], got[X25519_LEN];
    hex_into("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", a, sizeof a);
    hex_into("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", b_pub,
             sizeof b_pub);
    hex_into("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552", want, sizeof want);
    assert_int_equal(x25519_dh(a, b_pub, got), OK);
    assert_memory_equal(got, want, sizeof want);
}

static void counting_random(void *ctx, void *buf, size_t n) {
    uint8_t *next = ctx, *p = buf;
    for (size_t i = 0; i < n; i++) p[i] = (*next)++;
}

static void pairs_come_from_the_given_randomness_and_agree(void **state) {
    (void)state;
    uint8_t next = 0, ab[X25519_LEN], ba[X25519_LEN];
    const struct env env = {.random = counting_random, .ctx = &next};
    struct x25519_pair a, b;
    x25519_pair_new(&env, &a);
    x25519_pair_new(&env, &b);
    assert_int_equal(a.priv[31], 31);
    assert_int_equal(b.priv[0], 32);
    assert_int_equal(x25519_dh(a.priv, b.pub, ab), OK);
    assert_int_equal(x25519_dh(b.priv, a.pub, ba), OK);
    assert_memory_equal(ab, ba, sizeof ab);
    const struct pubkey k = pubkey_from_x25519(a.pub);
    assert_int_equal(k.type, KEY_X25519);
    assert_memory_equal(k.b, a.pub, sizeof a.pub);
}

/* RFC 8032, section 7.1, TEST 2. */
static void counting_seed(void *ctx, void *buf, size_t n) {
    (void)ctx;
    assert_int_equal(n, 32);
    hex_into("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", buf, n);
}

static void signatures_are_the_standard_ones(void **state) {
    (void)state;
    const struct env env = {.random = counting_seed};
    uint8_t pub[ED25519_LEN], expected[ED25519_SIG_LEN], sig[ED25519_SIG_LEN];
    struct ed25519_key k;
    ed25519_key_new(&env, &k);
    hex_into("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", pub, sizeof pub);
    hex_into("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
             "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
             expected, sizeof expected);
    const struct pubkey public = pubkey_from_ed25519(&k);
    assert_int_equal(public.type, KEY_ED25519);
    assert_memory_equal(public.b, pub, sizeof pub);
    const uint8_t text[] = {0x72};
    const struct bytes one = bytes_of(text, sizeof text), none = {0};
    assert_int_equal(ed25519_sign(&k, one, none, sig), OK);
    assert_memory_equal(sig, expected, sizeof sig);
    assert_int_equal(ed25519_sign(&k, none, one, sig), OK);
    assert_memory_equal(sig, expected, sizeof sig);
    assert_true(pubkey_verify(&public, bytes_of(sig, sizeof sig), one, none));
    static uint8_t longest[16384 + 512];
    const struct bytes most = bytes_of(longest, sizeof longest);
    assert_int_equal(ed25519_sign(&k, most, none, sig), OK);
    assert_int_equal(ed25519_sign(&k, most, one, sig), E_LIMIT);
}

/* The points of low order, in all their spellings of 255 bits, with and without bit 255. */
static void points_of_low_order_are_refused(void **state) {
    (void)state;
    static const char *const LOW[N_LOW_ORDER] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct x25519_pair pair;
    x25519_pair_new(&ENV_SYSTEM, &pair);
    for (size_t i = 0; i < ARRAY_LEN(LOW); i++) {
        uint8_t pub[X25519_LEN], shared[X25519_LEN];
        hex_into(LOW[i], pub, sizeof pub);
        assert_int_equal(x25519_dh(pair.priv, pub, shared), E_CRYPTO);
        pub[31] |= 0x80;
        assert_int_equal(x25519_dh(pair.priv, pub, shared), E_CRYPTO);
    }
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_one_encoding),
        cmocka_unit_test(prefixes_additions_and_other_headers_are_refused),
        cmocka_unit_test(no_key_has_no_encoding),
        cmocka_unit_test(keys_are_equal_by_type_and_content),
        cmocka_unit_test(standard_signatures_verify_wherever_the_text_is_cut),
        cmocka_unit_test(changed_or_cut_signatures_do_not_verify),
        cmocka_unit_test(other_keys_do_not_verify),
        cmocka_unit_test(long_texts_are_verified_up_to_a_limit),
        cmocka_unit_test(agreement_is_the_standard_one),
        cmocka_unit_test(pairs_come_from_the_given_randomness_and_agree),
        cmocka_unit_test(signatures_are_the_standard_ones),
        cmocka_unit_test(points_of_low_order_are_refused),
    };
    return cmocka_run_group_tests_name("key", tests, setup, NULL);
}
