/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/report.h"

#include "base/lock.h"
#include "stats/stats_priv.h"
#include "stats/tables.h"

/* Rows of gauges.def that belong together stand together. */
_Static_assert(GAUGE_DAY_NTF_QUEUES == GAUGE_DAY_MSG_QUEUES + N_STAT_PERIODS &&
                   GAUGE_MONTH_NTF_QUEUES == GAUGE_DAY_NTF_QUEUES + N_STAT_PERIODS - 1,
               "active queues, by activity and period");
_Static_assert(GAUGE_CONFIRMED_MORE == GAUGE_CONFIRMED_60 + 4, "acknowledged, by time");

enum stat_gauge stats_active_gauge(enum stat_activity a, enum stat_period p) {
    return (enum stat_gauge)(GAUGE_DAY_MSG_QUEUES + (unsigned)a * N_STAT_PERIODS + (unsigned)p);
}

static void report_histogram(const struct stats *s, enum stat_histogram h,
                             struct stats_report *ret) {
    for (unsigned i = 0; i < s->n_sheets; i++) {
        const struct stats_sheet *sheet = &s->sheets[i];
        for (unsigned b = 0; b < STATS_BUCKETS; b++) {
            ret->histogram[h].bucket[b] +=
                atomic_load_explicit(&sheet->histogram[h].bucket[b], memory_order_relaxed);
        }
        ret->histogram[h].sum +=
            atomic_load_explicit(&sheet->histogram[h].sum, memory_order_relaxed);
    }
    /* Counted here, so that the parts always agree with the whole. */
    for (unsigned b = 0; b < STATS_BUCKETS; b++) {
        ret->histogram[h].count += ret->histogram[h].bucket[b];
    }
}

/* The figures by period of the reference: the last one has no end. */
static void report_confirmed(struct stats_report *r) {
    static const uint64_t END_S[] = {60, 300, 1200, 3600, UINT64_MAX};
    const struct histogram_row *row = &HISTOGRAM_ROWS[HISTOGRAM_ACK_S];
    unsigned bucket = 0;
    for (unsigned i = 0; i < ARRAY_LEN(END_S); i++) {
        uint64_t *sum = &r->gauges.value[GAUGE_CONFIRMED_60 + i];
        *sum = 0;
        for (; bucket < row->n_bounds && row->bound[bucket] <= END_S[i]; bucket++) {
            *sum += r->histogram[HISTOGRAM_ACK_S].bucket[bucket];
        }
    }
    r->gauges.value[GAUGE_CONFIRMED_MORE] += r->histogram[HISTOGRAM_ACK_S].bucket[row->n_bounds];
}

static void report_active(const struct stats *s, struct stats_report *r) {
    for (unsigned a = 0; a < N_STAT_ACTIVITIES; a++) {
        for (unsigned p = 0; p < N_STAT_PERIODS; p++) {
            r->gauges.value[stats_active_gauge(a, p)] = active_set_count(&s->active[a][p]);
        }
    }
}

static uint64_t sum_gauge(const struct stats *s, enum stat_gauge g) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->n_sheets; i++)
        sum += atomic_load_explicit(&s->sheets[i].gauge[g], memory_order_relaxed);
    return sum;
}

/* Under s->mtx. Counters that end are set to begin anew with the very sum that was reported, so
 * that what is counted meanwhile is in one period or in the other. */
static void report(struct stats *s, const struct stats_gauges *g, bool end,
                   struct stats_report *ret) {
    memset(ret, 0, sizeof *ret);
    ret->from = s->from;
    ret->now_s = env_now_s(s->env);
    ret->gauges = *g;
    for (unsigned i = 0; i < N_STATS; i++) {
        const uint64_t sum = stats_sum(s, i);
        ret->counter[i] = sum + s->base[i];
        if (end && STAT_ROWS[i].span == SPAN_DAILY) s->base[i] = 0 - sum;
    }
    for (unsigned p = 0; p < N_STAT_PERIODS; p++) ret->is_complete[p] = true;
    for (unsigned h = 0; h < N_STAT_HISTOGRAMS; h++) report_histogram(s, h, ret);
    report_confirmed(ret);
    report_active(s, ret);
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) ret->gauges.value[i] += sum_gauge(s, i);
}

/* Under s->mtx. */
static void end_active(struct stats *s, int64_t now_s, bool ret_is_complete[N_STAT_PERIODS]) {
    const int64_t day = calendar_day(now_s);
    ret_is_complete[PERIOD_DAY] = true;
    ret_is_complete[PERIOD_WEEK] = calendar_is_monday(day);
    ret_is_complete[PERIOD_MONTH] = calendar_is_first(day);
    for (unsigned p = 0; p < N_STAT_PERIODS; p++) {
        if (!ret_is_complete[p]) continue;
        for (unsigned a = 0; a < N_STAT_ACTIVITIES; a++) active_set_clear(&s->active[a][p]);
        stats_keys_renew(s->keys, p, s->env);
    }
    atomic_fetch_add_explicit(&s->period, 1, memory_order_release);
}

void stats_report(struct stats *s, const struct stats_gauges *g, struct stats_report *ret) {
    lock_take(&s->mtx);
    report(s, g, false, ret);
    lock_give(&s->mtx);
}

void stats_end_day(struct stats *s, const struct stats_gauges *g, struct stats_report *ret) {
    lock_take(&s->mtx);
    report(s, g, true, ret);
    s->from = (struct calendar_time){.s = ret->now_s};
    end_active(s, ret->now_s, ret->is_complete);
    lock_give(&s->mtx);
}

void stats_end_active_day(struct stats *s) {
    bool is_complete[N_STAT_PERIODS];
    lock_take(&s->mtx);
    end_active(s, env_now_s(s->env), is_complete);
    lock_give(&s->mtx);
}
