/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conn.h -- a TLS connection that carries 16384-byte blocks; all on the loop that accepted it.
 *
 * Reading: a whole block is handed to on_block() from the loop's scratch buffer; only a connection
 * that stands in the middle of a block owns a buffer. Writing is pulled: conn_want_write() marks
 * the connection, and at the end of the loop's turn (when the socket can take more) fill() is asked
 * for one block after another until it says it has none. So what waits to be written is small
 * structures of the session, never blocks, and all answers made in one turn share blocks. At most
 * one encrypted block is buffered here. What a connection may use of a turn is measured by the
 * clock (turns.h), so nobody waits for a busy neighbour: a session that is handed a block stops
 * when conn_share_is_used(), and goes on when it is asked to run().
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

enum { CONN_BLOCK_LEN = 16384, CONN_BLOCKS_PER_TURN = 8 };

typedef struct ssl_ctx_st SSL_CTX;
struct loop;
struct conn;
struct admission;
struct admission_peer;
struct server_cert;
struct socket_counts;

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

/* What a listener hands to each connection; fixed after start, but tls which may be replaced by
 * listener_set_tls(). */
struct conn_opts {
    const struct conn_ops *ops;
    void *server;                /* borrowed; given to on_open */
    struct admission *admission; /* borrowed; not for clients */
    /* From accept (or connect) to the end of the TLS handshake; also from conn_finish() to the end.
     */
    int64_t tls_timeout_ms;
    int64_t block_timeout_ms; /* from the first byte of a block, or of a TLS record, to its last */
    /* May be NULL; owner loop. A connection that ended before TLS was up, whoever's fault, or broke
     * TLS later. reason: words of ours or of OpenSSL, which tell nothing of the peer; borrowed for
     * the call. */
    void (*on_tls_error)(void *server, const char *reason);
};

/* Folder-private: takes over an accepted socket and its admission; on error both are released.
 * counts: borrowed, may be NULL. */
MUST_USE enum err conn__accept(struct loop *l, int owned_fd, SSL_CTX *tls,
                               const struct conn_opts *o, struct admission_peer *owned_peer,
                               struct socket_counts *counts);

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
/* What this server's connection shows its peer in TLS; borrowed from c. */
const struct server_cert *conn_cert(const struct conn *c);
/* See tls_peer_chain(). */
MUST_USE enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap,
                                  struct bytes *ret);
bool conn_take_new_queue(struct conn *c); /* see admission_take_new_queue() */
