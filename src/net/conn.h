/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conn.h -- a connection that carries 16384-byte blocks: the framing of SMP on a stream of TLS
 * (stream.h), bare or each in a message of WebSocket (websocket.h); all on the loop that accepted
 * it.
 *
 * Reading: a whole block is handed to on_block() from the loop's scratch buffer; only a connection
 * that stands in the middle of a block owns a buffer. Writing is pulled: conn_want_write() marks
 * the connection, and at the end of the loop's turn (when the socket can take more) fill() is asked
 * for one block after another until it says it has none. So what waits to be written is small
 * structures of the session, never blocks, and all answers made in one turn share blocks. At most
 * one encrypted block is buffered here. What a connection may use of a turn is measured by the
 * clock (turns.h), so that a neighbour waits for a share of it, whatever is sent: a session that is
 * handed a block stops when conn_share_is_used(), and goes on when it is asked to run().
 *
 * The same on both sides of TLS: a server's connections come from a listener, a client's from
 * dial_start().
 *
 * Ends: peer closed, TLS or socket error, deadline, conn_close(). on_close() is called exactly once
 * for each on_open() that returned OK, is the last call, and comes from the end-of-turn hook, never
 * from inside conn_ functions. Idle memory: see docs/PERFORMANCE.md. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "net/stream.h"

enum { CONN_BLOCK_LEN = 16384, CONN_BLOCKS_PER_TURN = 8, CONN_CHALLENGE_LEN = 32 };

struct conn;
struct server_cert;

struct conn_ops {
    /* TLS is up. *ret_session is what the other calls get; a client's is there already. Any error
     * closes the connection. */
    enum err (*on_open)(struct conn *c, void *server, void **ret_session);
    /* block is writable scratch, CONN_BLOCK_LEN bytes, valid during the call. Any error closes the
     * connection. */
    enum err (*on_block)(void *session, uint8_t *block);
    /* Goes on with what was left over, after conn_want_run(). NULL: there never is anything. */
    void (*run)(void *session);
    /* Writes one block of CONN_BLOCK_LEN bytes and returns true, or returns false when there is
     * nothing to send now. */
    bool (*fill)(void *session, uint8_t *block);
    /* Asked while finishing, when fill() had nothing: will there be more, for which the session
     * will say conn_want_write()? NULL: never. */
    bool (*awaits)(void *session);
    void (*on_close)(void *session);
};

/* Fixed after start. A listener is handed &opts->stream, with on_up = conn_up, or one of the
 * server's own that calls conn_frame() for the connections that are to carry blocks. */
struct conn_opts {
    struct stream_opts stream; /* server: given to on_open(); tls_timeout_ms: also from
                                * conn_finish() to the end */
    const struct conn_ops *ops;
    int64_t block_timeout_ms; /* from the first byte of a block, or of a TLS record, to its last */
    unsigned controls_per_s;  /* control frames of WebSocket that a peer may send in a second */
};

/* stream_opts.on_up() of who speaks nothing but blocks: o is the stream of a struct conn_opts. */
MUST_USE enum err conn_up(struct stream *s, const struct stream_opts *o);
/* Makes s carry blocks; for use in on_up(). o is borrowed as long as the connection lives. */
MUST_USE enum err conn_frame(struct stream *s, const struct conn_opts *o);

/* All below: owner loop. */
struct loop *conn_loop(const struct conn *c);
void conn_want_write(struct conn *c); /* cheap; any number of times per turn */
void conn_want_run(struct conn *c);   /* run() comes when it is this connection's turn */
/* In on_block() and run(): has the connection had what it may have of this turn? */
bool conn_share_is_used(const struct conn *c);
void conn_pause_read(struct conn *c); /* takes effect after the current block */
void conn_resume_read(struct conn *c);
/* Closes then (checked every second); on the clock of loop_now_ms(); 0: none. For the SMP
 * handshake. */
void conn_set_deadline(struct conn *c, int64_t mono_ms);
void conn_finish(struct conn *c); /* reads no more; closes when fill() has none, nothing is awaited,
                                     all is written */
void conn_close(struct conn *c);  /* at the end of the turn, without writing more; idempotent */
struct bytes conn_tls_unique(const struct conn *c); /* borrowed from c */
bool conn_has_alpn(const struct conn *c);           /* see tls_has_alpn() */
/* What TLS said when it failed, in a few words of OpenSSL's: static; "" when it did not. */
const char *conn_tls_problem(const struct conn *c);
/* What this server's connection shows its peer, in TLS or where that has shown a certificate for
 * browsers (websocket.h); borrowed from c. */
const struct server_cert *conn_cert(const struct conn *c);
/* What the peer wants to see signed with the session id, CONN_CHALLENGE_LEN bytes, or empty;
 * borrowed from c. */
struct bytes conn_challenge(const struct conn *c);
/* See tls_peer_chain(). */
MUST_USE enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap,
                                  struct bytes *ret);
bool conn_take_new_queue(struct conn *c); /* see admission_take_new_queue() */
bool conn_take_new_service(struct conn *c);
struct admission_peer *conn_peer(const struct conn *c); /* see stream_peer() */
bool conn_has_unsent(const struct conn *c);             /* the peer takes no more for now */
