/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf.h -- the notifiers to which a session is subscribed, and their notifications. Owner loop
 * only. */
#pragma once

#include "relay/session/news.h"
#include "relay/session/session.h"

struct nsub {
    struct idnode node;  /* notifier id */
    struct queue *queue; /* counted */
    bool is_due;         /* on the session's list */
    bool by_service;     /* of the service that this session serves; only while it is due */
};

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
void ntf_stop(struct relay_loop *rl);
