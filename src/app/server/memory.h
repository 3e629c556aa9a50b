/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* memory.h -- how much memory the process uses, and may use. Any thread. */
#pragma once

#include <stdint.h>

/* Bytes of this process that are in RAM; 0: the kernel does not tell. */
uint64_t memory_used(void);
/* Bytes that there are: of the machine, or less where a control group (version 2) that this process
 * is in may have less. */
uint64_t memory_there_is(void);
