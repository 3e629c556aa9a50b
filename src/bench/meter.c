/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/meter.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_LEN = 30, PERCENT = 100 };

void meter_text(const char *title, double share, double ops_per_s, char ret[METER_LINE_MAX]) {
    const double within = share < 0 ? 0 : share > 1 ? 1 : share;
    char bar[BAR_LEN + 1];
    memset(bar, '-', BAR_LEN);
    memset(bar, '#', (size_t)(within * BAR_LEN));
    bar[BAR_LEN] = '\0';
    const int n =
        snprintf(ret, METER_LINE_MAX, "%-16.16s [%s] %3d%%", title, bar, (int)(within * PERCENT));
    if (ops_per_s <= 0 || n < 0) return;
    (void)snprintf(ret + n, METER_LINE_MAX - (size_t)n, " %.0f/s", ops_per_s);
}

static bool is_drawn; /* main thread only */

void meter_show(const char *title, double share, double ops_per_s) {
    char text[METER_LINE_MAX];
    if (isatty(STDERR_FILENO) != 1) return;
    meter_text(title, share, ops_per_s, text);
    (void)fprintf(stderr, "\r%s\033[K", text);
    is_drawn = true;
}

void meter_clear(void) {
    if (is_drawn) (void)fprintf(stderr, "\r\033[K");
    is_drawn = false;
}
