/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* prompt.h -- questions to the operator: on the terminal, or to the file that takes its place.
 *
 * An answer is a line; blanks around it do not count. The end of the input and Ctrl-C are E_CLOSED:
 * commands ask before they change anything, and ret_problem says so. Main thread, while it is the
 * only one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/files/problem.h"

/* Shows text and reads the answer; asks again when it has not fewer than cap bytes. E_CLOSED. */
MUST_USE enum err prompt_line(const char *text, char *ret, size_t cap, struct problem *ret_problem);
/* "text (Yn): " or "text (yN): ": an empty answer is otherwise; asks again until it is one of y, Y,
 * n and N. E_CLOSED. */
MUST_USE enum err prompt_yes_no(const char *text, bool otherwise, bool *ret,
                                struct problem *ret_problem);
/* OK if the answer is exactly this word, else E_CLOSED. */
MUST_USE enum err prompt_confirm(const char *text, const char *word, struct problem *ret_problem);
