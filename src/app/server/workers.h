/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* workers.h -- the loops that serve clients and browsers: a thread each, and on each a listener for
 * every socket of the server. Main thread, where nothing else is said. */
#pragma once

#include "app/server/doors.h"
#include "app/server/ports.h"
#include "net/loop.h"
#include "stats/report.h"

struct workers;

/* A port at one address. */
struct opening {
    uint16_t port; /* 0: left out */
    enum port_kind kind;
};

/* n loops that do not run yet, which count on the sheets of their numbers; c: borrowed for the
 * call. E_NO_MEMORY, E_SYS. */
MUST_USE enum err workers_new(const struct conf *c, unsigned n, struct stats *stats,
                              struct workers **ret);
void workers_free(struct workers *ws); /* after workers_join(); NULL is a no-op */
struct loop *const *workers_loops(const struct workers *ws); /* borrowed; any thread */

/* ---- ports ---- */

unsigned workers_n_sockets(const struct workers *ws);
const struct opening *workers_opening(const struct workers *ws, unsigned socket); /* borrowed */
/* Opens a socket on all loops, or on none; before workers_start(). Errors as of listener_open(). */
MUST_USE enum err workers_listen(struct workers *ws, unsigned socket, const struct port_use *u,
                                 SSL_CTX *tls, const struct stream_opts *o);
void workers_leave_out(struct workers *ws, unsigned socket);
void workers_close_ports(struct workers *ws); /* when no thread runs */
/* New connections get these; E_NO_MEMORY: not all loops have got them. */
MUST_USE enum err workers_set_doors(struct workers *ws, const struct doors *doors);
/* Adds what became of the sockets of each port. Any thread. */
void workers_add_sockets(const struct workers *ws, struct stats_gauges *ret);

/* ---- threads ---- */

MUST_USE enum err workers_start(struct workers *ws); /* on an error some run: workers_stop() */
void workers_stop(struct workers *ws);
/* When all have ended, and again for what is posted later: mailboxes are emptied. */
void workers_join(struct workers *ws);
/* No new clients, and an end with those that are there, for STOP_GRACE_MS at most. */
void workers_drain(struct workers *ws);
/* Have all loops had a turn since the last call? The first call only begins to ask. */
bool workers_are_alive(struct workers *ws);
