/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* log.h -- one line per event on standard error.
 *
 * A line is: level, event word, then key=value pairs. Never keys, message bodies, ids or client
 * addresses. Any thread; lines of different threads do not mix. base, crypto, wire and model never
 * log: they return. */
#pragma once

#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

void log_set_level(enum log_level level); /* before threads start; default LOG_INFO */
void log_line(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* fmt may be "" */
