/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* job.h -- a block is a job that can stop between two commands, and between two keys of a queue.
 *
 * A session's jobs run in the order of their blocks. The store may find their queues at once or
 * later, in any order. A job whose session has had its share of the turn (net/turns.h) keeps a copy
 * of its block and goes on when it is the session's turn again; until then the session is not read.
 * Owner loop only. */
#pragma once

#include "crypto/authz.h"
#include "relay/session/request.h"
#include "store/records.h"

/* Takes a block's content, which came at now_us (loop_now_us()); answers go to the outbox, at once
 * or when its turn has come. E_NO_MEMORY. */
MUST_USE enum err jobs_take(struct session *s, struct bytes content, int64_t now_us);
void jobs_run(struct session *s);            /* goes on with them */
bool jobs_are_full(const struct session *s); /* no more of them may be taken now */
/* The connection has closed. False: the store still has some of them, and the last of these frees
 * the session. */
MUST_USE bool jobs_done(struct session *s);

/* ---- dispatch.c ---- */

/* How far the verification of a command has come. */
struct verifying {
    struct authz_steps steps;
    struct keyset *keys; /* counted: those that are tried; NULL: no set */
};
void verifying_done(struct verifying *at);

/* Verifies and runs one command, for which these were looked up; its answer is delivered. False:
 * the share of this turn is used, and the command is to be run again, with the same `at`. */
MUST_USE bool command_run(struct request *rq, struct store_lookup *lookups, size_t n_lookups,
                          struct verifying *at);
void command_refuse(const struct request *rq, enum err e); /* answers without running it */
