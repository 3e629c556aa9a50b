/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include <openssl/evp.h>
#include <sodium.h>

#include "base/rd.h"
#include "crypto/authz.h"
#include "crypto/box.h"
#include "crypto/crypto.h"
#include "crypto/point_priv.h"
#include "verifications.h"

enum { MAX_AUTH = ED448_SIG_LEN, SIGNED_TYPES = 3 };

static const enum key_type TYPES[SIGNED_TYPES] = {KEY_X25519, KEY_ED25519, KEY_ED448};
static const char TEXT_A[] = "the session", TEXT_B[] = "the command", CORR_ID[] = "24 bytes, or so";

/* A queue key with an authorization made by it, of what all samples of this file sign. */
struct sample {
    struct pubkey key;
    uint8_t auth[MAX_AUTH];
    size_t n_auth;
};

static struct x25519_pair session;

static struct bytes whole_text(void) {
    return bytes_str("the sessionthe command");
}

static void make_authenticator(struct sample *s) {
    struct x25519_pair pair;
    uint8_t shared[X25519_LEN];
    x25519_pair_new(&ENV_SYSTEM, &pair);
    s->key = pubkey_from_x25519(pair.pub);
    assert_int_equal(x25519_dh(pair.priv, session.pub, shared), OK);
    assert_int_equal(crypto_sha512_2(whole_text(), (struct bytes){0}, s->auth + BOX_TAG_LEN), OK);
    const struct box_key key = box_key_from_secret(shared);
    const struct box_nonce nonce = box_nonce_from_corr_id(bytes_str(CORR_ID));
    box_seal(&key, &nonce, s->auth, SHA512_LEN);
    s->n_auth = AUTHENTICATOR_LEN;
}

static void make_signature(struct sample *s, enum key_type type) {
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, type == KEY_ED448 ? "ED448" : "ED25519");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const struct bytes text = whole_text();
    s->key = (struct pubkey){.type = (uint8_t)type};
    s->n_auth = sizeof s->auth;
    size_t n = sizeof s->key.b;
    assert_int_equal(EVP_PKEY_get_raw_public_key(pair, s->key.b, &n), 1);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, pair), 1);
    assert_int_equal(EVP_DigestSign(ctx, s->auth, &s->n_auth, text.p, text.n), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pair);
}

static struct sample sample_of(enum key_type type) {
    struct sample s;
    if (type == KEY_X25519) make_authenticator(&s);
    if (type != KEY_X25519) make_signature(&s, type);
    return s;
}

static struct authz authz_of(const struct sample *s) {
    return (struct authz){.auth = bytes_of(s->auth, s->n_auth),
                          .text_a = bytes_str(TEXT_A),
                          .text_b = bytes_str(TEXT_B),
                          .corr_id = bytes_str(CORR_ID),
                          .session_priv = session.priv};
}

/* A key that the libraries refuse at first sight. */
static struct pubkey unusable_key(enum key_type type) {
    struct pubkey k = {.type = (uint8_t)type};
    if (type != KEY_X25519) memset(k.b, 0x77, pubkey_raw(&k).n);
    if (type == KEY_ED448) k.b[PUBKEY_MAX - 1] = 0;
    while (point__is_usable(&k)) k.b[0]++;
    return k;
}

/* ---- what is accepted ---- */

static void lengths_are_those_of_the_protocol(void **state) {
    (void)state;
    for (size_t n = 0; n <= 255; n++) {
        assert_int_equal(authz_length_ok(n), n == 0 || n == 64 || n == 80 || n == 114);
    }
}

static void right_key_verifies(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        const struct sample s = sample_of(TYPES[i]);
        const struct authz a = authz_of(&s);
        assert_true(authz_verify(&a, &s.key, 1));
    }
}

/* The client's side makes the same authenticator, wherever the text is cut. */
static void client_makes_what_verifies(void **state) {
    (void)state;
    struct x25519_pair pair;
    struct sample s = {.n_auth = AUTHENTICATOR_LEN};
    uint8_t shared[X25519_LEN], cut[AUTHENTICATOR_LEN];
    x25519_pair_new(&ENV_SYSTEM, &pair);
    s.key = pubkey_from_x25519(pair.pub);
    assert_int_equal(x25519_dh(pair.priv, session.pub, shared), OK);
    const struct box_key key = box_key_from_secret(shared);
    const struct bytes corr_id = bytes_str(CORR_ID);
    assert_int_equal(authz_box(&key, bytes_str(TEXT_A), bytes_str(TEXT_B), corr_id, s.auth), OK);
    const struct authz a = authz_of(&s);
    assert_true(authz_verify(&a, &s.key, 1));
    assert_int_equal(authz_box(&key, whole_text(), (struct bytes){0}, corr_id, cut), OK);
    assert_memory_equal(cut, s.auth, sizeof cut);
}

