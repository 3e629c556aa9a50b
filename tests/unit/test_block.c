/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Padding and encryption of blocks, against known answers and against liars. */
#include "recorded.h"
#include "wire_fixture.h"

#include "crypto/box.h"
#include "wire/block.h"

enum { ROOM = SMP_BLOCK_LEN - 2 - BOX_TAG_LEN };

struct pair {
    struct block_chain sends, receives;
};

/* Both ends of one direction. */
static struct pair sample_chains(void) {
    struct pair p;
    memset(p.sends.key, 0x11, sizeof p.sends.key);
    p.receives = p.sends;
    return p;
}

/* Seals a block of n bytes of fill, boxed when there is a chain. */
static void seal(uint8_t block[SMP_BLOCK_LEN], uint8_t fill, size_t n, struct block_chain *chain) {
    memset(block, 0xee, SMP_BLOCK_LEN);
    struct wr w = block_begin(block, chain != NULL);
    put_fill(&w, fill, n);
    assert_int_equal(block_seal(block, &w, chain), OK);
}

static void assert_opens(uint8_t block[SMP_BLOCK_LEN], uint8_t fill, size_t n,
                         struct block_chain *chain) {
    struct bytes content;
    assert_int_equal(block_open(block, chain, &content), OK);
    assert_int_equal(content.n, n);
    assert_true(lies_in(content, bytes_of(block, SMP_BLOCK_LEN)));
    for (size_t i = 0; i < n; i++) assert_int_equal(content.p[i], fill);
}

/* ---- known answers ---- */

static void chains_are_the_recorded_ones(void **state) {
    (void)state;
    json_t *root = vectors_load("primitives.json");
    const json_t *v = vectors_primitive(root, "chain init");
    uint8_t session[32], secret[32], sends[32], receives[32];
    hex_member(v, "sessionIdentifier", session, sizeof session);
    hex_member(v, "sharedDhPoint", secret, sizeof secret);
    hex_member(v, "serverSends", sends, sizeof sends);
    hex_member(v, "serverReceives", receives, sizeof receives);
    struct block_chain s, r;
    assert_int_equal(block_chains_init(bytes_of(session, sizeof session), secret, &s, &r), OK);
    assert_memory_equal(s.key, sends, sizeof sends);
    assert_memory_equal(r.key, receives, sizeof receives);
    json_decref(root);
}

/* The keys of one step, as recorded. */
struct step {
    struct block_chain chain, next;
    struct box_key key;
    struct box_nonce nonce;
};

static struct step recorded_step(void) {
    json_t *root = vectors_load("primitives.json");
    const json_t *v = vectors_primitive(root, "chain step");
    struct step s;
    uint8_t secret[BOX_KEY_LEN];
    hex_member(v, "chainKey", s.chain.key, sizeof s.chain.key);
    hex_member(v, "nextChainKey", s.next.key, sizeof s.next.key);
    hex_member(v, "blockKey", secret, sizeof secret);
    hex_member(v, "nonce", s.nonce.b, sizeof s.nonce.b);
    s.key = box_key_from_secret(secret);
    json_decref(root);
    return s;
}

/* A block made by hand with the keys of a step, whose stated length may lie. */
static void seal_by_hand(const struct step *s, uint16_t stated_len, uint8_t block[SMP_BLOCK_LEN]) {
    memset(block, '#', SMP_BLOCK_LEN);
    block[BOX_TAG_LEN] = (uint8_t)(stated_len >> 8);
    block[BOX_TAG_LEN + 1] = (uint8_t)stated_len;
    box_seal(&s->key, &s->nonce, block, SMP_BLOCK_LEN - BOX_TAG_LEN);
}

static void sealing_takes_the_recorded_step(void **state) {
    (void)state;
    struct step s = recorded_step();
    uint8_t expected[SMP_BLOCK_LEN], block[SMP_BLOCK_LEN];
    seal_by_hand(&s, 9, expected);
    seal(block, '#', 9, &s.chain);
    assert_memory_equal(block, expected, sizeof block);
    assert_memory_equal(s.chain.key, s.next.key, sizeof s.next.key);
}

static void opening_takes_the_recorded_step(void **state) {
    (void)state;
    struct step s = recorded_step();
    uint8_t block[SMP_BLOCK_LEN];
    seal_by_hand(&s, ROOM, block);
    assert_opens(block, '#', ROOM, &s.chain);
    assert_memory_equal(s.chain.key, s.next.key, sizeof s.next.key);
}

/* ---- plain blocks ---- */

static void plain_block_is_length_content_and_padding(void **state) {
    (void)state;
    uint8_t block[SMP_BLOCK_LEN], expected[SMP_BLOCK_LEN];
    seal(block, 'a', 300, NULL);
    memset(expected, '#', sizeof expected);
    expected[0] = 300 >> 8;
    expected[1] = 300 & 0xff;
    memset(expected + 2, 'a', 300);
    assert_memory_equal(block, expected, sizeof block);
    assert_opens(block, 'a', 300, NULL);
}

static void plain_block_may_be_empty_or_full(void **state) {
    (void)state;
    uint8_t block[SMP_BLOCK_LEN];
    seal(block, 'a', 0, NULL);
    assert_opens(block, 'a', 0, NULL);
    seal(block, 'a', ROOM, NULL);
    assert_opens(block, 'a', ROOM, NULL);
}

