/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_job.h -- the files of the statistics, kept by a thread of their own, which alone waits for
 * the disk.
 *
 * With log_stats: the state is read at the start, and written every five minutes, after each
 * midnight and at the stop, each time as a new file that takes the place of the old one; at 00:00
 * UTC the day's line goes to the CSV file. A line that cannot be written is kept and tried again. A
 * damaged state file is kept under another name, with a warning, and counting begins at zero: it is
 * no reason to serve nobody. With an interval for Prometheus: the metrics, a new file each time.
 *
 * Without log_stats the day ends for the active queues only; counters go on, as nobody writes them
 * down. A midnight at which the server did not run is passed over: the day goes on until the next.
 * A clock that goes back by less than a day ends no day twice. */
#pragma once

#include "app/files/paths.h"
#include "app/files/problem.h"
#include "base/vfs.h"
#include "stats/report.h"

struct stats_job;

struct stats_job_opts {
    const struct env *env; /* borrowed, as all */
    const struct vfs *vfs;
    struct stats *stats;
    const struct paths *paths;
    bool log_stats;
    int64_t metrics_interval_s; /* 0: no file */
    const char *version;
    void (*gauges)(void *ctx, struct stats_gauges *ret); /* any thread; fills in all */
    void *ctx;
};

/* Reads the state: before anything is counted. E_SYS when there is a state file that cannot be
 * read, or kept aside; E_NO_MEMORY. */
MUST_USE enum err stats_job_new(const struct stats_job_opts *o, struct stats_job **ret,
                                struct problem *ret_problem);
/* Its thread. E_SYS. */
MUST_USE enum err stats_job_start(struct stats_job *j);
/* Ends the thread and writes what is to be kept. NULL and what was not started are fine. */
void stats_job_stop(struct stats_job *j);
void stats_job_free(struct stats_job *j); /* after the stop; NULL is a no-op */

/* Does what is due; what the thread does every second. */
void stats_job_tick(struct stats_job *j);
/* Writes the state now (with log_stats). Any thread. E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err stats_job_save(struct stats_job *j);
/* Any thread. */
void stats_job_report(struct stats_job *j, struct stats_report *ret);
