/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* slowed.h -- a connection may be refused REFUSED_MAX authorizations, and then as many as are
 * forgiven with time: what it sends further waits. Generous, as a client whose queues are all gone
 * asks for each of them once. Owner loop only. */
#pragma once

#include <stdbool.h>

struct relay_loop;
struct session;

void slowed_count_refusal(struct session *s);
/* True: the session has to wait; conn_want_run() is called when it may go on. */
bool slowed_wait(struct session *s);
void slowed_done(struct session *s);     /* the session has closed */
void slowed_stop(struct relay_loop *rl); /* the timer */
