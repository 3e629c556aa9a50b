/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* report.h -- the statistics of one moment, and the texts made of them: a line of the daily CSV
 * file, the answer of the control port, the metrics for Prometheus, the state file.
 *
 * Whoever reports fills in a struct stats_gauges with what is known outside of stats/ (how much is
 * stored, say); stats_report() adds what is on the sheets. The writers are pure: any thread. Names,
 * columns and order are in the .def files. */
#pragma once

#include "base/wr.h"
#include "stats/calendar.h"
#include "stats/keys.h"
#include "stats/stats.h"

enum { STATS_PORTS_MAX = 16 };

/* Sockets of one port since the start. */
struct stats_port {
    uint16_t port;
    uint64_t accepted, closed, active;
};

/* There is none: no sample is written. */
#define STATS_NO_VALUE UINT64_MAX

struct stats_gauges {
    uint64_t value[N_STAT_GAUGES]; /* by enum stat_gauge; what is from stats/ is 0 */
    unsigned n_ports;
    struct stats_port port[STATS_PORTS_MAX];
};

struct stats_report {
    struct calendar_time from; /* since when the counters count */
    int64_t now_s;
    uint64_t counter[N_STATS];
    struct stats_gauges gauges; /* all filled in */
    /* whether the counts of active queues are those of a whole period: else their CSV columns are
     * empty, as the reference leaves them */
    bool is_complete[N_STAT_PERIODS];
    struct {
        uint64_t bucket[STATS_BUCKETS], sum, count;
    } histogram[N_STAT_HISTOGRAMS];
};

/* Any thread. */
void stats_report(struct stats *s, const struct stats_gauges *g, struct stats_report *ret);

/* The end of a day: reports and begins a new period. Daily counters begin at zero again; the active
 * queues of the day do; those of the week when the new day is a Monday, those of the month when it
 * is the first. A Monday or a first at which the server did not run does not end a period: the next
 * one does (as in the reference). Any thread. */
void stats_end_day(struct stats *s, const struct stats_gauges *g, struct stats_report *ret);
/* The same for the active queues alone: nobody writes counters down at the end of the day. */
void stats_end_active_day(struct stats *s);

/* Room for what the writers write, in bytes. */
enum { STATS_CSV_MAX = 4096, STATS_CONTROL_MAX = 8192, STATS_METRICS_MAX = 65536 };

/* One line with its end. */
void stats_write_csv(const struct stats_report *r, struct wr *w);
/* The answer to `stats`, one figure a line. */
void stats_write_control(const struct stats_report *r, bool is_admin, struct wr *w);
enum stats_metrics_for {
    METRICS_FOR_HTTP,
    METRICS_FOR_FILE,     /* of the reference's form: each sample has the time of the report */
    METRICS_FOR_EXPORTER, /* that of node_exporter, which takes no times, and has process_* of its
                           * own
                           */
};
/* Prometheus' text format 0.0.4. */
void stats_write_metrics(const struct stats_report *r, const char *version,
                         enum stats_metrics_for what_for, struct wr *w);

/* The state file (docs/FORMATS.md): what a restart must not lose. *ret_text is the caller's to
 * free; its hashes are made with *ret_keys, which are the caller's to wipe. q_count: queues stored.
 * Any thread. E_NO_MEMORY. */
MUST_USE enum err stats_save(struct stats *s, uint64_t q_count, uint8_t **ret_text, size_t *ret_n,
                             struct stats_keys *ret_keys);
/* Before anything is counted. Reads what this version and the reference from 2.0 on wrote.
 * keys: those of its hashes, which s takes over; NULL when they are the reference's. E_SYNTAX:
 * damaged, nothing was changed. */
MUST_USE enum err stats_restore(struct stats *s, struct bytes text, const struct stats_keys *keys);
