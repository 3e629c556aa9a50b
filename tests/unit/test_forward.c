/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The two layers of a forwarded command and of its answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "crypto/crypto.h"
#include "model/limits.h"
#include "wire/forward.h"
#include "wire/handshake.h"

static const struct box_nonce NONCE = {"0123456789abcdefghijklmn"};
static const char CORR_ID[] = "the client's corr id 24b";

struct keys {
    struct box_key proxy, client;
    struct pubkey public;
};

static struct keys make_keys(void) {
    struct keys k;
    const uint8_t a[32] = {1}, b[32] = {2}, p[32] = {9};
    k.proxy = box_key_from_secret(a);
    k.client = box_key_from_secret(b);
    k.public = pubkey_from_x25519(p);
    return k;
}

/* The inner layer as a client makes it. */
static void seal_inner(const struct keys *k, const char *content, uint8_t ret[FWD_ENCRYPTED_LEN]) {
    struct wr w = wr_init(ret + BOX_TAG_LEN, FWD_PADDED_LEN);
    memset(ret, '#', FWD_ENCRYPTED_LEN);
    wr_large(&w, bytes_str(content));
    const struct box_nonce nonce = box_nonce_from_corr_id(bytes_str(CORR_ID));
    box_seal(&k->client, &nonce, ret, FWD_PADDED_LEN);
}

static struct bytes seal_all(const struct keys *k, const char *content,
                             uint8_t ret[SMP_BLOCK_LEN]) {
    uint8_t inner[FWD_ENCRYPTED_LEN];
    seal_inner(k, content, inner);
    const struct forward f = {bytes_str(CORR_ID), 17, k->public, bytes_of(inner, sizeof inner)};
    struct wr w = wr_init(ret, SMP_BLOCK_LEN);
    assert_int_equal(forward_seal(&k->proxy, &NONCE, &f, &w), OK);
    return wr_bytes(&w);
}

static void test_command(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t buf[SMP_BLOCK_LEN];
    const struct bytes sealed = seal_all(&k, "SEND F x", buf);
    assert_int_equal(sealed.n, 16 + 1 + 24 + 2 + 45 + FWD_ENCRYPTED_LEN);
    struct forward f;
    struct bytes content;
    assert_int_equal(forward_open(&k.proxy, &NONCE, buf, sealed.n, &f), OK);
    assert_true(bytes_equal(f.corr_id, bytes_str(CORR_ID)));
    assert_int_equal(f.version, 17);
    assert_true(pubkey_equal(&f.key, &k.public));
    assert_int_equal(forward_open_inner(&k.client, &f, buf, &content), OK);
    assert_true(bytes_equal(content, bytes_str("SEND F x")));
}

static void test_prefixes_and_changes(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t buf[SMP_BLOCK_LEN], copy[SMP_BLOCK_LEN];
    const size_t n = seal_all(&k, "x", buf).n;
    struct forward f;
    for (size_t i = 0; i < n; i += i < 200 ? 1 : 97) {
        memcpy(copy, buf, n);
        assert_int_equal(forward_open(&k.proxy, &NONCE, copy, i, &f), E_CRYPTO);
        copy[i] ^= 1;
        assert_int_equal(forward_open(&k.proxy, &NONCE, copy, n, &f), E_CRYPTO);
    }
    assert_int_equal(forward_open(&k.client, &NONCE, buf, n, &f), E_CRYPTO);
}

/* Whatever is inside the outer layer, cut anywhere before the tail. */
static void test_outer_syntax(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t text[128], buf[256];
    struct wr w = wr_init(text, sizeof text);
    wr_short(&w, bytes_str(CORR_ID));
    wr_u16(&w, 17);
    wr_u8(&w, 44);
    pubkey_write_spki(&k.public, &w);
    struct forward f;
    for (size_t i = 0; i <= w.at; i++) {
        memcpy(buf + BOX_TAG_LEN, text, i);
        box_seal(&k.proxy, &NONCE, buf, i);
        const enum err e = forward_open(&k.proxy, &NONCE, buf, i + BOX_TAG_LEN, &f);
        assert_int_equal(e, i < w.at ? E_CMD_SYNTAX : OK);
    }
    struct bytes content;
    assert_int_equal(f.body.n, 0);
    assert_int_equal(forward_open_inner(&k.client, &f, buf, &content), E_CRYPTO);
}

static void test_inner_is_another_s(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t buf[SMP_BLOCK_LEN];
    const size_t n = seal_all(&k, "x", buf).n;
    struct forward f;
    struct bytes content;
    assert_int_equal(forward_open(&k.proxy, &NONCE, buf, n, &f), OK);
    assert_int_equal(forward_open_inner(&k.proxy, &f, buf, &content), E_CRYPTO);
}

