/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* turns.h -- who of a loop's connections gets its time, and how much of it in one turn.
 *
 * A connection that has something to do (bytes to read, a step of its handshake, work that its
 * session left over) is put on a list, and served at the end of the turn. Its time is measured by
 * the clock, since blocks differ in cost by three orders of magnitude. Each list may use
 * TURN_PART_US of a turn and is served in order, so that what is left over is first in the next
 * turn:
 *
 *   READY    those with credit, whose answers are written before the other lists are served;
 *   SHAKING  TLS handshakes, which are charged to nobody;
 *   OWING    those without credit: they have used more than their share lately.
 *
 * Credit grows with half of what each connection could have had, if the loop's time had been shared
 * evenly among those that want it, up to TURN_SHARE_US. So who asks for less than that is always
 * served before those who ask for all they can get, however many these are, and nobody is held up
 * when there is no one else. Owner loop only. */
#pragma once

#include <stdint.h>

#include "base/list.h"

struct loop;

/* Instructions are counted with longer turns: a program that is watched is slow. */
#ifndef TURN_SCALE
#define TURN_SCALE 1
#endif

enum {
    TURN_SHARE_US =
        1000 * TURN_SCALE, /* of one connection in a turn, and the most it can save up */
    TURN_PART_US =
        1500 * TURN_SCALE, /* of one list in a turn; also of writing more than a block each */
    TURN_DEBT_US = 20000 * TURN_SCALE, /* more than that is forgiven */
};

enum turn_list { TURN_READY, TURN_SHAKING, TURN_OWING, N_TURN_LISTS };

/* Of a loop. */
struct turns {
    struct loop *loop; /* borrowed */
    struct list lists[N_TURN_LISTS];
    unsigned n_waiting;             /* on these lists */
    int64_t counted_us, virtual_ns; /* until when, and the credit of each since the beginning */
    int64_t share_end_us;           /* of the connection that is being served */
};

/* Of a connection. */
struct turn {
    struct list link;
    int64_t since_ns; /* turns.virtual_ns for which there has been credit */
    int32_t credit_us;
};

void turns_init(struct turns *t, struct loop *l);
void turn_init(struct turn *t);
/* Puts a connection on its list, unless it is on one. */
void turn_want(struct turns *t, struct turn *c, bool is_shaking);
void turn_drop(struct turns *t, struct turn *c); /* takes it off */
/* Serves the lists from..to: serve() of each, at least one of a list. */
void turns_serve(struct turns *t, enum turn_list from, enum turn_list to,
                 void (*serve)(struct turn *c));
/* What else it has used. */
void turn_charge(struct turn *c, int64_t us);
bool turns_share_is_used(const struct turns *t); /* of the one that is being served */
static inline bool turns_wait(const struct turns *t) {
    return t->n_waiting != 0;
}
