/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* reach.h -- which addresses a server may connect to on behalf of strangers, and what kind of host
 * a text names.
 *
 * A proxy connects to whatever its clients name, so without a rule it would reach what only this
 * machine can reach: services on the loopback interface, the router, the metadata service of a
 * hoster. Only global unicast addresses pass; addresses that carry an IPv4 address inside (mapped,
 * NAT64, 6to4) are judged by that. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

enum { HOST_TEXT_MAX = 256 }; /* bytes of a host name with terminator: DNS allows 253 */

/* False for loopback, private (RFC 1918), shared (RFC 6598), link-local, unique local, multicast,
 * unspecified, documentation and other reserved addresses, and for families that are not IP. */
bool reach_is_public(const struct sockaddr *a);

enum host_kind {
    HOST_BAD,   /* not a host at all */
    HOST_IP,    /* an IPv4 or IPv6 address, without brackets */
    HOST_ONION, /* whatever its case, and with or without a dot at its end */
    HOST_NAME
};
enum host_kind host_kind_of(const char *host);
/* The loopback names of RFC 6761, which a SOCKS proxy would look up on its own machine. */
bool host_is_local_name(const char *host);
