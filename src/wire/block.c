/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/block.h"

#include <assert.h>

#include "base/rd.h"
#include "crypto/box.h"
#include "crypto/crypto.h"

enum { LEN_PREFIX = 2, PAD = '#' };

enum err block_chains_init(struct bytes session_id, const uint8_t dh_secret[32],
                           struct block_chain *ret_server_sends,
                           struct block_chain *ret_server_receives) {
    uint8_t out[2 * BLOCK_CHAIN_KEY_LEN];
    const enum err e = crypto_hkdf(session_id, bytes_of(dh_secret, 32),
                                   bytes_str("SimpleXSbChainInit"), out, sizeof out);
    if (e == OK) {
        memcpy(ret_server_sends->key, out, BLOCK_CHAIN_KEY_LEN);
        memcpy(ret_server_receives->key, out + BLOCK_CHAIN_KEY_LEN, BLOCK_CHAIN_KEY_LEN);
    }
    crypto_wipe(out, sizeof out);
    return e;
}

/* The next chain key replaces the old one; returns what encrypts this block. */
static enum err chain_step(struct block_chain *c, struct box_key *ret_key,
                           struct box_nonce *ret_nonce) {
    uint8_t out[BLOCK_CHAIN_KEY_LEN + BOX_KEY_LEN + BOX_NONCE_LEN];
    const enum err e = crypto_hkdf((struct bytes){0}, bytes_of(c->key, sizeof c->key),
                                   bytes_str("SimpleXSbChain"), out, sizeof out);
    if (e == OK) {
        memcpy(c->key, out, BLOCK_CHAIN_KEY_LEN);
        *ret_key = box_key_from_secret(out + BLOCK_CHAIN_KEY_LEN);
        memcpy(ret_nonce->b, out + BLOCK_CHAIN_KEY_LEN + BOX_KEY_LEN, BOX_NONCE_LEN);
    }
    crypto_wipe(out, sizeof out);
    return e;
}

struct wr block_begin(uint8_t block[SMP_BLOCK_LEN], bool encrypted) {
    const size_t offset = LEN_PREFIX + (encrypted ? (size_t)BOX_TAG_LEN : 0);
    return wr_init(block + offset, SMP_BLOCK_LEN - LEN_PREFIX - BOX_TAG_LEN);
}

enum err block_seal(uint8_t block[SMP_BLOCK_LEN], const struct wr *content,
                    struct block_chain *chain) {
    if (content->err != OK) return content->err;
    uint8_t *padded = content->p - LEN_PREFIX;
    assert((padded != block) == (chain != NULL)); /* begun as it is ended, or the tag has no room */
    const size_t padded_len = (size_t)(block + SMP_BLOCK_LEN - padded);
    struct wr len = wr_init(padded, LEN_PREFIX);
    wr_u16(&len, (uint16_t)content->at);
    memset(content->p + content->at, PAD, padded_len - LEN_PREFIX - content->at);
    if (chain == NULL) return OK;
    struct box_key key;
    struct box_nonce nonce;
    const enum err e = chain_step(chain, &key, &nonce);
    if (e != OK) return e;
    box_seal(&key, &nonce, block, padded_len);
    crypto_wipe(&key, sizeof key);
    return OK;
}

enum err block_open(uint8_t block[SMP_BLOCK_LEN], struct block_chain *chain,
                    struct bytes *ret_content) {
    struct bytes padded = bytes_of(block, SMP_BLOCK_LEN);
    if (chain != NULL) {
        struct box_key key;
        struct box_nonce nonce;
        enum err e = chain_step(chain, &key, &nonce);
        if (e != OK) return E_BLOCK;
        e = box_open(&key, &nonce, block, SMP_BLOCK_LEN, &padded);
        crypto_wipe(&key, sizeof key);
        if (e != OK) return E_BLOCK;
    }
    struct rd r = rd_init(padded);
    const struct bytes content = rd_large(&r);
    if (rd_err(&r) != OK) return E_BLOCK;
    *ret_content = content;
    return OK;
}