static void any_of_several_keys_may_verify(void **state) {
    (void)state;
    enum { N = 20 };
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        struct pubkey keys[N];
        for (size_t k = 0; k < N; k++) keys[k] = sample_of(TYPES[k % SIGNED_TYPES]).key;
        const struct sample s = sample_of(TYPES[i]);
        const struct authz a = authz_of(&s);
        assert_false(authz_verify(&a, keys, N));
        keys[N - 1] = s.key;
        assert_true(authz_verify(&a, keys, N));
        assert_false(authz_verify(&a, keys, N - 1));
        keys[0] = unusable_key(TYPES[i]);
        assert_true(authz_verify(&a, keys, N));
    }
}

static void other_keys_and_no_key_do_not_verify(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        const struct sample s = sample_of(TYPES[i]);
        const struct authz a = authz_of(&s);
        for (size_t other = 0; other < SIGNED_TYPES; other++) {
            const struct pubkey k = sample_of(TYPES[other]).key, bad = unusable_key(TYPES[other]);
            assert_false(authz_verify(&a, &k, 1));
            assert_false(authz_verify(&a, &bad, 1));
        }
        const struct pubkey none = {.type = KEY_NONE}, x448 = {.type = KEY_X448, .b = {9}};
        assert_false(authz_verify(&a, &none, 1));
        assert_false(authz_verify(&a, &x448, 1));
        assert_false(authz_verify(&a, NULL, 0));
    }
}

static void every_byte_of_the_authorization_counts(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        struct sample s = sample_of(TYPES[i]);
        for (size_t at = 0; at < s.n_auth; at++) {
            s.auth[at] ^= 1;
            const struct authz a = authz_of(&s);
            assert_false(authz_verify(&a, &s.key, 1));
            s.auth[at] ^= 1;
        }
    }
}

static void every_proper_prefix_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        const struct sample s = sample_of(TYPES[i]);
        for (size_t n = 0; n < s.n_auth; n++) {
            uint8_t *prefix = malloc(n != 0 ? n : 1);
            assert_non_null(prefix);
            memcpy(prefix, s.auth, n);
            struct authz a = authz_of(&s);
            a.auth = bytes_of(prefix, n);
            assert_false(authz_verify(&a, &s.key, 1));
            free(prefix);
        }
    }
}

static void text_counts_and_not_its_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        const struct sample s = sample_of(TYPES[i]);
        struct authz a = authz_of(&s);
        a.text_a = whole_text();
        a.text_b = (struct bytes){0};
        assert_true(authz_verify(&a, &s.key, 1));
        a.text_b = bytes_str("!");
        assert_false(authz_verify(&a, &s.key, 1));
    }
}

static void authenticator_belongs_to_session_and_correlation_id(void **state) {
    (void)state;
    const struct sample s = sample_of(KEY_X25519);
    struct authz a = authz_of(&s);
    a.corr_id = bytes_str("another one");
    assert_false(authz_verify(&a, &s.key, 1));
    struct x25519_pair other;
    x25519_pair_new(&ENV_SYSTEM, &other);
    a = authz_of(&s);
    a.session_priv = other.priv;
    assert_false(authz_verify(&a, &s.key, 1));
}

/* ---- recorded sessions ---- */

/* What a transmission says of its authorization (SMP protocol, "Transmission"). */
static struct authz parse_transmission(struct bytes t, long long version, struct bytes session_id) {
    struct rd r = rd_init(t);
    struct authz a = {.auth = rd_short(&r)};
    if (version >= 16 && a.auth.n != 0) assert_false(rd_maybe(&r)); /* no service signature */
    if (version < 7) (void)rd_take(&r, 1 + session_id.n);
    a.text_b = rd_tail(&r);
    assert_int_equal(rd_err(&r), OK);
    r = rd_init(a.text_b);
    a.corr_id = rd_short(&r);
    return a;
}

