/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Blocks on a stream.
 *
 * Where the 16 KiB buffers are: a block is read into the set's scratch, and only what is begun and
 * not complete when the socket runs dry moves into c->in; a block is filled in the scratch, and
 * only what the socket does not take moves, encrypted, into the stream's buffer. */
#include "net/conn.h"

#include <stddef.h>
#include <stdlib.h>

#include "net/conn_blocks_priv.h"
#include "net/conn_priv.h"
#include "net/loop.h"
#include "net/tls.h"

enum {
    /* Bounds the turn of a peer that cuts its blocks into tiny records: each costs a call. */
    READS_PER_TURN = 64,
};

_Static_assert(offsetof(struct conn_opts, stream) == 0, "conn_up() relies on it");

/* ---- reading ---- */

/* The first byte of a block starts the limit; what follows does not move it. */
void conn__limit_block(struct conn *c, bool is_begun) {
    stream_limit(c->stream, is_begun ? c->opts->block_timeout_ms : 0);
}

void conn__hand_over(struct conn *c, uint8_t *block) {
    if (c->opts->ops->on_block(c->session, block) != OK) conn_close(c);
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    conn__limit_block(c, false);
}

void conn__keep_begun(struct conn *c, const uint8_t *buf, size_t have) {
    if (c->stream->state != STREAM_OPEN) return;
    if (have != 0 && c->in == NULL) {
        c->in = malloc(CONN_BLOCK_LEN);
        if (c->in == NULL) {
            conn_close(c);
            return;
        }
        memcpy(c->in, buf, have);
    }
    c->in_len = (uint16_t)have;
}

bool conn__may_read_on(const struct conn *c, unsigned n_blocks) {
    return stream_is_reading(c->stream) && n_blocks < CONN_BLOCKS_PER_TURN &&
           (n_blocks == 0 || !stream_share_is_used(c->stream));
}

/* Takes its share of blocks of one turn. */
static void read_blocks(void *framed) {
    struct conn *c = framed;
    struct stream *s = c->stream;
    unsigned n_blocks = 0;
    uint8_t *buf = c->in != NULL ? c->in : conn__scratch(c);
    size_t have = c->in_len, got = 0;
    for (int i = 0; i < READS_PER_TURN && conn__may_read_on(c, n_blocks); i++) {
        if (!stream_read(s, buf + have, CONN_BLOCK_LEN - have, &got)) break;
        have += got;
        if (have < CONN_BLOCK_LEN) continue;
        conn__hand_over(c, buf);
        buf = conn__scratch(c);
        have = 0;
        n_blocks++;
    }
    conn__keep_begun(c, buf, have);
    if (s->state != STREAM_OPEN) return;
    /* What TLS has decrypted and we did not take yet belongs to a record that reaches into the next
     * block: less than a block, so that it can wait for the bytes from the socket that complete it.
     */
    conn__limit_block(c, have != 0 || stream_is_inside_record(s));
}

/* ---- writing ---- */

enum filled conn__fill(struct conn *c) {
    const struct conn_ops *ops = c->opts->ops;
    if (ops->fill(c->session, conn__scratch(c)))
        return stream_is_closing(c->stream) ? FILLED_NONE : FILLED;
    const bool is_over =
        stream_is_finishing(c->stream) && (ops->awaits == NULL || !ops->awaits(c->session));
    return is_over ? FILLED_LAST : FILLED_NONE;
}

/* Gives its share of blocks of one turn; none while bytes of the last one are unsent. */
static void write_blocks(void *framed) {
    struct conn *c = framed;
    for (int i = 0; i < CONN_BLOCKS_PER_TURN; i++) {
        if (stream_has_unsent(c->stream)) return;
        const enum filled f = conn__fill(c);
        if (f == FILLED_LAST) conn_close(c);
        if (f != FILLED || !stream_write(c->stream, bytes_of(conn__scratch(c), CONN_BLOCK_LEN)))
            return;
        if (!stream_may_write_on(c->stream)) break;
    }
    conn_want_write(c);
}

void conn__run(void *framed) {
    struct conn *c = framed;
    if (c->wants_run) {
        c->wants_run = false;
        c->opts->ops->run(c->session);
    }
}

/* ---- opening and ending ---- */

