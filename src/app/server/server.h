/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* server.h -- the parts of a running server, in the order in which they start and stop.
 *
 * server.c has that order once, as a list that is run forwards and, from wherever it came to,
 * backwards. Main thread, where nothing else is said. */
#pragma once

#include "app/settings/conf.h"
#include "app/server/identity.h"
#include "app/server/storage.h"
#include "stats/report.h"

struct server;

struct server_opts {
    const struct conf *conf;         /* borrowed for the call */
    const struct identity *identity; /* borrowed for the call */
    const struct storage *storage; /* borrowed until server_stop() has returned; locked, checked */
    const char *ini_path;          /* borrowed for the call; for messages */
    bool maintenance;              /* open and close the store, serve nobody */
    int64_t epoch;                 /* of standby_wait(); 0: it did not wait */
    bool skip_warnings, compact_log; /* as in struct store_opts */
};

/* When it returns OK all ports listen and are served. Any error with ret_problem filled in; then
 * nothing is left running. */
MUST_USE enum err server_start(const struct server_opts *o, struct server **ret,
                               struct problem *ret_problem);
/* Closes the ports, gives clients what they still have to get (for STOP_GRACE_MS at most), saves
 * what is saved at a stop, stops and frees all. An error with ret_problem filled in means that not
 * all could be saved; everything is freed all the same. NULL is a no-op. */
MUST_USE enum err server_stop(struct server *s, struct problem *ret_problem);
/* New connections get these certificates; those that there are go on with theirs. id: borrowed for
 * the call. E_NO_MEMORY: not all loops have got them. */
MUST_USE enum err server_set_identity(struct server *s, const struct identity *id);
/* New settings of these parts, borrowed for the call. E_NO_MEMORY: all stays as it was. */
MUST_USE enum err server_set_rules(struct server *s, const struct relay_rules *rules);
void server_set_control(struct server *s, const struct control_settings *settings);
/* Looks whether the files of the pages' certificate have changed, to be called every
 * SERVER_LOOK_MS; is_asked: reads them anyway. What is wrong with them is logged. */
enum { SERVER_LOOK_MS = 60000 };
void server_look_at_page_cert(struct server *s, const struct conf *conf, bool is_asked);
/* The pages tell of all settings: after any of them has changed. */
MUST_USE enum err server_set_pages(struct server *s, const struct conf *conf);
/* Have all loops had a turn since the last call? The first call only begins to ask. */
bool server_is_alive(struct server *s);
/* The statistics of this moment. Any thread, until the stop. */
void server_report(struct server *s, struct stats_report *ret);
/* Writes the statistics' state now, as at a stop; nothing without log_stats. Any thread, until the
 * stop. E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err server_save_stats(struct server *s);
unsigned server_n_threads(const struct server *s);
/* Are clients served on this port of the settings? It may have been left out: ports.h. */
bool server_has_websockets(const struct server *s, uint16_t port); /* and nothing else there */
bool server_has_port(const struct server *s, uint16_t port);
bool server_has_https(const struct server *s); /* are pages served with TLS? */
