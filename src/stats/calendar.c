/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "stats/calendar.h"

#include <stdio.h>
#include <time.h>

#include "base/day.h"
#include "base/rd.h"

enum { NS_DIGITS = 9 };

static const int64_t LAST_S = 253402300799; /* 9999-12-31T23:59:59Z */

int64_t calendar_day(int64_t s) {
    return s / DAY_S - (s % DAY_S < 0);
}

/* 1970-01-05 was a Monday. */
bool calendar_is_monday(int64_t day) {
    return ((day - 4) % 7 + 7) % 7 == 0;
}

static struct tm tm_of(int64_t s) {
    const time_t t = (time_t)s;
    struct tm tm = {.tm_mday = 1, .tm_year = 70};
    (void)gmtime_r(&t, &tm);
    return tm;
}

bool calendar_is_first(int64_t day) {
    return tm_of(day * DAY_S).tm_mday == 1;
}

void calendar_write_date(int64_t s, struct wr *w) {
    const struct tm tm = tm_of(s);
    char text[32];
    (void)strftime(text, sizeof text, "%Y-%m-%d", &tm);
    wr_str(w, text);
}

static void write_time(struct calendar_time t, const char *between, const char *zone,
                       struct wr *w) {
    const struct tm tm = tm_of(t.s);
    char text[32];
    calendar_write_date(t.s, w);
    wr_str(w, between);
    (void)strftime(text, sizeof text, "%H:%M:%S", &tm);
    wr_str(w, text);
    if (t.ns != 0) {
        size_t n = (size_t)snprintf(text, sizeof text, ".%09u", (unsigned)t.ns);
        while (text[n - 1] == '0') n--;
        wr_bytes_raw(w, bytes_of(text, n));
    }
    wr_str(w, zone);
}

void calendar_write_iso(struct calendar_time t, struct wr *w) {
    write_time(t, "T", "Z", w);
}

void calendar_write_utc(struct calendar_time t, struct wr *w) {
    write_time(t, " ", " UTC", w);
}

static int rd_digits(struct rd *r, unsigned n, int max) {
    int v = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t c = rd_u8(r);
        if (c < '0' || c > '9') rd_fail(r);
        v = v * 10 + (c - '0');
    }
    if (v > max) rd_fail(r);
    return r->err == OK ? v : 0;
}

/* What follows the seconds: nothing, or a point and at least one digit. */
static uint32_t rd_fraction(struct rd *r) {
    const struct bytes f = rd_until(r, 'Z');
    uint32_t ns = 0;
    if (f.n == 0) return 0;
    if (f.n == 1 || f.p[0] != '.') rd_fail(r);
    for (size_t i = 1; i < f.n; i++) {
        if (f.p[i] < '0' || f.p[i] > '9') rd_fail(r);
    }
    for (size_t i = 1; i <= NS_DIGITS && r->err == OK; i++) {
        ns = ns * 10 + (i < f.n ? (uint32_t)(f.p[i] - '0') : 0);
    }
    return ns;
}

enum err calendar_parse_iso(struct bytes text, struct calendar_time *ret) {
    struct rd r = rd_init(text);
    struct tm tm = {0};
    tm.tm_year = rd_digits(&r, 4, 9999) - 1900;
    rd_lit(&r, '-');
    tm.tm_mon = rd_digits(&r, 2, 12) - 1;
    rd_lit(&r, '-');
    tm.tm_mday = rd_digits(&r, 2, 31);
    rd_lit(&r, 'T');
    tm.tm_hour = rd_digits(&r, 2, 23);
    rd_lit(&r, ':');
    tm.tm_min = rd_digits(&r, 2, 59);
    rd_lit(&r, ':');
    tm.tm_sec = rd_digits(&r, 2, 60);
    const uint32_t ns = rd_fraction(&r);
    rd_lit(&r, 'Z');
    if (rd_end(&r) != OK || tm.tm_mon < 0 || tm.tm_mday < 1) return E_SYNTAX;
    const int64_t s = (int64_t)timegm(&tm);
    /* Nobody counted before 1970. A leap second of the last year that is written so goes beyond. */
    if (s < 0 || s > LAST_S) return E_SYNTAX;
    *ret = (struct calendar_time){s, ns};
    return OK;
}
