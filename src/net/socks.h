/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* socks.h -- the client's side of SOCKS5 (RFC 1928, RFC 1929) as bytes, without I/O.
 *
 * One exchange is: greeting, chosen method, [user and password, verdict], request, reply. Answers
 * are read by length: socks_read_*() say how many bytes they need in all, so that not one byte is
 * taken that belongs to what comes after. Tor keeps connections with different user and password
 * on different circuits; that is what SOCKS_ISOLATE is for. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/wr.h"
#include "net/reach.h"

enum {
    SOCKS_USER_MAX = 128, /* bytes with terminator */
    SOCKS_OUT_MAX = 520,  /* bytes of our longest message */
    SOCKS_IN_MAX = 262,   /* bytes of the longest answer: a name as bound address */
};

enum socks_auth {
    SOCKS_ISOLATE, /* random user and password for each connection */
    SOCKS_NO_AUTH,
    SOCKS_PASSWORD
};

struct socks_proxy {
    char host[HOST_TEXT_MAX];
    uint16_t port;
    enum socks_auth auth;
    char user[SOCKS_USER_MAX], password[SOCKS_USER_MAX]; /* with SOCKS_PASSWORD; secret */
};

/* "host:port" or ":port" (127.0.0.1), after "user:password@" or "@" (no authentication); an IPv6
 * host stands in brackets. As the reference writes it; which takes 9050 for a port that is not
 * there, and a mistyped address for a name. E_SYNTAX. */
MUST_USE enum err socks_proxy_parse(const char *text, struct socks_proxy *ret);

void socks_write_greeting(enum socks_auth auth, struct wr *w);
void socks_write_password(const char *user, const char *password, struct wr *w);
/* An IP address as such, anything else by name: then the proxy looks it up. */
void socks_write_connect(const char *host, uint16_t port, struct wr *w);

enum socks_verdict { SOCKS_MORE, SOCKS_GRANTED, SOCKS_REFUSED };

/* SOCKS_MORE: *ret_need bytes in all are needed to say more. */
enum socks_verdict socks_read_method(struct bytes in, enum socks_auth auth, size_t *ret_need);
enum socks_verdict socks_read_password(struct bytes in, size_t *ret_need);
enum socks_verdict socks_read_connect(struct bytes in, size_t *ret_need);
