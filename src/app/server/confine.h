/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* confine.h -- the running server is given the paths that its settings name, and nothing else.
 * Main thread. */
#pragma once

#include "app/server/storage.h"
#include "app/settings/conf.h"

/* Before anything is read that strangers have written, and before there are threads. Logs in one
 * line what is on. [PROCESS] sandbox off: only says so. Any error with ret_problem filled in. */
MUST_USE enum err confine(const struct conf *c, const struct paths *paths,
                          const struct storage *storage, struct problem *ret_problem);
