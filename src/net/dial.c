/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A dial has three phases: DNS (of the host, or of the SOCKS proxy), attempts to connect, and, when
 * it goes through SOCKS, the talk with that proxy on the socket that won.
 *
 * It is freed when the last of its handles is closed and the look-up has come back, which may be
 * long after it ended: is_over says so, and whatever arrives then is dropped. */
#include "net/dial.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "crypto/crypto.h"
#include "net/addr.h"
#include "net/conn_priv.h"
#include "net/dial_priv.h"
#include "net/loop_priv.h"
#include "net/reach.h"
#include "net/stream_priv.h"

enum {
    STAGGER_MS = 250,
    CREDENTIAL_BYTES = 16,
    DIAL_ADDRESSES_MAX = 8, /* of one name; each may cost a socket for as long as the dial lasts */
};

struct attempt {
    uv_poll_t poll;
    struct dial *dial; /* borrowed */
    int fd;            /* owned; -1: none */
    bool has_poll;
    bool is_counted; /* its socket, in admission */
};

enum socks_phase { SOCKS_METHOD, SOCKS_AUTHENTICATE, SOCKS_CONNECT };

struct dial {
    uv_getaddrinfo_t dns;
    uv_timer_t stagger;
    struct list link;          /* in streams.dials until it is over */
    struct loop *loop;         /* borrowed */
    const struct dial_opts *o; /* borrowed */
    dial_done *done;
    void *session;                /* the caller's */
    void (*looked_up)(void *ctx); /* NULL: nobody is to be told */
    void *looked_up_ctx;
    char host[HOST_TEXT_MAX]; /* of the destination */
    uint16_t port;
    bool via_socks, is_over;
    unsigned n_pending;         /* look-up and handles that still have to come back */
    unsigned n_addresses, next; /* next: the first that was not tried */
    unsigned n_trying;
    int error; /* errno of the last attempt that failed */
    union addr addresses[DIAL_ADDRESSES_MAX];
    struct attempt attempts[DIAL_ADDRESSES_MAX];
    enum socks_phase phase;
    uint8_t in[SOCKS_IN_MAX];
    size_t n_in;
};

/* ---- the end ---- */

static void release(struct dial *d) {
    if (--d->n_pending == 0) free(d);
}

static void on_timer_closed(uv_handle_t *h) {
    release(CONTAINER_OF(h, struct dial, stagger));
}

static void on_poll_closed(uv_handle_t *h) {
    release(CONTAINER_OF(h, struct attempt, poll)->dial);
}

/* Gives up the attempt; its socket too, unless keep says otherwise. */
static void end_attempt(struct attempt *a, bool keep) {
    if (a->has_poll) uv_close((uv_handle_t *)&a->poll, on_poll_closed);
    a->has_poll = false;
    if (!keep && a->fd >= 0) (void)close(a->fd);
    a->fd = -1;
    if (a->is_counted) admission_give_outgoing(a->dial->o->admission);
    a->is_counted = false;
}

/* Everything stops; what is still under way comes back to a dial that is over. */
static void stop(struct dial *d) {
    d->is_over = true;
    list_remove(&d->link);
    for (unsigned i = 0; i < d->next; i++) end_attempt(&d->attempts[i], false);
    (void)uv_cancel((uv_req_t *)&d->dns); /* fails when it runs or is done: no matter */
    uv_close((uv_handle_t *)&d->stagger, on_timer_closed);
}

static void fail(struct dial *d, enum err e) {
    dial_done *const done = d->done;
    void *const session = d->session;
    const int error = d->error;
    stop(d);
    errno = error;
    done(session, e, NULL);
}

/* TCP is up, and the SOCKS proxy out of the way: TLS may begin. */
static void succeed(struct dial *d, struct attempt *a) {
    dial_done *const done = d->done;
    void *const session = d->session;
    struct loop *const l = d->loop;
    const struct dial_opts *const o = d->o;
    const int fd = a->fd;
    end_attempt(a, true); /* first: a descriptor has one handle at a time */
    stop(d);
    struct conn *c = NULL;
    const enum err e = conn__connect(l, fd, o->tls, o->conn, session, &c);
    done(session, e, c);
    if (e == OK) conn__begin(c);
}

