/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/stats_doc.h"

#include "stats/active.h"
#include "stats/tables.h"

static const char HEAD[] =
    "<!-- SPDX-License-Identifier: AGPL-3.0-or-later -->\n"
    "<!-- Made from src/stats/*.def by `make docs`: change those. -->\n"
    "# Statistics\n"
    "\n"
    "The server always counts. Figures are shown by the control port (`stats`), by Prometheus'\n"
    "`GET /metrics`, and in files of the state directory:\n"
    "\n"
    "| file | what | when |\n"
    "| --- | --- | --- |\n"
    "| `smp-server-stats.daily.log` | CSV, one line a day, no header | at 00:00 UTC, with "
    "`log_stats: on` |\n"
    "| `smp-server-stats.log` | what a restart must not lose | every 5 minutes, after midnight, at "
    "the stop, with `log_stats: on` |\n"
    "| `smp-server-metrics.txt` | the metrics below | every `prometheus_interval` seconds |\n"
    "\n"
    "Names, columns and what is counted are those of the reference (simplexmq 6.5). Nothing here\n"
    "names a queue, a client or an address.\n"
    "\n"
    "## CSV columns\n"
    "\n"
    "Most columns count since the last line; those marked *lasting* never begin anew, and *now* "
    "is\n"
    "how much there is at the moment of the line. The columns of active queues are empty until "
    "their\n"
    "period is over: weeks end on Monday, months on the first, at 00:00 UTC. When the server does "
    "not\n"
    "run at midnight the line is written at the next one, and its date is the day on which it "
    "began.\n"
    "\n"
    "| column | name | counts | what |\n"
    "| --- | --- | --- | --- |\n"
    "| 1 | `fromTime` | | The day on which the columns began to count. |\n";

static const char ACTIVE[] =
    "\n"
    "## Active queues\n"
    "\n"
    "A queue is active when a message is sent to it or acknowledged. Of each only a hash is kept,\n"
    "once for the day, the week and the month, and again for messages with notification. Up to\n";
static const char ACTIVE_END[] =
    " queues the counts are exact; beyond it they are estimated from a sample, with a\n"
    "standard error below 0.3 %, so that each of the six counts takes 4 MiB at most. The\n"
    "state file holds the sample then, and the reference would count that alone.\n"
    "\n"
    "## Metrics\n"
    "\n"
    "In the order in which they are written. The names down to\n"
    "`simplex_smp_loaded_queues_ntf_lock_count` are the reference's; some do not end as "
    "Prometheus\n"
    "recommends (counters without `_total`, gauges with `_total` or `_count`), which is all that\n"
    "`promtool check metrics` remarks. With `log_stats: on` most counters begin at zero again at "
    "midnight,\n"
    "which `rate()` and `increase()` allow for. Samples in the file carry their time, those of "
    "`GET\n"
    "/metrics` do not.\n"
    "\n"
    "| metric | type | labels | column | what |\n"
    "| --- | --- | --- | --- | --- |\n";

static void write_words(struct wr *w, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++) wr_str(w, words[i]);
}
#define WRITE(w, ...)                                                                              \
    write_words(w, (const char *const[]){__VA_ARGS__},                                             \
                ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

/* The guide's name of a column: those of sections begin with it, and with a p in those for proxies.
 */
static void write_csv_name(struct wr *w, const struct stat_row *row) {
    if (row->section == NULL) {
        wr_str(w, row->name);
        return;
    }
    WRITE(w, row->section, "_");
    const bool is_proxy = row->section[0] == 'p';
    if (is_proxy) {
        wr_u8(w, 'p');
        wr_u8(w, (uint8_t)(row->name[0] - 'a' + 'A'));
    }
    wr_str(w, is_proxy ? row->name + 1 : row->name);
}

static void write_what(struct wr *w, enum stat_metric m, const char *labels) {
    if (m == METRIC_NONE) {
        wr_str(w, "Always 0.");
        return;
    }
    wr_str(w, METRIC_ROWS[m].help);
    if (labels[0] != '\0') WRITE(w, " (`", labels, "`)");
}

/* False: there is no such column. */
static bool write_column(struct wr *w, unsigned column) {
    for (unsigned i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &STAT_ROWS[i];
        if (row->csv != column) continue;
        write_csv_name(w, row);
        WRITE(w, "` | ", row->span == SPAN_LASTING ? "lasting" : "", " | ");
        write_what(w, row->metric, row->labels);
        return true;
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        const struct gauge_row *row = &GAUGE_ROWS[i];
        if (row->csv != column) continue;
        const bool is_active = i >= GAUGE_DAY_MSG_QUEUES && i <= GAUGE_MONTH_NTF_QUEUES;
        const bool is_now = !is_active && row->metric != METRIC_NONE;
        WRITE(w, row->csv_name, "` | ", is_now ? "now" : "", " | ");
        write_what(w, row->metric, row->labels);
        return true;
    }
    return false;
}

static void write_columns(struct wr *w) {
    for (unsigned column = 2;; column++) {
        const size_t before = w->at;
        wr_str(w, "| ");
        wr_dec(w, column);
        wr_str(w, " | `");
        if (!write_column(w, column)) {
            w->at = before;
            return;
        }
        wr_str(w, " |\n");
    }
}

static void write_metric_row(struct wr *w, enum stat_metric m, const char *labels, unsigned csv) {
    static const char *const TYPES[] = {"counter", "gauge", "histogram"};
    WRITE(w, "| `", METRIC_ROWS[m].name, "` | ", TYPES[METRIC_ROWS[m].type], " | ");
    if (labels[0] != '\0') WRITE(w, "`", labels, "`");
    wr_str(w, " | ");
    if (csv != 0) wr_dec(w, csv);
    WRITE(w, " | ", METRIC_ROWS[m].help, " |\n");
}

/* What has no rows: the version, and sockets by port. */
static const char *own_labels(enum stat_metric m) {
    return m == METRIC_INFO ? "version, rts_options" : "port";
}

static void write_metric(struct wr *w, enum stat_metric m) {
    const size_t before = w->at;
    for (unsigned i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &STAT_ROWS[i];
        if (row->metric == m) write_metric_row(w, m, row->labels, row->csv);
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        const struct gauge_row *row = &GAUGE_ROWS[i];
        if (row->metric == m) write_metric_row(w, m, row->labels, row->csv);
    }
    if (METRIC_ROWS[m].type == TYPE_HISTOGRAM) write_metric_row(w, m, "le", 0);
    if (w->at == before) write_metric_row(w, m, own_labels(m), 0);
}

void stats_doc_print(struct wr *w) {
    wr_str(w, HEAD);
    write_columns(w);
    wr_str(w, ACTIVE);
    wr_dec(w, ACTIVE_SET_MAX);
    wr_str(w, ACTIVE_END);
    for (unsigned m = METRIC_NONE + 1; m < N_STAT_METRICS; m++) write_metric(w, m);
}
