/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stream_priv.h -- the streams of a loop and what is inside one.
 *
 * stream.c moves one stream forward; streams.c holds all of a loop, and does at the end of each
 * turn what was only marked during it. All on the owning loop. */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include "base/list.h"
#include "net/stream.h"
#include "net/turns.h"

enum stream_state {
    STREAM_HANDSHAKE, /* TLS is being agreed */
    STREAM_OPEN,
    STREAM_FINISHING, /* stream_finish(): writes what fill() still has */
    STREAM_CLOSING,   /* waits on streams.closing for the end of the turn */
};

/* One stream. An idle one costs this and its SSL object: keep it small. */
struct stream {
    uv_poll_t poll;
    struct streams *set;            /* borrowed */
    const struct stream_opts *opts; /* borrowed */
    SSL *ssl;                       /* owned; NULL: plain TCP, or as long as there is tls */
    SSL_CTX *tls;                   /* counted, until a client's first record is there */
    const struct framing *framing;  /* static; NULL until one is set */
    void *framed;                   /* the framing's own */
    struct admission_peer *peer;    /* owned; NULL: not admitted, as a client's */
    struct socket_counts *counts;   /* borrowed; may be NULL */
    uint8_t *out;              /* owned; encrypted bytes that the socket did not take, else NULL */
    const char *tls_problem;   /* static; NULL: none */
    struct list all;           /* in streams.all */
    struct list timed;         /* in streams.timed while one of the deadlines is set */
    struct list writing;       /* in streams.to_write, or in streams.closing */
    struct turn turn;          /* in streams.turns while it has something to do */
    int64_t deadline_ms;       /* set by the framing; 0: none */
    int64_t io_deadline_ms;    /* of the TLS handshake, of stream_limit(), or finishing; 0: none */
    int fd;                    /* owned */
    uint32_t out_len, out_at;  /* bytes in out, and how many of them are sent */
    uint32_t readable_len;     /* bytes that TLS may read now, while guarded */
    uint8_t state;             /* enum stream_state */
    uint8_t events;            /* what poll is armed for */
    bool is_paused : 1;        /* by the framing */
    bool is_at_end : 1;        /* the peer has sent its last byte */
    bool is_readable : 1;      /* poll said so; it is to be read in its turn */
    bool wants_run : 1;        /* stream_want_run() */
    bool is_guarded : 1;       /* it may read whole records only: stream_guard.c */
    bool waits_for_record : 1; /* the kernel is told how much has to be there */
    bool is_settled : 1;       /* its handshake is not under way any more, for the admission */
    bool has_head : 1;         /* stream_write_head(), and the rest follows */
    bool is_broken : 1;        /* TLS or the socket failed: no close_notify */
};
_Static_assert(sizeof(struct stream) <= 368, "an idle stream must stay small");

/* All streams and listeners of a loop; owner loop only. */
enum { STREAM_SCRATCH_LEN = 16384 }; /* a block, and a TLS record */

struct streams {
    struct loop *loop; /* borrowed */
    unsigned n;
    struct turns turns;
    int64_t write_end_us; /* after that, one block each is written in this turn */
    struct list all;
    struct list timed;
    struct list to_write;
    struct list closing;
    struct list listeners;
    struct list dials;                   /* under way: dial.c */
    BIO_METHOD *bio_method;              /* owned */
    uv_timer_t tick;                     /* active while something may be on timed */
    uint8_t scratch[STREAM_SCRATCH_LEN]; /* for who has the loop: nothing in it outlives a call */
};

/* ---- streams.c, for loop.c ---- */

MUST_USE enum err streams__new(struct loop *l,
                               struct streams **ret); /* E_NO_MEMORY; streams__free() */
void streams__free(struct streams *s); /* NULL is a no-op; empty, and its handles are closed */
bool streams__before_poll(struct streams *s); /* true: there is work left, poll must not sleep */
void streams__after_poll(struct streams *s);
void streams__close_all(struct streams *s); /* the streams, at once */
void streams__close_listeners(struct streams *s);

/* ---- streams.c, for stream.c and listener.c ---- */

void streams__add(struct stream *s);          /* to s->set */
void streams__update_timed(struct stream *s); /* after a change of a deadline */

/* ---- stream.c, for streams.c ---- */

void stream__serve(struct turn *turn);  /* its turn has come */
void stream__write(struct stream *s);   /* sends what is unsent, then asks the framing */
void stream__destroy(struct stream *s); /* of a closing one: on_end(), frees */
/* Closes it when one of its deadlines has passed. */
void stream__time_out(struct stream *s, int64_t now_ms);

/* ---- stream.c, for conn.c ---- */

/* A client's stream over a connected socket, which is closed on error. E_NO_MEMORY, E_SYS. */
MUST_USE enum err stream__connect(struct loop *l, int owned_fd, SSL_CTX *tls,
                                  const struct stream_opts *o, struct stream **ret);
/* Begins with TLS, as the client speaks first; its framing is set, and on_up() may come before
 * this returns. */
void stream__begin(struct stream *s);

/* ---- stream_guard.c ---- */

/* Of a guarded one: is there a whole record, or the end, so that TLS may go on? */
bool stream__has_record(struct stream *s);

/* ---- stream_bio.c ---- */

bool stream__set_socket_options(int fd); /* what all our TCP sockets have; false with errno */

BIO_METHOD *stream__bio_method_new(void); /* NULL when out of memory; BIO_meth_free() */
bool stream__set_bio(struct stream *s);   /* puts the socket under TLS; false when out of memory */
/* As send(), but keeps what the socket does not take in s->out. False: the stream is dead. */
bool stream__send(struct stream *s, const void *p, size_t n);
/* Sends what it can of s->out, which is NULL when that was all. False when the connection is dead.
 */
bool stream__send_unsent(struct stream *s);
