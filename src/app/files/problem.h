/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* problem.h -- what stops a command, in one line for the operator: what is wrong and what to do.
 *
 * Functions that may fail fill it in together with the enum err that they return; the command
 * prints it, once. Any thread; owns nothing. */
#pragma once

#include <stdarg.h>

#include "base/err.h"

struct problem {
    char text[1024]; /* always terminated, without newline and other control characters */
};

/* Returns e, so that a failing function ends with `return problem_set(...)`. */
enum err problem_set(struct problem *ret, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same with the arguments of a function like it. */
enum err problem_vset(struct problem *ret, enum err e, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);
/* The same for a failed system call: appends ": " and the text of errno. Returns E_SYS. */
enum err problem_sys(struct problem *ret, const char *fmt, ...) PRINTF_LIKE(2, 3);
