/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* visit.h -- one page, asked for as a browser does: by its name, with the certificates that the
 * system trusts (or the file that SSL_CERT_FILE names), without a proxy. No redirect is followed.
 *
 * Waits. Any thread that is no loop's; the first call before there are others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

enum visit_end {
    VISIT_ANSWER,     /* status and the rest */
    VISIT_NO_HOST,    /* it cannot be looked up */
    VISIT_NO_CONNECT, /* nobody takes connections there */
    VISIT_LATE,       /* not in time */
    VISIT_BAD_CERT,   /* TLS is there, and its certificate is not one that a browser takes */
    VISIT_NO_TLS,
    VISIT_BROKEN /* no HTTP, cut off, or out of memory */
};

enum { VISIT_URL_MAX = 512, VISIT_FIELD_MAX = 512, VISIT_BODY_MAX = 64 * 1024 };

struct visit_opts {
    const char *url;      /* borrowed for the call, as all */
    const char *at;       /* an address to connect to in place of the URL's host; NULL: that one */
    const char *language; /* Accept-Language; NULL: none */
    bool trusts_all;      /* any certificate, to see what is behind it */
    int64_t timeout_ms;
};

struct visit {
    enum visit_end end;
    char why[256]; /* unless VISIT_ANSWER: libcurl's words */
    unsigned status;
    bool is_whole;                                             /* the body fits into body */
    char address[64];                                          /* that was connected to; "" */
    char tried[64];                                            /* the last one that was tried; "" */
    char location[VISIT_FIELD_MAX], language[VISIT_FIELD_MAX]; /* of the answer; "" */
    int64_t cert_begins_s, cert_expires_s;                     /* Unix seconds; 0: not known */
    size_t n_body;
    char body[VISIT_BODY_MAX + 1]; /* terminated */
};

/* Owned: free(). NULL: out of memory. */
MUST_USE struct visit *visit_page(const struct visit_opts *o);
