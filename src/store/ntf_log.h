/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf_log.h -- the notifications log, which backends write at an orderly stop. */
#pragma once

#include "store/store.h"

struct vfs;

/* Writes all notifications that wait, while the store may be in use. E_SYS, E_NO_MEMORY with
 * *ret_problem. */
MUST_USE enum err ntf_log_save(struct store *s, const struct env *env, const struct vfs *vfs,
                               const char *path, struct store_problem *ret_problem);
