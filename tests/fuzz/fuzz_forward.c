/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a proxy and its clients put into the layers of a forwarded command, and a relay into those
 * of its answer. The boxes are sealed here with fixed keys, so that the input is what is inside. */
#include <string.h>

#include "fuzz_view.h"

#include "model/limits.h"
#include "wire/forward.h"

static const uint8_t SECRET[BOX_KEY_LEN] = {7};
static const struct box_nonce NONCE = {"0123456789abcdefghijklm"};

static uint8_t buf[SMP_BLOCK_LEN];

static size_t seal(const uint8_t *data, size_t size) {
    const struct box_key key = box_key_from_secret(SECRET);
    memcpy(buf + BOX_TAG_LEN, data, size);
    box_seal(&key, &NONCE, buf, size);
    return size + BOX_TAG_LEN;
}

static void check_command(size_t n) {
    const struct box_key key = box_key_from_secret(SECRET);
    struct forward f;
    const enum err e = forward_open(&key, &NONCE, buf, n, &f);
    assert(e == OK || e == E_CMD_SYNTAX);
    if (e != OK) return;
    assert_inside(f.corr_id, bytes_of(buf, n));
    assert_inside(f.body, bytes_of(buf, n));
    assert(f.key.type == KEY_X25519);
    struct bytes content;
    if (forward_open_inner(&key, &f, buf, &content) == OK) assert_inside(content, f.body);
}

static void check_answer(size_t n) {
    const struct box_key key = box_key_from_secret(SECRET);
    const struct box_nonce asked = box_nonce_reverse(&NONCE);
    struct bytes body;
    const enum err e = forward_open_answer(&key, &asked, buf, n, &body);
    assert(e == OK || e == E_SYNTAX);
    if (e == OK) assert_inside(body, bytes_of(buf, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > sizeof buf - BOX_TAG_LEN) return 0;
    check_command(seal(data, size));
    check_answer(seal(data, size));
    return 0;
}
