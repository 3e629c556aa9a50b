/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* log.h -- one line per event on standard error.
 *
 * A line is: the time where log_with_times() was called, level, event word, key=value pairs. Never
 * keys, message bodies, ids or client addresses. Any thread; lines of different threads do not mix.
 * base, crypto, wire and model never log: they return. */
#pragma once

#include <stdbool.h>

#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

enum { N_LOG_LEVELS = LOG_TRACE + 1 };
extern const char *const LOG_LEVEL_NAMES[N_LOG_LEVELS];

void log_set_level(enum log_level level); /* any thread; default LOG_INFO */
/* Lines of a process that goes on begin with the time from now on ("2026-11-28T19:14:16Z"), unless
 * they go to the journal of systemd, which adds one itself. Before threads start. */
void log_with_times(void);
/* Lines go to sink in place of standard error, without time and level; NULL: as before. While one
 * thread runs. */
void log_to(void (*sink)(void *ctx, enum log_level level, const char *line), void *ctx);
/* False: no level has this name, and *ret is as it was. */
bool log_level_from_name(const char *name, enum log_level *ret);
void log_line(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* fmt may be "" */
