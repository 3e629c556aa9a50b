/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* admission.h -- who may connect and how much: limits per address and in all, shared by all loops.
 *
 * An address is an IPv4 address or an IPv6 /64. It is kept only as a keyed hash, for as long as it
 * has a connection or an unspent rate: never logged, never listed. Any thread; one mutex, short
 * sections, but for shares, which need none. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/env.h"
#include "base/err.h"
#include "stats/stats.h"

struct admission;
struct admission_peer; /* counted: one reference per admitted connection, and per hold */

/* 0: no limit. Rates may be used up in one burst. */
struct admission_opts {
    unsigned connections_max;         /* in all */
    unsigned connections_per_address; /* and never more than half of connections_max */
    unsigned handshakes_per_second;   /* new connections, in all */
    unsigned handshakes_per_address;  /* in a second */
    unsigned handshakes_underway;     /* per address: connected, but not yet through TLS */
    unsigned new_queues_per_minute;   /* per address */
    unsigned new_queues_per_day;      /* per address */
    unsigned new_queues_in_all;       /* in a minute */
    unsigned new_services_per_day;    /* per address */
    unsigned relays_underway;         /* per address: being connected to on its behalf */
    unsigned lookups_underway;        /* per address: names of these */
    unsigned forwards_underway;       /* per address: commands at other relays */
    unsigned outgoing_max;            /* sockets of our own connections, in all */
    uint64_t memory_max;              /* bytes that the process may use; above nobody is let in */
    uint64_t (*memory_used)(void);    /* any thread; NULL: memory is not limited */
    bool limit_localhost;             /* false: what is per address is not for this machine's own */
};

/* Which limit was reached. */
enum admission_limit {
    LIMIT_NONE,
    LIMIT_CONNECTIONS,
    LIMIT_MEMORY,
    LIMIT_CONNECTIONS_PER_ADDRESS,
    LIMIT_HANDSHAKES,
    LIMIT_HANDSHAKES_PER_ADDRESS,
    LIMIT_HANDSHAKES_UNDERWAY,
    LIMIT_NEW_QUEUES,
    LIMIT_NEW_QUEUES_PER_ADDRESS,
    LIMIT_NEW_QUEUES_PER_DAY,
    LIMIT_NEW_SERVICES,
    LIMIT_RELAYS,
    LIMIT_LOOKUPS,
    LIMIT_FORWARDS,
    N_ADMISSION_LIMITS
};

extern const enum stat_id LIMIT_STATS[N_ADMISSION_LIMITS]; /* how often: but that of LIMIT_NONE */

MUST_USE enum err admission_new(const struct admission_opts *o, const struct env *env,
                                struct admission **ret);
void admission_free(struct admission *a); /* all peers must have been released */

/* E_LIMIT when one of the limits is reached (nothing is counted then, and *ret_limit says which),
 * E_NO_MEMORY. *ret_peer is released by admission_leave(); its handshake is under way until
 * admission_settle(), which comes before that, once. */
MUST_USE enum err admission_enter(struct admission *a, const struct sockaddr *from,
                                  struct admission_peer **ret_peer,
                                  enum admission_limit *ret_limit);
void admission_settle(struct admission *a, struct admission_peer *peer);
void admission_leave(struct admission *a, struct admission_peer *owned);

/* Spends one new queue of this address and of all; or says which has none left in this time. */
enum admission_limit admission_take_new_queue(struct admission *a, struct admission_peer *peer);
enum admission_limit admission_take_new_service(struct admission *a, struct admission_peer *peer);

/* What outlives a connection holds its address: the peer stays good until it is let go. */
void admission_hold(struct admission *a, struct admission_peer *peer);
void admission_let_go(struct admission *a, struct admission_peer *held);

/* What an address may have of us at a time; given back when it is no more used. */
enum admission_share { SHARE_RELAYS, SHARE_LOOKUPS, SHARE_FORWARDS, N_ADMISSION_SHARES };
/* LIMIT_NONE: it is taken. */
enum admission_limit admission_take_share(struct admission *a, struct admission_peer *peer,
                                          enum admission_share share);
void admission_give_share(struct admission_peer *peer, enum admission_share share);

/* A socket for a connection of our own: so that what strangers make us connect to takes no
 * descriptor from clients, nor from the files of the store. False: there are too many; else it is
 * given back.
 */
bool admission_take_outgoing(struct admission *a);
void admission_give_outgoing(struct admission *a);

unsigned admission_connections(const struct admission *a); /* open now, in all */
