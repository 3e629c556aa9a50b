/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dir_lock.h -- one process at a time uses a directory. The lock is on the directory itself, so no
 * file is made; the kernel takes it back when the process ends, however that happens. Any thread.
 */
#pragma once

#include "app/files/problem.h"

/* *ret_fd has the lock until it is closed; -1: there is no such directory, or its file system has
 * no locks. E_EXISTS when another process has it, with the problem filled in: remedy is what to do
 * beside stopping that one, "" or ", or ...". */
MUST_USE enum err dir_lock(const char *dir, const char *remedy, int *ret_fd,
                           struct problem *ret_problem);
/* The process that has locked what fd is open for, found out without touching the lock; 0: none, or
 * one that cannot be seen from here. */
long dir_lock_owner(int fd);
