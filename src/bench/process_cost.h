/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* process_cost.h -- what a process costs: processor time, memory, wake-ups and writes, from /proc.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Threads of smp-server by what they do; those of other programs are all OTHERS. */
enum proc_role { ROLE_LOOPS, ROLE_COMMIT, ROLE_JOURNAL, ROLE_OTHERS, N_PROC_ROLES };
const char *proc_role_name(enum proc_role r); /* static */

struct proc_sample {
    int64_t cpu_ns; /* of all its threads that live, as what follows */
    uint64_t rss_bytes, peak_rss_bytes;
    uint64_t wake_ups[N_PROC_ROLES]; /* times that they had slept; of their own will */
    uint64_t preempted;              /* times that another had to run */
    uint64_t file_bytes;             /* written to files; 0: the kernel says not */
};

/* False when there is no such process, or it may not be looked at. */
bool proc_read(int pid, struct proc_sample *ret);

/* For tests: the texts of /proc. All false when it is not there. Pure. */
bool proc_parse_schedstat(const char *text, int64_t *ret_cpu_ns);
bool proc_parse_status(const char *text, const char *key, uint64_t *ret_bytes); /* in kB */
bool proc_parse_count(const char *text, const char *key, uint64_t *ret);        /* a plain number */
enum proc_role proc_parse_role(const char *status);                             /* of a thread */
