/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines on a plain stream. They are handed over from take_step() alone, which the end of the turn
 * calls, never from inside another function of the session. */
#include "net/line_server.h"

#include <errno.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/list.h"
#include "crypto/crypto.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/stream.h"

enum {
    READ_LEN = 2048,
    WRITE_MAX = 16384, /* bytes of one stream_write() */
    N_LISTENERS = 2,
};

static const char *const HOSTS[N_LISTENERS] = {"127.0.0.1", "::1"};

struct line_server {
    struct loop *loop; /* borrowed */
    struct line_server_opts o;
    struct stream_opts stream;
    struct listener *listeners[N_LISTENERS]; /* owned; NULL: none */
    uint16_t port;
    /* owner loop only */
    struct list conns;
    unsigned n_conns;
};

struct line_conn {
    struct stream *stream;      /* owns this one, as its framing */
    struct list link;           /* in server->conns */
    struct line_server *server; /* borrowed */
    void *session;              /* the caller's; valid while has_session */
    int64_t idle_ms;
    bool is_held, is_finishing, has_session;
    uint8_t claim;             /* enum line_claim */
    bool was_unsent;           /* the socket did not take all, when it was asked last */
    struct line_reader reader; /* secret */
    uint8_t in[READ_LEN];      /* secret */
    size_t in_at, in_n;
    uint8_t *out; /* owned; not given to the stream yet, from out_at on */
    size_t out_at, out_n;
};

static void not_idle(struct line_conn *c) {
    stream_set_deadline(c->stream, loop_now_ms(c->server->loop) + c->idle_ms);
}

static void wake(struct line_conn *c) {
    stream_want_write(c->stream);
}

/* ---- writing ---- */

size_t line_conn_unsent(const struct line_conn *c) {
    return c->out_n - c->out_at;
}

static void drop_unsent(struct line_conn *c) {
    free(c->out);
    c->out = NULL;
    c->out_at = c->out_n = 0;
}

/* Room for more: what the stream has is its own. */
static void drop_given(struct line_conn *c) {
    if (c->out_at == 0) return;
    memmove(c->out, c->out + c->out_at, line_conn_unsent(c));
    c->out_n -= c->out_at;
    c->out_at = 0;
}

void line_conn_write(struct line_conn *c, struct bytes text) {
    ASSERT_ON_LOOP(c->server->loop);
    if (stream_is_closing(c->stream) || text.n == 0) return;
    drop_given(c);
    uint8_t *out =
        text.n <= LINE_OUT_MAX - line_conn_unsent(c) ? realloc(c->out, c->out_n + text.n) : NULL;
    if (out == NULL) {
        c->is_finishing = true;
        drop_unsent(c);
        wake(c);
        return;
    }
    memcpy(out + c->out_n, text.p, text.n);
    c->out = out;
    c->out_n += text.n;
    wake(c);
}

/* As much as the socket takes. */
static void write_text(struct line_conn *c) {
    while (c->out != NULL && !stream_has_unsent(c->stream)) {
        const size_t n = line_conn_unsent(c) < WRITE_MAX ? line_conn_unsent(c) : WRITE_MAX;
        if (!stream_write(c->stream, bytes_of(c->out + c->out_at, n))) return;
        c->out_at += n;
        if (c->out_at == c->out_n) drop_unsent(c);
        not_idle(c);
    }
}

/* ---- lines ---- */

static bool next_line(struct line_conn *c, struct line *ret) {
    struct bytes in = bytes_of(c->in + c->in_at, c->in_n - c->in_at);
    const bool found = line_reader_take(&c->reader, &in, ret);
    c->in_at = c->in_n - in.n;
    return found || (stream_is_at_end(c->stream) && line_reader_end(&c->reader, ret));
}

static void hand_over(struct line_conn *c, const struct line *line) {
    c->server->o.ops->on_line(c->session, line);
    crypto_wipe(c->in, c->in_at); /* it may have been a password */
    crypto_wipe(c->reader.buf, sizeof c->reader.buf);
    wake(c);
}

/* Does the one thing that is next. */
static void take_step(void *framed) {
    struct line_conn *c = framed;
    const bool is_finishing = c->is_finishing || stream_is_finishing(c->stream);
    struct line line;
    if (c->was_unsent) not_idle(c);
    write_text(c);
    c->was_unsent = stream_has_unsent(c->stream);
    if (stream_is_closing(c->stream) || c->was_unsent) return;
    if (c->is_held && !is_finishing) {
        c->server->o.ops->on_drained(c->session);
    } else if (!is_finishing && next_line(c, &line)) {
        hand_over(c, &line);
    } else if (is_finishing || stream_is_at_end(c->stream)) {
        stream_close(c->stream);
    } else {
        stream_resume_read(c->stream, 0);
    }
}

