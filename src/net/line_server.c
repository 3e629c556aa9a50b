/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A connection is freed when its socket and its timer are closed. Lines are handed over from
 * on_step alone (a timer of no delay), never from inside another function of the session. */
#include "net/line_server.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "base/attr.h"
#include "base/list.h"
#include "crypto/crypto.h"
#include "net/loop_priv.h"

enum { BACKLOG = 16, READ_LEN = 2048, N_LISTENERS = 2 };

static const char *const HOSTS[N_LISTENERS] = {"127.0.0.1", "::1"};

struct line_listener {
    uv_tcp_t tcp;
    struct line_server *server; /* borrowed */
};

struct line_server {
    struct loop *loop; /* borrowed */
    struct line_server_opts o;
    struct line_listener *listeners[N_LISTENERS]; /* owned by libuv once open; NULL: none */
    uint16_t port;
    /* owner loop only */
    struct list conns;
    unsigned n_conns;
};

struct line_conn {
    uv_tcp_t tcp;
    uv_timer_t idle, step;
    uv_write_t writing;
    struct list link;           /* in server->conns */
    struct line_server *server; /* borrowed */
    void *session;              /* the caller's */
    int64_t idle_ms;
    unsigned n_handles; /* not closed yet */
    bool is_held, is_finishing, is_ending, at_end, is_reading, is_writing, is_listed;
    struct line_reader reader; /* secret */
    uint8_t in[READ_LEN];      /* secret */
    size_t in_at, in_n;
    uint8_t *out; /* owned; being written while is_writing */
    size_t out_n;
    uint8_t *next; /* owned; waits until out is written */
    size_t next_n;
};

/* ---- the end of a connection ---- */

static void on_handle_closed(uv_handle_t *h) {
    struct line_conn *c = h->data;
    if (--c->n_handles != 0) return;
    free(c->out);
    free(c->next);
    crypto_wipe(c, sizeof *c);
    free(c);
}

/* Twice is once. The session is told unless it never was there. */
static void end(struct line_conn *c) {
    if (c->is_ending) return;
    c->is_ending = true;
    if (c->is_listed) {
        list_remove(&c->link);
        c->server->n_conns--;
        c->is_listed = false;
        c->server->o.ops->on_close(c->session);
    }
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&c->idle, on_handle_closed);
    uv_close((uv_handle_t *)&c->step, on_handle_closed);
}

static void on_idle(uv_timer_t *h) {
    end(h->data);
}

static void not_idle(struct line_conn *c) {
    (void)uv_timer_start(&c->idle, on_idle, (uint64_t)c->idle_ms, 0);
}

/* ---- writing ---- */

static void wake(struct line_conn *c);
static void write_next(struct line_conn *c);

static void on_written(uv_write_t *w, int status) {
    struct line_conn *c = w->data;
    c->is_writing = false;
    free(c->out);
    c->out = NULL;
    c->out_n = 0;
    if (c->is_ending) return;
    if (status < 0) {
        end(c);
        return;
    }
    not_idle(c);
    write_next(c);
    if (!c->is_writing) wake(c);
}

static void write_next(struct line_conn *c) {
    if (c->is_writing || c->next_n == 0) return;
    c->out = c->next;
    c->out_n = c->next_n;
    c->next = NULL;
    c->next_n = 0;
    const uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned)c->out_n);
    c->writing.data = c;
    c->is_writing = uv_write(&c->writing, (uv_stream_t *)&c->tcp, &buf, 1, on_written) == 0;
    if (!c->is_writing) end(c);
}

size_t line_conn_unsent(const struct line_conn *c) {
    return c->out_n + c->next_n;
}

void line_conn_write(struct line_conn *c, struct bytes text) {
    if (c->is_ending || text.n == 0) return;
    uint8_t *next =
        text.n <= LINE_OUT_MAX - line_conn_unsent(c) ? realloc(c->next, c->next_n + text.n) : NULL;
    if (next == NULL) {
        c->is_finishing = true;
        c->next_n = 0;
        wake(c);
        return;
    }
    memcpy(next + c->next_n, text.p, text.n);
    c->next = next;
    c->next_n += text.n;
    wake(c);
}

/* ---- lines ---- */

static void on_alloc(uv_handle_t *h, size_t wanted, uv_buf_t *ret) {
    (void)wanted;
    struct line_conn *c = h->data;
    *ret = uv_buf_init((char *)c->in, sizeof c->in);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *buf) {
    (void)buf;
    struct line_conn *c = h->data;
    if (n == 0) return; /* nothing there after all */
    (void)uv_read_stop(h);
    c->is_reading = false;
    if (n < 0 && n != UV_EOF) {
        end(c);
        return;
    }
    c->at_end = n == UV_EOF;
    c->in_at = 0;
    c->in_n = n > 0 ? (size_t)n : 0;
    if (n > 0) not_idle(c);
    wake(c);
}

static bool next_line(struct line_conn *c, struct line *ret) {
    struct bytes in = bytes_of(c->in + c->in_at, c->in_n - c->in_at);
    const bool found = line_reader_take(&c->reader, &in, ret);
    c->in_at = c->in_n - in.n;
    return found || (c->at_end && line_reader_end(&c->reader, ret));
}

