/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* block.h -- the 16384-byte block: padding and the encryption inside TLS (spec: wire, sections 2
 * and 4).
 *
 * Everything happens in the block's own memory. A plain block is: word16 length, content, '#' up to
 * the end. An encrypted block is the box of the same, 16 bytes shorter. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/wr.h"
#include "model/limits.h"

enum { BLOCK_CHAIN_KEY_LEN = 32 };

/* One direction's key chain; secret: wipe. */
struct block_chain {
    uint8_t key[BLOCK_CHAIN_KEY_LEN];
};

/* The chains of a session; the server sends with the first, receives with the second. E_CRYPTO. */
MUST_USE enum err block_chains_init(struct bytes session_id, const uint8_t dh_secret[32],
                                    struct block_chain *ret_server_sends,
                                    struct block_chain *ret_server_receives);

/* A cursor over the content area of a batch: the same room with and without encryption, so that
 * versions differ in nothing. */
struct wr block_begin(uint8_t block[SMP_BLOCK_LEN], bool encrypted);

/* Completes a block whose content was written through block_begin(). chain NULL: plain, else it is
 * advanced. E_LIMIT when the cursor failed, E_CRYPTO. */
MUST_USE enum err block_seal(uint8_t block[SMP_BLOCK_LEN], const struct wr *content,
                             struct block_chain *chain);

/* Views the content inside block, which is decrypted in place. chain NULL: plain, else it is
 * advanced even on failure, as the other side has advanced. E_BLOCK. */
MUST_USE enum err block_open(uint8_t block[SMP_BLOCK_LEN], struct block_chain *chain,
                             struct bytes *ret_content);
