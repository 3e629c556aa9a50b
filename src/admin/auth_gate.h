/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* auth_gate.h -- how long a password has to wait before it is looked at.
 *
 * After wrong ones the next is looked at later, whoever it comes from and whether it is right: so
 * guessing is slow, and that an answer takes time tells nothing. The delay doubles up to its
 * maximum, and is forgotten after a right password or a while of quiet. The dashboard has one for
 * all; the control port one for each session, and one for all whose delay stays at its least, so
 * that who guesses does not keep others out. No locks: the owner guards it. */
#pragma once

#include <stdint.h>

enum {
    AUTH_DELAY_MIN_MS = 250,
    AUTH_DELAY_MAX_MS = 4000,
    AUTH_QUIET_MS = 60000, /* then wrong ones are forgotten */
    AUTH_TRIES_MAX = 10    /* of one session; then it ends */
};

/* All zero: nothing happened yet. Times: monotonic milliseconds. */
struct auth_gate {
    unsigned n_wrong;
    int64_t wrong_ms; /* when the last was looked at */
};

int64_t auth_gate_opens_ms(const struct auth_gate *g, int64_t now_ms); /* now_ms: at once */
void auth_gate_wrong(struct auth_gate *g, int64_t now_ms);
void auth_gate_right(struct auth_gate *g);
