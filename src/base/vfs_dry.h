/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* vfs_dry.h -- file operations that leave every file as it is: to find out whether something would
 * work, by doing it.
 *
 * Reads see the files. New files are in memory; names that are made, changed or removed are so for
 * this vfs alone. What is written into a file that is there is read back by this vfs, up to 32 MiB
 * of it; its length stays. Missing rights are errors as they would be. One thread. */
#pragma once

#include "base/vfs.h"

struct vfs_dry;

MUST_USE enum err vfs_dry_new(struct vfs_dry **ret); /* E_NO_MEMORY */
void vfs_dry_free(struct vfs_dry *d);                /* after all files are closed; NULL: a no-op */
const struct vfs *vfs_dry_vfs(const struct vfs_dry *d); /* borrowed */
