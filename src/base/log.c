/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LINE = 1024 };

const char *const LOG_LEVEL_NAMES[N_LOG_LEVELS] = {"error", "warn", "info", "debug", "trace"};
static _Atomic int max_level = LOG_INFO; /* relaxed: a flag that guards no other data */

void log_set_level(enum log_level level) {
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool log_level_from_name(const char *name, enum log_level *ret) {
    for (int i = 0; i < N_LOG_LEVELS; i++) {
        if (strcmp(name, LOG_LEVEL_NAMES[i]) != 0) continue;
        *ret = (enum log_level)i;
        return true;
    }
    return false;
}

void log_line(enum log_level level, const char *event, const char *fmt, ...) {
    if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed)) return;
    char line[MAX_LINE];
    int n = snprintf(line, sizeof line, "%s %s ", LOG_LEVEL_NAMES[level], event);
    if (n < 0 || (size_t)n >= sizeof line - 1) return;
    va_list ap;
    va_start(ap, fmt);
    const int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, ap);
    va_end(ap);
    if (m < 0) return;
    size_t len = strlen(line);
    while (len > 0 && line[len - 1] == ' ') len--;
    line[len++] = '\n';
    (void)fwrite(line, 1, len, stderr); /* one call: stdio locks the stream, so lines stay whole */
}
