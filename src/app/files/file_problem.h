/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* file_problem.h -- why a file cannot be used, in one line for the operator: what, which path, the
 * reason, whose it is, and the command that mends it. Any thread. */
#pragma once

#include <sys/types.h>

#include "app/files/problem.h"

/* what: "cannot read", "cannot write". number: errno of the attempt. Where rights are missing it
 * names the file or the directory above that is in the way. Returns E_SYS. */
enum err file_problem(struct problem *ret, const char *what, const char *path, int number);

/* A directory that was not made. */
struct new_dir {
    const char *path;
    mode_t mode;
    const char *setting; /* where another path is chosen */
};
/* The same for `dir`, which cannot be made on the way to `wanted`: root is asked to make that one
 * for this user, not to give away what is above. */
enum err new_dir_problem(struct problem *ret, const char *dir, const struct new_dir *wanted,
                         int number);

enum { USER_NAME_MAX = 64 }; /* bytes, with terminator */

/* The name of a user, or its number where it has none. */
void user_name(uid_t uid, char ret[USER_NAME_MAX]);
