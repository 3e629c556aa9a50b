/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* aside.h -- answers to SENDs whose messages are held (store_is_held()): they do not keep their
 * place, so that nothing waits behind a recipient. Each joins the outbox when its fate is known.
 * Owner loop only. */
#pragma once

#include "relay/delivery/outbox.h"

struct session;

/* t is copied; it owns nothing but its follow-up. E_NO_MEMORY. */
MUST_USE enum err aside_add(struct session *s, const struct out_text *t);
/* The connection is closed: nobody is told any more, what is to follow is settled. */
void asides_done(struct session *s);
