/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "recorded.h"

#include <sodium.h>

#include "base/attr.h"
#include "base/rd.h"
#include "crypto/box.h"
#include "crypto/crypto.h"
#include "crypto/key.h"

enum { BLOCK_LEN = 16384 };

struct sample {
    struct box_key key;
    struct box_nonce nonce;
    struct blob message, box;
};

static struct sample sample_of(const json_t *v) {
    struct sample s;
    uint8_t secret[BOX_KEY_LEN];
    hex_member(v, "key", secret, sizeof secret);
    s.key = box_key_from_secret(secret);
    hex_member(v, "nonce", s.nonce.b, sizeof s.nonce.b);
    s.message = vectors_blob(v, "message");
    s.box = vectors_blob(v, "box");
    assert_int_equal(s.box.n, s.message.n + BOX_TAG_LEN);
    return s;
}

static void sample_done(struct sample *s) {
    blob_freep(&s->message);
    blob_freep(&s->box);
}

/* A small one: box of "secret", in buf. */
static struct sample small_sample(uint8_t buf[BOX_TAG_LEN + 6]) {
    static const uint8_t SECRET[BOX_KEY_LEN] = {1, 2, 3};
    struct sample s = {.key = box_key_from_secret(SECRET), .nonce = {{4, 5, 6}}};
    memcpy(buf + BOX_TAG_LEN, "secret", 6);
    box_seal(&s.key, &s.nonce, buf, 6);
    return s;
}

static void check_recorded(const json_t *v) {
    struct sample s = sample_of(v);
    uint8_t *buf = malloc(s.box.n);
    assert_non_null(buf);
    if (s.message.n != 0) memcpy(buf + BOX_TAG_LEN, s.message.p, s.message.n);
    box_seal(&s.key, &s.nonce, buf, s.message.n);
    assert_memory_equal(buf, s.box.p, s.box.n);
    struct bytes opened;
    assert_int_equal(box_open(&s.key, &s.nonce, buf, s.box.n, &opened), OK);
    assert_ptr_equal(opened.p, buf + BOX_TAG_LEN);
    assert_true(bytes_equal(opened, blob_bytes(&s.message)));
    free(buf);
    sample_done(&s);
}

static void boxes_are_the_recorded_ones(void **state) {
    (void)state;
    json_t *root = vectors_load("primitives.json");
    size_t i, n = 0;
    const json_t *v;
    json_array_foreach(root, i, v) {
        if (strcmp(vectors_text(v, "primitive"), "box") != 0) continue;
        check_recorded(v);
        n++;
    }
    assert_true(n >= 5);
    json_decref(root);
}

static void changed_byte_is_refused_and_leaves_all_in_place(void **state) {
    (void)state;
    uint8_t buf[BOX_TAG_LEN + 6], before[sizeof buf];
    const struct sample s = small_sample(buf);
    for (size_t i = 0; i < sizeof buf; i++) {
        buf[i] ^= 0x10;
        memcpy(before, buf, sizeof buf);
        struct bytes opened = {0};
        assert_int_equal(box_open(&s.key, &s.nonce, buf, sizeof buf, &opened), E_CRYPTO);
        assert_memory_equal(buf, before, sizeof buf);
        assert_null(opened.p);
        buf[i] ^= 0x10;
    }
    struct bytes opened;
    assert_int_equal(box_open(&s.key, &s.nonce, buf, sizeof buf, &opened), OK);
    assert_true(bytes_equal(opened, bytes_str("secret")));
}

/* Of every length around the first block of the stream, and of a whole block of SMP. */
static void boxes_are_those_of_libsodium(void **state) {
    (void)state;
    static uint8_t buf[BOX_TAG_LEN + 16384], expected[BOX_TAG_LEN + 16384], text[16384];
    struct box_key key;
    struct box_nonce nonce;
    env_random(&ENV_SYSTEM, text, sizeof text);
    for (size_t n = 0; n <= sizeof text; n += n < 200 ? 1 : sizeof text - 200) {
        env_random(&ENV_SYSTEM, key.b, sizeof key.b);
        env_random(&ENV_SYSTEM, nonce.b, sizeof nonce.b);
        assert_int_equal(crypto_secretbox_easy(expected, text, n, nonce.b, key.b), 0);
        memcpy(buf + BOX_TAG_LEN, text, n);
        box_seal(&key, &nonce, buf, n);
        assert_memory_equal(buf, expected, BOX_TAG_LEN + n);
        struct bytes opened;
        assert_int_equal(box_open(&key, &nonce, buf, BOX_TAG_LEN + n, &opened), OK);
        assert_int_equal(opened.n, n);
        if (n != 0) assert_memory_equal(opened.p, text, n);
    }
}

static void every_proper_prefix_is_refused(void **state) {
    (void)state;
    uint8_t buf[BOX_TAG_LEN + 6];
    const struct sample s = small_sample(buf);
    for (size_t n = 0; n < sizeof buf; n++) {
        uint8_t *prefix = malloc(n != 0 ? n : 1);
        assert_non_null(prefix);
        memcpy(prefix, buf, n);
        struct bytes opened;
        assert_int_equal(box_open(&s.key, &s.nonce, prefix, n, &opened), E_CRYPTO);
        free(prefix);
    }
}

