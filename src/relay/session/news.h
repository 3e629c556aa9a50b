/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* news.h -- how sessions of all loops learn what has happened to their queues. */
#pragma once

#include "relay/session/relay_loop.h"

enum news_kind {
    NEWS_MESSAGE,     /* the queue is no longer empty */
    NEWS_END,         /* another session subscribed */
    NEWS_DELETED,     /* the queue is gone */
    NEWS_BLOCKED,     /* the queue was blocked */
    NEWS_NTF,         /* the notifier has a notification */
    NEWS_NTF_END,     /* another session subscribed to the notifier */
    NEWS_NTF_DELETED, /* the notifier is gone */
    NEWS_SERVED       /* another session serves the service */
};
/* What happened, and who learns it; everything borrowed. */
struct news {
    enum news_kind kind;
    struct subscriber to;
    struct queue *queue;       /* all but NEWS_SERVED */
    const struct id *notifier; /* NEWS_NTF.. */
    struct service *service;   /* NEWS_SERVED */
};
/* To a session of this or another loop; nobody is a no-op. */
void news_send(struct relay_loop *from, const struct news *n);
void news_about(struct relay_loop *from, enum news_kind kind, struct subscriber to,
                struct queue *q);
/* NEWS_MESSAGE; another loop learns it when the message is durable, since it could not do anything
 * with it before. */
void news_of_message(struct relay_loop *from, struct subscriber to, struct queue *q, lsn_t lsn);
/* The same from any thread. */
void news_send_from_outside(struct relay *r, const struct news *n);
