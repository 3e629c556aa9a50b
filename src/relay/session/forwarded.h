/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* forwarded.h -- a command that a proxy forwards, with both layers taken off, and the way back of
 * its answer. Owner loop only. */
#pragma once

#include "relay/delivery/way_back.h"
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

/* The way of other answers; borrowed from both. */
struct way_back forwarded_way_back(const struct forwarded *f, const struct session *s);
