/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay_priv.h -- what the files of relay/ share: the relay, its part on each loop, sessions,
 * subscriptions, requests. */
#pragma once

#include <stdatomic.h>

#include "base/idmap.h"
#include "base/list.h"
#include "crypto/authz_cache.h"
#include "crypto/crypto.h"
#include "net/loop.h"
#include "relay/answer.h"
#include "relay/due.h"
#include "relay/fate.h"
#include "relay/forwarded.h"
#include "relay/outbox.h"
#include "relay/relay.h"
#include "relay/tls_log.h"
#include "stats/stats.h"
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
    uint64_t last_generation;
    struct list sessions;
    struct list ntf_waiting;   /* sessions whose notifications go out at the next tick */
    struct list ends_waiting;  /* sessions that are told at the next tick what has ended */
    struct list retry_waiting; /* sessions for which a message could not be read */
    struct list slowed;        /* sessions that go on at the next tick: slowed.c */
    bool ntf_ticking, ends_ticking, retry_ticking, slowed_ticking;
    struct loop_timer slowed_timer, inactive_timer, expiry_timer, ntf_timer, ntf_expiry_timer,
        ends_timer, retry_timer;
    struct store_cursor expiry_cursor, ntf_expiry_cursor;
    uint64_t n_expired, n_ntfs_expired; /* in this pass */
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
    struct relay_loop *loops; /* owned: o.n_loops of them */
    struct tls_log tls_log;   /* guards itself */
    struct fates fates;       /* guards itself */
};

/* ---- what may change while it runs (rules.c) ---- */

MUST_USE enum err rules_new(const struct relay_rules *from, struct rules **ret); /* E_NO_MEMORY */
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules *rules); /* NULL is a no-op */
bool rules_allow_new_queues(const struct rules *rules);
/* May the bearer make queues, and have commands forwarded? */
bool rules_fit_password(const struct rules *rules, bool has, struct bytes password);

/* ---- subscriptions of a session (subscription.c) ---- */

struct sub {
    struct idnode node;  /* recipient id */
    struct queue *queue; /* counted */
    bool by_get : 1;     /* GET was used: it is no subscription, and SUB is prohibited */
    bool by_service : 1; /* of the service that this session serves; only while a message waits */
    bool is_due : 1;     /* its next message has a place in the outbox, or is due */
    bool is_asked : 1;   /* it has one as the answer to GET or ACK; an older one stays empty */
    bool has_news : 1;   /* a message came while it was due or asked for */
    bool has_delivered : 1;
    uint32_t delivered_s; /* when, by loop_turn_ms() */
    struct id delivered;  /* the message that waits for ACK */
};

/* ---- notifiers of a session (ntf.c) ---- */

struct nsub {
    struct idnode node;  /* notifier id */
    struct queue *queue; /* counted */
    bool is_due;         /* on the session's list */
    bool by_service;     /* of the service that this session serves; only while it is due */
};

/* ---- services (service.c) ---- */

/* What a service's session has beyond others. Owner loop only. */
struct session_service {
    struct service *service; /* of the store */
    enum service_role role;
    struct pubkey key; /* Ed25519: of the service signature */
    uint8_t cert_hash[SHA256_LEN];
    lsn_t lsn;                 /* of its record: the service is not told before */
    struct ids_sum subscribed; /* what the client counts on; nothing: another session serves */
    bool serves_all;           /* SUBS or NSUBS was answered, and nobody took over since */
    /* going through what waited when SUBS or NSUBS came; DUE_SCAN is due until all was seen */
    struct loop_timer scan_timer;
    struct store_cursor scan_cursor;
    bool is_scanning;
};

/* ---- sessions (session.c) ---- */

