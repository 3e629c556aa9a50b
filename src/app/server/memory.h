/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* memory.h -- how much memory the process uses, and may use; and that it gives back what it does
 * not use any more. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Bytes of this process that are in RAM; 0: the kernel does not tell. */
uint64_t memory_used(void);
/* Bytes that there are: of the machine, or less where a control group (version 2) that this process
 * is in may have less. */
uint64_t memory_there_is(void);

enum { MEMORY_LOOK_MS = 10000 };

/* All zero at first. One thread at a time. */
struct memory_look {
    uint64_t stays;  /* bytes in RAM that are not in use and cannot be given back, at most */
    int64_t next_ms; /* not before */
};

/* Call it every MEMORY_LOOK_MS. When much of what is in RAM is not in use and was not there when
 * memory was given back last (a flood of connections is over, say), that is given back to the
 * kernel, once a minute at most: the allocator keeps what is free between what is used. Looking and
 * giving back lock the allocator's arenas one by one, so a look that took long is not repeated
 * soon. Whether it did. */
bool memory_give_back(struct memory_look *m, int64_t now_ms);
