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
    const struct id *delivered; /* NULL: nothing waits for ACK */
    unsigned size;              /* messages */
    const struct message *head; /* NULL: none */
};

void reply_ok(struct wr *w, const struct wire_params *p, const struct reply_to *to);
void reply_err(struct wr *w, const struct wire_params *p, const struct reply_to *to, enum err e);
/* ERR BLOCKED with its reason; AUTH below version 12, without the notice below 18. */
void reply_blocked(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                   const struct block_info *info);
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

/* MSG, its body boxed for the recipient in place: no copy of the plain text is left behind. */
void reply_msg(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct message *m, const struct box_key *queue_key);

/* Bytes of a MSG transmission for this addressee; bodies are padded, so it does not depend on the
 * message. */
size_t reply_msg_len(const struct wire_params *p, const struct reply_to *to);

/* To whom a transmission written by one of these goes; views into it. */
struct reply_to reply_addressee(struct bytes transmission, const struct wire_params *p);
