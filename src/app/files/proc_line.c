/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/proc_line.h"

#include <stddef.h>
#include <string.h>

static const char SPACE[] = " \t\n";

void proc_split(char *line, struct proc_line *ret) {
    *ret = (struct proc_line){0};
    while (ret->n < PROC_WORDS_MAX) {
        line += strspn(line, SPACE);
        if (*line == '\0') return;
        ret->words[ret->n++] = line;
        line += strcspn(line, SPACE);
        if (*line != '\0') *line++ = '\0';
    }
}

static unsigned digit_of(char c) {
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    const char letter = (char)(c | 0x20);
    return letter >= 'a' && letter <= 'f' ? (unsigned)(letter - 'a') + 10 : 16;
}

bool proc_number(const char **text, int base, unsigned n_max, uint64_t *ret) {
    const char *at = *text;
    uint64_t v = 0;
    while (digit_of(*at) < (unsigned)base && (n_max == 0 || at < *text + n_max)) {
        if (v > (UINT64_MAX - 15) / 16) return false;
        v = v * (unsigned)base + digit_of(*at++);
    }
    if (at == *text) return false;
    *text = at;
    *ret = v;
    return true;
}

bool proc_number_after(const char **text, char c, int base, uint64_t *ret) {
    if (**text != c) return false;
    const char *at = *text + 1;
    if (!proc_number(&at, base, 0, ret)) return false;
    *text = at;
    return true;
}
