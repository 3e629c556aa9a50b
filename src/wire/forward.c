/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/forward.h"

#include "base/rd.h"

enum { PAD = '#' };

/* Opens a box in the writer: room for its tag. What is written until box_end() is its content. */
static size_t box_begin(struct wr *w) {
    const size_t mark = w->at;
    (void)wr_skip(w, BOX_TAG_LEN);
    return mark;
}

static void box_end(struct wr *w, size_t mark, const struct box_key *key,
                    const struct box_nonce *nonce) {
    if (wr_err(w) == OK) box_seal(key, nonce, w->p + mark, w->at - mark - BOX_TAG_LEN);
}

/* ---- the inner layer ---- */

static void write_inner(const struct box_key *client_key, const struct box_nonce *nonce,
                        struct bytes transmission, struct wr *w) {
    const size_t mark = box_begin(w);
    const size_t begin = w->at;
    const size_t length = wr_mark_u16(w);
    wr_u8(w, 1); /* one transmission */
    wr_large(w, transmission);
    wr_close_u16(w, length);
    const size_t used = w->at - begin;
    if (used > FWD_PADDED_LEN) w->err = E_LIMIT;
    uint8_t *pad = wr_err(w) == OK ? wr_skip(w, FWD_PADDED_LEN - used) : NULL;
    if (pad != NULL) memset(pad, PAD, FWD_PADDED_LEN - used);
    box_end(w, mark, client_key, nonce);
}

static enum err open_inner(const struct box_key *client_key, const struct box_nonce *nonce,
                           uint8_t *body, size_t n, struct bytes *ret_content) {
    struct bytes padded;
    if (box_open(client_key, nonce, body, n, &padded) != OK) return E_CRYPTO;
    struct rd r = rd_init(padded);
    const struct bytes content = rd_large(&r);
    if (rd_err(&r) != OK) return E_CRYPTO;
    *ret_content = content;
    return OK;
}

/* ---- the proxy ---- */

enum err forward_seal(const struct box_key *proxy_key, const struct box_nonce *nonce,
                      const struct forward *f, struct wr *w) {
    const size_t mark = box_begin(w);
    wr_short(w, f->corr_id);
    wr_u16(w, f->version);
    wr_u8(w, (uint8_t)pubkey_spki_len(f->key.type));
    pubkey_write_spki(&f->key, w);
    wr_bytes_raw(w, f->body);
    box_end(w, mark, proxy_key, nonce);
    return wr_err(w);
}

enum err forward_open_answer(const struct box_key *proxy_key, const struct box_nonce *nonce,
                             uint8_t *buf, size_t n, struct bytes *ret_body) {
    const struct box_nonce reversed = box_nonce_reverse(nonce);
    struct bytes content;
    const enum err e = box_open(proxy_key, &reversed, buf, n, &content);
    if (e != OK) return e;
    struct rd r = rd_init(content);
    (void)rd_short(&r); /* the client's correlation id: the box says whose answer it is */
    const struct bytes body = rd_tail(&r);
    if (rd_err(&r) == OK) *ret_body = body;
    return rd_err(&r);
}

/* ---- the client ---- */

enum err forward_seal_command(const struct box_key *client_key, struct bytes corr_id,
                              struct bytes transmission, struct wr *w) {
    const struct box_nonce nonce = box_nonce_from_corr_id(corr_id);
    write_inner(client_key, &nonce, transmission, w);
    return wr_err(w);
}

enum err forward_open_pres(const struct box_key *client_key, struct bytes corr_id, uint8_t *body,
                           size_t n, struct bytes *ret_content) {
    const struct box_nonce of_command = box_nonce_from_corr_id(corr_id);
    const struct box_nonce nonce = box_nonce_reverse(&of_command);
    return open_inner(client_key, &nonce, body, n, ret_content);
}

/* ---- the relay ---- */

enum err forward_open(const struct box_key *proxy_key, const struct box_nonce *nonce, uint8_t *buf,
                      size_t n, struct forward *ret) {
    struct bytes content;
    const enum err e = box_open(proxy_key, nonce, buf, n, &content);
    if (e != OK) return E_CRYPTO;
    struct rd r = rd_init(content);
    struct forward f = {.corr_id = rd_short(&r)};
    f.version = rd_u16(&r);
    const struct bytes key = rd_short(&r);
    f.body = rd_tail(&r);
    if (rd_err(&r) != OK || pubkey_from_spki(key, &f.key) != OK || f.key.type != KEY_X25519)
        return E_CMD_SYNTAX;
    *ret = f;
    return OK;
}

enum err forward_open_inner(const struct box_key *client_key, const struct forward *f, uint8_t *buf,
                            struct bytes *ret_content) {
    const struct box_nonce nonce = box_nonce_from_corr_id(f->corr_id);
    uint8_t *body = buf + (f->body.n != 0 ? f->body.p - buf : 0);
    return open_inner(client_key, &nonce, body, f->body.n, ret_content);
}

enum err forward_seal_answer(const struct box_key *client_key, const struct box_key *proxy_key,
                             const struct box_nonce *nonce, struct bytes corr_id,
                             struct bytes transmission, struct wr *w) {
    const struct box_nonce of_client = box_nonce_from_corr_id(corr_id);
    const struct box_nonce inner = box_nonce_reverse(&of_client);
    const struct box_nonce outer = box_nonce_reverse(nonce);
    const size_t mark = box_begin(w);
    wr_short(w, corr_id);
    write_inner(client_key, &inner, transmission, w);
    box_end(w, mark, proxy_key, &outer);
    return wr_err(w);
}
