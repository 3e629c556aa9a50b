/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* alloc_fault.h -- a program whose allocations may fail: link alloc_fault.c with --wrap of malloc,
 * calloc and realloc. Those of faultfs never do. Any thread. */
#pragma once

#include <stdbool.h>

/* The test's own: does the next allocation of the program fail? */
bool alloc_fails(void);
