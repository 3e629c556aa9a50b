/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_state.h -- the state file of the statistics, and that of the keys of its hashes
 * (stats/keys.h), which is written first; the file that it replaces is overwritten, so
 * that keys of periods that are over are nowhere.
 *
 * Blocks. One thread at a time. */
#pragma once

#include "app/files/paths.h"
#include "app/files/problem.h"
#include "base/vfs.h"
#include "stats/report.h"

struct stats_state {
    const struct env *env; /* borrowed, as all */
    const struct vfs *vfs;
    const struct paths *paths;
    struct stats *stats;
    uint8_t sum[SHA256_LEN]; /* of the state file as it is; zeros at first */
};

/* Whether a start could read the state, if there is one. E_SYS. */
MUST_USE enum err stats_state_check(const struct paths *paths, struct problem *ret_problem);
/* Before anything is counted. What is damaged is kept aside, keys that cannot be read are as lost,
 * both with a warning. E_SYS when there is a state file that cannot be read, or kept aside;
 * E_NO_MEMORY. */
MUST_USE enum err stats_state_restore(struct stats_state *t, struct problem *ret_problem);
/* E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err stats_state_save(struct stats_state *t, uint64_t q_count);

/* Writes a new file that takes the place of the old one. E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err stats_state_replace(const struct vfs *v, const char *path, mode_t mode,
                                      struct bytes b);
