/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* sandbox.h -- what the process can no longer reach, should somebody take it over: files of others
 * (Landlock), and parts of the kernel that it does not need (syscalls.h).
 *
 * Both hold for the calling thread and all that it starts, for good: main thread, before any other
 * is there. A kernel without one of them is no error; what is on is told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/files/problem.h"

/* Whoever may reach a directory may reach all below it. Those that are not there are left out.
 * Borrowed, as the texts. */
struct sandbox_paths {
    const char *const *read; /* of files that are replaced while the server runs, the directory */
    size_t n_read;
    const char *const *write; /* read, made, renamed and removed too */
    size_t n_write;
};

struct sandbox_state {
    bool files, syscalls, dumps; /* the last: not to be read by debuggers, nor written as a core */
};

/* No core file, no debugger of the same user. E_SYS. */
MUST_USE enum err sandbox_keep_memory(struct sandbox_state *ret, struct problem *ret_problem);
/* Needs no_new_privs: rights.h. Beside `paths` what libraries read of the system stays readable.
 * E_SYS: the kernel has it and refuses. */
MUST_USE enum err sandbox_enter(const struct sandbox_paths *paths, struct sandbox_state *ret,
                                struct problem *ret_problem);
