/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* reply_view.h -- what servers say, read: the counterpart of reply.h, for clients (spec: wire,
 * section 6).
 *
 * The text parsed is a transmission's command: transmission_parse() on this side too. Pure; any
 * thread; all byte views point into the text. */
#pragma once

#include "base/id.h"
#include "crypto/key.h"
#include "model/queue.h"
#include "model/service_record.h"
#include "wire/version.h"

/* Tags as on the wire; the second column names the parser of what follows. */
/* clang-format off */
#define REPLY_LIST(X) \
    X(IDS,  ids)     /* to NEW */ \
    X(LNK,  lnk)     /* to LGET, LKEY */ \
    X(SOK,  sok)     /* to SUB, NSUB, from V_SERVICE_CERTS */ \
    X(SOKS, sum)     /* to SUBS, NSUBS */ \
    X(MSG,  msg)     /* to SUB, GET, ACK, and of itself */ \
    X(NID,  nid)     /* to NKEY */ \
    X(NMSG, nmsg)    /* of itself */ \
    X(PKEY, pkey)    /* to PRXY */ \
    X(RRES, tail)    /* to RFWD */ \
    X(PRES, tail)    /* to PFWD */ \
    X(END,  nothing) /* of itself: somebody else has subscribed */ \
    X(ENDS, sum)     /* the same for a service's queues */ \
    X(DELD, nothing) /* of itself: the queue is deleted */ \
    X(ALLS, nothing) /* of itself: a service has got all that had waited */ \
    X(INFO, tail)    /* to QUE; JSON */ \
    X(OK,   nothing) \
    X(ERR,  err) \
    X(PONG, nothing) /* to PING */
/* clang-format on */

enum reply_tag {
#define X(tag, params) REPLY_##tag,
    REPLY_LIST(X)
#undef X
        N_REPLIES
};

struct reply_view_ids {
    struct id rcv_id, snd_id;
    uint8_t dh_key[X25519_LEN]; /* the server's */
    enum queue_mode mode;       /* UNKNOWN when not told */
    bool has_link, has_service, has_notifier;
    struct id link_id, service_id, notifier_id;
    uint8_t ntf_dh_key[X25519_LEN]; /* with has_notifier */
};

struct reply_view_msg {
    struct id msg_id;
    struct bytes box; /* smp_queue_open() */
};

struct reply_view_err {
    enum err code;     /* that has this text (err_wire()); N_ERRS: none of ours */
    struct bytes text; /* after "ERR " */
};

struct reply_view {
    enum reply_tag tag;
    union {
        struct reply_view_ids ids;
        struct {
            struct id snd_id;
            struct bytes fixed, user;
        } lnk;
        struct {
            bool has_service;
            struct id service_id;
        } sok;
        struct ids_sum sum; /* SOKS, ENDS; hash of zeros below V_RCV_SERVICE */
        struct reply_view_msg msg;
        struct {
            struct id notifier_id;
            uint8_t dh_key[X25519_LEN];
        } nid;
        struct {
            struct bytes nonce, meta;
        } nmsg;
        struct {
            struct bytes session_id;
            uint16_t version_min, version_max;
            struct bytes cert_chain, signed_key; /* cert_chain_verify_key() */
        } pkey;
        struct bytes tail; /* RRES, PRES, INFO */
        struct reply_view_err err;
    };
};

/* E_SYNTAX also for a tag that is not known. */
MUST_USE enum err reply_parse(struct bytes text, uint16_t version, struct reply_view *ret);
