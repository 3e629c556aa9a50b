/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <stddef.h>
#include <string.h>

#include "stats/report.h"
#include "stats/tables.h"

struct out {
    const struct stats_report *r;
    const char *version;
    bool with_time;
    struct wr *w;
};

static void write_value(const struct out *o, enum metric_unit unit, uint64_t v) {
    if (unit == UNIT_ONE) {
        wr_dec(o->w, v);
        return;
    }
    wr_dec(o->w, v / 1000000);
    wr_u8(o->w, '.');
    for (uint64_t digit = 100000; digit != 0; digit /= 10) {
        wr_u8(o->w, (uint8_t)('0' + v / digit % 10));
    }
}

/* Name, suffix and labels of a sample. */
static void begin_sample(const struct out *o, enum stat_metric m, const char *suffix,
                         const char *labels) {
    wr_str(o->w, METRIC_ROWS[m].name);
    wr_str(o->w, suffix);
    if (labels[0] != '\0') {
        wr_u8(o->w, '{');
        wr_str(o->w, labels);
        wr_u8(o->w, '}');
    }
    wr_u8(o->w, ' ');
}

static void end_sample(const struct out *o) {
    if (o->with_time) {
        wr_u8(o->w, ' ');
        wr_dec(o->w, (uint64_t)o->r->now_s * 1000);
    }
    wr_u8(o->w, '\n');
}

static void write_sample(const struct out *o, enum stat_metric m, const char *suffix,
                         const char *labels, uint64_t v) {
    begin_sample(o, m, suffix, labels);
    write_value(o, METRIC_ROWS[m].unit, v);
    end_sample(o);
}

static void write_count(const struct out *o, enum stat_metric m, const char *suffix,
                        const char *labels, uint64_t v) {
    begin_sample(o, m, suffix, labels);
    wr_dec(o->w, v);
    end_sample(o);
}

/* The label of a bucket; ret has room for it. */
static void bucket_label(const struct out *o, const struct histogram_row *row, unsigned bucket,
                         char ret[static 48]) {
    struct wr w = wr_init(ret, 47);
    const struct out label = {o->r, NULL, false, &w};
    wr_str(&w, "le=\"");
    if (bucket < row->n_bounds) {
        write_value(&label, METRIC_ROWS[row->metric].unit, row->bound[bucket]);
    } else {
        wr_str(&w, "+Inf");
    }
    wr_u8(&w, '"');
    ret[w.at] = '\0';
}

static void write_histogram(const struct out *o, unsigned h) {
    const struct histogram_row *row = &HISTOGRAM_ROWS[h];
    uint64_t sum = 0;
    write_sample(o, row->metric, "_sum", "", o->r->histogram[h].sum);
    write_count(o, row->metric, "_count", "", o->r->histogram[h].count);
    for (unsigned b = 0; b <= row->n_bounds; b++) {
        char label[48];
        bucket_label(o, row, b, label);
        sum += o->r->histogram[h].bucket[b];
        write_count(o, row->metric, "_bucket", label, sum);
    }
}

/* The one of struct stats_port, by metric. */
static uint64_t of_port(const struct stats_port *p, enum stat_metric m) {
    switch (m) {
    case METRIC_SOCKETS_ACCEPTED:
        return p->accepted;
    case METRIC_SOCKETS_CLOSED:
        return p->closed;
    case METRIC_SOCKETS_ACTIVE:
        return p->active;
    default:
        break; /* leaked; the three are not read at one instant */
    }
    const uint64_t known = p->closed + p->active;
    return p->accepted > known ? p->accepted - known : 0;
}

static void write_ports(const struct out *o, enum stat_metric m) {
    for (unsigned i = 0; i < o->r->gauges.n_ports; i++) {
        const struct stats_port *p = &o->r->gauges.port[i];
        char label[16];
        struct wr w = wr_init(label, sizeof label - 1);
        wr_str(&w, "port=\"");
        wr_dec(&w, p->port);
        wr_u8(&w, '"');
        label[w.at] = '\0';
        write_sample(o, m, "", label, of_port(p, m));
    }
}

/* Never with a time, as in the reference: it does not change. */
static void write_info(const struct out *o) {
    wr_str(o->w, METRIC_ROWS[METRIC_INFO].name);
    wr_str(o->w, "{version=\"");
    wr_str(o->w, o->version);
    wr_str(o->w, "\",rts_options=\"\"} 1\n");
}

static void write_rows(const struct out *o, enum stat_metric m) {
    for (unsigned i = 0; i < N_STATS; i++) {
        if (STAT_ROWS[i].metric == m) {
            write_sample(o, m, "", STAT_ROWS[i].labels, o->r->counter[i]);
        }
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        if (GAUGE_ROWS[i].metric == m && o->r->gauges.value[i] != STATS_NO_VALUE) {
            write_sample(o, m, "", GAUGE_ROWS[i].labels, o->r->gauges.value[i]);
        }
    }
    for (unsigned i = 0; i < N_STAT_HISTOGRAMS; i++) {
        if (HISTOGRAM_ROWS[i].metric == m) write_histogram(o, i);
    }
}

static void write_metric(const struct out *o, enum stat_metric m) {
    static const char *const TYPES[] = {"counter", "gauge", "histogram"};
    const struct metric_row *row = &METRIC_ROWS[m];
    const char *head[] = {"# HELP ", row->name, " ", row->help, "\n# TYPE ", row->name, " "};
    for (size_t i = 0; i < ARRAY_LEN(head); i++) wr_str(o->w, head[i]);
    wr_str(o->w, TYPES[row->type]);
    wr_u8(o->w, '\n');
    switch (m) {
    case METRIC_INFO:
        write_info(o);
        break;
    case METRIC_SOCKETS_ACCEPTED:
    case METRIC_SOCKETS_CLOSED:
    case METRIC_SOCKETS_ACTIVE:
    case METRIC_SOCKETS_LEAKED:
        write_ports(o, m);
        break;
    default:
        write_rows(o, m);
    }
    wr_u8(o->w, '\n');
}

static bool is_of_process(enum stat_metric m) {
    static const char PREFIX[] = "process_";
    return strncmp(METRIC_ROWS[m].name, PREFIX, sizeof PREFIX - 1) == 0;
}

void stats_write_metrics(const struct stats_report *r, const char *version,
                         enum stats_metrics_for what_for, struct wr *w) {
    const struct out o = {r, version, what_for == METRICS_FOR_FILE, w};
    wr_str(w, "# Recorded at: ");
    calendar_write_iso((struct calendar_time){.s = r->now_s}, w);
    wr_str(w, "\n# Stats from: ");
    calendar_write_iso(r->from, w);
    wr_str(w, "\n\n");
    for (unsigned m = METRIC_NONE + 1; m < N_STAT_METRICS; m++) {
        if (what_for != METRICS_FOR_EXPORTER || !is_of_process(m)) write_metric(&o, m);
    }
}
