/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* forwarded.h -- a command that a proxy forwards, with both layers taken off, and the way back of
 * its answer (cmd_rfwd.c). Owner loop only. */
#pragma once

#include "wire/command.h"

struct session;
struct forwarded;

/* What came inside the layers. */
struct forwarded_command {
    struct wire_params params;
    struct transmission t;
    struct command cmd;
    enum err parse_err; /* OK: cmd is set, and one that may be forwarded */
};
/* Takes both layers off an RFWD, t, of a proxy's session. Errors are for the proxy. *ret views
 * nothing of t. */
MUST_USE enum err forwarded_open(struct session *s, const struct transmission *t, struct bytes body,
                                 struct forwarded **ret);
const struct forwarded_command *forwarded_command(const struct forwarded *f); /* borrowed from f */
void forwarded_free(struct forwarded *f);                                     /* NULL is a no-op */

/* Puts an answer into both layers, as a transmission for the proxy; what does not fit becomes an
 * error. */
void forwarded_seal(const struct forwarded *f, const struct session *s, struct bytes transmission,
                    struct wr *w);

/* An answer that is sealed later, if it is needed at all: it outlives its command. */
struct forwarded_refusal;
/* transmission is copied; NULL: out of memory. */
struct forwarded_refusal *forwarded_refusal_new(const struct forwarded *f, const struct session *s,
                                                struct bytes transmission);
void forwarded_refusal_free(struct forwarded_refusal *r); /* NULL is a no-op */
/* p: of the proxy's session. */
void forwarded_refusal_write(const struct forwarded_refusal *r, const struct wire_params *p,
                             struct wr *w);
