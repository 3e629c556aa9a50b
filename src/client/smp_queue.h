/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp_queue.h -- a queue as both of its ends know it: ids and keys.
 *
 * Life: smp_queue_init() makes the keys; smp_queue_describe() puts them into a NEW; the IDS that
 * answers it is taken in by smp_queue_take_ids(). From then on the recipient's commands are
 * authorized by smp_queue_recipient() and messages opened by smp_queue_open(). The sender's key is
 * told by smp_queue_sender_key() in SKEY or KEY; smp_queue_meet() makes what authorizes its
 * commands in one session, so that they cost no key agreement each. Several queues and sessions may
 * be mixed freely, but one queue's sender has one session at a time.
 *
 * Nothing is allocated; no thread of its own. */
#pragma once

#include "client/smp_command.h"
#include "wire/reply_view.h"

struct smp_queue {
    struct id rcv_id, snd_id;
    bool is_signed_by_sender;   /* session below V_AUTH_CMDS: no authenticators yet */
    struct ed25519_key rcv_key; /* secret */
    struct x25519_pair dh;      /* secret; until IDS has come */
    struct box_key body_key;    /* secret; of message bodies, since then */
    union {
        struct ed25519_key sign;  /* when is_signed_by_sender */
        struct x25519_pair agree; /* else */
    } snd_key;                    /* secret */
    struct box_key snd_box;       /* secret; of the session last met */
};

/* version: of the session in which the sender will send. Ends with smp_queue_done(). */
void smp_queue_init(struct smp_queue *q, const struct env *env, uint16_t version);
void smp_queue_done(struct smp_queue *q); /* wipes */

/* Recipient's and DH key; everything else in *ret is the caller's to set. */
void smp_queue_describe(const struct smp_queue *q, struct smp_new *ret);
/* E_CRYPTO for a key that no agreement is made with. */
MUST_USE enum err smp_queue_take_ids(struct smp_queue *q, const struct reply_view_ids *ids);

struct pubkey smp_queue_sender_key(const struct smp_queue *q);
/* The server's session key: smp_client_session_key(); for a forwarded command, the relay's. NULL is
 * fine below V_AUTH_CMDS. E_CRYPTO. */
MUST_USE enum err smp_queue_meet(struct smp_queue *q, const uint8_t *session_key);

struct smp_auth smp_queue_recipient(const struct smp_queue *q); /* borrowed from q */
struct smp_auth smp_queue_sender(const struct smp_queue *q);    /* as above; after meet() */

struct smp_received {
    struct id msg_id; /* for ACK */
    int64_t ts_s;     /* Unix seconds, when the server took it */
    bool is_quota;    /* the marker of a full queue: neither flag nor body */
    bool notification;
    struct bytes body; /* view */
};
/* Opens a MSG in place: m views message, which is writable. E_CRYPTO, E_SYNTAX. */
MUST_USE enum err smp_queue_open(const struct smp_queue *q, const struct reply_view_msg *m,
                                 uint8_t *message, struct smp_received *ret);