static void other_key_or_nonce_is_refused(void **state) {
    (void)state;
    uint8_t buf[BOX_TAG_LEN + 6];
    struct sample s = small_sample(buf);
    struct bytes opened;
    s.key.b[31] ^= 1;
    assert_int_equal(box_open(&s.key, &s.nonce, buf, sizeof buf, &opened), E_CRYPTO);
    s.key.b[31] ^= 1;
    s.nonce.b[23] ^= 1;
    assert_int_equal(box_open(&s.key, &s.nonce, buf, sizeof buf, &opened), E_CRYPTO);
}

static void nonce_is_the_correlation_id_cut_or_extended(void **state) {
    (void)state;
    struct box_nonce n = box_nonce_from_corr_id(bytes_str("abc"));
    const struct box_nonce abc = {"abc"};
    assert_memory_equal(n.b, abc.b, sizeof n.b);
    n = box_nonce_from_corr_id(bytes_str("0123456789abcdefghijklmnopq"));
    assert_memory_equal(n.b, "0123456789abcdefghijklmn", sizeof n.b);
    n = box_nonce_reverse(&n);
    assert_memory_equal(n.b, "nmlkjihgfedcba9876543210", sizeof n.b);
    const struct box_nonce zeros = {{0}};
    n = box_nonce_from_corr_id((struct bytes){0});
    assert_memory_equal(n.b, zeros.b, sizeof n.b);
}

/* ---- recorded sessions: their encrypted blocks ---- */

/* One direction: the key of its next block. */
struct chain {
    uint8_t key[32];
};

/* Opens a block with the next key of the chain; the length inside must fit. */
static void open_block(struct chain *c, struct blob *block) {
    uint8_t out[32 + BOX_KEY_LEN + BOX_NONCE_LEN];
    assert_int_equal(crypto_hkdf((struct bytes){0}, bytes_of(c->key, sizeof c->key),
                                 bytes_str("SimpleXSbChain"), out, sizeof out),
                     OK);
    memcpy(c->key, out, sizeof c->key);
    const struct box_key key = box_key_from_secret(out + 32);
    struct box_nonce nonce;
    memcpy(nonce.b, out + 64, sizeof nonce.b);
    struct bytes opened;
    assert_int_equal(block->n, BLOCK_LEN);
    assert_int_equal(box_open(&key, &nonce, block->p, block->n, &opened), OK);
    struct rd r = rd_init(opened);
    assert_true(rd_large(&r).n > 0);
    assert_int_equal(rd_err(&r), OK);
}

static void check_session(const json_t *session) {
    uint8_t id[32], priv[X25519_LEN], pub[X25519_LEN], shared[X25519_LEN], keys[64];
    hex_member(session, "sessionIdentifier", id, sizeof id);
    hex_member(session, "clientSessionKeyPrivate", priv, sizeof priv);
    hex_member(session, "serverSessionKeyPublic", pub, sizeof pub);
    assert_int_equal(x25519_dh(priv, pub, shared), OK);
    assert_int_equal(crypto_hkdf(bytes_of(id, sizeof id), bytes_of(shared, sizeof shared),
                                 bytes_str("SimpleXSbChainInit"), keys, sizeof keys),
                     OK);
    struct chain server, client;
    memcpy(server.key, keys, sizeof server.key);
    memcpy(client.key, keys + 32, sizeof client.key);
    const json_t *blocks = json_object_get(session, "blocks");
    assert_true(json_array_size(blocks) > 4);
    for (size_t i = 2; i < json_array_size(blocks); i++) { /* the first two are the handshake */
        const json_t *b = json_array_get(blocks, i);
        const char *from = json_string_value(json_array_get(b, 0));
        struct blob block = blob_of_hex(json_string_value(json_array_get(b, 1)));
        open_block(strcmp(from, "server") == 0 ? &server : &client, &block);
        blob_freep(&block);
    }
}

static void recorded_blocks_open(void **state) {
    (void)state;
    unsigned n = 0;
    for (size_t i = 0; i < VECTORS_N_SESSIONS; i++) {
        json_t *session = vectors_load(VECTORS_SESSIONS[i]);
        if (json_integer_value(json_object_get(session, "version")) >= 11) {
            check_session(session);
            n++;
        }
        json_decref(session);
    }
    assert_true(n >= 5);
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_are_the_recorded_ones),
        cmocka_unit_test(changed_byte_is_refused_and_leaves_all_in_place),
        cmocka_unit_test(boxes_are_those_of_libsodium),
        cmocka_unit_test(every_proper_prefix_is_refused),
        cmocka_unit_test(other_key_or_nonce_is_refused),
        cmocka_unit_test(nonce_is_the_correlation_id_cut_or_extended),
        cmocka_unit_test(recorded_blocks_open),
    };
    return cmocka_run_group_tests_name("box", tests, setup, NULL);
}
