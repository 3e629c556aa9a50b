/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* standby.h -- `[CLUSTER] standby: on`: waits, without a port, until the server that is active on
 * the database has left or is dead. Main thread. */
#pragma once

#include "app/server/identity.h"
#include "app/server/storage.h"

/* Who a process of this machine is, as others find it in the database. */
void standby_name(long pid, char ret[DB_ADDRESS_MAX]);
/* epoch: of standby_wait(); 0: it did not wait. */
struct db_node standby_node(const struct identity *id, int64_t epoch);

/* Returns when it is our turn: *ret_epoch is for storage_use.node. migrates: makes what the schema
 * lacks. E_CLOSED: SIGINT or SIGTERM has come, which are blocked (signals_block()). Any other
 * error: *ret_problem; there is no use in waiting. */
MUST_USE enum err standby_wait(const struct storage *s, const struct identity *id, bool migrates,
                               int64_t *ret_epoch, struct problem *ret_problem);
