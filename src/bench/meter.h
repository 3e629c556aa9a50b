/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* meter.h -- how far a run has come: one line on standard error, drawn over itself, on a terminal
 * only. Main thread. */
#pragma once

#include <stddef.h>

enum { METER_LINE_MAX = 96 }; /* bytes, with terminator */

/* share: 0 to 1. */
void meter_show(const char *title, double share, double ops_per_s);
void meter_clear(void);

/* The line's text, without control characters. Pure. */
void meter_text(const char *title, double share, double ops_per_s, char ret[METER_LINE_MAX]);
