/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* watch.h -- readiness of a descriptor that is a library's: it is watched here and never closed.
 *
 * Owner loop only. Stop a watch before its descriptor is closed; at the latest before loop_free().
 */
#pragma once

#include "net/loop.h"

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

/* Embed in the struct that needs it. Private to watch.c but for storage. */
struct watch {
    void *impl; /* owned by watch.c; NULL when not running */
};

/* Calls fn(ctx, events) whenever one of `events` is there (an error counts as both). Running
 * already: it is for these events and this fn from now on. fn may stop the watch. E_NO_MEMORY;
 * E_SYS: the descriptor cannot be watched. */
MUST_USE enum err watch_start(struct loop *l, struct watch *w, int fd, unsigned events,
                              void (*fn)(void *ctx, unsigned events), void *ctx);
void watch_stop(struct watch *w); /* no-op when not running */
