/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dial.h -- an outbound connection: name, address, TCP, SOCKS, and then a conn in client mode.
 *
 * Names are looked up on libuv's threads. Of the addresses found, those that reach_is_public()
 * refuses are left out (unless allowed); the others are tried in turns of IPv6 and IPv4, a new one
 * every 250 ms or as soon as one fails, and the first that answers is taken (RFC 8305, in small).
 * Through SOCKS the name is the proxy's to look up, and .onion names go nowhere else. There is no
 * time limit here: who dials has one for all of connecting and calls dial_cancel(). All on one
 * loop. */
#pragma once

#include "net/admission.h"
#include "net/conn.h"
#include "net/socks.h"

struct dial;

struct dial_opts {
    SSL_CTX *tls;                    /* borrowed; tls_client_ctx_new() */
    const struct conn_opts *conn;    /* borrowed as long as connections live */
    const struct socks_proxy *socks; /* borrowed; NULL: none */
    bool socks_always;               /* else for .onion hosts only */
    bool allow_private;              /* hosts that are not public may be connected to */
    struct admission *admission;     /* borrowed; counts sockets beyond the first, which is counted
                                      * by who dials; NULL: nothing is counted */
};

/* Called once, never from inside dial_start(); the dial is gone then. OK: c is connected, TLS
 * follows, and session is with c: on_close() will be called for it, even if on_open() never was.
 * E_HOST: nothing but forbidden addresses. E_NOT_FOUND: no such name. E_CLOSED: the loop ends.
 * E_SYS: nobody answered; errno says why the last one did not. */
typedef void dial_done(void *session, enum err e, struct conn *c);

/* E_HOST when the host may not or cannot be reached by these means, E_NO_MEMORY, E_SYS. */
MUST_USE enum err dial_start(struct loop *l, const struct dial_opts *o, const char *host,
                             uint16_t port, dial_done *done, void *session, struct dial **ret);
/* Right after dial_start(): fn(ctx) is called once, on the loop, when the look-up of the name has
 * come back, which may be long after the dial ended: until then it uses a thread. */
void dial_on_looked_up(struct dial *d, void (*fn)(void *ctx), void *ctx);
void dial_cancel(struct dial *d); /* done() will not be called; NULL is a no-op */
