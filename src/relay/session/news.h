/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* news.h -- how sessions of all loops learn what has happened to their queues. */
#pragma once

#include "relay/session/relay_loop.h"

enum note_kind {
    NOTE_MESSAGE,     /* the queue is no longer empty */
    NOTE_END,         /* another session subscribed */
    NOTE_DELETED,     /* the queue is gone */
    NOTE_BLOCKED,     /* the queue was blocked */
    NOTE_NTF,         /* the notifier has a notification */
    NOTE_NTF_END,     /* another session subscribed to the notifier */
    NOTE_NTF_DELETED, /* the notifier is gone */
    NOTE_SERVED       /* another session serves the service */
};
/* What happened, and who is told; everything borrowed. */
struct news {
    enum note_kind kind;
    struct subscriber to;
    struct queue *queue;       /* all but NOTE_SERVED */
    const struct id *notifier; /* NOTE_NTF.. */
    struct service *service;   /* NOTE_SERVED */
};
/* Tells a session of this or another loop; nobody is a no-op. */
void tell(struct relay_loop *from, const struct news *n);
void notify(struct relay_loop *from, enum note_kind kind, struct subscriber to, struct queue *q);
/* The same from any thread. */
void tell_from_outside(struct relay *r, const struct news *n);
