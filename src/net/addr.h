/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* addr.h -- addresses of sockets: read from texts, taken apart, bound. Any thread. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/bytes.h"

union addr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* A numeric IPv4 or IPv6 address, without brackets and without a zone; false: it is none. */
bool addr_parse(const char *host, uint16_t port, union addr *ret);
bool addr_is_ip(const char *host); /* would it be parsed? */
socklen_t addr_len(const struct sockaddr *a);
uint16_t addr_port(const union addr *a);

/* The address alone, in the order of the network: 4 bytes of IPv4, 16 of IPv6, none of other
 * families. Views a. */
struct bytes addr_bytes(const struct sockaddr *a);
/* The 4 bytes inside of the 16 by which a dual-stack socket shows an IPv4 peer; else what is given.
 */
struct bytes addr_unmapped(struct bytes address);
bool addr_is_loopback(const struct sockaddr *a); /* 127.0.0.0/8, ::1 */

/* A TCP socket that does not block, bound to a; -1 with errno. is_dual_stack: an IPv6 address takes
 * IPv4 too; shares_port: others may do the same (SO_REUSEPORT). */
int addr_bind(const union addr *a, bool is_dual_stack, bool shares_port);
/* Closes and leaves errno as it is: for the way out after a failure. */
void addr_close(int fd);
