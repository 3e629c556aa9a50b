/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* check.h -- the two things that `smp-server check` can look at: a server's files, and a server
 * that answers at an address. What is found goes into a report. Main thread. */
#pragma once

#include "app/files/paths.h"
#include "app/terminal/findings.h"

/* The settings, and all that they and the paths name. Nothing is changed or locked: a server may
 * run on these files meanwhile. */
void check_files(const struct paths *paths, struct findings *r);

struct check_server_opts {
    const char *address;     /* smp://...; borrowed */
    const char *socks_proxy; /* NULL: none; borrowed */
    int64_t timeout_ms;      /* to be connected, and for each answer */
};

/* Where the server is, all its hosts, without password: for findings_begin(). E_CONFIG when the
 * options make no sense. */
MUST_USE enum err check_server_name(const struct check_server_opts *o, char *ret, size_t cap,
                                    struct problem *ret_problem);
/* Does with a queue at each host what apps do, and deletes it. E_CONFIG as above, E_SYS,
 * E_NO_MEMORY, E_CRYPTO: nothing was begun at that host. What fails later is in the report. */
MUST_USE enum err check_server(const struct check_server_opts *o, struct findings *r,
                               struct problem *ret_problem);