enum session_state {
    SESSION_HELLO,     /* the server's hello is to be written */
    SESSION_HANDSHAKE, /* the client's hello is awaited */
    SESSION_ACCEPTED,  /* a service is to be told its id */
    SESSION_REFUSED, /* a service is to be told that it is not accepted; then the connection ends */
    SESSION_RUNNING
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
    uint8_t priv[X25519_LEN]; /* session key; secret */
    uint8_t pub[X25519_LEN];
    struct block_chain send_chain, receive_chain; /* secret */
    struct authz_session agreements;              /* secret; of those who send here */
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
    /* asking for names: cmd_rslv.c */
    unsigned n_names;          /* with the resolver */
    struct list names_waiting; /* owned */
    bool is_starting_names;
    /* as a proxy's session: cmd_rfwd.c */
    bool has_client_key;
    uint8_t client_key[X25519_LEN]; /* of the handshake */
    struct box_key *proxy_key;      /* owned, secret; NULL until something is forwarded */
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
/* A place for the queue's next message. */
void session_add_msg(struct session *s, struct bytes corr_id, struct queue *q, lsn_t lsn);
void session_add_ahead(struct session *s, struct queue *q);
void session_add_due(struct session *s, enum due_kind kind, const struct id *id, bool alone);
void session_add_link(struct session *s, const struct reply_to *to, const struct id *snd_id,
                      struct link_data *link, lsn_t lsn);

/* A command gets no answer: the connection is closed in UNANSWERED_CLOSE_S. */
void session_leave_unanswered(struct session *s);

/* END, DELD or ENDS: counted, and not sent before end_interval_ms unless something else is. */
void session_add_end(struct session *s, struct bytes transmission);
bool session_is_subscribed(const struct session *s); /* to anything that the server may send */

/* ---- gauges.c ---- */

/* Counts the session in a gauge of sessions, or no longer. */
void gauge_set(struct session *s, enum stat_gauge g, bool is);
/* After a change of what the session is subscribed to, or of what it serves. */
void gauges_update_subs(struct session *s);

static inline void session_count(const struct session *s, enum stat_id id) {
    stats_add(s->rl->stats, id, 1);
}

/* ---- requests (dispatch.c) ---- */

/* One command while it is run. Everything borrowed from its job. */
struct request {
    struct session *session;
    const struct wire_params *params; /* the session's, or of a forwarded command */
    struct forwarded *fwd;            /* NULL unless forwarded: then the answer goes its way. A
                                       * handler that answers later takes it: STEAL() */
    const struct transmission *t;
    const struct command *cmd;
    struct reply_to to;
    struct queue *queue;           /* NULL for commands without one */
    const struct queue_view *view; /* NULL as above */
    struct queue *deliver_after;   /* counted; set by SUB when a message follows the answers */
    bool is_new_sub;               /* of a SUB: there was no subscription in this session */
};

void dispatch_bad_block(struct session *s); /* ERR BLOCK for a block that cannot be opened */

typedef struct answer cmd_fn(struct request *rq);
/* cmd_<fn> of each row of commands.def: a row whose handler is missing does not link. They are
 * called only for verified requests. */
#define CMD(tag, since, party, auth, entity, sig, lookup, key, blocked, forward, refused, fn,      \
            params)                                                                                \
    cmd_fn cmd_##fn;
#include "wire/commands.def"
#undef CMD

void proxied_done(struct session *s);            /* cmd_proxy.c: of a session that ends */
void names_done(struct session *s);              /* cmd_rslv.c: likewise */
bool names_are_waiting(const struct session *s); /* then it is not read */
/* Tells whoever was subscribed to a notifier that it is gone. cmd_ntf.c */
void tell_notifier_gone(const struct request *rq, const struct sub_ended *ended);
/* Makes a key pair and agrees with theirs. E_CRYPTO: theirs is of low order. cmd_queue.c */
MUST_USE enum err agree_secret(const struct env *env, const struct pubkey *theirs,
                               uint8_t ret_secret[X25519_LEN], uint8_t ret_pub[X25519_LEN]);

/* ---- subscription.c ---- */

struct sub *sub_find(struct session *s, const struct id *rcv_id);
enum sub_kind { SUB_OWN, SUB_BY_GET, SUB_BY_SERVICE };
/* E_QUOTA at the session's limit, E_NO_MEMORY. */
MUST_USE enum err sub_add(struct session *s, struct queue *q, enum sub_kind kind, struct sub **ret);
/* A message went out and waits for ACK; it does no longer. */
void sub_set_delivered(struct session *s, struct sub *sub, const struct message *m);
void sub_clear_delivered(struct session *s, struct sub *sub);
/* The message that an ACK may name: what waits for one or, from the command on that makes it due
 * and not only when it is written, the queue's oldest. sub may be NULL. */