/* ---- SOCKS ---- */

static bool send_all(int fd, const struct wr *w) {
    const struct bytes b = wr_bytes(w);
    /* The buffer of a fresh socket takes a message of this size, or the socket is dead. */
    return b.n > 0 && send(fd, b.p, b.n, MSG_NOSIGNAL) == (ssize_t)b.n;
}

static void write_hex(const struct env *env, char *ret) {
    uint8_t raw[CREDENTIAL_BYTES];
    env_random(env, raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++) (void)snprintf(ret + 2 * i, 3, "%02x", raw[i]);
}

static void write_credentials(const struct dial *d, struct wr *w) {
    const struct socks_proxy *p = d->o->socks;
    if (p->auth == SOCKS_PASSWORD) {
        socks_write_password(p->user, p->password, w);
        return;
    }
    char user[2 * CREDENTIAL_BYTES + 1], password[2 * CREDENTIAL_BYTES + 1];
    write_hex(loop_env(d->loop), user);
    write_hex(loop_env(d->loop), password);
    socks_write_password(user, password, w);
}

static bool socks_say(struct dial *d, const struct attempt *a, enum socks_phase phase) {
    uint8_t out[SOCKS_OUT_MAX];
    struct wr w = wr_init(out, sizeof out);
    d->phase = phase;
    d->n_in = 0;
    switch (phase) {
    case SOCKS_METHOD:
        socks_write_greeting(d->o->socks->auth, &w);
        break;
    case SOCKS_AUTHENTICATE:
        write_credentials(d, &w);
        break;
    case SOCKS_CONNECT:
        socks_write_connect(d->host, d->port, &w);
        break;
    }
    const bool sent = send_all(a->fd, &w);
    crypto_wipe(out, sizeof out);
    return sent;
}

static enum socks_verdict socks_judge(const struct dial *d, size_t *ret_need) {
    const struct bytes in = bytes_of(d->in, d->n_in);
    switch (d->phase) {
    case SOCKS_METHOD:
        return socks_read_method(in, d->o->socks->auth, ret_need);
    case SOCKS_AUTHENTICATE:
        return socks_read_password(in, ret_need);
    case SOCKS_CONNECT:
        break;
    }
    return socks_read_connect(in, ret_need);
}

/* False when the proxy cannot be talked to; true and nothing more when the dial has ended well. */
static bool socks_advance(struct dial *d, struct attempt *a) {
    if (d->phase == SOCKS_METHOD) {
        const bool asks = d->o->socks->auth != SOCKS_NO_AUTH;
        return socks_say(d, a, asks ? SOCKS_AUTHENTICATE : SOCKS_CONNECT);
    }
    if (d->phase == SOCKS_AUTHENTICATE) return socks_say(d, a, SOCKS_CONNECT);
    succeed(d, a);
    return true;
}

static void on_socks_poll(uv_poll_t *h, int status, int events) {
    (void)events;
    struct attempt *a = CONTAINER_OF(h, struct attempt, poll);
    struct dial *d = a->dial;
    size_t need = 0;
    if (d->is_over) return;
    const enum socks_verdict before = socks_judge(d, &need);
    assert(before == SOCKS_MORE && need <= sizeof d->in);
    (void)before;
    const ssize_t n = status < 0 ? -1 : recv(a->fd, d->in + d->n_in, need - d->n_in, 0);
    if (n < 0 && status >= 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        fail(d, E_CLOSED);
        return;
    }
    d->n_in += (size_t)n;
    const enum socks_verdict v = socks_judge(d, &need);
    if (v == SOCKS_MORE && need <= sizeof d->in) return;
    if (v != SOCKS_GRANTED || !socks_advance(d, a)) fail(d, E_CLOSED);
}

