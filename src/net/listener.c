/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/listener.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/addr.h"
#include "net/admission.h"
#include "net/stream_priv.h"
#include "net/listener_priv.h"
#include "net/loop_priv.h"

enum {
    ACCEPTS_PER_TURN = 32, /* the open connections go on during a storm of new ones */
    RETRY_MS = 200,        /* pause when descriptors or memory ran out */
    LOG_EVERY_MS = 60000,
};

/* ---- the socket ---- */

static enum err bind_address(const struct listener_addr *a, bool shares_port, int *ret_fd) {
    union addr at;
    if (!addr_parse(a->host != NULL ? a->host : "::", a->port, &at)) return E_SYNTAX;
    int fd = addr_bind(&at, a->host == NULL, shares_port);
    /* What a kernel without IPv6, or with IPv6 switched off, says. */
    if (fd < 0 && a->host == NULL && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        (void)addr_parse("0.0.0.0", a->port, &at);
        fd = addr_bind(&at, false, shares_port);
    }
    if (fd < 0) return E_SYS;
    *ret_fd = fd;
    return OK;
}

static uint16_t bound_port(int fd) {
    union addr at = {0};
    socklen_t len = sizeof at;
    return getsockname(fd, &at.any, &len) == 0 ? addr_port(&at) : 0;
}

static enum err open_socket(const struct listener_addr *a, int *ret_fd) {
    int fd = -1;
    const enum err e = bind_address(a, !a->is_exclusive, &fd);
    if (e != OK) return e;
    /* An accepted socket inherits these on Linux, which saves six system calls per connection. */
    if (stream__set_socket_options(fd) && listen(fd, SOMAXCONN) == 0) {
        *ret_fd = fd;
        return OK;
    }
    addr_close(fd);
    return E_SYS;
}

/* ---- accepting ---- */

static void on_poll(uv_poll_t *h, int status, int events);

static void on_retry(uv_timer_t *h) {
    struct listener *ls = CONTAINER_OF(h, struct listener, retry);
    (void)uv_poll_start(&ls->poll, UV_READABLE, on_poll);
}

static void pause_accepting(struct listener *ls, int error) {
    (void)uv_poll_stop(&ls->poll);
    (void)uv_timer_start(&ls->retry, on_retry, RETRY_MS, 0);
    const int64_t now = loop_now_ms(ls->loop);
    if (now < ls->next_log_ms) return;
    ls->next_log_ms = now + LOG_EVERY_MS;
    log_line(LOG_WARN, "accept_paused", "port=%u error=%s", ls->port, uv_err_name(-error));
}

/* With a reset, so that refused peers leave nothing behind in the kernel. */
static void refuse(int fd) {
    const struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
}

/* False when there is nobody to accept, or no means to. */
static bool accept_one(struct listener *ls) {
    union addr from = {0};
    socklen_t len = sizeof from;
    const int fd = accept4(ls->fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        switch (errno) {
        case EAGAIN:
            return false;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            pause_accepting(ls, errno);
            return false;
        default:
            return true; /* this peer's own trouble: accept(2), "Error handling" */
        }
    }
    struct admission_peer *peer = NULL;
    struct admission *admission = ls->opts->admission;
    enum admission_limit limit = LIMIT_NONE;
    if (admission != NULL && admission_enter(admission, &from.any, &peer, &limit) != OK) {
        refuse(fd);
        stats_add(loop_stats(ls->loop), STAT_SOCKETS_REFUSED, 1);
        if (limit != LIMIT_NONE) stats_add(loop_stats(ls->loop), LIMIT_STATS[limit], 1);
        return true;
    }
    const enum err e = stream__accept(ls->loop, fd, ls->tls, ls->opts, peer, ls->counts);
    if (e != OK) pause_accepting(ls, e == E_SYS ? errno : ENOMEM);
    return e == OK;
}

static void on_poll(uv_poll_t *h, int status, int events) {
    (void)events;
    struct listener *ls = CONTAINER_OF(h, struct listener, poll);
    if (status < 0) { /* libuv has stopped the handle */
        pause_accepting(ls, -status);
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(ls)) return;
    }
}

/* ---- open and close ---- */

static void on_handle_closed(uv_handle_t *h) {
    struct listener *ls = h->data;
    if (--ls->n_handles == 0) free(ls);
}

enum err listener_open(struct loop *l, const struct listener_addr *a, SSL_CTX *tls,
                       const struct stream_opts *o, struct listener **ret) {
    ASSERT_ON_LOOP(l);
    struct listener *ls = calloc(1, sizeof *ls);
    if (ls == NULL) return E_NO_MEMORY;
    enum err e = open_socket(a, &ls->fd);
    if (e != OK) {
        free(ls);
        return e;
    }
    const int r = uv_poll_init(loop__uv(l), &ls->poll, ls->fd);
    if (r != 0) {
        (void)close(ls->fd);
        free(ls);
        errno = -r;
        return E_SYS;
    }
    (void)uv_timer_init(loop__uv(l), &ls->retry); /* cannot fail */
    ls->poll.data = ls->retry.data = ls;
    ls->n_handles = 2;
    ls->loop = l;
    ls->opts = o;
    ls->port = bound_port(ls->fd);
    if (tls != NULL) (void)SSL_CTX_up_ref(tls);
    ls->tls = tls;
    list_init(&ls->link);
    list_push_back(&loop__streams(l)->listeners, &ls->link);
    (void)uv_poll_start(&ls->poll, UV_READABLE, on_poll);
    *ret = ls;
    return OK;
}

enum err listener_probe(const struct listener_addr *a) {
    int fd = -1;
    const enum err e = bind_address(a, false, &fd);
    if (e == OK) (void)close(fd);
    return e;
}

uint16_t listener_port(const struct listener *ls) {
    return ls->port;
}

void listener_set_counts(struct listener *ls, struct socket_counts *counts) {
    ls->counts = counts;
}

bool listener_has_tls(const struct listener *ls) {
    return ls->tls != NULL;
}

void listener_set_tls(struct listener *ls, SSL_CTX *tls) {
    ASSERT_ON_LOOP(ls->loop);
    (void)SSL_CTX_up_ref(tls);
    SSL_CTX_free(ls->tls);
    ls->tls = tls;
}

void listener_close(struct listener *ls) {
    if (ls == NULL) return;
    ASSERT_ON_LOOP(ls->loop);
    list_remove(&ls->link);
    uv_close((uv_handle_t *)&ls->poll, on_handle_closed);
    uv_close((uv_handle_t *)&ls->retry, on_handle_closed);
    (void)close(ls->fd);
    SSL_CTX_free(ls->tls);
    ls->tls = NULL;
}
