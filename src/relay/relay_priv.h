/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay_priv.h -- what the files of relay/ share: the relay, its part on each loop, sessions,
 * subscriptions, requests. */
#pragma once

#include <stdatomic.h>

#include "base/idmap.h"
#include "base/list.h"
#include "crypto/crypto.h"
#include "net/loop.h"
#include "relay/outbox.h"
#include "relay/relay.h"
#include "wire/command.h"
#include "wire/handshake.h"

/* ---- the relay and its loops ---- */

struct session_slot {
    struct session *session; /* borrowed; NULL: free */
    uint64_t generation;     /* of the present or last user */
    uint32_t next_free;
};

/* The relay's part on one loop. */
struct relay_loop {
    /* fixed after relay_start() */
    struct relay *relay; /* borrowed */
    struct loop *loop;   /* borrowed */
    uint16_t index;
    /* owner loop only */
    struct session_slot *slots; /* owned */
    uint32_t n_slots, first_free;
    uint64_t last_generation;
    struct list sessions;
    struct list held; /* sessions whose next answers wait for durability */
    struct loop_timer inactive_timer, expiry_timer;
    struct store_cursor expiry_cursor;
    uint64_t n_expired; /* in this pass */
    uint8_t
        scratch[SMP_BLOCK_LEN]; /* where one answer is encoded before it is copied to an outbox */
    /* atomic */
    _Atomic bool durable_posted; /* acquire/release: at most one wake-up on the way */
};

struct relay {
    /* fixed after relay_new() */
    struct relay_opts o; /* create_password: see below */
    struct conn_opts conn_opts;
    uint8_t *password; /* owned, secret; NULL: none */
    size_t n_password;
    uint64_t map_seed[3];
    struct relay_loop *loops; /* owned: o.n_loops of them */
};

/* ---- subscriptions of a session (subscription.c) ---- */

struct sub {
    struct idnode node;  /* recipient id */
    struct queue *queue; /* counted */
    bool by_get;         /* GET was used: it is no subscription, and SUB is prohibited */
    bool has_delivered;
    struct id delivered; /* the message that waits for ACK */
};

/* ---- sessions (session.c) ---- */

enum session_state {
    SESSION_HELLO,     /* the server's hello is to be written */
    SESSION_HANDSHAKE, /* the client's hello is awaited */
    SESSION_REFUSED, /* a service is to be told that it is not accepted; then the connection ends */
    SESSION_RUNNING
};

struct job;

/* Owner loop only. */
struct session {
    struct conn *conn;      /* borrowed; NULL after the connection closed */
    struct relay_loop *rl;  /* borrowed */
    struct subscriber self; /* how others name this session */
    struct list in_loop, in_held;
    enum session_state state;
    bool encrypted; /* blocks are sealed with the chains */
    bool reading_paused;
    bool legacy; /* no ALPN: version 6 only */
    enum transport_error refusal;
    struct wire_params params;
    uint8_t priv[X25519_LEN]; /* session key; secret */
    uint8_t pub[X25519_LEN];
    struct block_chain send_chain, receive_chain; /* secret */
    struct idmap subs;
    unsigned n_subscribed; /* of subs: those that are not by_get */
    struct outbox outbox;
    struct job *job;   /* owned; a block that waits for the store, or NULL */
    int64_t active_ms; /* loop time of the last block in either direction */
};

extern const struct conn_ops SESSION_OPS;
struct session *session_find(struct relay_loop *rl,
                             struct subscriber who); /* NULL when it is gone */
void session_free(struct session *s);
void session_adjust_reading(struct session *s); /* stop or go on, by what waits */
void session_flush_msg(struct relay *r,
                       struct subscriber who); /* any thread: asks that session to write again */

/* Queues an answer; on failure for want of memory the connection is closed: a client must not wait
 * for what will never come. */
void session_add_text(struct session *s, struct bytes transmission, lsn_t lsn, size_t held_bytes);
void session_add_msg(struct session *s, struct bytes corr_id, struct queue *q, struct message *m,
                     lsn_t lsn, bool after_answers);
void session_add_link(struct session *s, const struct reply_to *to, const struct id *snd_id,
                      struct link_data *link, lsn_t lsn);

/* ---- requests (dispatch.c) ---- */

/* One command while it is run. Everything borrowed from its job. */
struct request {
    struct session *session;
    const struct transmission *t;
    const struct command *cmd;
    struct reply_to to;
    struct queue *queue;           /* NULL for commands without one */
    const struct queue_view *view; /* NULL as above */
    unsigned batch_len;            /* commands in this block */
    size_t held_bytes;             /* what the store holds in RAM until the answer is durable */
    struct queue *deliver_after;   /* counted; set by SUB: its message follows the answers */
};

/* Takes a block's content; answers go to the outbox, at once or when the store has answered.
 * E_NO_MEMORY. */
MUST_USE enum err dispatch_block(struct session *s, struct bytes content);
void dispatch_bad_block(struct session *s); /* ERR BLOCK for a block that cannot be opened */
void job_free(struct job *j);               /* NULL is a no-op */

/* Answers to a request. */
struct wr answer_begin(const struct request *rq); /* a cursor over the loop's scratch */
void answer_end(const struct request *rq, const struct wr *w, lsn_t lsn);
void answer_ok(const struct request *rq, lsn_t lsn);
void answer_err(const struct request *rq, enum err e);
void answer_blocked(const struct request *rq);                       /* of a blocked queue */
void answer_result(const struct request *rq, enum err e, lsn_t lsn); /* OK or ERR */

typedef void cmd_fn(struct request *rq);
/* Handlers, one per row of commands.def that this version runs. They are called only for verified
 * requests. */
cmd_fn cmd_new, cmd_key, cmd_rkey, cmd_skey, cmd_off, cmd_del, cmd_que; /* cmd_queue.c */
cmd_fn cmd_lset, cmd_ldel, cmd_lkey, cmd_lget;                          /* cmd_link.c */
cmd_fn cmd_sub, cmd_get, cmd_ack, cmd_send, cmd_ping;                   /* cmd_msg.c */

/* ---- subscription.c ---- */

struct sub *sub_find(struct session *s, const struct id *rcv_id);
/* E_QUOTA at the session's limit, E_NO_MEMORY. */
MUST_USE enum err sub_add(struct session *s, struct queue *q, bool by_get, struct sub **ret);
void sub_remove(struct session *s, struct sub *owned); /* tells the store unless by_get */
void subs_done(struct session *s);                     /* all of them */
/* Makes the session the queue's subscriber; whoever was is told END. */
MUST_USE enum err sub_register(struct session *s, struct queue *q);
/* Both of the above, or neither. */
MUST_USE enum err sub_subscribe(struct session *s, struct queue *q);
/* Delivers the oldest message, if any, unless one waits for ACK. */
void sub_deliver(struct session *s, struct sub *sub, bool after_answers);

enum note_kind {
    NOTE_MESSAGE, /* the queue is no longer empty */
    NOTE_END,     /* another session subscribed */
    NOTE_DELETED  /* the queue is gone */
};
/* Tells a session of this or another loop; nobody is a no-op. */
void notify(struct relay_loop *from, enum note_kind kind, struct subscriber to, struct queue *q);