/* Peers may fill a plain block to its end, and say no more than that. */
static void plain_length_must_fit_the_block(void **state) {
    (void)state;
    static const struct {
        uint16_t len;
        enum err e;
    } ROWS[] = {{0, OK},
                {ROOM + 1, OK},
                {SMP_BLOCK_LEN - 2, OK},
                {SMP_BLOCK_LEN - 1, E_BLOCK},
                {SMP_BLOCK_LEN, E_BLOCK},
                {UINT16_MAX, E_BLOCK}};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        uint8_t sample[SMP_BLOCK_LEN] = {(uint8_t)(ROWS[i].len >> 8), (uint8_t)ROWS[i].len};
        uint8_t *block = exact_copy(bytes_of(sample, sizeof sample));
        struct bytes content = {0};
        assert_int_equal(block_open(block, NULL, &content), ROWS[i].e);
        assert_int_equal(content.n, ROWS[i].e == OK ? ROWS[i].len : 0);
        free(block);
    }
}

/* ---- encrypted blocks ---- */

static void encrypted_blocks_open_in_order(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 300, ROOM - 1, ROOM};
    struct pair p = sample_chains();
    uint8_t block[SMP_BLOCK_LEN];
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        seal(block, 'b', SIZES[i], &p.sends);
        assert_opens(block, 'b', SIZES[i], &p.receives);
        assert_memory_equal(p.sends.key, p.receives.key, sizeof p.sends.key);
    }
}

static void room_is_the_same_with_and_without_encryption(void **state) {
    (void)state;
    uint8_t block[SMP_BLOCK_LEN];
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        const struct wr w = block_begin(block, encrypted != 0);
        assert_int_equal(wr_left(&w), ROOM);
    }
}

static void failed_cursor_is_not_sealed(void **state) {
    (void)state;
    struct pair p = sample_chains();
    uint8_t block[SMP_BLOCK_LEN];
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        struct wr w = block_begin(block, encrypted != 0);
        put_fill(&w, 'a', ROOM + 1);
        assert_int_equal(block_seal(block, &w, encrypted != 0 ? &p.sends : NULL), E_LIMIT);
    }
    assert_memory_equal(p.sends.key, p.receives.key, sizeof p.sends.key); /* not advanced */
}

/* What cannot be opened is refused, and the chain goes on as the sender's did. */
static void damaged_block_is_refused(void **state) {
    (void)state;
    static const size_t PLACES[] = {0, 15, 16, 17, 18, 300, SMP_BLOCK_LEN - 1};
    struct pair p = sample_chains();
    uint8_t block[SMP_BLOCK_LEN];
    struct bytes content = {0};
    for (size_t i = 0; i < ARRAY_LEN(PLACES); i++) {
        seal(block, 'c', 10, &p.sends);
        block[PLACES[i]] ^= 1;
        assert_int_equal(block_open(block, &p.receives, &content), E_BLOCK);
        assert_null(content.p);
        seal(block, 'd', 10, &p.sends);
        assert_opens(block, 'd', 10, &p.receives);
    }
}

static void repeated_block_is_refused(void **state) {
    (void)state;
    struct pair p = sample_chains();
    uint8_t block[SMP_BLOCK_LEN], again[SMP_BLOCK_LEN];
    seal(block, 'c', 10, &p.sends);
    memcpy(again, block, sizeof again);
    assert_opens(block, 'c', 10, &p.receives);
    struct bytes content;
    assert_int_equal(block_open(again, &p.receives, &content), E_BLOCK);
}

static void plain_block_is_refused_where_encryption_is_agreed(void **state) {
    (void)state;
    struct pair p = sample_chains();
    uint8_t block[SMP_BLOCK_LEN];
    seal(block, 'c', 10, NULL);
    struct bytes content;
    assert_int_equal(block_open(block, &p.receives, &content), E_BLOCK);
}

static void length_inside_the_box_must_fit(void **state) {
    (void)state;
    static const uint16_t LENGTHS[] = {ROOM + 1, SMP_BLOCK_LEN - 2, UINT16_MAX};
    for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++) {
        struct step s = recorded_step();
        uint8_t block[SMP_BLOCK_LEN];
        seal_by_hand(&s, LENGTHS[i], block);
        struct bytes content = {0};
        assert_int_equal(block_open(block, &s.chain, &content), E_BLOCK);
        assert_null(content.p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_the_recorded_ones),
        cmocka_unit_test(sealing_takes_the_recorded_step),
        cmocka_unit_test(opening_takes_the_recorded_step),
        cmocka_unit_test(plain_block_is_length_content_and_padding),
        cmocka_unit_test(plain_block_may_be_empty_or_full),
        cmocka_unit_test(plain_length_must_fit_the_block),
        cmocka_unit_test(encrypted_blocks_open_in_order),
        cmocka_unit_test(room_is_the_same_with_and_without_encryption),
        cmocka_unit_test(failed_cursor_is_not_sealed),
        cmocka_unit_test(damaged_block_is_refused),
        cmocka_unit_test(repeated_block_is_refused),
        cmocka_unit_test(plain_block_is_refused_where_encryption_is_agreed),
        cmocka_unit_test(length_inside_the_box_must_fit),
    };
    return cmocka_run_group_tests_name("block", tests, init_crypto, NULL);
}
