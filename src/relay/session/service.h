/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* service.h -- the session of a service client: who it is, what it may send, what it serves. Owner
 * loop only. */
#pragma once

#include "relay/session/news.h"
#include "relay/session/request.h"
#include "store/subscribe.h"

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
    bool is_asked;    /* the store goes through some of them */
    bool begins_anew; /* what it answers is not where to go on */
};

/* A service's handshake: the session is SESSION_ACCEPTED or SESSION_REFUSED, now or, while the
 * store is asked, later. */
void service_open(struct session *s, const struct client_service *hello);
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
