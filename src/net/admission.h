/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* admission.h -- who may connect and how much: limits per address and in all, shared by all loops.
 *
 * An address is an IPv4 address or an IPv6 /64. It is kept only as a keyed hash, for as long as it
 * has a connection or an unspent rate: never logged, never listed. Any thread; one mutex, short
 * sections. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/env.h"
#include "base/err.h"

struct admission;
struct admission_peer; /* counted: one reference per admitted connection */

struct admission_opts {
    unsigned connections_max;         /* in all; 0: no limit */
    unsigned connections_per_address; /* 0: no limit */
    unsigned handshakes_per_second;   /* in all; 0: no limit; burst of one second */
    unsigned new_queues_per_minute;   /* per address; 0: no limit; burst of one minute */
    unsigned outgoing_max;            /* sockets of our own connections, in all; 0: no limit */
};

MUST_USE enum err admission_new(const struct admission_opts *o, const struct env *env,
                                struct admission **ret);
void admission_free(struct admission *a); /* all peers must have been released */

/* E_LIMIT when one of the limits is reached (nothing is counted then), E_NO_MEMORY. *ret_peer is
 * released by admission_leave(). */
MUST_USE enum err admission_enter(struct admission *a, const struct sockaddr *from,
                                  struct admission_peer **ret_peer);
void admission_leave(struct admission *a, struct admission_peer *owned);

/* Spends one new queue of this address; false when there is none left in this minute. */
bool admission_take_new_queue(struct admission *a, struct admission_peer *peer);

/* A socket for a connection of our own: so that what strangers make us connect to takes no
 * descriptor from clients, nor from the files of the store. False: there are too many; else it is
 * given back.
 */
bool admission_take_outgoing(struct admission *a);
void admission_give_outgoing(struct admission *a);

unsigned admission_connections(const struct admission *a); /* open now, in all */
