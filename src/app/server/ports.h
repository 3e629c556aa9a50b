/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ports.h -- where the server listens: each address of `bind` with each port, the control port,
 * the metrics and the dashboard; and what to tell the operator when one cannot be had. Main thread.
 */
#pragma once

#include "app/settings/conf.h"
#include "net/listener.h"

enum port_kind {
    PORT_SMP,
    PORT_SHARED,     /* SMP, and browsers with TLS */
    PORT_WEBSOCKETS, /* SMP, over WebSocket */
    PORT_HTTPS,      /* browsers with TLS, and SMP over WebSocket */
    PORT_HTTP,       /* browsers without */
    PORT_OPERATOR,   /* control port, metrics, dashboard: not on the loops of clients */
    N_PORT_KINDS
};

static inline bool port_is_of_clients(enum port_kind kind) {
    return kind == PORT_SMP || kind == PORT_SHARED;
}
static inline bool port_is_of_browsers(enum port_kind kind) {
    return kind == PORT_HTTPS || kind == PORT_HTTP;
}

/* A server starts without them. */
static inline bool port_is_extra(enum port_kind kind) {
    return port_is_of_browsers(kind) || kind == PORT_WEBSOCKETS;
}

/* Those that the loops listen on: for clients and browsers. */
unsigned ports_count(const struct conf *c);

/* All: those of the loops first. */
struct port_use {
    enum port_kind kind;
    struct listener_addr addr; /* borrows from the settings */
    const char *key;           /* of the setting */
    bool is_optional;          /* done without where the machine has no such address */
};
unsigned ports_n_uses(const struct conf *c);
struct port_use ports_use(const struct conf *c, unsigned i);
/* The use of a setting's key, of which there is one at least. */
struct port_use ports_use_of(const struct conf *c, const char *key);

extern const char PORTS_KEY[], PORTS_WEBSOCKETS_KEY[], PORTS_HTTPS_KEY[], PORTS_HTTP_KEY[],
    PORTS_CONTROL_KEY[], PORTS_METRICS_KEY[], PORTS_DASHBOARD_KEY[];

/* Do the settings ask for pages with TLS, and say all that these need? */
bool ports_have_https(const struct conf *c);
/* An https port of its own is not opened while there are no files of a certificate: to be called
 * once, before anything else here. True: it is left out, and ret_problem says why. */
bool ports_settle(struct conf *c, const char *ini_path, struct problem *ret_problem);

/* The port for the address: the first for clients that process pid (0: this one) may bind to; the
 * first of all if it may to none. */
uint16_t ports_of_address(const struct conf *c, long pid);

/* Do settings want one port twice? E_CONFIG. */
MUST_USE enum err ports_check(const struct conf *c, const char *ini_path,
                              struct problem *ret_problem);

/* Describes why u could not be opened, from e and errno; returns e. */
enum err ports_explain(const struct port_use *u, enum err e, const char *ini_path,
                       struct problem *ret_problem);
/* Does a server do without u, which could not be opened for e and errno, while it has another port
 * for clients? Packages list ports below 1024 whether they may be bound to or not; and pages are
 * never worth as much as the relay. */
bool ports_is_dispensable(const struct port_use *u, enum err e);
/* Describes that it does, and why, from e and errno. */
void ports_explain_left_out(const struct port_use *u, enum err e, const char *ini_path,
                            struct problem *ret_problem);
