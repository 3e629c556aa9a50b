/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tables.h -- the rows of the .def files as data, for what writes and reads them. */
#pragma once

#include "stats/report.h"

enum stat_metric {
    METRIC_NONE, /* of a figure that is no metric */
#define METRIC(id, ...) METRIC_##id,
#include "stats/metrics.def"
#undef METRIC
    N_STAT_METRICS
};

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };
enum metric_unit { UNIT_ONE, UNIT_US };
enum stat_span { SPAN_DAILY, SPAN_LASTING };
enum stat_role { ROLE_USER, ROLE_ADMIN };

struct metric_row {
    enum metric_type type;
    enum metric_unit unit;
    const char *name, *help;
};

struct stat_row {
    const char *section, *name;
    enum stat_span span;
    unsigned csv, line;
    enum stat_metric metric;
    const char *labels;
};

struct gauge_row {
    const char *csv_name;
    unsigned csv;
    const char *line_name;
    unsigned line;
    enum stat_role role;
    enum stat_metric metric;
    const char *labels;
};

struct histogram_row {
    enum stat_metric metric;
    unsigned n_bounds;
    uint64_t bound[STATS_BUCKETS - 1];
};

extern const struct metric_row METRIC_ROWS[N_STAT_METRICS]; /* the first has no name */
extern const struct stat_row STAT_ROWS[N_STATS];
extern const struct gauge_row GAUGE_ROWS[N_STAT_GAUGES];
extern const struct histogram_row HISTOGRAM_ROWS[N_STAT_HISTOGRAMS];
