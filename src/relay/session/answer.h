/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* answer.h -- what is answered to a command: a handler returns it, and dispatch.c delivers it,
 * directly or back through the layers of RFWD. Owner loop only. */
#pragma once

#include "base/wr.h"
#include "relay/delivery/outbox.h"
#include "stats/stats.h"
#include "store/records.h"

struct request;

enum answer_kind {
    ANSWER_OK,
    ANSWER_ERR,
    ANSWER_TEXT,    /* what was written */
    ANSWER_MESSAGE, /* the queue's next message, which then waits for ACK; OK when there is none */
    ANSWER_LINK,    /* LNK of the queue's link data */
    ANSWER_LATER    /* by itself, when it is known; it does not keep its place */
};

struct answer {
    enum answer_kind kind;
    enum err err;                 /* ERR */
    lsn_t lsn;                    /* of the change that it depends on */
    bool at_leisure;              /* which was made so */
    size_t held_bytes;            /* what the store holds in RAM until that is durable */
    struct wr w;                  /* TEXT: from answer_begin() */
    struct link_data *owned_link; /* LINK */
    struct follow_up follow_up;   /* OK, TEXT; its parts are owned */
};

/* A cursor over the loop's scratch: what is written is delivered before anything else is done. */
struct wr answer_begin(const struct request *rq);
/* Is there room for a transmission of n bytes where the answer goes? */
bool answer_fits(const struct request *rq, size_t n);

static inline struct answer answer_text(const struct wr *w, lsn_t lsn) {
    return (struct answer){.kind = ANSWER_TEXT, .w = *w, .lsn = lsn};
}

static inline struct answer answer_err(enum err e) {
    return (struct answer){.kind = ANSWER_ERR, .err = e};
}

/* OK or ERR; some errors, as of a quota, depend on a change too. */
static inline struct answer answer_result(enum err e, lsn_t lsn) {
    return (struct answer){.kind = e == OK ? ANSWER_OK : ANSWER_ERR, .err = e, .lsn = lsn};
}

static inline struct answer answer_later(void) {
    return (struct answer){.kind = ANSWER_LATER};
}

/* Unless its change is lost. */
static inline void answer_counts(struct answer *a, enum stat_id id) {
    _Static_assert(N_STATS <= UINT8_MAX, "follow_up.counts");
    assert(a->follow_up.n_counts < ARRAY_LEN(a->follow_up.counts));
    a->follow_up.counts[a->follow_up.n_counts++] = (uint8_t)id;
}

struct answer answer_blocked(const struct request *rq); /* of a blocked queue */

/* For dispatch.c, and for what is answered later. What a owns is gone then. */
void answer_deliver(const struct request *rq, const struct answer *a);