static void test_answer(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t buf[SMP_BLOCK_LEN];
    struct wr w = wr_init(buf, sizeof buf);
    assert_int_equal(forward_seal_answer(&k.client, &k.proxy, &NONCE, bytes_str(CORR_ID),
                                         bytes_str("OK"), &w),
                     OK);
    struct bytes body, padded;
    assert_int_equal(forward_open_answer(&k.proxy, &NONCE, buf, w.at, &body), OK);
    assert_int_equal(body.n, FWD_ENCRYPTED_LEN);
    const struct box_nonce nonce = box_nonce_from_corr_id(bytes_str(CORR_ID));
    const struct box_nonce reversed = box_nonce_reverse(&nonce);
    assert_int_equal(box_open(&k.client, &reversed, buf + (body.p - buf), body.n, &padded), OK);
    assert_int_equal(padded.n, FWD_PADDED_LEN);
    assert_memory_equal(padded.p, "\0\5\1\0\2OK#", 8);
    assert_int_equal(padded.p[padded.n - 1], '#');
    /* the command's own nonce does not open its answer */
    assert_int_equal(forward_open_answer(&k.client, &NONCE, buf, w.at, &body), E_CRYPTO);
}

static void test_answer_sizes(void **state) {
    (void)state;
    const struct keys k = make_keys();
    static uint8_t text[FWD_PADDED_LEN], buf[2 * SMP_BLOCK_LEN];
    const size_t largest = FWD_PADDED_LEN - 2 - 3;
    for (size_t n = largest - 2; n <= largest + 2; n++) {
        struct wr w = wr_init(buf, sizeof buf);
        const enum err e = forward_seal_answer(&k.client, &k.proxy, &NONCE, bytes_str(CORR_ID),
                                               bytes_of(text, n), &w);
        assert_int_equal(e, n <= largest ? OK : E_LIMIT);
    }
    struct wr small = wr_init(buf, 1000);
    assert_int_equal(forward_seal_answer(&k.client, &k.proxy, &NONCE, bytes_str(CORR_ID),
                                         bytes_str("OK"), &small),
                     E_LIMIT);
}

static void test_command_that_does_not_fit(void **state) {
    (void)state;
    const struct keys k = make_keys();
    static uint8_t body[SMP_BLOCK_LEN], buf[SMP_BLOCK_LEN];
    const struct forward f = {bytes_str(CORR_ID), 17, k.public, bytes_of(body, sizeof body)};
    struct wr w = wr_init(buf, sizeof buf);
    assert_int_equal(forward_seal(&k.proxy, &NONCE, &f, &w), E_LIMIT);
}

/* What a client makes, a relay opens; and the other way round. */
static void test_client(void **state) {
    (void)state;
    const struct keys k = make_keys();
    uint8_t inner[FWD_ENCRYPTED_LEN + 1], buf[SMP_BLOCK_LEN];
    const struct bytes corr_id = bytes_str(CORR_ID);
    struct wr w = wr_init(inner, sizeof inner);
    assert_int_equal(forward_seal_command(&k.client, corr_id, bytes_str("SEND F x"), &w), OK);
    assert_int_equal(w.at, FWD_ENCRYPTED_LEN);
    struct forward f = {corr_id, 17, k.public, wr_bytes(&w)};
    struct bytes content, body;
    assert_int_equal(forward_open_inner(&k.client, &f, inner, &content), OK);
    assert_int_equal(content.n, 1 + 2 + 8);
    assert_memory_equal(content.p, "\1\0\10SEND F x", content.n);

    w = wr_init(buf, sizeof buf);
    assert_int_equal(forward_seal_answer(&k.client, &k.proxy, &NONCE, corr_id, bytes_str("OK"), &w),
                     OK);
    assert_int_equal(forward_open_answer(&k.proxy, &NONCE, buf, w.at, &body), OK);
    uint8_t *pres = buf + (body.p - buf);
    assert_int_equal(forward_open_pres(&k.client, corr_id, pres, body.n - 1, &content), E_CRYPTO);
    assert_int_equal(forward_open_pres(&k.proxy, corr_id, pres, body.n, &content), E_CRYPTO);
    assert_int_equal(forward_open_pres(&k.client, corr_id, pres, body.n, &content), OK);
    assert_int_equal(content.n, 1 + 2 + 2);
    assert_memory_equal(content.p, "\1\0\2OK", content.n);
}

static void test_client_sizes(void **state) {
    (void)state;
    const struct keys k = make_keys();
    static uint8_t text[FWD_PADDED_LEN], buf[2 * SMP_BLOCK_LEN];
    const size_t largest = FWD_PADDED_LEN - 2 - 3;
    for (size_t n = largest - 2; n <= largest + 2; n++) {
        struct wr w = wr_init(buf, sizeof buf);
        assert_int_equal(forward_seal_command(&k.client, bytes_str(CORR_ID), bytes_of(text, n), &w),
                         n <= largest ? OK : E_LIMIT);
    }
}

static void test_version_cap(void **state) {
    (void)state;
    assert_int_equal(handshake_proxy_max(8, 19), 10);
    assert_int_equal(handshake_proxy_max(11, 19), 10);
    assert_int_equal(handshake_proxy_max(13, 19), 10);
    assert_int_equal(handshake_proxy_max(14, 19), 19);
    assert_int_equal(handshake_proxy_max(19, 19), 19);
    assert_int_equal(handshake_proxy_max(13, 9), 9);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_prefixes_and_changes),
        cmocka_unit_test(test_outer_syntax),
        cmocka_unit_test(test_inner_is_another_s),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answer_sizes),
        cmocka_unit_test(test_command_that_does_not_fit),
        cmocka_unit_test(test_client),
        cmocka_unit_test(test_client_sizes),
        cmocka_unit_test(test_version_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
