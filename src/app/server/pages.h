/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* pages.h -- the web side of a running server: made from the settings, and made anew when they
 * change. What goes wrong with it is warned of, and never keeps the relay from running. Main
 * thread.
 */
#pragma once

#include "app/server/identity.h"
#include "app/server/page_cert.h"
#include "app/settings/conf.h"
#include "web/web.h"

struct pages;

struct pages_opts {
    const struct conf *conf;         /* borrowed for the call */
    const struct identity *identity; /* borrowed for the call */
    const char *ini_path;            /* borrowed for the call */
    struct admission *admission;     /* borrowed */
    unsigned conns_max;              /* browsers at once */
    int64_t tls_timeout_ms;
};

/* *ret: pages_free(), when the loops are gone; NULL where the settings ask for no pages.
 * E_NO_MEMORY. */
MUST_USE enum err pages_new(const struct pages_opts *o, struct pages **ret);
void pages_free(struct pages *p);
struct web *pages_web(const struct pages *p); /* borrowed */
/* See page_cert_look(); p may be NULL. */
bool pages_look_at_cert(struct pages *p, const struct conf *conf, bool is_asked);
SSL_CTX *pages_tls(const struct pages *p);           /* borrowed; NULL: there is no certificate */
int64_t pages_cert_expires_s(const struct pages *p); /* any thread; PAGE_CERT_NONE: there is none */
/* Brings what is in static_path up to date; p may be NULL. */
void pages_write_files(struct pages *p, const struct conf *conf);
/* Pages that tell of other settings from now on. E_NO_MEMORY: all stays as it was. */
MUST_USE enum err pages_reload(struct pages *p, const struct conf *conf);
