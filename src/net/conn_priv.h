/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conn_priv.h -- the connections of a loop and what is inside one.
 *
 * conn.c moves one connection forward; conns.c holds all of a loop, and does at the end of each
 * turn what was only marked during it. All on the owning loop. */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include "base/list.h"
#include "net/conn.h"
#include "net/tls.h"
#include "net/turns.h"

enum conn_state {
    CONN_HANDSHAKE, /* TLS is being agreed */
    CONN_OPEN,
    CONN_FINISHING, /* conn_finish(): writes what fill() still has */
    CONN_CLOSING,   /* waits on conns.closing for the end of the turn */
};

/* One connection. An idle one costs this and its SSL object: keep it small. */
struct conn {
    uv_poll_t poll;
    struct conns *set;            /* borrowed */
    const struct conn_opts *opts; /* borrowed */
    SSL *ssl;                     /* owned */
    void *session;                /* belongs to opts->ops; valid while has_session */
    struct admission_peer *peer;  /* owned; NULL: a client's connection */
    struct socket_counts *counts; /* borrowed; may be NULL */
    uint8_t *in;                  /* owned; the block that was begun, NULL between blocks */
    uint8_t *out;             /* owned; encrypted bytes that the socket did not take, else NULL */
    const char *tls_problem;  /* static; NULL: none */
    struct list all;          /* in conns.all */
    struct list timed;        /* in conns.timed while one of the deadlines is set */
    struct list writing;      /* in conns.to_write, or in conns.closing */
    struct turn turn;         /* in conns.turns while it has something to do */
    int64_t deadline_ms;      /* set by the session; 0: none */
    int64_t io_deadline_ms;   /* of the TLS handshake, the begun block, or finishing; 0: none */
    int fd;                   /* owned */
    uint32_t out_len, out_at; /* bytes in out, and how many of them are sent */
    uint16_t in_len;          /* bytes of the begun block */
    uint8_t state;            /* enum conn_state */
    uint8_t events;           /* what poll is armed for */
    bool has_session : 1;     /* on_open() returned OK */
    bool is_paused : 1;       /* by the session */
    bool is_readable : 1;     /* poll said so; it is to be read in its turn */
    bool wants_run : 1;       /* conn_want_run() */
    bool is_broken : 1;       /* TLS or the socket failed: no close_notify */
    uint8_t unique_len;
    uint8_t unique[TLS_UNIQUE_MAX];
};
_Static_assert(sizeof(struct conn) <= 432, "an idle connection must stay small");

/* All connections and listeners of a loop; owner loop only. */
struct conns {
    struct loop *loop; /* borrowed */
    unsigned n;
    struct turns turns;
    int64_t write_end_us; /* after that, one block each is written in this turn */
    struct list all;
    struct list timed;
    struct list to_write;
    struct list closing;
    struct list listeners;
    struct list dials;               /* under way: dial.c */
    BIO_METHOD *bio_method;          /* owned */
    uv_timer_t tick;                 /* active while something may be on timed */
    uint8_t scratch[CONN_BLOCK_LEN]; /* for one block, while it is handed over */
};

/* ---- conns.c, for loop.c ---- */

MUST_USE enum err conns__new(struct loop *l, struct conns **ret); /* E_NO_MEMORY; conns__free() */
void conns__free(struct conns *s);        /* NULL is a no-op; empty, and its handles are closed */
bool conns__before_poll(struct conns *s); /* true: there is work left, poll must not sleep */
void conns__after_poll(struct conns *s);
void conns__close_all(struct conns *s); /* the connections, at once */
void conns__close_listeners(struct conns *s);

/* ---- conns.c, for conn.c and listener.c ---- */

void conns__add(struct conn *c);          /* to c->set */
void conns__update_timed(struct conn *c); /* after a change of a deadline */

/* ---- conn.c, for conns.c ---- */

void conn__serve(struct turn *turn); /* its turn has come */
void conn__write(struct conn *c);    /* gives at most its share of blocks of one turn */
void conn__destroy(struct conn *c);  /* of a closing one: on_close(), frees */
/* Closes it when one of its deadlines has passed. */
void conn__time_out(struct conn *c, int64_t now_ms);

/* ---- conn.c, for dial.c ---- */

/* A client's connection over a connected socket, which is closed on error. session is what
 * conn_ops get from the start: on_open() is handed it as *ret_session, and on_close() comes however
 * the connection ends. E_NO_MEMORY, E_SYS (then there was no on_close()). */
MUST_USE enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls,
                                const struct conn_opts *o, void *session, struct conn **ret);
/* Begins with TLS, as the client speaks first; on_open() may come before this returns. */
void conn__begin(struct conn *c);

/* ---- conn_bio.c ---- */

bool conn__set_socket_options(int fd); /* what all our TCP sockets have; false with errno */

BIO_METHOD *conn__bio_method_new(void); /* NULL when out of memory; BIO_meth_free() */
bool conn__set_bio(struct conn *c);     /* puts the socket under TLS; false when out of memory */
/* Sends what it can of c->out, which is NULL when that was all. False when the connection is dead.
 */
bool conn__send_unsent(struct conn *c);
