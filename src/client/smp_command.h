/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp_command.h -- commands as clients write them: whole transmissions, authorized, ready for
 * smp_client_request() (spec: wire, sections 4 and 5).
 *
 * Each function appends one transmission without the length that a batch puts before it. What does
 * not fit, or is longer than its field, makes the cursor's error: look at wr_err(). Nothing is
 * allocated. Pure; any thread. */
#pragma once

#include "base/id.h"
#include "base/wr.h"
#include "crypto/box.h"
#include "crypto/key.h"
#include "model/queue.h"
#include "wire/command.h"

enum { SMP_SHORT_COMMAND_MAX = 1024 }; /* bytes: enough for all but SEND, PFWD, and link data */

/* With what a command is authorized: at most one of them. Borrowed. */
struct smp_auth {
    const struct ed25519_key *sign; /* NULL: no signature */
    const struct box_key *box;      /* NULL: no authenticator; see authz_box() */
};

struct smp_head {
    const struct wire_params *params; /* borrowed: of the session, or of the relay */
    struct id corr_id;                /* random: it is a nonce */
    struct bytes entity;              /* empty: none */
    struct smp_auth auth;
};

struct smp_new {
    struct pubkey rcv_key; /* authorizes recipient's commands: of the key in head.auth */
    uint8_t dh_key[X25519_LEN];
    struct bytes basic_auth; /* the server's password; empty: none */
    bool subscribe;
    enum queue_mode mode; /* told from V_SND_AUTH_KEY on; UNKNOWN is told as CONTACT below
                             V_SHORT_LINKS */
};
void smp_command_new(struct wr *w, const struct smp_head *h, const struct smp_new *q);
/* Commands without parameters: SUB, GET, OFF, DEL, QUE, NDEL, NSUB, LDEL, LGET, PING. */
void smp_command_plain(struct wr *w, const struct smp_head *h, enum command_tag tag);
/* KEY, SKEY, LKEY. */
void smp_command_key(struct wr *w, const struct smp_head *h, enum command_tag tag,
                     const struct pubkey *key);
void smp_command_send(struct wr *w, const struct smp_head *h, bool notification, struct bytes body);
void smp_command_ack(struct wr *w, const struct smp_head *h, const struct id *msg_id);
void smp_command_nkey(struct wr *w, const struct smp_head *h, const struct pubkey *key,
                      const uint8_t dh_key[X25519_LEN]);

/* The relay that a proxy is asked to connect to. */
struct smp_relay {
    const char *host;
    uint16_t port;
    struct bytes identity, basic_auth; /* basic_auth, the proxy's: empty for none */
};
void smp_command_prxy(struct wr *w, const struct smp_head *h, const struct smp_relay *relay);
/* entity of the head: the session id that PKEY told. body: forward_seal_command(), for which the
 * correlation id of this head is the nonce. */
void smp_command_pfwd(struct wr *w, const struct smp_head *h, uint16_t version,
                      const uint8_t key[X25519_LEN], struct bytes body);