static void begin_socks(struct dial *d, struct attempt *a) {
    if (!socks_say(d, a, SOCKS_METHOD) ||
        uv_poll_start(&a->poll, UV_READABLE, on_socks_poll) != 0) {
        fail(d, E_CLOSED);
    }
}

/* ---- connecting ---- */

static void try_next(struct dial *d);

static void attempt_failed(struct dial *d, struct attempt *a) {
    end_attempt(a, false);
    d->n_trying--;
    if (d->next < d->n_addresses) {
        try_next(d);
    } else if (d->n_trying == 0) {
        fail(d, E_SYS);
    }
}

static void on_connect_poll(uv_poll_t *h, int status, int events) {
    (void)events;
    struct attempt *a = CONTAINER_OF(h, struct attempt, poll);
    struct dial *d = a->dial;
    if (d->is_over) return;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    if (status < 0 && error == 0) error = -status;
    if (error != 0) {
        d->error = error;
        attempt_failed(d, a);
        return;
    }
    (void)uv_timer_stop(&d->stagger);
    for (unsigned i = 0; i < d->next; i++) {
        if (&d->attempts[i] != a) end_attempt(&d->attempts[i], false);
    }
    if (d->via_socks) {
        begin_socks(d, a);
    } else {
        succeed(d, a);
    }
}

/* -1 with errno. */
static int open_socket(const union addr *to) {
    const int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (stream__set_socket_options(fd) &&
        (connect(fd, &to->any, addr_len(&to->any)) == 0 || errno == EINPROGRESS)) {
        return fd;
    }
    addr_close(fd);
    return -1;
}

static bool begin_attempt(struct dial *d, unsigned i) {
    struct attempt *a = &d->attempts[i];
    a->dial = d;
    a->is_counted = d->n_trying != 0 && d->o->admission != NULL;
    a->fd = open_socket(&d->addresses[i]);
    if (a->fd < 0) {
        d->error = errno;
        end_attempt(a, false);
        return false;
    }
    if (uv_poll_init(loop__uv(d->loop), &a->poll, a->fd) == 0) {
        a->has_poll = true;
        d->n_pending++;
        if (uv_poll_start(&a->poll, UV_WRITABLE, on_connect_poll) == 0) return true;
    }
    end_attempt(a, false);
    return false;
}

static void on_stagger(uv_timer_t *h) {
    struct dial *d = CONTAINER_OF(h, struct dial, stagger);
    if (!d->is_over) try_next(d);
}

/* One more socket beside those that are open. */
static bool may_begin(const struct dial *d) {
    return d->n_trying == 0 || d->o->admission == NULL || admission_take_outgoing(d->o->admission);
}

/* Begins with the next address that can be begun with; a timer begins with the one after it. */
static void try_next(struct dial *d) {
    bool begun = false;
    while (!begun && d->next < d->n_addresses && may_begin(d)) begun = begin_attempt(d, d->next++);
    if (begun) d->n_trying++;
    if (d->next < d->n_addresses) {
        (void)uv_timer_start(&d->stagger, on_stagger, STAGGER_MS, 0);
    } else if (d->n_trying == 0) {
        fail(d, E_SYS);
    }
}

/* ---- looking up ---- */

static bool may_try(const struct dial *d, const struct addrinfo *ai) {
    if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) return false;
    return d->via_socks || d->o->allow_private || reach_is_public(ai->ai_addr);
}

/* The next of this family from *at on, or NULL. */
static const struct addrinfo *next_of(const struct dial *d, const struct addrinfo *at, int family) {
    while (at != NULL && (at->ai_family != family || !may_try(d, at))) at = at->ai_next;
    return at;
}

