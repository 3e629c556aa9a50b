/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* check_ports.h -- who listens where, as the kernel tells it: nothing is bound or connected to.
 * Main thread. */
#pragma once

#include <stdbool.h>

#include "net/listener.h"

enum port_user { PORT_FREE, PORT_TAKEN, PORT_OURS };

/* Would a listener at this address meet another one? PORT_OURS: it is of process pid (0: none), as
 * far as we may look into it. */
enum port_user check_port(const struct listener_addr *a, long pid);
