/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/history.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "stats/tables.h"

enum kind { KIND_RATE, KIND_COUNT, KIND_LEVEL, KIND_HALF, KIND_NEARLY };
enum { PER_MILLE_HALF = 500, PER_MILLE_NEARLY = 990, US_PER_MS = 1000 };
enum { FINE_PER_DAY_STEP = HISTORY_DAY_STEP_S / HISTORY_STEP_S };

static const struct series_row {
    const char *name;
    enum kind kind;
    int which; /* enum stat_id, stat_gauge or stat_histogram */
    enum stat_id also;
} ROWS[N_HISTORY_SERIES] = {
#define SERIES(id, name, kind, which, also) {name, KIND_##kind, which, also},
#include "stats/history.def"
#undef SERIES
};

struct point {
    int64_t time_s;
    double value[N_HISTORY_SERIES]; /* NAN: none */
};

/* What was counted until some moment. */
struct totals {
    int64_t mono_ms;
    uint64_t sum[N_HISTORY_SERIES];
    uint64_t bucket[N_STAT_HISTOGRAMS][STATS_BUCKETS];
};

struct ring {
    struct point *points; /* borrowed from the history */
    unsigned step_s, cap, n, first;
    struct totals before; /* at the beginning of the step */
};

struct history {
    int64_t began_s, last_s; /* last_s: of the last call; 0: there was none */
    unsigned n_steps;
    struct ring fine, day;
    struct point points[HISTORY_FINE_POINTS + HISTORY_DAY_POINTS];
};

enum { SIZE_MAX_BYTES = 264 * 1024 };
_Static_assert(sizeof(struct history) < SIZE_MAX_BYTES, "history.h states its size");

enum err history_new(struct history **ret) {
    struct history *h = calloc(1, sizeof *h);
    if (h == NULL) return E_NO_MEMORY;
    h->fine = (struct ring){
        .points = h->points,
        .step_s = HISTORY_STEP_S,
        .cap = HISTORY_FINE_POINTS,
    };
    h->day = (struct ring){
        .points = h->points + HISTORY_FINE_POINTS,
        .step_s = HISTORY_DAY_STEP_S,
        .cap = HISTORY_DAY_POINTS,
    };
    *ret = h;
    return OK;
}

void history_free(struct history *h) {
    free(h);
}

/* ---- values ---- */

/* Sums of all time: the reports' begin anew each day. */
static void take_totals(const struct stats *s, const struct stats_report *r, int64_t mono_ms,
                        struct totals *ret) {
    ret->mono_ms = mono_ms;
    for (unsigned i = 0; i < N_HISTORY_SERIES; i++) {
        const struct series_row *row = &ROWS[i];
        ret->sum[i] = 0;
        if (row->kind != KIND_RATE && row->kind != KIND_COUNT) continue;
        ret->sum[i] = stats_sum(s, (enum stat_id)row->which);
        if (row->also != N_STATS) ret->sum[i] += stats_sum(s, row->also);
    }
    for (unsigned h = 0; h < N_STAT_HISTOGRAMS; h++)
        memcpy(ret->bucket[h], r->histogram[h].bucket, sizeof ret->bucket[h]);
}

/* Within a bucket, values are taken to lie evenly; what is beyond the last bound is taken for it.
 */
static double find_share(enum stat_histogram h, const struct totals *from, const struct totals *to,
                         unsigned per_mille) {
    const struct histogram_row *row = &HISTOGRAM_ROWS[h];
    uint64_t n = 0, before = 0;
    for (unsigned b = 0; b <= row->n_bounds; b++) n += to->bucket[h][b] - from->bucket[h][b];
    if (n == 0) return NAN;
    const double wanted = (double)n * per_mille / 1000;
    for (unsigned b = 0; b < row->n_bounds; b++) {
        const uint64_t here = to->bucket[h][b] - from->bucket[h][b];
        const double low = b != 0 ? (double)row->bound[b - 1] : 0, high = (double)row->bound[b];
        if ((double)(before + here) >= wanted)
            return low + (high - low) * (wanted - (double)before) / (double)here;
        before += here;
    }
    return (double)row->bound[row->n_bounds - 1];
}