enum err conn__open(void *framed) {
    struct conn *c = framed;
    c->unique_len = (uint8_t)tls_unique(stream_tls(c->stream), c->unique);
    void *session = c->session;
    const enum err e = c->opts->ops->on_open(c, c->opts->stream.server, &session);
    if (e != OK) return e;
    c->session = session;
    c->has_session = true;
    return OK;
}

void conn__end_session(struct conn *c) {
    if (c->has_session) c->opts->ops->on_close(c->session);
    free(c->in);
}

static void end_conn(void *framed) {
    conn__end_session(framed);
    free(framed);
}

static const struct framing BLOCKS = {
    .on_up = conn__open,
    .on_readable = read_blocks,
    .run = conn__run,
    .on_writable = write_blocks,
    .on_end = end_conn,
};

/* The framing of s from now on; NULL when out of memory. */
static struct conn *new_conn(struct stream *s, const struct conn_opts *o) {
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->stream = s;
    c->opts = o;
    stream_set_framing(s, &BLOCKS, c);
    return c;
}

enum err conn_up(struct stream *s, const struct stream_opts *o) {
    return conn_frame(s, (const void *)o); /* its first field */
}

enum err conn_frame(struct stream *s, const struct conn_opts *o) {
    return new_conn(s, o) != NULL ? OK : E_NO_MEMORY;
}

enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                       void *session, struct conn **ret) {
    struct stream *s;
    const enum err e = stream__connect(l, owned_fd, tls, &o->stream, &s);
    if (e != OK) return e;
    struct conn *c = new_conn(s, o);
    if (c == NULL) {
        stream_close(s);
        return E_NO_MEMORY;
    }
    c->session = session;
    c->has_session = true;
    *ret = c;
    return OK;
}

void conn__begin(struct conn *c) {
    stream__begin(c->stream);
}

/* ---- for the session ---- */

struct loop *conn_loop(const struct conn *c) {
    return stream_loop(c->stream);
}

void conn_want_write(struct conn *c) {
    stream_want_write(c->stream);
}

void conn_want_run(struct conn *c) {
    c->wants_run = true;
    stream_want_run(c->stream);
}

bool conn_share_is_used(const struct conn *c) {
    return stream_share_is_used(c->stream);
}

void conn_pause_read(struct conn *c) {
    stream_pause_read(c->stream);
}

void conn_resume_read(struct conn *c) {
    stream_resume_read(c->stream, c->opts->block_timeout_ms);
    /* Frames that are here already are not told of by the socket. */
    if (c->is_web) stream_want_run(c->stream);
}

void conn_set_deadline(struct conn *c, int64_t mono_ms) {
    stream_set_deadline(c->stream, mono_ms);
}

void conn_finish(struct conn *c) {
    stream_finish(c->stream);
}

void conn_close(struct conn *c) {
    stream_close(c->stream);
}

struct bytes conn_tls_unique(const struct conn *c) {
    return bytes_of(c->unique, c->unique_len);
}

const char *conn_tls_problem(const struct conn *c) {
    return stream_tls_problem(c->stream);
}

bool conn_has_alpn(const struct conn *c) {
    return tls_has_alpn(stream_tls(c->stream));
}

static const struct conn_web *web_of(const struct conn *c) {
    return (const void *)c; /* its first field */
}

const struct server_cert *conn_cert(const struct conn *c) {
    const struct server_cert *shown = tls_server_cert(stream_tls(c->stream));
    return shown == NULL && c->is_web ? tls_ctx_cert(web_of(c)->smp) : shown;
}

struct bytes conn_challenge(const struct conn *c) {
    return c->is_web ? bytes_of(web_of(c)->challenge, web_of(c)->n_challenge) : (struct bytes){0};
}

enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap, struct bytes *ret) {
    return tls_peer_chain(stream_tls(c->stream), buf, cap, ret);
}

bool conn_take_new_queue(struct conn *c) {
    return stream_take_new_queue(c->stream);
}

bool conn_take_new_service(struct conn *c) {
    return stream_take_new_service(c->stream);
}

struct admission_peer *conn_peer(const struct conn *c) {
    return stream_peer(c->stream);
}

bool conn_has_unsent(const struct conn *c) {
    return stream_has_unsent(c->stream);
}
