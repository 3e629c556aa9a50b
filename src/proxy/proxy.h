/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* proxy.h -- the sending end of private message routing: connections to relays, shared by all
 * clients.
 *
 * There is one connection to a relay, whoever asks, so that the relay cannot tell clients apart.
 * It lives on one loop, which follows from the relay's address (docs/adr/0006); an operation from
 * a session of another loop travels there and back through the mailboxes. Attempts are shared, a
 * failure is remembered for retry_after_s, and each operation is answered within the time limits.
 * An attempt counts against the session and address for which it began, waits for its turn where
 * these have enough of them under way, and ends when nobody waits for it any more.
 *
 * Start: proxy_new(), proxy_start() before the loops start. Stop: proxy_stop() before the loops are
 * stopped; then join all loops, twice; then proxy_free(). */
#pragma once

#include "net/dial.h"
#include "net/loop.h"
#include "proxy/asker.h"
#include "proxy/relay_addr.h"
#include "wire/forward.h"
#include "wire/reply.h"

struct proxy;
struct proxy_op;

/* What the operator chooses; each with its range in the table of settings. */
struct proxy_settings {
    bool required_host_mode, allow_private;
    int64_t connect_timeout_s, request_timeout_s;
    int64_t ping_after_s;  /* of silence; 0: never */
    int64_t idle_s;        /* without a request, then it is disconnected; 0: never */
    int64_t retry_after_s; /* 0: a relay that failed is tried again at once */
};

struct proxy_opts {
    const struct env *env;     /* borrowed */
    struct loop *const *loops; /* borrowed */
    unsigned n_loops;
    uint16_t version_max; /* that this build speaks */
    bool prefer_onion;
    const char *own_domains;         /* borrowed until proxy_new() returns; "" for none */
    const struct socks_proxy *socks; /* borrowed as own_domains; NULL: none */
    bool socks_always;
    struct admission *admission; /* borrowed; counts sockets; NULL: nothing is counted */
    struct proxy_settings settings;
};

MUST_USE enum err proxy_new(const struct proxy_opts *o, struct proxy **ret);
MUST_USE enum err proxy_start(struct proxy *p); /* before loop_start() */
void proxy_stop(struct proxy *p);               /* any thread; NULL is a no-op */
void proxy_free(struct proxy *p);               /* NULL is a no-op */

/* One operation. The caller embeds it, with asker, done and drop set, and gives it away; it comes
 * back by one of them, on the loop it came from. */
struct proxy_op {
    /* private to the proxy */
    struct loop_msg msg;
    struct proxy *proxy;
    struct loop *from, *home;
    struct list waiting;
    int64_t queued_until_ms; /* connect: 0 as long as it did not wait for its turn */
    struct smp_request request;
    struct relay_addr addr;  /* connect */
    struct bytes session_id; /* forward; views data */
    struct forward forward;  /* forward; views data */
    /* result */
    struct smp_failure failure; /* error is FAILURE_NONE on success */
    bool is_own;            /* the relay is one of own_domains; false as long as it is not known */
    struct reply_pkey pkey; /* of connect; views data */
    struct bytes response;  /* of forward; views data */
    uint8_t *data;          /* owned: proxy_op_done() */
    /* set by the caller */
    struct proxy_asker *asker; /* counted: proxy_op_done(); NULL: for nobody who has limits */
    /* exactly one is called, once, and then the op is the caller's again */
    void (*done)(struct proxy_op *op);
    void (*drop)(struct proxy_op *op); /* nobody is left to be told: free, and touch nothing else */
};

/* Both: on a loop of the proxy's, which is current; done() may come before they return. What is
 * given is copied. */
void proxy_connect(struct proxy *p, struct loop *from, const struct relay_name *to,
                   struct proxy_op *owned);
void proxy_forward(struct proxy *p, struct loop *from, struct bytes session_id,
                   const struct forward *f, struct proxy_op *owned);
void proxy_op_done(struct proxy_op *op); /* frees what is inside */
