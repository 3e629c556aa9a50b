/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/ports.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/server/check_ports.h"

const char PORTS_KEY[] = "[TRANSPORT] port", PORTS_WEBSOCKETS_KEY[] = "[TRANSPORT] websockets",
           PORTS_HTTPS_KEY[] = "[WEB] https", PORTS_HTTP_KEY[] = "[WEB] http",
           PORTS_CONTROL_KEY[] = "[TRANSPORT] control_port",
           PORTS_METRICS_KEY[] = "[TRANSPORT] metrics", PORTS_DASHBOARD_KEY[] = "[WEB] dashboard";

enum { MAX_PORTS = 2 * CONF_PORTS_MAX + 2, MAX_OTHERS = 4 };

static bool has_http(const struct conf *c) {
    return c->web_http != 0 && c->web_static_path[0] != '\0';
}

bool ports_have_https(const struct conf *c) {
    return c->web_https != 0 && c->web_static_path[0] != '\0' && c->web_cert[0] != '\0' &&
           c->web_key[0] != '\0';
}

static bool is_for_smp(const struct conf *c, int64_t port) {
    for (unsigned i = 0; i < c->ports.n; i++) {
        if (c->ports.port[i] == port) return true;
    }
    return false;
}

static bool is_shared(const struct conf *c) {
    return is_for_smp(c, c->web_https);
}

static bool has_own_https(const struct conf *c) {
    return ports_have_https(c) && !is_shared(c) && !c->is_https_left_out;
}

bool ports_settle(struct conf *c, const char *ini_path, struct problem *ret_problem) {
    if (!ports_have_https(c) || is_shared(c) ||
        (access(c->web_cert, F_OK) == 0 && access(c->web_key, F_OK) == 0))
        return false;
    c->is_https_left_out = true;
    (void)problem_set(ret_problem, OK,
                      "there are no pages on port %d: %s and %s are not both there; get a "
                      "certificate and restart, or remove https in %s",
                      (int)c->web_https, c->web_cert, c->web_key, ini_path);
    return true;
}

static void add(struct port_use *list, unsigned *n, enum port_kind kind, int64_t port,
                const char *key) {
    assert(*n < MAX_PORTS);
    list[(*n)++] = (struct port_use){kind, {.host = NULL, .port = (uint16_t)port}, key, false};
}

/* On each address. Ports that are there twice are served as the first of both says: so the
 * reference has it for WebSocket, and browsers' ports have that themselves. */
static unsigned list_ports(const struct conf *c, struct port_use ret[MAX_PORTS]) {
    unsigned n = 0;
    for (unsigned i = 0; i < c->ports.n; i++) {
        const uint16_t port = c->ports.port[i];
        const bool is_both = ports_have_https(c) && port == c->web_https;
        add(ret, &n, is_both ? PORT_SHARED : PORT_SMP, port, PORTS_KEY);
    }
    if (has_own_https(c)) add(ret, &n, PORT_HTTPS, c->web_https, PORTS_HTTPS_KEY);
    for (unsigned i = 0; i < c->websockets.n; i++) {
        const uint16_t port = c->websockets.port[i];
        if (is_for_smp(c, port) || (has_own_https(c) && port == c->web_https)) continue;
        add(ret, &n, PORT_WEBSOCKETS, port, PORTS_WEBSOCKETS_KEY);
    }
    if (has_http(c)) add(ret, &n, PORT_HTTP, c->web_http, PORTS_HTTP_KEY);
    return n;
}

unsigned ports_count(const struct conf *c) {
    struct port_use list[MAX_PORTS];
    return (c->bind.n != 0 ? c->bind.n : 1) * list_ports(c, list);
}

static struct port_use get(const struct conf *c, unsigned i) {
    struct port_use list[MAX_PORTS];
    const unsigned n_ports = list_ports(c, list);
    assert(n_ports != 0); /* there is one for clients at least */
    struct port_use u = list[i % n_ports];
    if (c->bind.n != 0) u.addr.host = c->bind.text[i / n_ports];
    return u;
}

static struct port_use local_use(const struct conf_endpoint *at, const char *key) {
    return (struct port_use){PORT_OPERATOR, {.host = at->host, .port = at->port}, key, false};
}

static unsigned list_others(const struct conf *c, struct port_use ret[MAX_OTHERS]) {
    unsigned n = 0;
    if (c->control_port != 0) {
        const uint16_t port = (uint16_t)c->control_port;
        ret[n++] = (struct port_use){PORT_OPERATOR,
                                     {.host = "127.0.0.1", .port = port},
                                     PORTS_CONTROL_KEY,
                                     false};
        ret[n++] = (struct port_use){PORT_OPERATOR,
                                     {.host = "::1", .port = port},
                                     PORTS_CONTROL_KEY,
                                     true};
    }
    if (c->metrics.port != 0) ret[n++] = local_use(&c->metrics, PORTS_METRICS_KEY);
    if (c->dashboard.port != 0) ret[n++] = local_use(&c->dashboard, PORTS_DASHBOARD_KEY);
    return n;
}

