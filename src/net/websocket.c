/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is read goes to its place at once: bytes of a message to the block that it will be, any
 * other to a few bytes of the connection's own (ahead), so that it may stop anywhere and has
 * nothing to keep but these. Control frames wait in fields of their own and are sent at the end of
 * the turn. */
#include "net/websocket.h"

#include <assert.h>
#include <stdlib.h>

#include "net/conn_blocks_priv.h"
#include "net/loop.h"
#include "net/ws_frames.h"

enum {
    READS_PER_TURN = 64, /* as of conn.c */
    AHEAD_LEN = 16,      /* the longest head of a frame, about */
    CONTROL_FRAME_MAX = 2 + WS_CONTROL_MAX,
    SECOND_MS = 1000,
};
_Static_assert((int)WS_MESSAGE_LEN == (int)CONN_BLOCK_LEN, "a message is a block");

struct websocket {
    struct conn_web web; /* the conn is first of all */
    struct ws_reader reader;
    int64_t second_ms;   /* when the second began in which n_controls came */
    unsigned n_controls; /* control frames */
    uint16_t code;       /* to close with, if is_over; 0: none */
    bool is_over;        /* a close frame is all that is sent any more */
    bool is_said;        /* it is written */
    bool has_pong;
    uint8_t n_pong, n_ahead;
    uint8_t pong[WS_CONTROL_MAX];
    uint8_t ahead[AHEAD_LEN]; /* read, and not taken yet */
};

static struct conn *conn_of(struct websocket *w) {
    return &w->web.conn;
}

static struct stream *stream_of(const struct websocket *w) {
    return w->web.conn.stream;
}

/* ---- control frames ---- */

static void end(struct websocket *w, unsigned code) {
    w->is_over = true;
    w->code = (uint16_t)code;
    w->n_ahead = 0;
    stream_finish(stream_of(w)); /* which reads no more */
}

/* Pings are for the peer's own good, and cost it less than us. */
static bool is_too_often(struct websocket *w) {
    const int64_t now_ms = loop_now_ms(stream_loop(stream_of(w)));
    if (now_ms - w->second_ms >= SECOND_MS) {
        w->second_ms = now_ms;
        w->n_controls = 0;
    }
    return ++w->n_controls > w->web.conn.opts->controls_per_s;
}

static void keep_pong(struct websocket *w) {
    w->has_pong = true;
    w->n_pong = w->reader.n_control;
    memcpy(w->pong, w->reader.control, w->n_pong);
    stream_want_write(stream_of(w));
}

static void take_control(struct websocket *w, enum ws_step step) {
    if (step == WS_CLOSE) {
        end(w, ws_close_answer(bytes_of(w->reader.control, w->reader.n_control)));
    } else if (is_too_often(w)) {
        end(w, WS_TOO_OFTEN);
    } else if (step == WS_PING) {
        keep_pong(w);
    }
}

/* ---- reading ---- */

/* Bytes to be taken: what is left, or new ones. */
static bool next_bytes(struct websocket *w, uint8_t *block, struct bytes *ret) {
    const size_t expected = ws_reader_expects(&w->reader);
    uint8_t *to = expected != 0 ? block + w->reader.n_message : w->ahead;
    size_t n = w->n_ahead;
    if (n != 0) {
        to = w->ahead;
    } else if (!stream_read(stream_of(w), to, expected != 0 ? expected : AHEAD_LEN, &n)) {
        return false;
    }
    *ret = bytes_of(to, n);
    return true;
}

static void keep_ahead(struct websocket *w, struct bytes left) {
    if (left.n != 0) memmove(w->ahead, left.p, left.n); /* they are in there: see next_bytes() */
    w->n_ahead = (uint8_t)left.n;
}

/* Its share of one turn. False: there is no more for now. */
static bool read_share(struct websocket *w) {
    struct conn *c = conn_of(w);
    uint8_t *block = c->in != NULL ? c->in : conn__scratch(c);
    unsigned n_blocks = 0;
    bool is_dry = false;
    for (int i = 0; i < READS_PER_TURN && conn__may_read_on(c, n_blocks); i++) {
        struct bytes in;
        is_dry = !next_bytes(w, block, &in);
        if (is_dry) break;
        const enum ws_step step = ws_reader_take(&w->reader, &in, block);
        keep_ahead(w, in);
        if (step == WS_MESSAGE) {
            conn__hand_over(c, block);
            block = conn__scratch(c);
            n_blocks++;
        } else if (step == WS_FAILED) {
            end(w, w->reader.code);
        } else if (step != WS_MORE) {
            take_control(w, step);
        }
    }
    conn__keep_begun(c, block, w->reader.n_message);
    return !is_dry;
}

