/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* forward.h -- the two layers of a forwarded command and of its answer (spec: wire, section 7).
 *
 * The client boxes the content of a block for the relay: inner layer, padded to FWD_PADDED_LEN, so
 * that the proxy learns nothing from lengths. The proxy boxes that once more, with who may open it:
 * outer layer, so that whoever watches both connections cannot match what went in with what came
 * out. Answers use the reversed nonces. All boxes are opened and sealed in place. Pure; any
 * thread. */
#pragma once

#include "base/wr.h"
#include "crypto/box.h"
#include "crypto/key.h"

enum {
    FWD_PADDED_LEN = 16226,                           /* bytes of the padded inner content */
    FWD_ENCRYPTED_LEN = FWD_PADDED_LEN + BOX_TAG_LEN, /* bytes of the inner layer */
    FWD_TAIL_MAX = 16384,                             /* bytes of an outer layer: within a block */
    FWD_TRANSMISSION_MAX = FWD_PADDED_LEN - 5, /* bytes: less the lengths of both, and the count */
};

/* What the outer layer holds. */
struct forward {
    struct bytes corr_id; /* the client's; its nonce too */
    uint16_t version;     /* of the client's commands */
    struct pubkey key;    /* the client's, X25519, for this command only */
    struct bytes body;    /* the inner layer */
};

/* ---- the proxy ---- */

/* Appends the outer layer of f. E_LIMIT when it does not fit. */
MUST_USE enum err forward_seal(const struct box_key *proxy_key, const struct box_nonce *nonce,
                               const struct forward *f, struct wr *w);
/* Takes the outer layer off an answer to the command that was sealed with nonce. E_CRYPTO,
 * E_SYNTAX. *ret views buf. */
MUST_USE enum err forward_open_answer(const struct box_key *proxy_key,
                                      const struct box_nonce *nonce, uint8_t *buf, size_t n,
                                      struct bytes *ret_body);

/* ---- the client ---- */

/* Appends the inner layer of a command that is one transmission, written for the relay's session.
 * corr_id is that of the PFWD that will carry it. E_LIMIT when it does not fit. */
MUST_USE enum err forward_seal_command(const struct box_key *client_key, struct bytes corr_id,
                                       struct bytes transmission, struct wr *w);
/* The content of an answer, as of a block: batch_split(). body, n bytes, is what PRES brought and
 * is opened in place. E_CRYPTO. */
MUST_USE enum err forward_open_pres(const struct box_key *client_key, struct bytes corr_id,
                                    uint8_t *body, size_t n, struct bytes *ret_content);

/* ---- the relay ---- */

/* E_CRYPTO, E_CMD_SYNTAX. Views into buf. */
MUST_USE enum err forward_open(const struct box_key *proxy_key, const struct box_nonce *nonce,
                               uint8_t *buf, size_t n, struct forward *ret);
/* The content inside the inner layer: body lies in buf, where it is opened. E_CRYPTO. */
MUST_USE enum err forward_open_inner(const struct box_key *client_key, const struct forward *f,
                                     uint8_t *buf, struct bytes *ret_content);
/* Appends both layers of an answer that is one transmission. E_LIMIT when it does not fit. */
MUST_USE enum err forward_seal_answer(const struct box_key *client_key,
                                      const struct box_key *proxy_key,
                                      const struct box_nonce *nonce, struct bytes corr_id,
                                      struct bytes transmission, struct wr *w);
