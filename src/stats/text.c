/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* text.c -- the daily CSV line and the answer of the control port. Both walk the positions in the
 * tables; the unit test checks that there are no gaps. */
#include "stats/report.h"
#include "stats/stats_priv.h"
#include "stats/tables.h"

/* ---- CSV ---- */

/* Columns of active queues stay empty until their period is over. */
static bool is_empty_column(const struct stats_report *r, unsigned gauge) {
    for (unsigned a = 0; a < N_STAT_ACTIVITIES; a++) {
        for (unsigned p = 0; p < N_STAT_PERIODS; p++) {
            if (gauge == stats_active_gauge(a, p)) return !r->is_complete[p];
        }
    }
    return false;
}

/* False: there is no such column. */
static bool write_column(const struct stats_report *r, unsigned column, struct wr *w) {
    for (unsigned i = 0; i < N_STATS; i++) {
        if (STAT_ROWS[i].csv != column) continue;
        wr_dec(w, r->counter[i]);
        return true;
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        if (GAUGE_ROWS[i].csv != column) continue;
        if (!is_empty_column(r, i)) wr_dec(w, r->gauges.value[i]);
        return true;
    }
    return false;
}

void stats_write_csv(const struct stats_report *r, struct wr *w) {
    calendar_write_date(r->from.s, w);
    for (unsigned column = 2;; column++) {
        const size_t before = w->at;
        wr_u8(w, ',');
        if (write_column(r, column, w)) continue;
        w->at = before;
        break;
    }
    wr_u8(w, '\n');
}

/* ---- control port ---- */

/* Lines of several counters without a section. */
static const char *title_of(enum stat_id first) {
    switch (first) {
    case STAT_Q_SUB_AUTH:
        return "other SUB events (auth, duplicate, prohibited)";
    case STAT_MSG_GET_AUTH:
        return "other GET events (auth, duplicate, prohibited)";
    default:
        return NULL;
    }
}

/* "pRelays: requests=0, successes=0", "other SUB events (...): (1,0,0)" or "qCreated: 6". */
static void write_stat_line(const struct stats_report *r, unsigned first, struct wr *w) {
    const struct stat_row *row = &STAT_ROWS[first];
    const char *title = title_of(first);
    wr_str(w, row->section != NULL ? row->section : title != NULL ? title : row->name);
    wr_str(w, title != NULL ? ": (" : ": ");
    for (unsigned i = first; i < N_STATS; i++) {
        if (STAT_ROWS[i].line != row->line) continue;
        if (i != first) wr_str(w, title != NULL ? "," : ", ");
        if (row->section != NULL) {
            wr_str(w, STAT_ROWS[i].name);
            wr_u8(w, '=');
        }
        wr_dec(w, r->counter[i]);
    }
    wr_str(w, title != NULL ? ")\n" : "\n");
}

static void write_gauge_line(const struct stats_report *r, unsigned gauge, struct wr *w) {
    wr_str(w, GAUGE_ROWS[gauge].line_name);
    wr_str(w, ": ");
    wr_dec(w, r->gauges.value[gauge]);
    wr_u8(w, '\n');
}

/* False: there is no such line. */
static bool write_line(const struct stats_report *r, unsigned line, bool is_admin, struct wr *w) {
    for (unsigned i = 0; i < N_STATS; i++) {
        if (STAT_ROWS[i].line != line) continue;
        write_stat_line(r, i, w);
        return true;
    }
    for (unsigned i = 0; i < N_STAT_GAUGES; i++) {
        if (GAUGE_ROWS[i].line != line) continue;
        if (is_admin || GAUGE_ROWS[i].role == ROLE_USER) write_gauge_line(r, i, w);
        return true;
    }
    return false;
}

void stats_write_control(const struct stats_report *r, bool is_admin, struct wr *w) {
    wr_str(w, "fromTime: ");
    calendar_write_utc(r->from, w);
    wr_u8(w, '\n');
    for (unsigned line = 2; write_line(r, line, is_admin, w);) line++;
}
