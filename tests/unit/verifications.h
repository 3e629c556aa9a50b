/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* verifications.h -- what the program under test spends on authorizations, counted by standing
 * between crypto/authz and what it calls (--wrap). So "it takes the same time" is a matter of
 * counts, which no other work of the machine changes; `make timing` holds it against the clock. One
 * thread. */
#pragma once

#include "crypto/key.h"

/* Of one kind of authorization. A verification with a key that the libraries refuse at first sight
 * costs nothing, and is not counted. */
struct verifications {
    unsigned full[N_KEY_TYPES]; /* with a key that means full work, by its type */
    unsigned checks;            /* whether a key is one of those */
};

/* Since the last call, or since the start. */
struct verifications verifications_taken(void);
