/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* signals.h -- what the main thread does while the server runs: it waits for signals.
 *
 * SIGINT and SIGTERM stop in order, a second one at once. SIGHUP reads certificates and settings
 * again: what cannot change while the server runs is named, and what is wrong changes nothing. All
 * signals are blocked in all threads and taken here by sigtimedwait(2), so no handler interrupts
 * anything. Where the service manager wants it (notify.h), it is told again and again that all
 * loops live. All functions: main thread. */
#pragma once

#include "app/server/server.h"

struct signals {
    const struct paths *paths; /* borrowed */
    struct server *server;     /* borrowed */
    struct identity *identity; /* owned; the newest */
    struct conf *conf;         /* borrowed; in force */
    bool has_log_level;        /* of the command line: it comes before that of conf */
};

void signals_set_log_level(struct signals *r);
void signals_block(void); /* before any thread starts: they inherit it */
/* Has SIGINT or SIGTERM come, within this time? SIGHUP is left for signals_wait_for_stop(). For who
 * does not serve yet. */
bool signals_end_within(unsigned ms);
void signals_wait_for_stop(struct signals *r);
