/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* figures.h -- where the gauges of the statistics come from that are not counted: the store, the
 * relay, the kernel, the disk, the server. The last columns of stats/gauges.def say which is which.
 */
#pragma once

#include "app/server/storage.h"
#include "relay/relay.h"
#include "stats/report.h"

/* Of the kernel; what it does not tell is 0. */
struct process_figures {
    uint64_t n_threads, cpu_us, resident_bytes, open_fds, max_fds;
};

/* Of the disk; 0 where nothing is stored. What was asked of it is counted since the start. */
struct disk_figures {
    uint64_t used_bytes, free_bytes, n_syncs, n_writes, written_bytes;
};

/* Of the server. */
struct server_figures {
    uint64_t n_workers, started_s;
    uint64_t smp_expires_s, web_expires_s; /* its certificates; STATS_NO_VALUE: there is none */
};

/* Fills in the values, not the ports. Any thread; stops nobody. */
void figures_read(const struct server_figures *server, const struct storage *storage,
                  struct store *s, const struct relay *r, struct stats_gauges *ret);
