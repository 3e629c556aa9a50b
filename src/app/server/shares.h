/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* shares.h -- what the machine gives, and who gets how much of it: event loops on processors, and
 * descriptors, of which clients never use up what the store or others need. Any thread. */
#pragma once

#include <sys/types.h>

#include "app/files/problem.h"
#include "app/settings/conf.h"

/* Event loops: as set, or one for each processor that this process may use. */
unsigned shares_n_loops(const struct conf *c);

/* How many descriptors may be used for what. */
struct shares {
    unsigned clients, outgoing; /* connections of clients, and to other relays */
    unsigned transfers;         /* to the resolver, of each loop */
};

/* The descriptors that a process (0: this one) may have open when its limit is raised as far as it
 * can be. E_SYS: errno. */
MUST_USE enum err shares_limit(pid_t pid, unsigned *ret);
/* Raises this process's limit so far; *ret: what it is then. E_SYS: errno. */
MUST_USE enum err shares_raise_limit(unsigned *ret);
/* Divides limit descriptors among n_loops. E_LIMIT: too few; *ret_problem says how many are needed.
 */
MUST_USE enum err shares_divide(const struct conf *c, unsigned n_loops, unsigned limit,
                                struct shares *ret, struct problem *ret_problem);