/* One piece; no more before its lines are answered. */
static void read_piece(void *framed) {
    struct line_conn *c = framed;
    size_t n = 0;
    if (!stream_read(c->stream, c->in, sizeof c->in, &n) && !stream_is_at_end(c->stream)) return;
    c->in_at = 0;
    c->in_n = n;
    if (n > 0) not_idle(c);
    stream_pause_read(c->stream);
    wake(c);
}

void line_conn_hold(struct line_conn *c) {
    ASSERT_ON_LOOP(c->server->loop);
    c->is_held = true;
}

void line_conn_release(struct line_conn *c) {
    ASSERT_ON_LOOP(c->server->loop);
    c->is_held = false;
    wake(c);
}

void line_conn_finish(struct line_conn *c) {
    ASSERT_ON_LOOP(c->server->loop);
    c->is_finishing = true;
    wake(c);
}

void line_conn_set_idle(struct line_conn *c, int64_t idle_ms) {
    ASSERT_ON_LOOP(c->server->loop);
    c->idle_ms = idle_ms;
    not_idle(c);
}

void line_conn_set_claim(struct line_conn *c, enum line_claim claim) {
    ASSERT_ON_LOOP(c->server->loop);
    c->claim = (uint8_t)claim;
}

/* ---- begin and end of a connection ---- */

/* The session is told unless it never was there. */
static void end_session(struct line_conn *c) {
    if (!c->has_session) return;
    c->has_session = false;
    list_remove(&c->link);
    c->server->n_conns--;
    c->server->o.ops->on_close(c->session);
}

/* False: nobody gives way. */
static bool make_place(struct line_server *s) {
    struct line_conn *least = NULL;
    for (struct list *n = s->conns.next; n != &s->conns; n = n->next) { /* the oldest first */
        struct line_conn *c = CONTAINER_OF(n, struct line_conn, link);
        if (c->claim <= LINE_CLAIM_NEW && (least == NULL || c->claim < least->claim)) least = c;
    }
    if (s->o.ops->on_full != NULL) s->o.ops->on_full(s->o.server);
    if (least == NULL) return false;
    end_session(least);
    stream_close(least->stream);
    return true;
}

static enum err open_session(void *framed) {
    struct line_conn *c = framed;
    struct line_server *s = c->server;
    if (s->n_conns >= s->o.conns_max && !make_place(s)) return E_LIMIT;
    const enum err e = s->o.ops->on_open(c, s->o.server, &c->session);
    if (e != OK) return e;
    list_push_back(&s->conns, &c->link);
    s->n_conns++;
    c->has_session = true;
    not_idle(c);
    wake(c);
    return OK;
}

static void end_conn(void *framed) {
    struct line_conn *c = framed;
    end_session(c);
    drop_unsent(c);
    crypto_wipe(c, sizeof *c);
    free(c);
}

static const struct framing LINES = {
    .on_up = open_session,
    .on_readable = read_piece,
    .on_writable = take_step,
    .on_end = end_conn,
    .outlives_input = true,
};

static enum err frame_lines(struct stream *stream, const struct stream_opts *o) {
    struct line_conn *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    c->stream = stream;
    c->server = o->server;
    c->idle_ms = c->server->o.idle_ms;
    c->claim = LINE_CLAIM_NEW;
    list_init(&c->link);
    stream_set_framing(stream, &LINES, c);
    return OK;
}

/* ---- open and close ---- */

static enum err open_listener(struct line_server *s, unsigned i) {
    const struct listener_addr at = {.host = HOSTS[i], .port = s->port, .is_exclusive = true};
    const enum err e = listener_open(s->loop, &at, NULL, &s->stream, &s->listeners[i]);
    if (e == OK) s->port = listener_port(s->listeners[i]);
    return e;
}

enum err line_server_open(struct loop *l, const struct line_server_opts *o,
                          struct line_server **ret) {
    ASSERT_ON_LOOP(l);
    struct line_server *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->loop = l;
    s->o = *o;
    s->port = o->port;
    s->stream = (struct stream_opts){.on_up = frame_lines, .server = s};
    list_init(&s->conns);
    enum err e = OK;
    for (unsigned i = 0; i < N_LISTENERS && e == OK; i++) {
        e = open_listener(s, i);
        /* What a kernel without IPv6, or with IPv6 switched off, says. */
        const bool is_absent = e == E_SYS && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
        if (i > 0 && is_absent) e = OK;
    }
    if (e != OK) {
        const int saved = errno;
        line_server_close(s);
        errno = saved;
        return e;
    }
    *ret = s;
    return OK;
}

uint16_t line_server_port(const struct line_server *s) {
    return s->port;
}

void line_server_close(struct line_server *s) {
    if (s == NULL) return;
    ASSERT_ON_LOOP(s->loop);
    for (unsigned i = 0; i < N_LISTENERS; i++) listener_close(s->listeners[i]);
    for (struct list *n; (n = list_first(&s->conns)) != NULL;) {
        struct line_conn *c = CONTAINER_OF(n, struct line_conn, link);
        end_session(c);          /* takes it off */
        stream_close(c->stream); /* its end, which may come later, does not look at s */
    }
    free(s);
}
