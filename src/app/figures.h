/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* figures.h -- where the gauges of the statistics come from: the store, the relay, the kernel. Each
 * fills in its rows of stats/gauges.def. Any thread; reading stops nobody. */
#pragma once

#include "relay/relay.h"
#include "stats/report.h"

void figures_of_store(struct store *s, struct stats_gauges *ret);
void figures_of_relay(const struct relay *r, struct stats_gauges *ret);
/* Memory, processor time, threads and files; rows that the kernel does not tell stay 0. */
void figures_of_process(struct stats_gauges *ret);