static void on_readable(void *framed) {
    struct websocket *w = framed;
    struct stream *s = stream_of(w);
    const bool has_more = read_share(w);
    if (s->state != STREAM_OPEN) return;
    conn__limit_block(conn_of(w), !ws_reader_is_between(&w->reader) || w->n_ahead != 0 ||
                                      stream_is_inside_record(s));
    /* What TLS holds of a record is not told by its socket. */
    if (has_more && stream_is_reading(s)) stream_want_run(s);
}

static void run(void *framed) {
    struct websocket *w = framed;
    conn__run(conn_of(w));
    if (stream_is_reading(stream_of(w))) on_readable(w);
}

/* ---- writing ---- */

/* The last that is sent. The stream ends when the socket has taken it. */
static void write_close(struct websocket *w) {
    uint8_t buf[CONTROL_FRAME_MAX];
    struct wr frame = wr_init(buf, sizeof buf);
    ws_close_write(w->code, &frame);
    const bool is_new = !w->is_said;
    w->is_said = true;
    if (is_new && !stream_write(stream_of(w), wr_bytes(&frame))) return;
    if (!stream_has_unsent(stream_of(w))) stream_close(stream_of(w));
}

static bool write_pong(struct websocket *w) {
    uint8_t buf[CONTROL_FRAME_MAX];
    struct wr frame = wr_init(buf, sizeof buf);
    ws_pong_write(bytes_of(w->pong, w->n_pong), &frame);
    w->has_pong = false;
    return stream_write(stream_of(w), wr_bytes(&frame));
}

/* As of conn.c. */
static void write_blocks(struct websocket *w) {
    struct conn *c = conn_of(w);
    for (int i = 0; i < CONN_BLOCKS_PER_TURN; i++) {
        if (stream_has_unsent(c->stream)) return;
        const enum filled f = conn__fill(c);
        if (f == FILLED_LAST) {
            end(w, WS_GOING_AWAY);
            write_close(w);
        }
        if (f != FILLED || !stream_write_head(c->stream, ws_block_head()) ||
            !stream_write(c->stream, bytes_of(conn__scratch(c), CONN_BLOCK_LEN)))
            return;
        if (!stream_may_write_on(c->stream)) break;
    }
    conn_want_write(c);
}

static void on_writable(void *framed) {
    struct websocket *w = framed;
    if (w->is_over) {
        write_close(w);
    } else if (!w->has_pong || write_pong(w)) {
        write_blocks(w);
    }
}

/* ---- opening and ending ---- */

static void on_end(void *framed) {
    struct websocket *w = framed;
    conn__end_session(conn_of(w));
    ws_reader_done(&w->reader);
    tls_ctx_free(w->web.smp);
    free(w);
}

static const struct framing WEBSOCKET = {
    .on_readable = on_readable,
    .run = run,
    .on_writable = on_writable,
    .on_end = on_end,
};

enum err websocket_frame(struct stream *s, const struct conn_opts *o, SSL_CTX *smp,
                         struct bytes challenge) {
    ASSERT_ON_LOOP(s->set->loop);
    assert(s->ssl != NULL && challenge.n <= CONN_CHALLENGE_LEN);
    struct websocket *w = calloc(1, sizeof *w);
    if (w == NULL) return E_NO_MEMORY;
    w->web.conn.stream = s;
    w->web.conn.opts = o;
    w->web.conn.is_web = true;
    tls_ctx_ref(smp);
    w->web.smp = smp;
    w->web.n_challenge = (uint8_t)challenge.n;
    if (challenge.n != 0) memcpy(w->web.challenge, challenge.p, challenge.n);
    ws_reader_init(&w->reader);
    stream_set_framing(s, &WEBSOCKET, w);
    stream_limit(s, 0);
    stream_set_deadline(s, 0);
    stream_resume_read(s, 0);
    stream_want_run(s); /* TLS may hold something already */
    if (conn__open(conn_of(w)) != OK) stream_close(s);
    return OK;
}
