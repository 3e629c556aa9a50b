/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* session.h -- one client's session, from its handshake to its end, and what it is sent. Owner loop
 * only. */
#pragma once

#include "base/idmap.h"
#include "base/list.h"
#include "crypto/crypto.h"
#include "relay/delivery/fate.h"
#include "relay/delivery/outbox.h"
#include "relay/session/due.h"
#include "relay/session/relay_loop.h"
#include "wire/handshake.h"

struct session_service;
struct proxy_asker;

enum session_state {
    SESSION_HELLO,     /* the server's hello is to be written */
    SESSION_HANDSHAKE, /* the client's hello is awaited */
    SESSION_OPENING,   /* the store is asked for the record of a service */
    SESSION_ACCEPTED,  /* a service is to be told its id */
    SESSION_REFUSED, /* a service is to be told that it is not accepted; then the connection ends */
    SESSION_RUNNING
};

/* In memory of secret.h. */
struct session_keys {
    uint8_t priv[X25519_LEN]; /* of the server's side */
    struct block_chain send_chain, receive_chain;
};

/* Owner loop only. */
struct session {
    struct conn *conn;      /* borrowed; NULL after the connection closed */
    struct relay_loop *rl;  /* borrowed */
    struct subscriber self; /* how others name this session */
    struct list in_loop;
    struct fate_waiter disk; /* for what it is told next */
    enum session_state state;
    bool encrypted; /* blocks are sealed with the chains */
    bool reading_paused;
    bool legacy; /* no ALPN: version 6 only */
    enum transport_error refusal;
    struct wire_params params;
    uint8_t pub[X25519_LEN];
    struct session_keys *keys;       /* owned, secret */
    struct authz_session agreements; /* secret; of those who send here */
    struct idmap subs;
    unsigned n_subscribed; /* of subs: those that are not by_get */
    unsigned n_own_subs;   /* of these: those that are not by_service */
    unsigned n_delivered;  /* of subs: those that have_delivered */
    unsigned n_own_nsubs;  /* of nsubs: those that are not by_service */
    struct idmap nsubs;
    struct list in_ntf, in_ends, in_retry;
    unsigned n_ntfs;                 /* sent since the tick */
    struct session_service *service; /* owned; NULL: not a service's */
    struct outbox outbox;
    struct list asides; /* owned: aside.c */
    size_t aside_bytes;
    struct due due;
    /* blocks under way: job.c */
    struct list jobs;           /* owned; in the order in which they came */
    unsigned n_jobs, n_loading; /* these, and those that the store has */
    size_t jobs_bytes;          /* of their copies */
    bool has_stopped;           /* the first of them goes on when it is the session's turn */
    uint32_t refused;           /* authorizations that are not forgiven: slowed.c */
    int64_t refused_ms;         /* until when they were */
    struct list in_slowed;
    /* loop time: of its beginning, of the last block from the client, of the last to it */
    int64_t created_ms, received_ms, sent_ms;
    unsigned n_ends;     /* ENDs and DELDs since the last block was written */
    bool has_unanswered; /* a command stays unanswered: the connection will be closed */
    uint32_t is_counted; /* gauge_set() */
    /* forwarding to relays: cmd_proxy.c */
    unsigned n_proxied, n_proxied_waiting; /* with the proxy; not yet */
    struct list proxied_waiting;           /* owned */
    bool is_starting_proxied;
    struct proxy_asker *asker; /* counted; NULL until something is asked of the proxy */
    /* asking for names: cmd_rslv.c */
    unsigned n_names;          /* with the resolver */
    struct list names_waiting; /* owned */
    bool is_starting_names;
    /* as a proxy's session: forwarded.c */
    bool has_client_key;
    uint8_t client_key[X25519_LEN]; /* of the handshake */
    struct box_key *proxy_key;      /* owned, of secret.h; NULL until something is forwarded */
};

extern const struct conn_ops SESSION_OPS;
struct session *session_find(struct relay_loop *rl,
                             struct subscriber who); /* NULL when it is gone */
void session_free(struct session *s);
void session_adjust_reading(struct session *s); /* stop or go on, by what waits */

/* Queues an answer; on failure for want of memory the connection is closed: a client must not wait
 * for what will never come. */
void session_add_answer(struct session *s, const struct out_text *t); /* ownership as outbox.h */
void session_add_text(struct session *s, struct bytes transmission);  /* waits for nothing */
/* What follows an answer that leaves, or never will. */
void session_settle(struct session *s, const struct follow_up *f, bool is_lost);
/* A place for the queue's next message. */
void session_add_msg(struct session *s, struct bytes corr_id, struct queue *q, lsn_t lsn);
void session_add_ahead(struct session *s, struct queue *q);
void session_add_due(struct session *s, enum due_kind kind, const struct id *id, bool alone);
void session_add_link(struct session *s, const struct reply_to *to, const struct id *snd_id,
                      struct link_data *link, lsn_t lsn);

/* A command gets no answer: the connection is closed in UNANSWERED_CLOSE_S; at once when the reason
 * is E_CLOSED: that nobody should wait any longer. */
void session_leave_unanswered(struct session *s, enum err why);

/* END, DELD or ENDS: counted, and not sent before end_interval_ms unless something else is. Closes
 * the connection of who has too much waiting and does not read. */
void session_add_end(struct session *s, struct bytes transmission);
bool session_is_subscribed(const struct session *s); /* to anything that the server may send */

static inline void session_count(const struct session *s, enum stat_id id) {
    stats_add(s->rl->stats, id, 1);
}

bool session_is(const struct session *s, struct subscriber who); /* is that its name? */
