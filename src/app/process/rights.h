/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* rights.h -- whose the process is, and what it may do beyond its user: open ports, until they are
 * open. Main thread.
 *
 * Order: rights_begin() before any other thread and before any file is made, rights_end() when all
 * ports are open. */
#pragma once

#include "app/files/problem.h"

/* From now on no program gives this process more rights. Started as root with a user ("": none) it
 * becomes that user, with the groups that it has. Of its capabilities it keeps that for ports, and
 * as root without a user those for files of others, since its files may be another user's. E_CONFIG
 * (no such user), E_SYS. */
MUST_USE enum err rights_begin(const char *user, struct problem *ret_problem);
/* Gives up the capability for ports. */
void rights_end(void);
