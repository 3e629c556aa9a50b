/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* web.h -- what a server has for browsers: the site, and what answers depend on besides. Shared by
 * all loops; any thread, where nothing else is said. */
#pragma once

#include "base/env.h"
#include "net/conn.h"
#include "web/site.h"

struct web;

enum { WEB_TOKEN_MAX = 128, WEB_CHALLENGE_MAX = 1024 }; /* bytes: of names, and of their files */

struct web_opts {
    const struct env *env;       /* borrowed */
    struct admission *admission; /* borrowed */
    int64_t tls_timeout_ms;
    unsigned conns_max;       /* browsers at once; more are closed at once */
    const char *host, *onion; /* of this server, "" where there is none; borrowed */
    uint16_t https_port;      /* 0: none */
    bool is_for_upgrades;     /* no pages, and HTTP/1.1 whatever ALPN says, as a client's may */
    const char *challenges;   /* directory of the files of /.well-known/acme-challenge/, or NULL */
};

/* *ret: web_free(), when the loops are gone. E_NO_MEMORY. */
MUST_USE enum err web_new(const struct web_opts *o, struct web **ret);
void web_free(struct web *w); /* NULL is a no-op */
/* For answers from now on. NULL: there are no pages. */
void web_set_site(struct web *w, struct site *owned);
/* Does https work? Then those who come to the plain port are sent there. */
void web_set_secure(struct web *w, bool is_secure);

/* From now on who asks for WebSocket, with TLS, becomes a connection of o (net/websocket.h); smp is
 * counted: whose certificate it shows there. o is borrowed until web_free(). */
void web_set_smp(struct web *w, const struct conn_opts *o, SSL_CTX *smp);

/* For listeners of browsers alone, with TLS or without. Borrowed from w. */
const struct stream_opts *web_stream_opts(struct web *w);
/* Makes s speak HTTP; for use in on_up(). E_LIMIT: there are conns_max already. */
MUST_USE enum err web_frame(struct stream *s, struct web *w);

/* ---- for the framings ---- */

bool web_has_smp(struct web *w);
/* See websocket_frame(), whose errors it has; the framing leaves w then. */
MUST_USE enum err web_upgrade(struct web *w, struct stream *s, struct bytes challenge);

struct web_ask {
    bool is_head, is_secure;
    bool is_path_known; /* false: nothing can be there */
    struct bytes path, host, accept_language, accept_encoding, if_none_match;
};

enum { WEB_FIELDS_MAX = 20 };

struct web_field {
    const char *name, *value; /* name: in small letters; static, or in the answer */
};

struct web_answer {
    unsigned status, n_fields;
    struct web_field fields[WEB_FIELDS_MAX];
    struct bytes body;     /* in site, or in own; empty where only fields are to be sent */
    struct site *site;     /* owned; NULL: body is not in it */
    struct site_form form; /* of a file of the site */
    char length[16], date[32], modified[32], location[640], onion[640];
    uint8_t own[WEB_CHALLENGE_MAX];
};

/* The answer to a request. Its site is released by the caller, when body was sent; *ret is not
 * moved until then. */
void web_answer(struct web *w, const struct web_ask *ask, struct web_answer *ret);
/* That it is refused with this status, before it could be understood. */
void web_refuse(struct web *w, unsigned status, bool is_secure, struct web_answer *ret);
void web_count(struct stream *s, unsigned status); /* an answer */
void web_leave(struct web *w);                     /* a framing has ended */
