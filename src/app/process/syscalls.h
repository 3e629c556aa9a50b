/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* syscalls.h -- the only list of system calls that the server makes; the kernel answers all others
 * as one that does not have them (ENOSYS), which libraries know how to do without.
 *
 * A filter of our own, since all of it is one list and three looks at arguments: no program is
 * started, no namespace made, no memory written that is code. */
#pragma once

#include <stdbool.h>

#include "app/files/problem.h"

/* For the calling thread and all that it starts; needs no_new_privs. Where the kernel has no
 * filters, and on a machine that this one is not written for, *ret is false and all stays as it is.
 * E_SYS. */
MUST_USE enum err syscalls_restrict(bool *ret, struct problem *ret_problem);
