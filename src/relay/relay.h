/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay.h -- the relay: sessions of all loops over one store.
 *
 * Start: relay_new(), then relay_conn_opts() for the listeners, then relay_start() before the loops
 * start. Stop: loop_close_conns() on each loop, stop and join them, store_stop(), then run what was
 * posted meanwhile (loop_join() again), then relay_free(): the store's threads may call here until
 * they have ended, and what they post names sessions of the relay. */
#pragma once

#include "net/conn.h"
#include "relay/session/gauges.h"
#include "relay/session/rules.h"
#include "relay/session/settings.h"

struct relay;
struct fates;

MUST_USE enum err relay_new(const struct relay_opts *o, struct relay **ret); /* E_NO_MEMORY */
MUST_USE enum err relay_start(
    struct relay *r);             /* timers and tables of each loop; before loop_start() */
void relay_free(struct relay *r); /* see above; NULL is a no-op */
const struct conn_opts *relay_conn_opts(const struct relay *r); /* borrowed */

/* To be called when the store says that something became durable. Any thread, between relay_new()
 * and relay_free(). */
void relay_on_durable(struct relay *r);
/* Where others wait for the disk too: fate_desk_open(). Between relay_new() and relay_free(). */
struct fates *relay_fates(struct relay *r);
