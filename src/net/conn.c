/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Blocks on a stream.
 *
 * Where the 16 KiB buffers are: a block is read into the set's scratch, and only what is begun and
 * not complete when the socket runs dry moves into c->in; a block is filled in the scratch, and
 * only what the socket does not take moves, encrypted, into the stream's buffer. */
#include "net/conn.h"

#include <stddef.h>
#include <stdlib.h>

#include "net/conn_priv.h"
#include "net/loop.h"
#include "net/stream_priv.h"
#include "net/tls.h"

enum {
    /* Bounds the turn of a peer that cuts its blocks into tiny records: each costs a call. */
    READS_PER_TURN = 64,
};

struct conn {
    struct stream *stream;        /* owns this one, as its framing */
    const struct conn_opts *opts; /* borrowed */
    void *session;                /* belongs to opts->ops; valid while has_session */
    uint8_t *in;                  /* owned; the block that was begun, NULL between blocks */
    uint16_t in_len;              /* bytes of the begun block */
    bool has_session;             /* on_open() returned OK */
    uint8_t unique_len;
    uint8_t unique[TLS_UNIQUE_MAX];
};
_Static_assert(offsetof(struct conn_opts, stream) == 0, "conn_up() relies on it");
_Static_assert(sizeof(struct conn) <= 104, "an idle connection must stay small");

static uint8_t *scratch_of(const struct conn *c) {
    return c->stream->set->scratch;
}

/* ---- reading ---- */

/* The first byte of a block starts the limit; what follows does not move it. */
static void update_block_limit(struct conn *c, bool is_begun) {
    stream_limit(c->stream, is_begun ? c->opts->block_timeout_ms : 0);
}

static void hand_over(struct conn *c, uint8_t *block) {
    if (c->opts->ops->on_block(c->session, block) != OK) conn_close(c);
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    update_block_limit(c, false);
}

/* Keeps the have bytes of a begun block that are in the scratch. */
static void keep_begun(struct conn *c, const uint8_t *buf, size_t have) {
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

static bool may_read_on(const struct conn *c, unsigned n_blocks) {
    return stream_is_reading(c->stream) && n_blocks < CONN_BLOCKS_PER_TURN &&
           (n_blocks == 0 || !stream_share_is_used(c->stream));
}

/* Takes its share of blocks of one turn. */
static void read_blocks(void *framed) {
    struct conn *c = framed;
    struct stream *s = c->stream;
    unsigned n_blocks = 0;
    uint8_t *buf = c->in != NULL ? c->in : scratch_of(c);
    size_t have = c->in_len, got = 0;
    for (int i = 0; i < READS_PER_TURN && may_read_on(c, n_blocks); i++) {
        if (!stream_read(s, buf + have, CONN_BLOCK_LEN - have, &got)) break;
        have += got;
        if (have < CONN_BLOCK_LEN) continue;
        hand_over(c, buf);
        buf = scratch_of(c);
        have = 0;
        n_blocks++;
    }
    keep_begun(c, buf, have);
    if (s->state != STREAM_OPEN) return;
    /* What TLS has decrypted and we did not take yet belongs to a record that reaches into the next
     * block: less than a block, so that it can wait for the bytes from the socket that complete it.
     */
    update_block_limit(c, have != 0 || stream_is_inside_record(s));
}

/* ---- writing ---- */

/* Asks the session for a block, into the scratch. */
static bool fill_block(struct conn *c) {
    const struct conn_ops *ops = c->opts->ops;
    if (ops->fill(c->session, scratch_of(c))) return !stream_is_closing(c->stream);
    if (stream_is_finishing(c->stream) && (ops->awaits == NULL || !ops->awaits(c->session)))
        conn_close(c);
    return false;
}

/* Gives its share of blocks of one turn; none while bytes of the last one are unsent. */
static void write_blocks(void *framed) {
    struct conn *c = framed;
    for (int i = 0; i < CONN_BLOCKS_PER_TURN; i++) {
        if (stream_has_unsent(c->stream) || !fill_block(c) ||
            !stream_write(c->stream, bytes_of(scratch_of(c), CONN_BLOCK_LEN)))
            return;
        if (!stream_may_write_on(c->stream)) break;
    }
    conn_want_write(c);
}

static void run_session(void *framed) {
    struct conn *c = framed;
    c->opts->ops->run(c->session);
}

/* ---- opening and ending ---- */

static enum err open_session(void *framed) {
    struct conn *c = framed;
    c->unique_len = (uint8_t)tls_unique(stream_tls(c->stream), c->unique);
    void *session = c->session;
    const enum err e = c->opts->ops->on_open(c, c->opts->stream.server, &session);
    if (e != OK) return e;
    c->session = session;
    c->has_session = true;
    return OK;
}

static void end_session(void *framed) {
    struct conn *c = framed;
    if (c->has_session) c->opts->ops->on_close(c->session);
    free(c->in);
    free(c);
}

static const struct framing BLOCKS = {
    .on_up = open_session,
    .on_readable = read_blocks,
    .run = run_session,
    .on_writable = write_blocks,
    .on_end = end_session,
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

const struct server_cert *conn_cert(const struct conn *c) {
    return tls_server_cert(stream_tls(c->stream));
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
