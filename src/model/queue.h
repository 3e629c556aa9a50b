/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue.h -- the record of a queue as the protocol knows it, and its shared immutable parts (spec:
 * behaviour, "Queues").
 *
 * keyset and link_data are counted and never change after creation, so that a reader can leave the
 * store's lock with a reference instead of a copy. Any thread. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"
#include "base/id.h"
#include "crypto/key.h"

enum queue_mode {
    MODE_UNKNOWN,
    MODE_MESSAGING,
    MODE_CONTACT
}; /* unknown: queues older than version 9 */
/* What of a queue is looked at. */
enum queue_want {
    WANT_RECORD,   /* what authorization and policy look at */
    WANT_MESSAGES, /* also how many messages wait, and what is known of the oldest */
    WANT_LINK,     /* also its link data */
    WANT_FREE      /* nothing: there should be none with this id */
};
enum queue_status { STATUS_ACTIVE, STATUS_OFF, STATUS_BLOCKED };

/* Recipient keys, 1 to RCV_KEYS_MAX. */
struct keyset {
    _Atomic uint32_t refs; /* relaxed to take, release/acquire to drop */
    uint32_t n;
    struct pubkey keys[];
};
MUST_USE enum err keyset_new(const struct pubkey *keys, size_t n,
                             struct keyset **ret); /* refs = 1; E_NO_MEMORY */
struct keyset *keyset_ref(struct keyset *k);
void keyset_unref(struct keyset *k); /* NULL is a no-op */

/* Short-link data: opaque to the server, encrypted by clients. */
struct link_data {
    _Atomic uint32_t refs;    /* as above */
    uint16_t n_fixed, n_user; /* bytes */
    struct id link_id;
    uint8_t data[]; /* fixed, then user */
};
MUST_USE enum err link_data_new(const struct id *link_id, struct bytes fixed, struct bytes user,
                                struct link_data **ret);
struct link_data *link_data_ref(struct link_data *l);
void link_data_unref(struct link_data *l);               /* NULL is a no-op */
struct bytes link_data_fixed(const struct link_data *l); /* borrowed */
struct bytes link_data_user(const struct link_data *l);  /* borrowed */

/* Why a queue is blocked: `reason=spam` or `reason=content`, perhaps with `,notice={...}`, word for
 * word as the operator or the reference wrote it (spec: wire, section 6, "BLOCKED"). */
struct block_info {
    _Atomic uint32_t refs; /* as above */
    uint16_t n;
    char text[];
};
MUST_USE enum err block_info_new(struct bytes text, struct block_info **ret);
struct block_info *block_info_ref(struct block_info *b);
void block_info_unref(struct block_info *b); /* NULL is a no-op */

/* Notifier credentials, given with NEW (version 17) or NKEY. */
struct queue_notifier {
    struct id id;
    struct pubkey key;
    uint8_t dh_secret[X25519_LEN]; /* secret */
    bool has_service;
    struct id service_id;
};

/* A queue to be created, and what a backend persists. Everything borrowed by whoever receives a
 * pointer to it. */
struct queue_rec {
    struct id rcv_id, snd_id;
    uint8_t dh_secret[X25519_LEN]; /* secret: raw shared point with the recipient */
    struct keyset *rcv_keys;
    struct pubkey snd_key; /* KEY_NONE: not secured */
    enum queue_mode mode;
    enum queue_status status;
    struct block_info *block;              /* of a blocked queue; else NULL */
    struct link_data *link;                /* NULL: none */
    const struct queue_notifier *notifier; /* NULL: none */
    bool has_rcv_service;
    struct id rcv_service_id;
    int32_t updated_day; /* days since the Unix epoch: a date, never a time; 0: not known */
};

/* Rules of the protocol about modes (spec: behaviour, "Queues"). Pure. */
bool queue_is_contact(enum queue_mode mode, const struct pubkey *snd_key); /* may LGET be used? */
bool queue_is_secured_messaging(enum queue_mode mode,
                                const struct pubkey *snd_key); /* is its link data spent? */
