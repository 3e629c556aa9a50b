/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* listener.h -- a listening TCP socket on one loop; one per loop, address and port, sharing the
 * port (SO_REUSEPORT).
 *
 * When descriptors run out, accepting pauses for a moment and goes on by itself; one log line per
 * minute says so. */
#pragma once

#include <stdatomic.h>

#include "net/stream.h"

struct listener;

struct listener_addr {
    /* Numeric IPv4 or IPv6 address; NULL: all addresses, IPv6 and IPv4, or IPv4 alone where IPv6
     * is off. Borrowed for the call. */
    const char *host;
    uint16_t port;     /* 0: the kernel chooses, see listener_port() */
    bool is_exclusive; /* nobody else may listen there: neither another loop, nor another server */
};

/* Would the address be free for a listener of ours alone? To be asked once at start-up, before
 * listener_open(): ports that are shared among loops can be shared with another server by mistake,
 * and the kernel would not complain. Errors as of listener_open(). */
MUST_USE enum err listener_probe(const struct listener_addr *a);

/* Before the loop starts, or on it. tls is borrowed (its reference count is raised; NULL: plain
 * TCP), o until
 * loop_free(). E_SYS with errno (EADDRINUSE, EACCES, EADDRNOTAVAIL ...), E_SYNTAX when host is not
 * an address. */
MUST_USE enum err listener_open(struct loop *l, const struct listener_addr *a, SSL_CTX *tls,
                                const struct stream_opts *o, struct listener **ret);
uint16_t listener_port(const struct listener *ls); /* any thread */

/* What became of the sockets of one port of one loop: its loop writes, any thread reads. */
struct socket_counts {
    _Atomic uint64_t accepted, closed;
};
/* Before the loop starts: where this listener's sockets are counted; borrowed until loop_free(). */
void listener_set_counts(struct listener *ls, struct socket_counts *counts);
bool listener_has_tls(const struct listener *ls); /* owner */
/* Owner: for connections from now on (certificate reload); of one that has TLS. */
void listener_set_tls(struct listener *ls, SSL_CTX *tls);
/* Owner, or after loop_join(); NULL is a no-op; open connections stay. */
void listener_close(struct listener *ls);

/* Owner: closes every connection of this loop (orderly stop). Each writes what its framing
 * still has, for at most grace_ms. */
void loop_close_conns(struct loop *l, int64_t grace_ms);
unsigned loop_n_conns(const struct loop *l); /* owner */