/* In turns of the families, beginning with that of the first answer (RFC 8305, section 4). */
static void take_addresses(struct dial *d, const struct addrinfo *found) {
    const int first = found->ai_family;
    const int other = first == AF_INET6 ? AF_INET : AF_INET6;
    const struct addrinfo *a = next_of(d, found, first), *b = next_of(d, found, other);
    while ((a != NULL || b != NULL) && d->n_addresses < DIAL_ADDRESSES_MAX) {
        const bool take_a = a != NULL && (d->n_addresses % 2 == 0 || b == NULL);
        const struct addrinfo *ai = take_a ? a : b != NULL ? b : a;
        union addr *to = &d->addresses[d->n_addresses++];
        memcpy(to, ai->ai_addr, addr_len(ai->ai_addr));
        if (ai == a) {
            a = next_of(d, a->ai_next, first);
        } else {
            b = next_of(d, b->ai_next, other);
        }
    }
}

static void on_found(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct dial *d = CONTAINER_OF(req, struct dial, dns);
    if (d->looked_up != NULL) d->looked_up(d->looked_up_ctx);
    if (!d->is_over && status == 0 && found != NULL) take_addresses(d, found);
    uv_freeaddrinfo(found);
    if (!d->is_over) {
        if (status != 0) {
            fail(d, E_NOT_FOUND);
        } else if (d->n_addresses == 0) {
            fail(d, E_HOST);
        } else {
            try_next(d);
        }
    }
    release(d);
}

static enum err look_up(struct dial *d) {
    const char *host = d->via_socks ? d->o->socks->host : d->host;
    char port[sizeof "65535"];
    (void)snprintf(port, sizeof port, "%u", d->via_socks ? d->o->socks->port : d->port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | (host_kind_of(host) == HOST_IP ? AI_NUMERICHOST : 0),
    };
    const int r = uv_getaddrinfo(loop__uv(d->loop), &d->dns, on_found, host, port, &hints);
    if (r == 0) return OK;
    errno = -r;
    return r == UV_ENOMEM ? E_NO_MEMORY : E_SYS;
}

/* ---- for the caller ---- */

/* Is there an allowed way to this host, as far as its text tells? */
static bool has_way(const struct dial_opts *o, const char *host, bool *ret_via_socks) {
    const enum host_kind kind = host_kind_of(host);
    const bool via_socks = o->socks != NULL && (kind == HOST_ONION || o->socks_always);
    *ret_via_socks = via_socks;
    if (kind == HOST_BAD || (kind == HOST_ONION && !via_socks)) return false;
    if (o->allow_private) return true;
    if (host_is_local_name(host)) return false;
    if (!via_socks) return true; /* the addresses will be judged */
    union addr a;
    return kind != HOST_IP || !addr_parse(host, 0, &a) || reach_is_public(&a.any);
}

enum err dial_start(struct loop *l, const struct dial_opts *o, const char *host, uint16_t port,
                    dial_done *done, void *session, struct dial **ret) {
    ASSERT_ON_LOOP(l);
    bool via_socks = false;
    if (!has_way(o, host, &via_socks)) return E_HOST;
    struct dial *d = calloc(1, sizeof *d);
    if (d == NULL) return E_NO_MEMORY;
    d->loop = l;
    d->o = o;
    d->done = done;
    d->session = session;
    d->port = port;
    d->via_socks = via_socks;
    memcpy(d->host, host, strlen(host) + 1); /* host_kind_of() has measured it */
    list_init(&d->link);
    const enum err e = look_up(d);
    if (e != OK) {
        free(d);
        return e;
    }
    (void)uv_timer_init(loop__uv(l), &d->stagger); /* cannot fail */
    d->n_pending = 2;
    list_push_back(&loop__streams(l)->dials, &d->link);
    *ret = d;
    return OK;
}

void dial_on_looked_up(struct dial *d, void (*fn)(void *ctx), void *ctx) {
    ASSERT_ON_LOOP(d->loop);
    d->looked_up = fn;
    d->looked_up_ctx = ctx;
}

void dial_cancel(struct dial *d) {
    if (d == NULL) return;
    ASSERT_ON_LOOP(d->loop);
    stop(d);
}

void dial__end_all(struct list *dials) {
    for (struct list *n; (n = list_first(dials)) != NULL;) {
        fail(CONTAINER_OF(n, struct dial, link), E_CLOSED); /* takes it off */
    }
}
