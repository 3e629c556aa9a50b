/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay_rig.h -- the relay on one loop that does not run (loop_rig), so that a test decides all
 * that happens, also when the store answers, and what. The store is the one in RAM behind a few
 * switches. One rig at a time. */
#pragma once

#include "loop_rig.h"

#include "client/smp_command.h"
#include "crypto/crypto.h"
#include "relay/relay.h"
#include "relay/session/news.h"
#include "relay/session/ntf.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"
#include "store/store_priv.h"
#include "store/messages.h"
#include "store/subscribe.h"

enum { RIG_QUESTIONS_MAX = 64, RIG_QUOTA = 8 };

/* What the store was asked and has not answered. */
struct rig_question {
    struct store_next *next;
    struct store_waiter *waiter;
};

struct rig_scan {
    struct store_scan *scan;
    struct store_waiter *waiter;
};

struct rig_load {
    struct store_lookup *lookups;
    size_t n;
    struct store_waiter *waiter;
};

struct rig {
    struct ed25519_key key; /* of all queues' recipients */
    struct relay *relay;
    struct relay_loop *rl;
    struct store *store; /* with the switches below */
    bool is_later;       /* messages come when rig_answer() says so */
    enum err read_err;   /* instead of a message, unless OK */
    lsn_t write_lsn;     /* of the messages that are sent; 0: their own */
    lsn_t lsn;           /* of the messages that are asked for; 0: their own */
    lsn_t durable, lost; /* lost: this one and those before; 0: none */
    unsigned n_asked;    /* for a message */
    unsigned n_questions;
    struct rig_question questions[RIG_QUESTIONS_MAX];
    bool is_load_later; /* queues are found when rig_answer_load() says so */
    unsigned n_loads;
    struct rig_load loads[RIG_QUESTIONS_MAX];
    bool is_scan_later; /* what waits for a service is found when rig_answer_scan() says so */
    unsigned n_scans;
    struct rig_scan scans[RIG_QUESTIONS_MAX];
};
extern struct rig rig;

int rig_setup(void **state);
int rig_teardown(void **state);

/* The store says that all up to this change is durable, or lost. */
void rig_set_durable(lsn_t lsn);
void rig_set_lost(lsn_t lsn);
/* The store answers the i-th of its open questions. */
void rig_answer(unsigned i);
void rig_answer_load(unsigned i); /* likewise, where queues are */
void rig_answer_scan(unsigned i); /* likewise, what waits for a service */

/* A session that runs, unencrypted, of this version of the protocol. */
struct session *rig_session(uint16_t version);
void rig_close(struct session *s);

/* A queue whose recipient id begins with n, with rig.key. Counted. */
struct queue *rig_queue(uint8_t n);
/* A message for it, past all commands; not told to anybody. */
void rig_put_message(struct queue *q, const char *body);

/* A block of commands, as a client of the session writes it. Correlation ids are words. */
struct rig_block {
    struct session *session;
    unsigned n;
    struct wr w;
    uint8_t content[SMP_BLOCK_LEN];
};
void rig_begin(struct rig_block *b, struct session *s);
/* entity, key: NULL for none. */
void rig_plain(struct rig_block *b, const char *corr_id, enum command_tag tag,
               const struct id *entity, const struct ed25519_key *key);
void rig_send(struct rig_block *b, const char *corr_id, const struct id *snd_id, const char *body);
void rig_ack(struct rig_block *b, const char *corr_id, const struct id *rcv_id,
             const struct id *msg_id);
void rig_transmission(struct rig_block *b, struct bytes t); /* any other */
/* The session is handed the block. */
void rig_write(struct rig_block *b);
/* The session goes on, if it wants to. */
void rig_run(struct session *s);

/* Asks for one block and says what is in it: "OK a,MSG #1" (correlation id, or the first byte of
 * the queue's id), "nothing", or "closed" for a connection that was closed. */
const char *rig_read(struct session *s);
