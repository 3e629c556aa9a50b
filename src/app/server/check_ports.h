/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* check_ports.h -- who listens where, as the kernel tells it: nothing is bound to a port or
 * connected to. Main thread. */
#pragma once

#include <stdbool.h>

#include "net/listener.h"

/* PORT_OURS: of process pid. PORT_SAME_USER: of its user, and we may not look into it: processes
 * with capabilities are closed even to their own user. */
enum port_user { PORT_FREE, PORT_TAKEN, PORT_SAME_USER, PORT_OURS };

/* Would a listener at this address meet another one? pid 0: no process is ours. */
enum port_user check_port(const struct listener_addr *a, long pid);
/* May process pid (0: this one) bind to such an address and port, be it taken or not? E_SYS with
 * errno as of listener_open(), E_SYNTAX. */
MUST_USE enum err check_may_bind(const struct listener_addr *a, long pid);
/* Would two listeners of ours meet? */
bool ports_meet(const struct listener_addr *a, const struct listener_addr *b);
