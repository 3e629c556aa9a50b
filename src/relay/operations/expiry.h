/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* expiry.h -- messages and notifications do not wait for ever: one loop goes over all queues, a few
 * at a time, again and again. Owner loop only. */
#pragma once

#include "relay/session/relay_loop.h"

/* Before the loop starts; what has no time to live is left alone. E_NO_MEMORY. */
MUST_USE enum err expiry_start(struct relay_loop *rl);
void expiry_stop(struct relay_loop *rl); /* also of a loop where it was not started */
