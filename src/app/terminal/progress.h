/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* progress.h -- how far something long has come: a bar on a terminal, else a log line now and then.
 *
 * The bar is one line on standard error that is drawn over itself and taken away at the end. There
 * is one at a time, because those who report have no context to pass. Main thread only. */
#pragma once

#include <stdint.h>

#include "base/env.h"

enum { PROGRESS_LINE_MAX = 80 }; /* bytes of the bar, with terminator */

/* title: NULL for "Loading" and what is reported. On a terminal nothing is drawn in the first
 * delay_ms. Both pointers are borrowed until progress_end(). */
void progress_begin(const struct env *env, const char *title, int64_t delay_ms);
/* As store_opts.progress. Without progress_begin() a no-op. */
void progress_report(const char *what, uint64_t done_bytes, uint64_t total_bytes);
void progress_end(void);

/* The bar's text, without control characters. Pure. */
void progress_text(const char *title, const char *what, uint64_t done_bytes, uint64_t total_bytes,
                   char ret[PROGRESS_LINE_MAX]);
