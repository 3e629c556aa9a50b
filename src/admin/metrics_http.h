/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* metrics_http.h -- GET /metrics for Prometheus, on a loopback address (docs/adr, "HTTP").
 *
 * One thread of its own, that of libmicrohttpd; figures are gathered without stopping a loop. Other
 * paths are not found, other methods than GET and HEAD are not allowed; number, memory and time of
 * connections are bounded. Start when the relay has started; stop before it is freed. Main thread.
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct metrics_http;
struct stats;
struct stats_sheet;
struct stats_gauges;

struct metrics_http_opts {
    const char *host; /* numeric IPv4 or IPv6; must be a loopback address. Borrowed for the call */
    uint16_t port;
    struct stats *stats;       /* borrowed */
    struct stats_sheet *sheet; /* borrowed: one that no other thread has */
    const char *version;       /* of the program; borrowed */
    void *ctx;                 /* borrowed */
    void (*gauges)(void *ctx, struct stats_gauges *ret); /* any thread; must not block */
};

/* Listens. E_HOST: not a loopback address; E_SYS with errno; E_NO_MEMORY. */
MUST_USE enum err metrics_http_new(const struct metrics_http_opts *o, struct metrics_http **ret);
/* Its thread. E_SYS with errno. */
MUST_USE enum err metrics_http_start(struct metrics_http *m);
void metrics_http_stop(struct metrics_http *m);     /* NULL and what was not started are fine */
void metrics_http_free(struct metrics_http *owned); /* after the stop; NULL is a no-op */
