/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* gauges.h -- how much there is at the moment, kept by each loop as it comes and goes. */
#pragma once

#include "relay/session/ages.h"
#include "stats/stats.h"

struct relay;
struct session;

/* Counts the session in a gauge of sessions, or no longer. */
void gauge_set(struct session *s, enum stat_gauge g, bool is);
/* After a change of what the session is subscribed to, or of what it serves. */
void gauges_update_subs(struct session *s);

/* The messages that wait for ACK. Any thread, between relay_start() and relay_free(); stops nobody.
 */
void relay_waiting_acks(const struct relay *r, struct ages_sum *ret);
