/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* own_files.h -- which files in the server's two directories are the server's own, by name, and
 * their removal.
 *
 * Own are those of paths.h with their backups, those that the reference makes there, and the
 * directories journal, messages, messages.bak and www with all that is in them. Nothing else is
 * touched. Links are removed, never followed, not even when the directory itself is one; nothing
 * below a mount point is removed. Main thread. */
#pragma once

#include <stdbool.h>

#include "app/files/problem.h"

/* Whether there is such a directory, and it can be emptied. E_EXISTS when it is a link or no
 * directory, E_SYS. */
MUST_USE enum err own_files_check(const char *dir, bool *ret_exists, struct problem *ret_problem);

struct own_files_count {
    unsigned n_removed; /* files and links */
    unsigned n_left;    /* entries that are not the server's own */
    bool is_gone;       /* the directory was empty then, and is removed */
};
/* Removes them, last_name after all others and with it what makes the directory a server's: so a
 * removal that failed can be repeated. on_left is called for each entry that stays. E_SYS: some
 * may be gone. */
MUST_USE enum err own_files_remove(const char *dir, const char *last_name,
                                   void (*on_left)(const char *dir, const char *name),
                                   struct own_files_count *ret, struct problem *ret_problem);