static struct pubkey ed25519_of_seed(const json_t *queue, const char *key) {
    struct pubkey k = {.type = KEY_ED25519};
    uint8_t seed[crypto_sign_SEEDBYTES], secret[crypto_sign_SECRETKEYBYTES];
    hex_member(queue, key, seed, sizeof seed);
    assert_int_equal(crypto_sign_seed_keypair(k.b, secret, seed), 0);
    return k;
}

/* Verifies every authorized transmission of a session, and returns how many were authenticators.
 * The agreement of the sender's key and the server's session key is made from the other side: the
 * recording has the private key of the sender and not that of the server. */
static unsigned check_session(const json_t *s) {
    uint8_t text_a[33] = {32}, sender_priv[X25519_LEN];
    hex_member(s, "sessionIdentifier", text_a + 1, 32);
    const json_t *queue = json_object_get(s, "queue");
    struct pubkey keys[2] = {ed25519_of_seed(queue, "rcvAuthKeyPrivateEd25519"),
                             {.type = KEY_X25519}};
    hex_member(s, "serverSessionKeyPublic", keys[1].b, X25519_LEN);
    hex_member(queue, "sndKeyPrivate", sender_priv, sizeof sender_priv);
    unsigned n = 0, n_authenticators = 0;
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(s, "steps"), i, step) {
        if (json_object_get(step, "transmission") == NULL) continue;
        struct blob t = vectors_blob(step, "transmission");
        struct authz a =
            parse_transmission(blob_bytes(&t), json_integer_value(json_object_get(s, "version")),
                               bytes_of(text_a, 32));
        a.text_a = bytes_of(text_a, sizeof text_a);
        a.session_priv = sender_priv;
        assert_true(authz_length_ok(a.auth.n));
        assert_int_equal(authz_verify(&a, keys, ARRAY_LEN(keys)), a.auth.n != 0);
        n += a.auth.n != 0;
        n_authenticators += a.auth.n == AUTHENTICATOR_LEN;
        blob_freep(&t);
    }
    assert_true(n >= 4);
    return n_authenticators;
}

static void recorded_transmissions_verify(void **state) {
    (void)state;
    unsigned n_authenticators = 0;
    for (size_t i = 0; i < VECTORS_N_SESSIONS; i++) {
        json_t *s = vectors_load(VECTORS_SESSIONS[i]);
        n_authenticators += check_session(s);
        json_decref(s);
    }
    assert_true(n_authenticators >= 7);
}

/* ---- which keys the libraries would refuse early ---- */

static void keys_in_use_are_usable(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        for (int n = 0; n < 50; n++) {
            const struct pubkey k = sample_of(TYPES[i]).key;
            assert_true(point__is_usable(&k));
        }
    }
    const struct pubkey none = {.type = KEY_NONE}, x448 = {.type = KEY_X448, .b = {9}};
    assert_false(point__is_usable(&none));
    assert_false(point__is_usable(&x448));
}

static void agrees_with_libsodium_on_random_ed25519_points(void **state) {
    (void)state;
    static const uint8_t ONE[32] = {1}; /* the neutral element */
    for (int i = 0; i < 500; i++) {
        struct pubkey k = {.type = KEY_ED25519};
        uint8_t sum[32];
        env_random(&ENV_SYSTEM, k.b, 32);
        /* Adding fails for what is no point of the curve; the chance to hit a low order is nil. */
        assert_int_equal(point__is_usable(&k), crypto_core_ed25519_add(sum, k.b, ONE) == 0);
    }
}

