/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* transmission.h -- a block's content taken apart into transmissions, and a transmission into its
 * parts (spec: wire, section 4).
 *
 * Pure; any thread; all results view the block. */
#pragma once

#include "base/rd.h"
#include "base/wr.h"
#include "model/limits.h"
#include "wire/version.h"

/* Splits a block's content. E_BLOCK when the count is 0 or lies, or bytes are left over: then none
 * is usable. */
MUST_USE enum err batch_split(struct bytes content, struct bytes ret[SMP_BATCH_MAX],
                              unsigned *ret_n);

struct transmission {
    struct bytes auth; /* empty, a signature (64, 114) or an authenticator (80) */
    bool has_service_sig;
    struct bytes service_sig;
    struct bytes corr_id, entity;
    struct bytes command;     /* tag and parameters */
    struct bytes signed_text; /* corr_id to the end; signed is wire_session() followed by this */
};

/* The head of a transmission without authorization; the command follows. */
void transmission_begin(struct wr *w, const struct wire_params *p, struct bytes corr_id,
                        struct bytes entity);

/* E_BLOCK: not a transmission; when only the authorization has an impossible length, ret->corr_id
 * is set for the answer, else it is empty. E_SESSION: names another session (version 6); corr_id is
 * set. */
MUST_USE enum err transmission_parse(struct bytes t, const struct wire_params *p,
                                     struct transmission *ret);
