/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* proxy_priv.h -- the parts of the proxy: what all loops share (proxy.c), and the pool of each
 * (pool.c). */
#pragma once

#include <stdatomic.h>

#include "base/lock.h"
#include "net/loop.h"
#include "proxy/proxy.h"

/* A relay that is connected to, or was not long ago. Owner loop only, but where it says otherwise.
 */
struct pooled {
    struct idnode by_addr;    /* in pool.relays */
    struct idnode by_session; /* in proxy.sessions while up; guarded by proxy.mtx */
    struct bytes session_id;  /* guarded as by_session; views client */
    struct pool *pool;        /* borrowed */
    struct relay_addr addr;
    struct smp_client *client; /* NULL: failed */
    struct proxy_asker *asker; /* counted, while connecting: whose share it has; may be NULL */
    bool is_up, is_abandoned;
    struct list waiting; /* operations that wait for the connection */
    struct smp_failure failure;
    int64_t retry_at_ms;
};

/* The relays of one loop. */
struct pool {
    /* fixed after proxy_start() */
    struct proxy *proxy; /* borrowed */
    struct loop *loop;   /* borrowed */
    /* owner loop only */
    struct idmap relays; /* owns */
    unsigned n_connecting, n_forwarding;
    struct list queued; /* operations that wait for their turn to connect */
    unsigned n_queued;
    struct loop_timer sweep, watch; /* watch: while there is something under way or queued */
    bool is_watching;
};

struct proxy {
    /* fixed after proxy_new() */
    struct relay_addr_rules rules;
    char own_domains[1024];
    struct socks_proxy socks; /* secret */
    struct dial_opts dial;    /* tls is owned */
    struct conn_opts conn;
    struct smp_client_opts client;
    int64_t retry_after_ms;
    struct pool *pools; /* owned: n_pools of them */
    unsigned n_pools;
    /* atomic */
    atomic_bool is_stopping; /* acquire and release: after it, nothing is posted any more */
    /* guarded by mtx */
    struct lock mtx;
    struct idmap sessions; /* of all pools, by the id of the relay session */
};

/* ---- pool.c; all on the pool's loop ---- */

void pool__init(struct pool *pool, struct proxy *p, struct loop *l);
void pool__done(struct pool *pool);
MUST_USE enum err pool__start(struct pool *pool);
void pool__connect(struct pool *pool, struct proxy_op *owned);
void pool__forward(struct pool *pool, struct proxy_op *owned);

/* ---- proxy.c ---- */

void proxy__complete(struct proxy_op *owned, const struct smp_failure *why);
void proxy__complete_by(struct proxy_op *owned, enum smp_failure_kind error);
/* The pool that has this session; NULL: none. *ret_relay is for that pool's loop only. */
struct pool *proxy__find_session(struct proxy *p, struct bytes session_id,
                                 struct pooled **ret_relay);
MUST_USE enum err proxy__add_session(struct proxy *p, struct pooled *relay,
                                     struct bytes session_id);
void proxy__remove_session(struct proxy *p, struct pooled *relay);
