/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp_client.h -- a client of one SMP server: one connection, many requests at once.
 *
 * Made by smp_client_open(), which connects: name, TCP, TLS, SMP handshake, all within one time
 * limit. Requests are matched with answers by correlation id, each has a time limit, and whatever
 * becomes of the connection, each is answered exactly once. When a request's time is up and nothing
 * at all came since it was made, the connection is taken for dead. A silent connection is asked
 * whether it lives (PING), one without requests is closed after a while. There is no reconnecting
 * here: on_down() is the end, and whoever wants another connection opens one.
 *
 * All on the loop it was opened on. */
#pragma once

#include "base/idmap.h"
#include "base/list.h"
#include "net/dial.h"
#include "wire/reply.h"

struct smp_client;
struct smp_request;

struct smp_client_opts {
    const struct env *env;        /* borrowed */
    const struct dial_opts *dial; /* borrowed; its conn has SMP_CLIENT_OPS */
    uint16_t version_min, version_max;
    bool is_proxy;              /* says so, and does without block encryption */
    int64_t connect_timeout_ms; /* until the handshake is done */
    int64_t request_timeout_ms;
    int64_t ping_after_ms; /* of silence; 0: never */
    int64_t idle_ms;       /* without requests, then it is closed; 0: never */
    size_t requests_max;   /* without an answer */
    size_t unsent_max;     /* bytes of requests that the socket did not take yet */
};

struct smp_target {
    char host[HOST_TEXT_MAX];
    uint16_t port;
    uint8_t identity[32]; /* SHA-256 of the server's identity certificate */
};

/* How far connecting has come. */
enum smp_stage {
    SMP_STAGE_DIAL, /* name, TCP, SOCKS */
    SMP_STAGE_TLS,  /* and the server's identity */
    SMP_STAGE_HELLO,
    SMP_STAGE_UP
};

/* More about the end than a proxy tells its clients: for the operator's eyes. */
struct smp_end {
    enum smp_stage stage;              /* that was not completed; UP: it had been up */
    bool is_late;                      /* the time limit of connecting was over */
    enum err error;                    /* why, as far as is known; E_CLOSED: by the server */
    int sys_error;                     /* errno, with E_SYS */
    const char *tls;                   /* what TLS says, static; "" for nothing */
    uint8_t identity[32];              /* with E_IDENTITY: of the server that is there */
    uint16_t version_min, version_max; /* the server's; 0 as long as it told none */
};

struct smp_client_events {
    /* A stage is completed, TLS or HELLO follows. May be NULL. */
    void (*on_stage)(void *ctx, enum smp_stage next);
    void (*on_up)(void *ctx); /* requests may be made from here on */
    /* The server says something of itself: entity and message view the block. May be NULL. */
    void (*on_event)(void *ctx, struct bytes entity, struct bytes message);
    /* The end; why->error is never FAILURE_NONE. All requests are answered; the client is freed
     * when this returns. */
    void (*on_down)(void *ctx, const struct smp_failure *why);
};

/* One request. The caller embeds it; it belongs to the client until done() is called. */
struct smp_request {
    struct idnode node; /* id: correlation id, set by the caller, random */
    struct list pending, unsent;
    int64_t made_ms;
    uint8_t *transmission; /* owned by the client, which frees it when it is written */
    bool is_borrowed;      /* it is the caller's, not to be touched until done() is called */
    size_t n;
    /* why->error is FAILURE_NONE: message is the n bytes of the answer, writable and valid during
     * the call. Else there is none. */
    void (*done)(struct smp_request *rq, const struct smp_failure *why, uint8_t *message, size_t n);
};

extern const struct conn_ops SMP_CLIENT_OPS; /* for struct conn_opts */

/* E_HOST, E_NO_MEMORY, E_SYS: then nothing is called. */
MUST_USE enum err smp_client_open(struct loop *l, const struct smp_client_opts *o,
                                  const struct smp_client_events *events, void *ctx,
                                  const struct smp_target *to, struct smp_client **ret);
/* Right after smp_client_open(): see dial_on_looked_up(). */
void smp_client_on_looked_up(struct smp_client *c, void (*fn)(void *ctx), void *ctx);
/* Closes; on_down() comes later, but at once when it was not connected yet. */
void smp_client_close(struct smp_client *c);

bool smp_client_is_up(const struct smp_client *c);
const struct smp_end *smp_client_end(const struct smp_client *c); /* within on_down(); borrowed */

/* When up. E_LIMIT when too much is under way: then rq is the caller's still. */
MUST_USE enum err smp_client_request(struct smp_client *c, struct smp_request *rq);

/* When up; all borrowed. */
const struct wire_params *smp_client_params(const struct smp_client *c);
/* What both sides speak: the server's range within ours. */
void smp_client_versions(const struct smp_client *c, uint16_t *ret_min, uint16_t *ret_max);
/* What the server proved its session key with; both empty below V_AUTH_CMDS. */
struct bytes smp_client_chain(const struct smp_client *c);
struct bytes smp_client_signed_key(const struct smp_client *c);
/* The key that both session keys agree on; NULL below V_AUTH_CMDS. */
const struct box_key *smp_client_shared_key(const struct smp_client *c);
/* The server's session key, X25519_LEN bytes, with which senders' authenticators are made (see
 * smp_queue_meet()); NULL below V_AUTH_CMDS. */
const uint8_t *smp_client_session_key(const struct smp_client *c);
