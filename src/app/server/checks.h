/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* checks.h -- what has to be in order for a server to start: one list, for `start`, which ends at
 * the first error, and for `check`, which tells them all.
 *
 * Nothing is changed, locked or bound to: a server may run on these files. Rights are those of the
 * user that asks. `check` also looks at what `start` finds out by doing it: whether the store can
 * be read, and the ports are free. Main thread. */
#pragma once

#include "app/settings/conf.h"
#include "app/server/identity.h"
#include "app/terminal/findings.h"
#include "app/server/storage.h"

struct checks {
    /* by the caller; borrowed */
    const struct paths *paths;
    const struct conf *conf;
    const struct storage *storage;
    long pid;         /* of the server that runs on these files; 0: none that we see */
    bool is_starting; /* a server is about to */
    bool is_waiting;  /* found out: the one that runs is a standby, and holds no port */
    void (*tell)(void *ctx, enum finding_level level, const char *name, const char *text);
    void *ctx;
    /* found out */
    struct identity *identity; /* owned by the caller: identity_free(); NULL: it cannot be used */
    char expires_day[32];      /* of the identity's certificates, as "2026-12-31" */
    int64_t days_left;
    unsigned n_told[FINDING_ERROR + 1];
};

/* Runs the list: the whole of it, or to the first error when a server is about to start. */
void checks_run(struct checks *c);
