/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_dir.h -- directories with journals as they lie on disk: ours and the reference's.
 *
 * Only names are looked at. For a server that does not run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/files/problem.h"

/* Has the directory segments of our journal? Each may hold messages. False when there is no such
 * directory. E_SYS. */
MUST_USE enum err journal_dir_is_used(const char *dir, bool *ret, struct problem *ret_problem);

/* May this process read and write the journal? True of one that does not exist. E_SYS: the first
 * message would find it out otherwise, with clients connected. */
MUST_USE enum err journal_dir_check_access(const char *dir, struct problem *ret_problem);

struct journal_dir_removed {
    unsigned n_files;
    uint64_t n_bytes;
};
/* Removes the files that the journal has made, and the directory if nothing else is in it. Follows
 * no links, not even if dir is one. E_SYS: some may be gone. */
MUST_USE enum err journal_dir_remove(const char *dir, struct journal_dir_removed *ret,
                                     struct problem *ret_problem);

/* Has the directory files of the reference's journal (messages.*.log, queue_state.*.log)? E_SYS. */
MUST_USE enum err journal_dir_is_reference(const char *dir, bool *ret, struct problem *ret_problem);
