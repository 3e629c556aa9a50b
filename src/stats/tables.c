/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/tables.h"

const struct metric_row METRIC_ROWS[N_STAT_METRICS] = {
#define METRIC(id, type, unit, name, help) [METRIC_##id] = {TYPE_##type, UNIT_##unit, name, help},
#include "stats/metrics.def"
#undef METRIC
};

const struct stat_row STAT_ROWS[N_STATS] = {
#define STAT(id, section, name, span, csv, line, metric, labels)                                   \
    [STAT_##id] = {section, name, SPAN_##span, csv, line, METRIC_##metric, labels},
#include "stats/stats.def"
#undef STAT
};

const struct gauge_row GAUGE_ROWS[N_STAT_GAUGES] = {
#define GAUGE(id, csv_name, csv, line_name, line, role, metric, labels, from, which)               \
    [GAUGE_##id] = {csv_name, csv, line_name, line, ROLE_##role, METRIC_##metric, labels},
#include "stats/gauges.def"
#undef GAUGE
};

const struct histogram_row HISTOGRAM_ROWS[N_STAT_HISTOGRAMS] = {
#define HISTOGRAM(id, metric, ...)                                                                 \
    [HISTOGRAM_##                                                                                  \
        id] = {METRIC_##metric, ARRAY_LEN(((const uint64_t[]){__VA_ARGS__})), {__VA_ARGS__}},
#include "stats/histograms.def"
#undef HISTOGRAM
};
