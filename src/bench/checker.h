/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* checker.h -- what is written into each message, and what is wrong with those that come back.
 *
 * A body begins with a stamp (run, queue, number, time); all bytes after it follow from the stamp,
 * so that one that was changed, cut or swapped is seen. Per queue, numbers must come as 0, 1, 2 ...
 * each once. One thread at a time; owns nothing. */
#pragma once

#include "base/bytes.h"

struct stamp {
    uint64_t run; /* random: messages of another run are not ours */
    uint32_t queue;
    uint64_t number;
    int64_t sent_ns; /* intended start, on the clock of clock_ns() */
};

enum { STAMP_LEN = 28, CHECKER_WINDOW = 256 };

void stamp_write(const struct stamp *s, uint8_t *body, size_t n); /* n >= STAMP_LEN */
/* False when a byte is not as it was written. */
bool stamp_read(struct bytes body, struct stamp *ret);

enum checker_verdict {
    CHECK_GOOD,
    CHECK_DAMAGED,    /* bytes, queue or run are not what was sent */
    CHECK_DUPLICATE,  /* came before */
    CHECK_DISORDERED, /* came after one that was sent later */
    N_CHECKER_VERDICTS
};

/* One queue; all zero: nothing came yet. */
struct checker {
    uint64_t next;    /* number that is due */
    uint64_t missing; /* below it, not seen */
    uint64_t
        seen[CHECKER_WINDOW / 64]; /* bit number % CHECKER_WINDOW, for the last ones below next */
};

/* Notes a message of this run and queue. A duplicate of, or a latecomer after, more than
 * CHECKER_WINDOW others counts as a duplicate. ret_stamp is set unless damaged. */
enum checker_verdict checker_take(struct checker *c, uint64_t run, uint32_t queue,
                                  struct bytes body, struct stamp *ret_stamp);
/* Of n_sent messages, those that never came. */
uint64_t checker_lost(const struct checker *c, uint64_t n_sent);
