/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/delivery/way_back.h"

#include <stdlib.h>

#include "crypto/crypto.h"
#include "wire/block.h"
#include "wire/forward.h"

bool way_back_seal(const struct way_back *b, const struct wire_params *p, struct bytes transmission,
                   struct wr *w) {
    uint8_t buf[SMP_BLOCK_LEN];
    struct wr sealed = wr_init(buf, sizeof buf - SMP_BLOCK_OVERHEAD - 2);
    const struct reply_to to = {.corr_id = b->outer_corr_id};
    reply_rres_begin(&sealed, p, &to);
    if (forward_seal_answer(b->client_key, b->proxy_key, b->nonce, b->corr_id, transmission,
                            &sealed) != OK) {
        reply_err(w, p, &to, E_BLOCK);
        return false;
    }
    wr_bytes_raw(w, wr_bytes(&sealed));
    return true;
}

struct forwarded_refusal {
    struct box_key client_key, proxy_key; /* secret */
    struct box_nonce nonce;
    struct bytes corr_id, outer_corr_id, transmission; /* view buf */
    uint8_t buf[];
};

/* A copy in buf. */
static struct bytes keep(struct wr *w, struct bytes b) {
    const size_t at = wr_bytes(w).n;
    wr_bytes_raw(w, b);
    const struct bytes all = wr_bytes(w);
    return bytes_of(all.p + at, all.n - at);
}

struct forwarded_refusal *forwarded_refusal_new(const struct way_back *b,
                                                struct bytes transmission) {
    const size_t n = b->corr_id.n + b->outer_corr_id.n + transmission.n;
    struct forwarded_refusal *r = malloc(sizeof *r + n);
    if (r == NULL) return NULL;
    struct wr w = wr_init(r->buf, n);
    r->client_key = *b->client_key;
    r->proxy_key = *b->proxy_key;
    r->nonce = *b->nonce;
    r->corr_id = keep(&w, b->corr_id);
    r->outer_corr_id = keep(&w, b->outer_corr_id);
    r->transmission = keep(&w, transmission);
    return r;
}

void forwarded_refusal_free(struct forwarded_refusal *r) {
    if (r == NULL) return;
    crypto_wipe(r, sizeof *r);
    free(r);
}

void forwarded_refusal_write(const struct forwarded_refusal *r, const struct wire_params *p,
                             struct wr *w) {
    const struct way_back back = {&r->client_key, &r->proxy_key, &r->nonce, r->corr_id,
                                  r->outer_corr_id};
    (void)way_back_seal(&back, p, r->transmission, w);
}
