/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"

enum { MAX_LINE = 1024 };

const char *const LOG_LEVEL_NAMES[N_LOG_LEVELS] = {"error", "warn", "info", "debug", "trace"};
static void (*sink)(void *ctx, enum log_level level, const char *line); /* while one thread runs */
static void *sink_ctx;
static bool has_times;                   /* fixed before threads start */
static _Atomic int max_level = LOG_INFO; /* relaxed: a flag that guards no other data */

void log_set_level(enum log_level level) {
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

/* systemd says which stream is its journal, as "device:inode": the variable alone proves nothing,
 * for programs pass it on to others whose output goes elsewhere. */
static bool goes_to_journal(void) {
    struct stat st;
    char here[64];
    const char *stream = getenv("JOURNAL_STREAM");
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0) return false;
    (void)snprintf(here, sizeof here, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, here) == 0;
}

void log_with_times(void) {
    has_times = !goes_to_journal();
}

void log_to(void (*new_sink)(void *ctx, enum log_level level, const char *line), void *ctx) {
    sink = new_sink;
    sink_ctx = ctx;
}

/* The time and a blank, or nothing. */
static size_t put_time(char *ret, size_t cap) {
    struct tm utc;
    const time_t now = (time_t)env_now_s(&ENV_SYSTEM);
    if (!has_times || gmtime_r(&now, &utc) == NULL) return 0;
    return strftime(ret, cap, "%Y-%m-%dT%H:%M:%SZ ", &utc);
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
    const size_t at = sink == NULL ? put_time(line, sizeof line) : 0;
    int n = sink == NULL
                ? snprintf(line + at, sizeof line - at, "%s %s ", LOG_LEVEL_NAMES[level], event)
                : snprintf(line, sizeof line, "%s ", event);
    if (n < 0 || at + (size_t)n >= sizeof line - 1) return;
    n += (int)at;
    va_list ap;
    va_start(ap, fmt);
    const int m = vsnprintf(line + n, sizeof line - 1 - (size_t)n, fmt, ap);
    va_end(ap);
    if (m < 0) return;
    size_t len = strlen(line);
    while (len > 0 && line[len - 1] == ' ') len--;
    if (sink != NULL) {
        line[len] = '\0';
        sink(sink_ctx, level, line);
        return;
    }
    line[len++] = '\n';
    (void)fwrite(line, 1, len, stderr); /* one call: stdio locks the stream, so lines stay whole */
}