bool sub_is_delivered(struct session *s, const struct sub *sub, struct id *ret);
void sub_remove(struct session *s, struct sub *owned); /* tells the store unless by_get */
void subs_done(struct session *s);                     /* all of them */
/* Makes the session the queue's subscriber; whoever was is told END. */
MUST_USE enum err sub_register(struct session *s, struct queue *q, struct sub_moved *ret);
/* Both of the above, or neither. */
MUST_USE enum err sub_subscribe(struct session *s, struct queue *q, struct sub_moved *ret);
enum due_place {
    DUE_AHEAD,   /* of the answers to this block, in a block of its own */
    DUE_AMONG,   /* the answers to this block */
    DUE_BEHIND,  /* all answers, in blocks of their own */
    DUE_AT_LEAST /* once, wherever it has a place already */
};
/* The queue's next message is due, unless one waits for ACK, to the session when it or its service
 * is subscribed to the queue. True: it is. */
bool sub_due(struct session *s, struct queue *q, enum due_place place);
/* For who packs: the queue, borrowed, if its next message is due; else NULL. */
struct queue *sub_due_queue(struct session *s, const struct id *rcv_id);
/* pull_try(), again when news came meanwhile; nothing for what is not due, but answers. */
enum pulled sub_pull(struct session *s, struct pull *p, bool is_answer);
/* The place of the queue's next message is left: p->message waits for ACK now, or why not. */
void sub_sent(struct session *s, const struct pull *p);
void sub_unsent(struct session *s, const struct pull *p, enum unsent why);
/* After store_subscribe(): tells those who lost the queue or the service, and counts. id: of the
 * queue or the notifier. */
void sub_tell_moved(struct session *s, enum sub_party party, struct queue *q, const struct id *id,
                    const struct sub_moved *moved);
void subs_drop_served(struct session *s); /* those of the service, which another session serves */
bool session_is(const struct session *s, struct subscriber who);

enum note_kind {
    NOTE_MESSAGE,     /* the queue is no longer empty */
    NOTE_END,         /* another session subscribed */
    NOTE_DELETED,     /* the queue is gone */
    NOTE_BLOCKED,     /* the queue was blocked */
    NOTE_NTF,         /* the notifier has a notification */
    NOTE_NTF_END,     /* another session subscribed to the notifier */
    NOTE_NTF_DELETED, /* the notifier is gone */
    NOTE_SERVED       /* another session serves the service */
};
/* What happened, and who is told; everything borrowed. */
struct news {
    enum note_kind kind;
    struct subscriber to;
    struct queue *queue;       /* all but NOTE_SERVED */
    const struct id *notifier; /* NOTE_NTF.. */
    struct service *service;   /* NOTE_SERVED */
};
/* Tells a session of this or another loop; nobody is a no-op. */
void tell(struct relay_loop *from, const struct news *n);
void notify(struct relay_loop *from, enum note_kind kind, struct subscriber to, struct queue *q);
/* The same from any thread. */
void tell_from_outside(struct relay *r, const struct news *n);

/* ---- ntf.c ---- */

/* E_QUOTA at the session's limit, E_NO_MEMORY, E_AUTH. */
MUST_USE enum err ntf_subscribe(struct session *s, struct queue *q, const struct id *notifier_id,
                                lsn_t *ret_lsn);
void ntf_sent(struct session *s, struct queue *q, const struct id *msg_id, int64_t ts_s);
/* The notifier's notifications go out at the next tick. */
void ntf_due(struct session *s, struct queue *q, const struct id *notifier_id);
/* Takes out of the store what there is room for. True: that was all. */
bool ntf_pack(struct session *s, const struct id *notifier_id, struct packing *p);
void ntf_take_news(struct session *s, const struct news *n);
void ntf_drop_served(struct session *s); /* those of the service, which another session serves */
void ntf_done(struct session *s);
MUST_USE enum err ntf_start(struct relay_loop *rl);
void ntf_stop(struct relay_loop *rl);

/* ---- service.c ---- */

/* A service's handshake; on an error it is refused, and *ret_refusal says how. */
MUST_USE enum err service_open(struct session *s, const struct client_service *hello,
                               enum transport_error *ret_refusal);
void service_done(struct session *s);
/* The service for which this session subscribes to queues of this party; NULL: for itself. */
struct service *service_of(const struct session *s, enum sub_party party);
bool service_may_send(const struct session *s, const struct command_row *row);
/* Is the command's service signature as it has to be? */
bool service_signature_fits(const struct request *rq, const struct command_row *row);
struct answer service_subscribe(const struct request *rq, enum sub_party party); /* SUBS, NSUBS */
void service_gained(struct session *s, const struct id *id, bool associated);
void service_lost(struct session *s, const struct id *id);
void service_take_news(struct session *s, const struct news *n);
void service_scan(struct session *s); /* goes on looking for what had waited, in the next turn */
