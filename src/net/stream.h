/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stream.h -- a stream of bytes to a peer, over TLS or plain TCP, and the framing that is put on
 * it; all on the loop that accepted it.
 *
 * A stream owns the socket, TLS, the time limits and what the socket did not take yet. What its
 * bytes mean is the framing's: blocks (conn.h), lines (line_server.h). Which framing that is, is
 * known when TLS is up: stream_opts.on_up() looks at what was agreed on and sets it; a framing may
 * put another in its own place later. So one port can speak several.
 *
 * Reading: on_readable() takes what it wants with stream_read(), and stops when
 * stream_share_is_used() (turns.h); poll is level-triggered, so that it is called again. Writing is
 * pulled: stream_want_write() marks the stream, and at the end of the loop's turn (when the socket
 * can take more, and nothing is unsent) on_writable() writes with stream_write().
 *
 * Ends: peer closed, TLS or socket error, time limit, stream_close(). on_end() is called exactly
 * once, is the last call, and comes from the end-of-turn hook, never from inside stream_
 * functions. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
struct admission;
struct admission_peer;
struct loop;
struct socket_counts;
struct stream;

/* What is made of the bytes. framed: what stream_set_framing() was given; the framing's own. */
struct framing {
    enum err (*on_up)(void *framed); /* bytes may flow; any error closes. May be NULL */
    void (*on_readable)(void *framed);
    void (*run)(void *framed);         /* after stream_want_run(); NULL: that is never called */
    void (*on_writable)(void *framed); /* nothing is unsent; also the first time while finishing */
    void (*on_end)(void *framed);      /* last call: frees framed */
    /* What came before the peer's last byte is still answered: then stream_is_at_end(), and who
     * closes is the framing. Else the peer's end is the stream's. */
    bool outlives_input;
};

/* Fixed after start; what all streams of a listener, or of who dials, have in common. */
struct stream_opts {
    /* An accepted stream is up: sets its framing. Any error closes. Not for clients, who have one
     * from the start. */
    enum err (*on_up)(struct stream *s, const struct stream_opts *o);
    void *server;                /* borrowed; for on_up() and on_tls_error() */
    struct admission *admission; /* borrowed; NULL: anybody may come, and is not counted */
    int64_t tls_timeout_ms;      /* from accept (or connect) to the end of the TLS handshake */
    /* May be NULL; owner loop. A stream that ended before TLS was up, whoever's fault, or broke
     * TLS later. reason: words of ours or of OpenSSL, which tell nothing of the peer; borrowed for
     * the call. */
    void (*on_tls_error)(void *server, const char *reason);
};

/* Folder-private: takes over an accepted socket and its admission; on error both are released.
 * tls NULL: plain TCP, which is up at once. counts: borrowed, may be NULL. */
MUST_USE enum err stream__accept(struct loop *l, int owned_fd, SSL_CTX *tls,
                                 const struct stream_opts *o, struct admission_peer *owned_peer,
                                 struct socket_counts *counts);

/* All below: owner loop. */
struct loop *stream_loop(const struct stream *s);
/* framed is the framing's from now on, and on_end() of the one before is not called. */
void stream_set_framing(struct stream *s, const struct framing *f, void *framed);

/* Up to room bytes. False: there are none now, or the stream is over (or stream_is_at_end()). */
bool stream_read(struct stream *s, uint8_t *to, size_t room, size_t *ret_n);
bool stream_is_reading(const struct stream *s); /* up, not paused, not finishing, not at its end */
bool stream_is_at_end(const struct stream *s);  /* the peer has sent its last byte */
/* Does TLS hold a part of a record? Then it keeps 16 KiB for it, and a time limit must run. */
bool stream_is_inside_record(const struct stream *s);
void stream_pause_read(struct stream *s);
void stream_resume_read(struct stream *s, int64_t limit_ms); /* a limit that runs counts anew */

void stream_want_run(struct stream *s); /* run() comes when it is this stream's turn */
/* In on_readable() and run(): has the stream had what it may have of this turn? */
bool stream_share_is_used(const struct stream *s);

void stream_want_write(struct stream *s); /* cheap; any number of times per turn */
/* All of b, at most one block; only while nothing is unsent. False: the stream is over. */
bool stream_write(struct stream *s, struct bytes b);
/* Begins what the next stream_write() completes, at once: the socket waits for that. */
bool stream_write_head(struct stream *s, struct bytes b);
bool stream_may_write_on(const struct stream *s); /* in on_writable(): more than one block */
bool stream_has_unsent(const struct stream *s);   /* written, but not taken by the socket */

/* What the framing waits for from the peer must be there in this time; counted from the first call
 * of several, and not while reading is paused. 0: nothing is waited for. */
void stream_limit(struct stream *s, int64_t in_ms);
/* Closes then (checked every second); on the clock of loop_now_ms(); 0: none. */
void stream_set_deadline(struct stream *s, int64_t mono_ms);

bool stream_is_closing(const struct stream *s);
bool stream_is_finishing(const struct stream *s);
/* Reads no more, and asks on_writable() until that closes. At most tls_timeout_ms. */
void stream_finish(struct stream *s);
void stream_close(struct stream *s); /* at the end of the turn, without writing more; idempotent */

const SSL *stream_tls(
    const struct stream *s); /* borrowed; NULL: plain. For the questions of tls.h */
/* What TLS said when it failed, in a few words of OpenSSL's: static; "" when it did not. */
const char *stream_tls_problem(const struct stream *s);
bool stream_take_new_queue(struct stream *s); /* see admission_take_new_queue() */
bool stream_take_new_service(struct stream *s);
/* Whom it counts for, borrowed from s: admission_hold() it to keep it. NULL: not admitted. */
struct admission_peer *stream_peer(const struct stream *s);