unsigned ports_n_uses(const struct conf *c) {
    struct port_use others[MAX_OTHERS];
    return ports_count(c) + list_others(c, others);
}

struct port_use ports_use(const struct conf *c, unsigned i) {
    struct port_use others[MAX_OTHERS];
    const unsigned n = ports_count(c);
    if (i < n) return get(c, i);
    const unsigned n_others = list_others(c, others);
    assert(i - n < n_others);
    return others[i - n];
}

struct port_use ports_use_of(const struct conf *c, const char *key) {
    unsigned i = 0;
    while (strcmp(ports_use(c, i).key, key) != 0) i++;
    return ports_use(c, i);
}

static enum err explain_twice(const struct port_use *a, const struct port_use *b,
                              const char *ini_path, struct problem *p) {
    if (a->key == b->key) {
        return problem_set(p, E_CONFIG,
                           "port %u is there twice for %s: correct [TRANSPORT] port and bind in %s",
                           b->addr.port, b->addr.host != NULL ? b->addr.host : "any address",
                           ini_path);
    }
    return problem_set(p, E_CONFIG, "%s and %s are both %u: set another %s in %s", a->key, b->key,
                       b->addr.port, b->key, ini_path);
}

enum err ports_check(const struct conf *c, const char *ini_path, struct problem *ret_problem) {
    const unsigned n = ports_n_uses(c);
    for (unsigned i = 0; i < n; i++) {
        for (unsigned j = i + 1; j < n; j++) {
            const struct port_use a = ports_use(c, i), b = ports_use(c, j);
            if (ports_meet(&a.addr, &b.addr)) return explain_twice(&a, &b, ini_path, ret_problem);
        }
    }
    return OK;
}

#define CURE_OF_LOW_PORTS                                                                          \
    "grant it (`setcap cap_net_bind_service=+ep` on the program, or "                              \
    "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit), or set another %s in %s"

static bool is_forbidden(enum err e, int number) {
    return e == E_SYS && (number == EACCES || number == EPERM);
}

bool ports_is_dispensable(const struct port_use *u, enum err e) {
    return (port_is_of_clients(u->kind) && is_forbidden(e, errno)) ||
           (port_is_extra(u->kind) && e != OK);
}

uint16_t ports_of_address(const struct conf *c, long pid) {
    for (unsigned i = 0; i < ports_count(c); i++) {
        const struct port_use u = ports_use(c, i);
        if (!port_is_of_clients(u.kind)) continue;
        const enum err e = check_may_bind(&u.addr, pid);
        if (!ports_is_dispensable(&u, e)) return u.addr.port;
    }
    return c->ports.port[0];
}

void ports_explain_left_out(const struct port_use *u, enum err e, const char *ini_path,
                            struct problem *ret_problem) {
    if (!is_forbidden(e, errno)) {
        struct problem why;
        (void)ports_explain(u, e, ini_path, &why);
        (void)problem_set(ret_problem, OK, "there %s on port %u: %.*s",
                          u->kind == PORT_WEBSOCKETS ? "is no WebSocket" : "are no pages",
                          u->addr.port, (int)sizeof why.text - 64, why.text);
        return;
    }
    (void)problem_set(ret_problem, OK,
                      "port %u (%s) is left out, as it needs the capability "
                      "CAP_NET_BIND_SERVICE: " CURE_OF_LOW_PORTS,
                      u->addr.port, u->addr.host != NULL ? u->addr.host : "any address", u->key,
                      ini_path);
}

enum err ports_explain(const struct port_use *u, enum err e, const char *ini_path,
                       struct problem *ret_problem) {
    const char *host = u->addr.host != NULL ? u->addr.host : "any address";
    const int number = errno;
    if (e == E_SYS && number == EADDRINUSE) {
        return problem_set(ret_problem, e,
                           "port %u (%s) is in use by another program: stop it, or set another %s "
                           "in %s",
                           u->addr.port, host, u->key, ini_path);
    }
    if (is_forbidden(e, number)) {
        return problem_set(ret_problem, e,
                           "port %u needs the capability CAP_NET_BIND_SERVICE: " CURE_OF_LOW_PORTS,
                           u->addr.port, u->key, ini_path);
    }
    if (e == E_SYS && (number == EADDRNOTAVAIL || number == EAFNOSUPPORT)) {
        return problem_set(ret_problem, e, "%s is not an address of this machine: correct %s in %s",
                           host, u->key == PORTS_KEY ? "[TRANSPORT] bind" : u->key, ini_path);
    }
    return problem_set(ret_problem, e, "cannot listen on port %u (%s): %s; see %s%s in %s",
                       u->addr.port, host, err_reason(e), u->key,
                       u->key == PORTS_KEY ? " and bind" : "", ini_path);
}
