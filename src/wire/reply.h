/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* reply.h -- server messages as transmissions (spec: wire, sections 4 and 6). Pure; any thread.
 *
 * Each function writes one transmission without the length that a batch puts before it: session id
 * (version 6), correlation id, entity, message. Version differences live here and nowhere above. */
#pragma once

#include "base/id.h"
#include "base/wr.h"
#include "crypto/box.h"
#include "crypto/key.h"
#include "model/message.h"
#include "model/queue.h"
#include "model/service_record.h"
#include "wire/handshake.h"
#include "wire/version.h"

/* To whom a reply goes; corr_id is empty in messages that the server starts. */
struct reply_to {
    struct bytes corr_id, entity;
};

struct reply_ids {
    struct id rcv_id, snd_id;
    uint8_t dh_key[X25519_LEN]; /* the server's */
    enum queue_mode mode;
    const struct id *link_id;     /* NULL: none */
    const struct id *service_id;  /* NULL: none */
    const struct id *notifier_id; /* NULL: none; ntf_dh_key belongs to it */
    uint8_t ntf_dh_key[X25519_LEN];
};

enum queue_sub_state { SUB_STATE_NONE, SUB_STATE_IDLE, SUB_STATE_PENDING, SUB_STATE_PROHIBITED };

/* What QUE tells; the JSON keeps the reference's field order and leaves absent values out. */
struct reply_info {
    bool secured, has_notifier;
    enum queue_sub_state sub;
    const struct id *delivered;  /* NULL: nothing waits for ACK */
    unsigned size;               /* messages */
    const struct msg_head *head; /* the oldest; NULL: none */
};

void reply_ok(struct wr *w, const struct wire_params *p, const struct reply_to *to);
void reply_err(struct wr *w, const struct wire_params *p, const struct reply_to *to, enum err e);
/* ERR BLOCKED with its reason; AUTH below version 12, without the notice below 18. */
void reply_blocked(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                   const struct block_info *info);
/* Why a command got no good answer: what clients of servers find, and what a proxy tells. */
enum smp_failure_kind {
    FAILURE_NONE,
    FAILURE_BASIC_AUTH, /* the proxy is not for everybody, or for nobody */
    FAILURE_NO_SESSION, /* there is no such connection to a relay (any more) */
    FAILURE_PROTOCOL,   /* the relay answered ERR text */
    FAILURE_RESPONSE,   /* ... something that cannot be read; text is what is wrong with it */
    FAILURE_UNEXPECTED, /* ... something else than an answer to this; text is its beginning */
    FAILURE_NETWORK,    /* no connection, or it broke */
    FAILURE_TIMEOUT,    /* no answer in time */
    FAILURE_HOST,       /* no host of the relay's is one that this proxy connects to */
    FAILURE_TRANSPORT,  /* the SMP handshake failed; transport says how */
    FAILURE_CRYPTO,     /* the relay's answer cannot be opened */
    FAILURE_INTERNAL    /* the proxy failed */
};
enum { FAILURE_TEXT_MAX = 128 };
struct smp_failure {
    enum smp_failure_kind error;
    enum transport_error transport;
    uint8_t n_text;
    char text[FAILURE_TEXT_MAX]; /* printable ASCII, not terminated */
};
void reply_proxy_err(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                     const struct smp_failure *f);

/* The relay's part of its handshake, for the proxied client to verify. */
struct reply_pkey {
    struct bytes session_id;
    uint16_t version_min, version_max;
    struct bytes cert_chain; /* SMP encoding */
    struct bytes signed_key; /* DER */
};
void reply_pkey(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_pkey *k);
void reply_pres(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                struct bytes body);
/* Only the head: the two layers of the answer follow (wire/forward.h). */
void reply_rres_begin(struct wr *w, const struct wire_params *p, const struct reply_to *to);
/* Why a name was not resolved. */
enum name_error {
    NAME_OK,
    NAME_NOT_FOUND, /* the resolver knows no such name */
    NAME_TIMEOUT,   /* it did not answer in time */
    NAME_TRANSPORT, /* no connection to it, or it broke */
    NAME_TOO_LARGE, /* its answer, or what would be told of it */
    NAME_INVALID,   /* its answer is no name record */
    NAME_HTTP       /* its answer is an error of HTTP: status */
};
struct name_failure {
    enum name_error error;
    unsigned status; /* NAME_HTTP */
};
void reply_name_err(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                    const struct name_failure *f);
/* record: a JSON object (names/record.h). */
void reply_rname(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                 struct bytes record);

void reply_pong(struct wr *w, const struct wire_params *p, const struct reply_to *to);
void reply_ids(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct reply_ids *ids);
/* The answer to SUB and NSUB; plain OK below version 16. service_id may be NULL. */
void reply_sok(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *service_id);
void reply_lnk(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *snd_id, const struct link_data *link);
void reply_info(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_info *info);
void reply_end(struct wr *w, const struct wire_params *p, const struct reply_to *to);
/* END below version 10. */
void reply_deld(struct wr *w, const struct wire_params *p, const struct reply_to *to);

void reply_nid(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *notifier_id, const uint8_t dh_key[X25519_LEN]);

/* A notification as it is sent: for the client of the notifier, who holds the other key. */
struct reply_ntf {
    const struct id *msg_id;
    int64_t ts_s;
    const uint8_t *dh_secret; /* X25519_LEN bytes; secret */
    const uint8_t *nonce;     /* BOX_NONCE_LEN bytes */
};
void reply_nmsg(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_ntf *n);
size_t reply_nmsg_len(const struct wire_params *p, const struct reply_to *to); /* always the same */

/* Queues of a service; the hash from version 19. */
void reply_soks(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct ids_sum *sum);
void reply_ends(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct ids_sum *sum);
void reply_alls(struct wr *w, const struct wire_params *p); /* to no entity; from version 19 */

/* MSG, its body boxed for the recipient in place: no copy of the plain text is left behind. */
void reply_msg(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct message *m, const struct box_key *queue_key);

/* Bytes of a MSG transmission for this addressee; bodies are padded, so it does not depend on the
 * message. */
size_t reply_msg_len(const struct wire_params *p, const struct reply_to *to);

/* To whom a transmission written by one of these goes; views into it. */
struct reply_to reply_addressee(struct bytes transmission, const struct wire_params *p);
