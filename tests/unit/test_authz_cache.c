/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include "crypto/authz.h"
#include "crypto/crypto.h"

static const uint64_t SEED[3] = {1, 2, 3};

static struct pubkey key_number(uint32_t n) {
    struct pubkey k = {.type = KEY_X25519};
    memcpy(k.b, &n, sizeof n);
    return k;
}

static struct box_key box_number(uint32_t n) {
    struct box_key k = {{0}};
    memcpy(k.b, &n, sizeof n);
    return k;
}

static void add(struct authz_session *s, uint32_t n) {
    const struct pubkey k = key_number(n);
    const struct box_key b = box_number(n);
    authz_session_add(s, &k, &b);
}

static bool has(const struct authz_session *s, uint32_t n) {
    const struct pubkey k = key_number(n);
    const struct box_key b = box_number(n), *found = authz_session_find(s, &k);
    assert_true(found == NULL || memcmp(found, &b, sizeof b) == 0);
    return found != NULL;
}

static void sessions_have_their_own(void **state) {
    struct authz_cache *c = *state;
    struct authz_session a, b;
    authz_session_init(&a, c);
    authz_session_init(&b, c);
    assert_false(has(&a, 1));
    add(&a, 1);
    assert_true(has(&a, 1));
    assert_false(has(&b, 1));
    add(&b, 1);
    authz_session_done(&a);
    assert_false(has(&a, 1));
    assert_true(has(&b, 1));
    authz_session_done(&b);
    authz_session_done(&b);
    assert_false(has(&b, 1));
}

/* More than there is room for: the first go, and what goes on being used stays. */
static void a_full_cache_forgets_what_is_not_used(void **state) {
    enum { N = 4 * AUTHZ_CACHE_ENTRIES };
    struct authz_cache *c = *state;
    struct authz_session s, other;
    authz_session_init(&s, c);
    authz_session_init(&other, c);
    add(&other, 0);
    for (uint32_t n = 1; n <= N; n++) {
        add(&s, n);
        assert_true(has(&s, n));
        assert_true(has(&other, 0));
    }
    uint32_t n_kept = 0;
    for (uint32_t n = 1; n <= N; n++) n_kept += has(&s, n);
    assert_in_range(n_kept, AUTHZ_CACHE_ENTRIES * 9 / 10, AUTHZ_CACHE_ENTRIES - 1);
    authz_session_done(&s);
    for (uint32_t n = 1; n <= N; n++) assert_false(has(&s, n));
    assert_true(has(&other, 0));
    authz_session_done(&other);
}

/* ---- together with authz_verify() ---- */

static const char TEXT[] = "the command", CORR_ID[] = "a correlation id";

struct signer {
    struct x25519_pair pair, session;
    uint8_t auth[AUTHENTICATOR_LEN];
};

static void sign(struct signer *s) {
    uint8_t shared[X25519_LEN];
    x25519_pair_new(&ENV_SYSTEM, &s->pair);
    x25519_pair_new(&ENV_SYSTEM, &s->session);
    assert_int_equal(x25519_dh(s->pair.priv, s->session.pub, shared), OK);
    assert_int_equal(crypto_sha512_2(bytes_str(TEXT), (struct bytes){0}, s->auth + BOX_TAG_LEN),
                     OK);
    const struct box_key key = box_key_from_secret(shared);
    const struct box_nonce nonce = box_nonce_from_corr_id(bytes_str(CORR_ID));
    box_seal(&key, &nonce, s->auth, SHA512_LEN);
}

static struct authz authz_of(const struct signer *s, struct authz_session *known) {
    return (struct authz){.auth = bytes_of(s->auth, sizeof s->auth),
                          .text_a = bytes_str(TEXT),
                          .corr_id = bytes_str(CORR_ID),
                          .session_priv = s->session.priv,
                          .known = known};
}

static void only_what_has_verified_is_kept(void **state) {
    struct authz_session known;
    struct signer s, stranger;
    authz_session_init(&known, *state);
    sign(&s);
    sign(&stranger);
    const struct pubkey k = pubkey_from_x25519(s.pair.pub);
    struct authz a = authz_of(&s, &known);
    a.auth = bytes_of(stranger.auth, sizeof stranger.auth);
    assert_false(authz_verify(&a, &k, 1));
    assert_false(authz_verify(&a, NULL, 0));
    assert_true(list_is_empty(&known.entries));
    a = authz_of(&s, &known);
    assert_true(authz_verify(&a, &k, 1));
    assert_non_null(authz_session_find(&known, &k));
    authz_session_done(&known);
}

static void what_is_known_is_verified_all_the_same(void **state) {
    struct authz_session known;
    struct signer s;
    authz_session_init(&known, *state);
    sign(&s);
    const struct pubkey k = pubkey_from_x25519(s.pair.pub);
    struct authz a = authz_of(&s, &known);
    for (int i = 0; i < 3; i++) assert_true(authz_verify(&a, &k, 1));
    a.text_b = bytes_str("!");
    assert_false(authz_verify(&a, &k, 1));
    a = authz_of(&s, &known);
    a.corr_id = bytes_str("another one");
    assert_false(authz_verify(&a, &k, 1));
    for (size_t i = 0; i < sizeof s.auth; i++) {
        s.auth[i] ^= 1;
        a = authz_of(&s, &known);
        assert_false(authz_verify(&a, &k, 1));
        s.auth[i] ^= 1;
    }
    assert_true(authz_verify(&a, &k, 1));
    authz_session_done(&known);
}

static int setup(void **state) {
    struct authz_cache *c;
    if (crypto_init() != OK || authz_cache_new(SEED, &c) != OK) return -1;
    *state = c;
    return 0;
}

static int teardown(void **state) {
    authz_cache_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_have_their_own),
        cmocka_unit_test(a_full_cache_forgets_what_is_not_used),
        cmocka_unit_test(only_what_has_verified_is_kept),
        cmocka_unit_test(what_is_known_is_verified_all_the_same),
    };
    return cmocka_run_group_tests_name("authz_cache", tests, setup, teardown);
}
