/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* checks_priv.h -- inside of the list of checks: for checks.c and check_pages.c. */
#pragma once

#include "app/server/checks.h"
#include "app/server/ports.h"

/* One more finding, counted. */
void checks__tell(struct checks *c, enum finding_level level, const char *name, const char *fmt,
                  ...) PRINTF_LIKE(4, 5);
/* "2026-12-31" */
void checks__write_day(int64_t t_s, char *ret, size_t cap);
/* By the server that runs; without storage, by whoever has the port. */
bool checks__is_served(const struct checks *c, const struct port_use *u);

/* The certificate that browsers see; and the pages, where they are served, asked for as a visitor
 * does. */
void checks__look_at_pages(struct checks *c);