static void read_more(struct line_conn *c) {
    if (c->is_reading) return;
    c->is_reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
    if (!c->is_reading) end(c);
}

static void hand_over(struct line_conn *c, const struct line *line) {
    c->server->o.ops->on_line(c->session, line);
    crypto_wipe(c->in, c->in_at); /* it may have been a password */
    crypto_wipe(c->reader.buf, sizeof c->reader.buf);
    wake(c);
}

/* Does the one thing that is next. */
static void on_step(uv_timer_t *h) {
    struct line_conn *c = h->data;
    struct line line;
    write_next(c);
    if (c->is_ending || c->is_writing) return;
    if (c->is_held && !c->is_finishing) {
        c->server->o.ops->on_drained(c->session);
    } else if (!c->is_finishing && next_line(c, &line)) {
        hand_over(c, &line);
    } else if (c->is_finishing || c->at_end) {
        end(c);
    } else {
        read_more(c);
    }
}

static void wake(struct line_conn *c) {
    if (!c->is_ending) (void)uv_timer_start(&c->step, on_step, 0, 0);
}

void line_conn_hold(struct line_conn *c) {
    c->is_held = true;
}

void line_conn_release(struct line_conn *c) {
    c->is_held = false;
    wake(c);
}

void line_conn_finish(struct line_conn *c) {
    c->is_finishing = true;
    wake(c);
}

void line_conn_set_idle(struct line_conn *c, int64_t idle_ms) {
    c->idle_ms = idle_ms;
    if (!c->is_ending) not_idle(c);
}

/* ---- accepting ---- */

static void init_handle(struct line_conn *c, void *handle) {
    ((uv_handle_t *)handle)->data = c;
    c->n_handles++;
}

static void admit(struct line_conn *c) {
    struct line_server *s = c->server;
    if (s->n_conns >= s->o.conns_max || s->o.ops->on_open(c, s->o.server, &c->session) != OK) {
        end(c);
        return;
    }
    list_push_back(&s->conns, &c->link);
    s->n_conns++;
    c->is_listed = true;
    not_idle(c);
    wake(c);
}

static void on_connection(uv_stream_t *h, int status) {
    struct line_server *s = CONTAINER_OF(h, struct line_listener, tcp)->server;
    struct line_conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) return;
    uv_loop_t *uv = loop__uv(s->loop);
    c->server = s;
    c->idle_ms = s->o.idle_ms;
    list_init(&c->link);
    (void)uv_tcp_init(uv, &c->tcp); /* these cannot fail */
    (void)uv_timer_init(uv, &c->idle);
    (void)uv_timer_init(uv, &c->step);
    init_handle(c, &c->tcp);
    init_handle(c, &c->idle);
    init_handle(c, &c->step);
    if (uv_accept(h, (uv_stream_t *)&c->tcp) == 0) {
        admit(c);
    } else {
        end(c);
    }
}

/* ---- open and close ---- */

static void on_listener_closed(uv_handle_t *h) {
    free(CONTAINER_OF(h, struct line_listener, tcp));
}

static int bind_and_listen(struct line_server *s, uv_tcp_t *tcp, const char *host) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    if (uv_ip4_addr(host, s->port, &at.v4) != 0) (void)uv_ip6_addr(host, s->port, &at.v6);
    const unsigned flags = at.any.sa_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0;
    int r = uv_tcp_bind(tcp, &at.any, flags);
    if (r == 0) r = uv_listen((uv_stream_t *)tcp, BACKLOG, on_connection);
    int len = sizeof at;
    if (r == 0) r = uv_tcp_getsockname(tcp, &at.any, &len);
    if (r == 0) s->port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    return r;
}

static enum err open_listener(struct line_server *s, unsigned i) {
    struct line_listener *ls = calloc(1, sizeof *ls);
    if (ls == NULL) return E_NO_MEMORY;
    ls->server = s;
    (void)uv_tcp_init(loop__uv(s->loop), &ls->tcp);
    const int r = bind_and_listen(s, &ls->tcp, HOSTS[i]);
    if (r == 0) {
        s->listeners[i] = ls;
        return OK;
    }
    uv_close((uv_handle_t *)&ls->tcp, on_listener_closed);
    errno = -r; /* libuv's codes are negated errno values on Linux */
    return E_SYS;
}

enum err line_server_open(struct loop *l, const struct line_server_opts *o,
                          struct line_server **ret) {
    ASSERT_ON_LOOP(l);
    struct line_server *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->loop = l;
    s->o = *o;
    s->port = o->port;
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
    for (struct list *n; (n = list_first(&s->conns)) != NULL;) {
        end(CONTAINER_OF(n, struct line_conn, link));
    }
    for (unsigned i = 0; i < N_LISTENERS; i++) {
        if (s->listeners[i] != NULL)
            uv_close((uv_handle_t *)&s->listeners[i]->tcp, on_listener_closed);
    }
    free(s);
}
