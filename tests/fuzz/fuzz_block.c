/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Blocks from outside, plain and encrypted; and what is sealed here opens again, unless a byte was
 * changed. The input is the start of a block, zeros follow. */
#include "fuzz_view.h"

#include "crypto/crypto.h"
#include "wire/block.h"

static const struct block_chain START = {{1, 2, 3, 4}};
static uint8_t block[SMP_BLOCK_LEN];

static void take(struct bytes input) {
    memset(block, 0, sizeof block);
    if (input.n != 0) memcpy(block, input.p, input.n);
}

static void check_plain(struct bytes input) {
    take(input);
    const size_t stated = (size_t)block[0] << 8 | block[1];
    struct bytes content = {0};
    const enum err e = block_open(block, NULL, &content);
    assert(e == (stated <= sizeof block - 2 ? OK : E_BLOCK));
    if (e != OK) return;
    assert(content.n == stated);
    assert_inside(content, bytes_of(block, sizeof block));
}

static void check_encrypted(struct bytes input) {
    struct block_chain chain = START;
    struct bytes content = {0};
    take(input);
    if (block_open(block, &chain, &content) == OK) {
        assert_inside(content, bytes_of(block, sizeof block));
    }
    assert(memcmp(&chain, &START, sizeof chain) != 0); /* advanced in any case */
}

static void seal(struct bytes input, bool encrypted, struct block_chain *chain) {
    struct wr w = block_begin(block, encrypted);
    wr_bytes_raw(&w, bytes_of(input.p, input.n < wr_left(&w) ? input.n : wr_left(&w)));
    assert(block_seal(block, &w, encrypted ? chain : NULL) == OK);
}

static void check_round_trip(struct bytes input, bool encrypted) {
    struct block_chain sends = START, receives = START;
    struct bytes content = {0};
    seal(input, encrypted, &sends);
    assert(block_open(block, encrypted ? &receives : NULL, &content) == OK);
    assert(content.n <= input.n && bytes_equal(content, bytes_of(input.p, content.n)));
    assert(input.n > SMP_BLOCK_LEN - SMP_BLOCK_OVERHEAD || content.n == input.n);
    assert(memcmp(&sends, &receives, sizeof sends) == 0);
}

static void check_change(struct bytes input) {
    if (input.n < 3 || input.p[2] == 0) return;
    struct block_chain sends = START, receives = START;
    struct bytes content = {0};
    seal(input, true, &sends);
    block[((size_t)input.p[0] << 8 | input.p[1]) % sizeof block] ^= input.p[2];
    assert(block_open(block, &receives, &content) == E_BLOCK);
    assert(content.p == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool started;
    if (!started) assert(crypto_init() == OK);
    started = true;
    const struct bytes input = bytes_of(data, size < sizeof block ? size : sizeof block);
    check_plain(input);
    check_encrypted(input);
    check_round_trip(input, false);
    check_round_trip(input, true);
    check_change(input);
    return 0;
}
