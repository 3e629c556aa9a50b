/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp_uri.h -- a server's address as people hand it around (spec: wire, section 8):
 *
 *     smp://<fingerprint>[:<password>]@<host>[,<host>...][:<port>]
 *
 * The fingerprint is base64url, with or without padding. An IPv6 host stands in brackets. Nothing
 * is percent-encoded: a password is printable ASCII without whitespace, '@', ':', '/'. Pure. */
#pragma once

#include "base/err.h"
#include "crypto/crypto.h"
#include "net/reach.h"

enum {
    SMP_URI_HOSTS_MAX = 8,
    SMP_PASSWORD_MAX = 256, /* bytes with terminator: NEW has one byte for the length */
    SMP_DEFAULT_PORT = 5223,
};

struct smp_uri {
    uint8_t identity[SHA256_LEN];
    char password[SMP_PASSWORD_MAX];              /* "": none; secret: smp_uri_done() */
    char hosts[SMP_URI_HOSTS_MAX][HOST_TEXT_MAX]; /* IPv6 without brackets */
    unsigned n_hosts;                             /* at least 1 */
    uint16_t port;
};

/* May it stand in an address: 1 to SMP_PASSWORD_MAX - 1 printable ASCII characters other than
 * space,
 * '@', ':' and '/'? */
bool smp_is_password(struct bytes b);
/* E_SYNTAX, with *ret_why, static, saying what is wrong with it: "no port has this number". */
MUST_USE enum err smp_uri_parse(const char *text, struct smp_uri *ret, const char **ret_why);
void smp_uri_done(struct smp_uri *u); /* wipes */

/* The first onion host, or the first that is none; NULL when there is none of that kind. */
const char *smp_uri_host(const struct smp_uri *u, bool onion);
