/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* web_files.h -- the pages as files in static_path, for other web servers. This server itself
 * serves them from memory.
 *
 * A list in the directory says which files are ours: those that are no more are removed at the next
 * start; what others put there is left alone. Main thread. */
#pragma once

#include "app/files/problem.h"
#include "web/site.h"

/* Makes dir, with all above it, while the process may still write there (confine.h). A failure is
 * told by web_files_write(). */
void web_files_make_dir(const char *dir);

/* Makes dir and what is in it. What is as it should be is not written again. E_SYS, E_NO_MEMORY,
 * E_LIMIT. */
MUST_USE enum err web_files_write(const char *dir, const struct site *site,
                                  struct problem *ret_problem);
