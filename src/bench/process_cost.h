/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* process_cost.h -- what a process costs: processor time and memory, from /proc. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct proc_sample {
    int64_t cpu_ns; /* of all its threads that live */
    uint64_t rss_bytes, peak_rss_bytes;
};

/* False when there is no such process, or it may not be looked at. */
bool proc_read(int pid, struct proc_sample *ret);

/* For tests: the texts of /proc. Both false when it is not there. Pure. */
bool proc_parse_schedstat(const char *text, int64_t *ret_cpu_ns);
bool proc_parse_status(const char *text, const char *key, uint64_t *ret_bytes);
