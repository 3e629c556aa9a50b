/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* near.h -- which of two names may have been meant by the other: for "did you mean ...?".
 *
 * Case, and '-' in place of '_', never make a difference. Pure; any thread. */
#pragma once

#include <stdbool.h>

enum {
    NEAR_WORD_MAX = 63, /* longer names are near to none */
    NEAR_FAR = 1000     /* more than any distance */
};

/* Characters to insert, take away, replace or swap with their neighbour: 0 for the same name. */
unsigned near_distance(const char *a, const char *b);
/* Whether so few changes are a slip of the finger: 1 in short names, at most 4. */
bool near_is_slip(const char *a, const char *b);
/* Whether one has all the words of the other in a row, as in `password` and `create_password`. */
bool near_is_part(const char *a, const char *b);
