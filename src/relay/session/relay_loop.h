/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay_loop.h -- the relay, and its part on each loop: what all sessions of a loop share. */
#pragma once

#include "base/list.h"
#include "crypto/authz_cache.h"
#include "net/conn.h"
#include "model/limits.h"
#include "net/loop.h"
#include "relay/delivery/fate.h"
#include "relay/delivery/pull.h"
#include "relay/session/ages.h"
#include "relay/session/settings.h"
#include "relay/session/tls_log.h"
#include "stats/stats.h"

struct rules;
struct session;

struct session_slot {
    struct session *session; /* borrowed; NULL: free */
    uint64_t generation;     /* of the present or last user */
    uint32_t next_free;
};

/* The relay's part on one loop. */
struct relay_loop {
    /* fixed after relay_start() */
    struct relay *relay;       /* borrowed */
    struct loop *loop;         /* borrowed */
    struct stats_sheet *stats; /* borrowed; the loop's; may be NULL */
    struct pull_home pulls;
    uint16_t index;
    struct fate_desk desk; /* where sessions wait for the disk */
    /* owner loop only */
    struct rules *rules;             /* counted */
    struct authz_cache *authz_cache; /* owned */
    struct session_slot *slots;      /* owned */
    uint32_t n_slots, first_free;
    uint64_t last_generation; /* from relay.first_generation on */
    struct list sessions;
    struct list ntf_waiting;   /* sessions whose notifications go out at the next tick */
    struct list ends_waiting;  /* sessions that are told at the next tick what has ended */
    struct list retry_waiting; /* sessions for which a message could not be read */
    struct list slowed;        /* sessions that go on at the next tick: slowed.c */
    bool ntf_ticking, ends_ticking, retry_ticking, slowed_ticking, leisure_ticking;
    struct loop_timer slowed_timer, inactive_timer, ntf_timer, ends_timer, retry_timer;
    struct loop_timer leisure_timer;
    lsn_t leisure_lsn; /* the last change that somebody waits for at leisure */
    uint8_t
        scratch[SMP_BLOCK_LEN]; /* where one answer is encoded before it is copied to an outbox */
    /* atomic */
    struct ages delivered_ages; /* of messages that wait for ACK */
};

struct relay {
    /* fixed after relay_new() */
    struct relay_opts o;          /* but its rules: see rules.c */
    int64_t handshake_timeout_ms; /* of SMP */
    struct conn_opts conn_opts;
    uint64_t map_seed[3];
    /* Random, so that a session's name of another start, or of another node, finds nobody here. */
    uint64_t first_generation;
    struct relay_loop *loops; /* owned: o.n_loops of them */
    struct tls_log tls_log;   /* guards itself */
    struct fates fates;       /* guards itself */
};
