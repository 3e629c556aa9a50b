/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* moderate.h -- what the operator may do to a queue, by the id that somebody reported (spec:
 * behaviour, "Queues").
 *
 * Any thread, between relay_start() and the end of the loops. Whoever is subscribed is told at
 * once, through the loops' mailboxes. *ret_lsn is that of the change: nothing is promised before
 * the store has made it durable. Errors: E_AUTH (no such queue), E_STORE, E_NO_MEMORY. */
#pragma once

#include "store/records.h"

struct relay;

struct relay_queue_state {
    enum queue_status status;
    struct block_info *block; /* counted; of a blocked queue, else NULL */
    int32_t updated_day;      /* days since the Unix epoch; 0: not known */
    enum queue_mode mode;
    bool is_secured; /* with a sender's key */
};
MUST_USE enum err relay_queue_state(struct relay *r, enum queue_id_kind kind, const struct id *id,
                                    struct relay_queue_state *ret);
void relay_queue_state_done(struct relay_queue_state *s); /* after OK */

/* Recipient and senders are answered with the reason from now on. Takes a reference. */
MUST_USE enum err relay_block_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                                    struct block_info *info, lsn_t *ret_lsn);
MUST_USE enum err relay_unblock_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                                      lsn_t *ret_lsn);
/* Record, messages and notifications. *ret_n_messages: those that were deleted. */
MUST_USE enum err relay_delete_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                                     unsigned *ret_n_messages, lsn_t *ret_lsn);
