/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* process.h -- the threads of this process, as the kernel shows them. Any thread; reads /proc,
 * which does not block. */
#pragma once

#include "base/wr.h"

/* A line for each thread: number, state, CPU time, name. Ends when w is full, with whole lines. */
void process_write_threads(struct wr *w);