static double value_of(unsigned series, const struct stats_report *r, const struct totals *from,
                       const struct totals *to) {
    const struct series_row *row = &ROWS[series];
    const double grown = (double)(to->sum[series] - from->sum[series]);
    const int64_t ms = to->mono_ms - from->mono_ms;
    const enum stat_histogram h = (enum stat_histogram)row->which;
    switch (row->kind) {
    case KIND_RATE:
        return ms > 0 ? grown * 1000 / (double)ms : NAN;
    case KIND_COUNT:
        return grown;
    case KIND_LEVEL:
        return (double)r->gauges.value[row->which];
    case KIND_HALF:
        return find_share(h, from, to, PER_MILLE_HALF) / US_PER_MS;
    case KIND_NEARLY:
        return find_share(h, from, to, PER_MILLE_NEARLY) / US_PER_MS;
    }
    return NAN;
}

/* ---- steps ---- */

static void end_step(struct ring *ring, const struct stats_report *r, const struct totals *now) {
    struct point *p = &ring->points[(ring->first + ring->n) % ring->cap];
    p->time_s = r->now_s;
    for (unsigned i = 0; i < N_HISTORY_SERIES; i++)
        p->value[i] = value_of(i, r, &ring->before, now);
    if (ring->n < ring->cap) {
        ring->n++;
    } else {
        ring->first = (ring->first + 1) % ring->cap;
    }
    ring->before = *now;
}

static void begin(struct ring *ring, const struct totals *now) {
    ring->n = ring->first = 0;
    ring->before = *now;
}

void history_add(struct history *h, const struct stats *s, const struct stats_report *r,
                 int64_t mono_ms) {
    struct totals now;
    take_totals(s, r, mono_ms, &now);
    const bool begins = r->now_s <= h->last_s || h->last_s == 0;
    h->last_s = r->now_s;
    if (begins) {
        h->began_s = r->now_s;
        h->n_steps = 0;
        begin(&h->fine, &now);
        begin(&h->day, &now);
        return;
    }
    end_step(&h->fine, r, &now);
    if (++h->n_steps % FINE_PER_DAY_STEP == 0) end_step(&h->day, r, &now);
}

/* ---- JSON ---- */

static const struct point *nth(const struct ring *ring, unsigned i) {
    return &ring->points[(ring->first + i) % ring->cap];
}

static void write_number(struct wr *w, double v) {
    char text[HISTORY_NUMBER_MAX];
    if (isnan(v)) {
        wr_str(w, "null");
        return;
    }
    const bool is_whole = v == (double)(int64_t)v;
    (void)snprintf(text, sizeof text, is_whole ? "%.0f" : "%.3f", v);
    wr_str(w, text);
}

static void write_times(struct wr *w, const struct ring *ring, unsigned from) {
    wr_str(w, ",\"time\":[");
    for (unsigned i = from; i < ring->n; i++) {
        if (i != from) wr_str(w, ",");
        wr_dec(w, (uint64_t)nth(ring, i)->time_s);
    }
    wr_str(w, "]");
}

static void write_values(struct wr *w, const struct ring *ring, unsigned from, unsigned series) {
    wr_str(w, ",\"");
    wr_str(w, ROWS[series].name);
    wr_str(w, "\":[");
    for (unsigned i = from; i < ring->n; i++) {
        if (i != from) wr_str(w, ",");
        write_number(w, nth(ring, i)->value[series]);
    }
    wr_str(w, "]");
}

static void write_ring(struct wr *w, const struct ring *ring, int64_t since_s) {
    unsigned from = ring->n;
    while (from != 0 && nth(ring, from - 1)->time_s > since_s) from--;
    wr_str(w, "{\"step\":");
    wr_dec(w, ring->step_s);
    write_times(w, ring, from);
    for (unsigned i = 0; i < N_HISTORY_SERIES; i++) write_values(w, ring, from, i);
    wr_str(w, "}");
}

void history_write(const struct history *h, int64_t since_s, struct wr *w) {
    wr_str(w, "\"began\":");
    wr_dec(w, (uint64_t)h->began_s);
    wr_str(w, ",\"steps\":[");
    write_ring(w, &h->fine, since_s);
    wr_str(w, ",");
    write_ring(w, &h->day, since_s);
    wr_str(w, "]");
}