static void points_of_low_order_are_not_usable(void **state) {
    (void)state;
    static const char *const ED25519_LOW[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    for (size_t i = 0; i < ARRAY_LEN(ED25519_LOW); i++) {
        struct pubkey k = {.type = KEY_ED25519};
        hex_into(ED25519_LOW[i], k.b, 32);
        assert_false(point__is_usable(&k));
        k.b[31] |= 0x80;
        assert_false(point__is_usable(&k));
        const uint8_t u[X25519_LEN] = {(uint8_t)(i % 2)}; /* 0 and 1 */
        k = pubkey_from_x25519(u);
        assert_false(point__is_usable(&k));
        uint8_t shared[X25519_LEN];
        assert_int_equal(x25519_dh(session.priv, k.b, shared), E_CRYPTO);
    }
}

static void about_half_of_all_ed448_values_are_points(void **state) {
    (void)state;
    int n = 0;
    for (int i = 0; i < 400; i++) {
        struct pubkey k = {.type = KEY_ED448};
        env_random(&ENV_SYSTEM, k.b, PUBKEY_MAX - 1);
        n += point__is_usable(&k);
        k.b[PUBKEY_MAX - 1] = 1; /* where only the sign may be */
        assert_false(point__is_usable(&k));
    }
    assert_in_range(n, 100, 300);
}

/* ---- time ---- */

static void assert_refusal_costs_one_verification(const struct authz *a, enum key_type type,
                                                  const struct pubkey *k, size_t n_keys) {
    (void)verifications_taken();
    assert_false(authz_verify(a, k, n_keys));
    const struct verifications v = verifications_taken();
    for (int i = 0; i < N_KEY_TYPES; i++) assert_int_equal(v.full[i], i == (int)type ? 1 : 0);
    assert_int_equal(v.checks, 1);
}

/* A wrong key, one of another type, none, and one that the libraries refuse at first sight. */
static void every_refusal_costs_one_verification(void **state) {
    (void)state;
    for (size_t i = 0; i < SIGNED_TYPES; i++) {
        const struct sample s = sample_of(TYPES[i]);
        const struct authz a = authz_of(&s);
        const struct pubkey wrong = sample_of(TYPES[i]).key;
        const struct pubkey unusable = unusable_key(TYPES[i]);
        assert_refusal_costs_one_verification(&a, TYPES[i], &wrong, 1);
        assert_refusal_costs_one_verification(&a, TYPES[i], NULL, 0);
        assert_refusal_costs_one_verification(&a, TYPES[i], &unusable, 1);
        for (size_t other = 0; other < SIGNED_TYPES; other++) {
            const struct pubkey k = sample_of(TYPES[other]).key;
            if (other != i) assert_refusal_costs_one_verification(&a, TYPES[i], &k, 1);
        }
    }
}

/* A refused authenticator is not found among the agreements that a session has kept. */
static void a_refusal_is_no_cheaper_for_a_kept_agreement(void **state) {
    (void)state;
    const uint64_t seed[3] = {1, 2, 3};
    struct authz_cache *cache;
    struct authz_session kept;
    assert_int_equal(authz_cache_new(seed, &cache), OK);
    authz_session_init(&kept, cache);
    struct sample s = sample_of(KEY_X25519);
    struct authz a = authz_of(&s);
    a.known = &kept;
    assert_true(authz_verify(&a, &s.key, 1));
    (void)verifications_taken();
    assert_true(authz_verify(&a, &s.key, 1));
    assert_int_equal(verifications_taken().full[KEY_X25519], 0); /* it is kept */
    s.auth[0] ^= 1;
    assert_refusal_costs_one_verification(&a, KEY_X25519, &s.key, 1);
    authz_session_done(&kept);
    authz_cache_free(cache);
}

static int setup(void **state) {
    (void)state;
    if (crypto_init() != OK) return -1;
    x25519_pair_new(&ENV_SYSTEM, &session);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_those_of_the_protocol),
        cmocka_unit_test(right_key_verifies),
        cmocka_unit_test(client_makes_what_verifies),
        cmocka_unit_test(any_of_several_keys_may_verify),
        cmocka_unit_test(other_keys_and_no_key_do_not_verify),
        cmocka_unit_test(every_byte_of_the_authorization_counts),
        cmocka_unit_test(every_proper_prefix_is_refused),
        cmocka_unit_test(text_counts_and_not_its_cut),
        cmocka_unit_test(authenticator_belongs_to_session_and_correlation_id),
        cmocka_unit_test(recorded_transmissions_verify),
        cmocka_unit_test(keys_in_use_are_usable),
        cmocka_unit_test(agrees_with_libsodium_on_random_ed25519_points),
        cmocka_unit_test(points_of_low_order_are_not_usable),
        cmocka_unit_test(about_half_of_all_ed448_values_are_points),
        cmocka_unit_test(every_refusal_costs_one_verification),
        cmocka_unit_test(a_refusal_is_no_cheaper_for_a_kept_agreement),
    };
    return cmocka_run_group_tests_name("authz", tests, setup, NULL);
}
