/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* inspect.h -- who is connected, for the operator.
 *
 * The table of each loop is looked at by that loop, INSPECT_SLOTS at a time, so that nobody waits
 * for a long list: whoever asks gets one part, and asks for the next when it has use for it. A
 * client that comes or goes in the meantime is in the list or not; none is in it twice. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "wire/version.h"

struct relay;
struct loop;

enum { INSPECT_SLOTS = 256 };

struct relay_client {
    uint64_t number; /* unique while the server runs */
    uint8_t n_session_id, session_id[SESSION_ID_MAX];
    int64_t age_s, received_s_ago, sent_s_ago;
    size_t n_subscriptions, n_ntf_subscriptions;
};

struct inspect_place {
    unsigned loop;
    uint32_t slot;
};

/* One part of the list. Owned by the relay; valid during done(). */
struct inspect_part {
    unsigned loop; /* whose clients these are */
    unsigned n;
    struct relay_client clients[INSPECT_SLOTS]; /* those past their handshake */
    bool is_last;
    struct inspect_place next; /* unless is_last: the place to go on */
};

/* Asks for the part at `at` (zeroes: the first). done(ctx) is called on the loop `back`, once. Any
 * thread, between relay_start() and the end of the loops. E_NO_MEMORY. */
MUST_USE enum err relay_inspect(struct relay *r, struct inspect_place at, struct loop *back,
                                void (*done)(void *ctx, const struct inspect_part *part),
                                void *ctx);
