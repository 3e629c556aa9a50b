/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay.h -- the relay: sessions of all loops over one store.
 *
 * Start: relay_new(), then relay_conn_opts() for the listeners, then relay_start() before the loops
 * start. Stop: loop_close_conns() on each loop, stop and join them, store_stop(), then run what was
 * posted meanwhile (loop_join() again), then relay_free(): the store's threads may call here until
 * they have ended, and what they post names sessions of the relay. */
#pragma once

#include "client/smp_uri.h"
#include "net/conn.h"
#include "relay/ages.h"
#include "store/store.h"

struct relay;
struct fates;
struct proxy;
struct resolver;

/* What may change while the relay runs. */
struct relay_rules {
    bool allow_new_queues;
    bool log_tls_errors;
    char create_password[SMP_PASSWORD_MAX]; /* "": none; secret */
};

/* What the operator chooses; each with its range in the table of settings. */
struct relay_settings {
    uint16_t version_min, version_max; /* SMP versions offered; within those of this build */
    bool accept_services;
    unsigned proxy_concurrency;    /* of one session: proxy commands under way */
    unsigned resolver_concurrency; /* of one session: names under way */
    unsigned pending_bytes_max;    /* per session */
    int64_t handshake_timeout_s;   /* of TLS, and again of SMP; 0: the two defaults of limits.h */
    int64_t expiry_interval_s;
    bool expire_on_start, expire_on_send;
    bool disconnect_inactive; /* without it idle connections are kept */
    int64_t inactive_ttl_s, inactive_check_s;
    int64_t ntf_interval_ms; /* notifications of this time go out together */
    int64_t end_interval_ms; /* END and DELD of this time too; 0: they go at once */
};

struct relay_opts {
    const struct env *env;     /* borrowed */
    struct store *store;       /* borrowed */
    struct loop *const *loops; /* borrowed; sessions live on these */
    unsigned n_loops;
    struct admission *admission; /* borrowed */
    struct proxy *proxy;         /* borrowed; NULL: nothing is forwarded to other relays */
    struct resolver *resolver;   /* borrowed; NULL: names are not resolved */
    int64_t message_ttl_s;       /* 0: never expire */
    int64_t ntf_ttl_s;           /* 0: likewise */
    struct relay_rules rules;    /* to begin with */
    struct relay_settings settings;
};

enum { RELAY_VERSION_MIN = 6, RELAY_VERSION_MAX = 20 }; /* SMP versions that this build speaks */

MUST_USE enum err relay_new(const struct relay_opts *o, struct relay **ret); /* E_NO_MEMORY */
MUST_USE enum err relay_start(
    struct relay *r);             /* timers and tables of each loop; before loop_start() */
void relay_free(struct relay *r); /* see above; NULL is a no-op */
const struct conn_opts *relay_conn_opts(const struct relay *r); /* borrowed */

/* From its next turn on each loop goes by these. Any thread, between relay_start() and the end of
 * the loops. E_NO_MEMORY: all stays as it was. */
MUST_USE enum err relay_set_rules(struct relay *r, const struct relay_rules *rules);

/* To be called when the store says that something became durable. Any thread, between relay_new()
 * and relay_free(). */
void relay_on_durable(struct relay *r);
/* Where others wait for the disk too: fate_desk_open(). Between relay_new() and relay_free(). */
struct fates *relay_fates(struct relay *r);

/* The messages that wait for ACK. Any thread, between relay_start() and relay_free(); stops nobody.
 */
void relay_waiting_acks(const struct relay *r, struct ages_sum *ret);
