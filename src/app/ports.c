/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/ports.h"

#include <errno.h>
#include <string.h>

unsigned ports_count(const struct conf *c) {
    return (c->bind.n != 0 ? c->bind.n : 1) * c->ports.n;
}

struct listener_addr ports_get(const struct conf *c, unsigned i) {
    const unsigned port = i % c->ports.n, address = i / c->ports.n;
    return (struct listener_addr){c->bind.n != 0 ? c->bind.text[address] : NULL,
                                  c->ports.port[port]};
}

enum err ports_explain(const struct listener_addr *a, enum err e, const char *ini_path,
                       struct problem *ret_problem) {
    const char *host = a->host != NULL ? a->host : "any address";
    const int number = errno;
    if (e == E_SYS && number == EADDRINUSE) {
        return problem_set(ret_problem, e,
                           "port %u (%s) is in use: stop the program that has it, or set another "
                           "[TRANSPORT] port in %s",
                           a->port, host, ini_path);
    }
    if (e == E_SYS && (number == EACCES || number == EPERM)) {
        return problem_set(ret_problem, e,
                           "port %u needs the capability CAP_NET_BIND_SERVICE: grant it (`setcap "
                           "cap_net_bind_service=+ep` on the program, or AmbientCapabilities="
                           "CAP_NET_BIND_SERVICE in the systemd unit), or set another "
                           "[TRANSPORT] port in %s",
                           a->port, ini_path);
    }
    if (e == E_SYS && (number == EADDRNOTAVAIL || number == EAFNOSUPPORT)) {
        return problem_set(ret_problem, e,
                           "%s is not an address of this machine: correct [TRANSPORT] bind in %s",
                           host, ini_path);
    }
    return problem_set(ret_problem, e,
                       "cannot listen on port %u (%s): %s; see [TRANSPORT] port and bind in %s",
                       a->port, host, e == E_SYS ? strerror(number) : err_meaning(e), ini_path);
}
