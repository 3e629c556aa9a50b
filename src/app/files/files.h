/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files.h -- reading small files, and making a set of files that is there wholly or not at all.
 *
 * A set writes each file under a temporary name beside its place, synced; file_set_commit() renames
 * them in the order in which they were added, never over a file that was not to be replaced. Until
 * then, and when the commit fails, file_set_done() takes away all that the set made, directories
 * too, and brings back what it replaced. From file_set_init() to file_set_done() no signal ends the
 * process half way. One thread. */
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>

#include "app/files/problem.h"
#include "base/bytes.h"

/* The whole file, with a terminator that *ret_n does not count; the caller frees it, and wipes it
 * if it has secrets. E_SYS with errno, E_LIMIT when it is longer than max, E_NO_MEMORY. */
MUST_USE enum err file_read(const char *path, size_t max, char **ret_text, size_t *ret_n);
/* For CLEANUP(): of such a text. */
static inline void free_textp(char **text) {
    free(*text);
}
/* E_SYS with errno. */
MUST_USE enum err file_write_all(int fd, struct bytes b);
/* Of whatever kind, dangling links too. When false errno says why: ENOENT, EACCES ... */
bool file_exists(const char *path);

enum { FILE_SET_MAX = 8, FILE_SET_DIRS_MAX = 32 };

struct file_set {
    unsigned n_files, n_dirs;
    struct {
        char *path, *tmp; /* owned */
        bool is_placed;   /* renamed to path by this set */
        bool replaces;    /* then tmp is what was at path before */
    } files[FILE_SET_MAX];
    char *dirs[FILE_SET_DIRS_MAX]; /* owned; made by this set, parents first */
    bool is_committed;
    sigset_t signals_before;
};

void file_set_init(struct file_set *s);
void file_set_done(struct file_set *s); /* undoes what was not committed */
/* Makes dir with this mode, and parents with 0755, unless they are there. E_SYS, E_LIMIT,
 * E_NO_MEMORY. */
MUST_USE enum err file_set_make_dir(struct file_set *s, const char *dir, mode_t mode,
                                    struct problem *ret_problem);
/* E_EXISTS, E_SYS, E_NO_MEMORY. */
MUST_USE enum err file_set_add(struct file_set *s, const char *path, struct bytes content,
                               mode_t mode, struct problem *ret_problem);
/* The same for a file that may be there: then it is replaced, and its owner and mode stay. E_EXISTS
 * when it is not a regular file. */
MUST_USE enum err file_set_replace(struct file_set *s, const char *path, struct bytes content,
                                   mode_t mode, struct problem *ret_problem);
MUST_USE enum err file_set_commit(struct file_set *s, struct problem *ret_problem);
