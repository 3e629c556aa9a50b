/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* line_server.h -- a TCP server of text lines on the loopback addresses, for people with nc and
 * telnet.
 *
 * All on one loop. A connection has one line under way at a time: the next is handed over when
 * nothing is left to be written and the session does not hold it, and until then the connection is
 * not read. So memory per connection is bounded by LINE_OUT_MAX, and a peer that does not read
 * stops only itself. When the peer has sent its last byte, the lines that came before are still
 * answered. */
#pragma once

#include "base/err.h"
#include "net/line_reader.h"

struct loop;
struct line_server;
struct line_conn;

enum { LINE_OUT_MAX = 65536 }; /* bytes that wait to be written to one connection */

struct line_ops {
    /* *ret_session is what the others get. Any error closes the connection, without on_close(). */
    enum err (*on_open)(struct line_conn *c, void *server, void **ret_session);
    void (*on_line)(void *session, const struct line *line);
    void (*on_drained)(void *session); /* all was written, while the session holds its line */
    void (*on_close)(void *session);   /* last call; c is gone */
    void (*on_full)(void *server);     /* one gave way, or was not let in */
};

/* To its place, when all are taken. Of those with the least claim the oldest gives way to one that
 * comes, unless that has less. */
enum line_claim {
    LINE_CLAIM_SPENT,
    LINE_CLAIM_NEW, /* what all begin with */
    LINE_CLAIM_BUSY,
    LINE_CLAIM_STAYS, /* gives way to nobody */
};

struct line_server_opts {
    const struct line_ops *ops;
    void *server;       /* borrowed; given to on_open */
    uint16_t port;      /* 0: the kernel chooses, see line_server_port() */
    unsigned conns_max; /* for one more, who has the least claim to a place gives way */
    int64_t idle_ms;    /* a new connection's; see line_conn_set_idle() */
};

/* Before the loop starts. Listens on 127.0.0.1, and on ::1 where there is one; o->ops and o->server
 * are borrowed until line_server_close(). E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err line_server_open(struct loop *l, const struct line_server_opts *o,
                                   struct line_server **ret);
uint16_t line_server_port(const struct line_server *s); /* any thread */
/* Owner, or after loop_join(); calls on_close() of all that are open. NULL is a no-op. */
void line_server_close(struct line_server *s);

/* All below: owner. */
/* Copies. More than LINE_OUT_MAX, or no memory: the connection ends at the end of the turn. */
void line_conn_write(struct line_conn *c, struct bytes text);
size_t line_conn_unsent(const struct line_conn *c);
void line_conn_hold(struct line_conn *c); /* no further line before line_conn_release() */
void line_conn_release(struct line_conn *c);
void line_conn_finish(struct line_conn *c); /* closes when all is written; no further line */
void line_conn_set_claim(struct line_conn *c, enum line_claim claim);
/* Closes when for this time nothing was read and nothing of what waits was taken. */
void line_conn_set_idle(struct line_conn *c, int64_t idle_ms);
