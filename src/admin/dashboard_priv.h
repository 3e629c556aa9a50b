/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dashboard_priv.h -- what the files of the dashboard share: who is let in (dashboard_door.c), what
 * is answered (dashboard_answer.c). In libmicrohttpd's thread. */
#pragma once

#include "admin/auth_gate.h"
#include "admin/dashboard.h"
#include "admin/local_http.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/thread.h"
#include "client/smp_uri.h"
#include "stats/history.h"
#include "web/site.h"

/* A connection, in libmicrohttpd's thread. */
struct peer {
    struct local_guest guest; /* known: its last password was right */
};

struct request {
    struct MHD_Connection *connection;
    int64_t due_ms;         /* when its password may be looked at; 0: not decided */
    struct list in_waiting; /* guarded by mtx */
};

struct dashboard {
    /* fixed after dashboard_new() */
    struct dashboard_opts o; /* site owned; without host */
    bool is_ipv6;
    int fd;                    /* owned until it serves; or -1 */
    struct MHD_Daemon *daemon; /* owned; NULL: not started */
    struct thread sampler;
    /* libmicrohttpd's thread */
    struct auth_gate gate;
    struct local_guests guests;
    /* the sampler's thread; main thread until it starts */
    int64_t sample_ms; /* when next */
    struct stats_gauges gauges;
    struct stats_report report;
    /* guarded by mtx */
    struct lock mtx;
    struct lock_cond wake;
    bool is_stopping;
    struct list waiting; /* suspended requests */
    struct history *history;
    uint64_t started_s, storage_state, smp_expires_s, web_expires_s; /* of the last sample */
    char password[SMP_PASSWORD_MAX];                                 /* secret */
};

/* The first of this name; empty when there is none. */
struct bytes dashboard_field(struct MHD_Connection *c, const char *name);

/* ---- who is let in ---- */

enum verdict { LET_IN, ASK, WRONG, WAIT, NOBODY };

/* A name of somebody else's that leads here would make the pages of that name's owner ours. */
bool dashboard_is_for_us(struct MHD_Connection *c);
/* Did another page ask for it? Such a one may lead to our page, and no more: what it would be
 * answered it could not read, but it could guess passwords. */
bool dashboard_is_of_another_page(const struct dashboard *d, struct MHD_Connection *c,
                                  const char *path);
/* After wrong passwords the next are looked at later, all that came meanwhile together: so one who
 * guesses is slow, however many connections he has, and keeps nobody else waiting for longer than
 * the gate's longest delay. A connection whose password was right never waits. */
enum verdict dashboard_look_at(struct dashboard *d, struct request *r, struct peer *peer);

/* ---- answers ---- */

enum { FORBIDDEN = 403, NOT_FOUND = 404, BODY_REFUSED = 413, MISDIRECTED = 421 };

enum MHD_Result dashboard_refuse(struct MHD_Connection *c, unsigned status, const char *text);
/* was_wrong: then the connection ends, so that the next has a turn. */
enum MHD_Result dashboard_ask_password(struct MHD_Connection *c, bool was_wrong);
enum MHD_Result dashboard_send_file(const struct dashboard *d, struct MHD_Connection *c,
                                    const char *path);
enum MHD_Result dashboard_send_data(struct dashboard *d, struct MHD_Connection *c);
