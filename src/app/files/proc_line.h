/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* proc_line.h -- lines of files in /proc, word by word. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PROC_WORDS_MAX = 16 };

struct proc_line {
    unsigned n;
    const char *words[PROC_WORDS_MAX]; /* borrowed from the line */
};

/* Cuts the line, which is changed, at white space; words beyond the last one are left out. */
void proc_split(char *line, struct proc_line *ret);
/* The number at *text, which is moved behind it: digits of this base, n_max of them at most
 * (0: any number). False when there is none. */
bool proc_number(const char **text, int base, unsigned n_max, uint64_t *ret);
/* The same when c comes first. */
bool proc_number_after(const char **text, char c, int base, uint64_t *ret);
