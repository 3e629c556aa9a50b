/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* later.h -- commands that are answered later, as the session sees them: handlers/cmd_proxy.c and
 * handlers/cmd_rslv.c. Owner loop only. */
#pragma once

#include <stdbool.h>

struct session;

/* Of a session that ends. */
void proxied_done(struct session *s);
void names_done(struct session *s);
bool names_are_waiting(const struct session *s); /* then it is not read */
