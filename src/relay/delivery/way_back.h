/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* way_back.h -- the way of a forwarded command's answer, through both layers, to its client.
 *
 * A refusal that may have to stand for an answer is made before the answer's change is decided, and
 * sealed if it is needed at all; so it outlives its command. Owner loop only. */
#pragma once

#include "crypto/box.h"
#include "wire/reply.h"

/* All borrowed. */
struct way_back {
    const struct box_key *client_key, *proxy_key;
    const struct box_nonce *nonce;       /* of the proxy's command */
    struct bytes corr_id, outer_corr_id; /* the client's, the proxy's */
};

/* Puts an answer into both layers, as a transmission for the proxy. False: it does not fit, and an
 * error was written, as the reference does. p: of the proxy's session. */
bool way_back_seal(const struct way_back *b, const struct wire_params *p, struct bytes transmission,
                   struct wr *w);

struct forwarded_refusal;
/* Everything is copied; NULL: out of memory. */
struct forwarded_refusal *forwarded_refusal_new(const struct way_back *b,
                                                struct bytes transmission);
void forwarded_refusal_free(struct forwarded_refusal *r); /* NULL is a no-op */
/* p: of the proxy's session. */
void forwarded_refusal_write(const struct forwarded_refusal *r, const struct wire_params *p,
                             struct wr *w);
