/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dashboard.h -- a page with the course of the figures, and the same as JSON (/data.json), on a
 * loopback address, for who knows the control port's user password (docs/adr, "Dashboard").
 *
 * Two threads of its own: libmicrohttpd's, which answers, and one that takes the figures every five
 * seconds, without stopping a loop, from dashboard_start() on. Start when the relay has started;
 * stop before it is freed. Main thread, where nothing else is said. */
#pragma once

#include "base/env.h"
#include "base/err.h"

struct dashboard;
struct site;
struct stats;
struct stats_gauges;
struct stats_sheet;

struct dashboard_opts {
    const struct env *env; /* borrowed */
    const char *host;      /* numeric; must be a loopback address. Borrowed for the call */
    uint16_t port;
    struct site *site;          /* site_new_dashboard(); counted */
    struct stats *stats;        /* borrowed */
    struct stats_sheet *sheet;  /* borrowed: one that no other thread has */
    const char *version, *name; /* of program and server; borrowed */
    void *ctx;                  /* borrowed */
    void (*gauges)(void *ctx, struct stats_gauges *ret); /* any thread; must not block */
};

/* Listens. E_HOST: not a loopback address; E_SYS with errno; E_NO_MEMORY. */
MUST_USE enum err dashboard_new(const struct dashboard_opts *o, struct dashboard **ret);
MUST_USE enum err dashboard_start(struct dashboard *d); /* E_SYS with errno */
void dashboard_stop(struct dashboard *d);               /* NULL and what was not started are fine */
void dashboard_free(struct dashboard *owned);           /* after the stop; NULL is a no-op */

/* Secret; "": nobody is let in. Copied. Any thread. */
void dashboard_set_password(struct dashboard *d, const char *password);
