/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* web_values.h -- what the pages tell of this server: the settings, as the values of their
 * templates. No words are made here, as the pages are in several languages. Pure; any thread. */
#pragma once

#include "app/settings/conf.h"
#include "web/site.h"

enum { WEB_VALUES_MAX = 96, WEB_VALUES_TEXT = 16 * 1024, WEB_URL_MAX = CONF_TEXT_MAX + 32 };

struct web_values {
    size_t n;
    struct site_value v[WEB_VALUES_MAX]; /* borrow from the settings and from text */
    struct wr w;                         /* over text */
    char text[WEB_VALUES_TEXT];
};

/* fingerprint: of the server. c is borrowed as long as the values are used. ret is not moved.
 * E_LIMIT: they do not fit. */
MUST_USE enum err web_values_make(const struct conf *c, struct bytes fingerprint,
                                  struct web_values *ret);
/* The first of the hosts, and the first that is an onion service's, into cap bytes; "" where there
 * is none. */
void web_host(const struct conf *c, bool is_onion, char *ret, size_t cap);
/* Either of them: what the server is called. */
void web_name(const struct conf *c, char *ret, size_t cap);
/* Where the page about this server is, with TLS or without. */
void web_url(const struct conf *c, bool is_secure, char *ret, size_t cap);
