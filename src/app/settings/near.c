/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/settings/near.h"

#include <string.h>

enum { PART_MIN = 5 }; /* characters; shorter parts are in too many names */

static char fold(char c) {
    if (c >= 'A' && c <= 'Z') return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Row by row as Levenshtein; `before` is two rows up, for neighbours that are swapped. */
unsigned near_distance(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    if (n > NEAR_WORD_MAX || m > NEAR_WORD_MAX) return NEAR_FAR;
    unsigned before[NEAR_WORD_MAX + 1] = {0}, above[NEAR_WORD_MAX + 1], row[NEAR_WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++) above[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            const bool is_same = fold(a[i - 1]) == fold(b[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (is_same ? 0 : 1));
            const bool is_swap = i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                                 fold(a[i - 2]) == fold(b[j - 1]);
            if (is_swap) row[j] = least(row[j], before[j - 2] + 1);
        }
        memcpy(before, above, sizeof before);
        memcpy(above, row, sizeof above);
    }
    return above[m];
}

bool near_is_slip(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    const unsigned allowed = 1 + (unsigned)(n < m ? n : m) / 5;
    return near_distance(a, b) <= least(allowed, 4);
}

static bool has_words(const char *whole, const char *part) {
    const size_t n = strlen(part);
    for (size_t at = 0; strlen(whole + at) >= n; at++) {
        size_t i = 0;
        while (i < n && fold(whole[at + i]) == fold(part[i])) i++;
        const bool begins = at == 0 || fold(whole[at - 1]) == '_';
        const bool ends = whole[at + n] == '\0' || fold(whole[at + n]) == '_';
        if (i == n && begins && ends) return true;
    }
    return false;
}

bool near_is_part(const char *a, const char *b) {
    if (strlen(a) < PART_MIN || strlen(b) < PART_MIN) return false;
    return has_words(a, b) || has_words(b, a);
}
