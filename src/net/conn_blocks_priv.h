/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conn_blocks_priv.h -- what connections have in common, however their blocks are read and written:
 * of conn.c, for websocket.c. */
#pragma once

#include "net/conn.h"
#include "net/stream_priv.h"
#include "net/tls.h"

struct conn {
    struct stream *stream;        /* owns this one, as its framing */
    const struct conn_opts *opts; /* borrowed */
    void *session;                /* belongs to opts->ops; valid while has_session */
    uint8_t *in;                  /* owned; the block that was begun, NULL between blocks */
    uint16_t in_len;              /* bytes of the begun block */
    bool has_session;             /* on_open() returned OK */
    bool wants_run;               /* conn_want_run() */
    bool is_web;                  /* it is a struct conn_web */
    uint8_t unique_len;
    uint8_t unique[TLS_UNIQUE_MAX];
};
_Static_assert(sizeof(struct conn) <= 104, "an idle connection must stay small");

/* One that came by HTTP. */
struct conn_web {
    struct conn conn;
    SSL_CTX *smp; /* counted: whose certificate it shows, where TLS has shown one for browsers */
    uint8_t n_challenge;
    uint8_t challenge[CONN_CHALLENGE_LEN];
};

static inline uint8_t *conn__scratch(const struct conn *c) {
    return c->stream->set->scratch;
}

enum err conn__open(void *conn); /* tls-unique, and the session; any error closes */
void conn__end_session(struct conn *c);
void conn__run(void *conn); /* the session, if it wants that */

bool conn__may_read_on(const struct conn *c, unsigned n_blocks); /* after so many in this turn */
void conn__hand_over(struct conn *c, uint8_t *block);
/* Keeps the have bytes of a begun block, which are in buf: c->in, or the scratch. */
void conn__keep_begun(struct conn *c, const uint8_t *buf, size_t have);
void conn__limit_block(struct conn *c, bool is_begun);

enum filled {
    FILLED,      /* a block, in the scratch */
    FILLED_NONE, /* there is none now */
    FILLED_LAST  /* none will come: it is finishing */
};
enum filled conn__fill(struct conn *c);
