/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* calendar.h -- days of UTC and their text. Time zones and summer time play no part. Pure; any
 * thread. */
#pragma once

#include "base/bytes.h"
#include "base/wr.h"

struct calendar_time {
    int64_t s; /* since the Unix epoch */
    uint32_t ns;
};

int64_t calendar_day(int64_t s); /* days since the Unix epoch */
bool calendar_is_monday(int64_t day);
bool calendar_is_first(int64_t day); /* of a month */

void calendar_write_date(int64_t s, struct wr *w); /* 2026-11-22 */
/* 2026-11-22T06:08:15.262620511Z, the fraction without zeros at its end. */
void calendar_write_iso(struct calendar_time t, struct wr *w);
/* 2026-11-22 06:08:15.262620511 UTC */
void calendar_write_utc(struct calendar_time t, struct wr *w);
/* The form of calendar_write_iso(); digits of the fraction after the ninth are dropped. E_SYNTAX.
 */
MUST_USE enum err calendar_parse_iso(struct bytes text, struct calendar_time *ret);
