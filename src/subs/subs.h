/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* subs.h -- who listens: to the messages of a queue, to the notifications of a notifier, to all
 * that comes to the queues of a service. A registry of this process: nothing of it is stored.
 *
 * Of each there is one listener, a session. A queue or a notifier has an entry only while somebody
 * listens, 64 bytes with the allocator's share; a service that had one keeps it, for there are few.
 * Any thread; its locks may be taken under those of the store. */
#pragma once

#include "base/env.h"
#include "base/err.h"
#include "base/id.h"

/* A session, named so that another process could be meant. */
struct subscriber {
    uint16_t node; /* 0: this process */
    uint16_t loop;
    uint32_t slot;       /* of the loop's session table */
    uint64_t generation; /* 0: nobody; a slot that was used again has another one */
};

static inline bool subscriber_equal(struct subscriber a, struct subscriber b) {
    return a.node == b.node && a.loop == b.loop && a.slot == b.slot && a.generation == b.generation;
}

enum subs_kind { SUBS_QUEUE, SUBS_NOTIFIER, SUBS_SERVICE, N_SUBS_KINDS }; /* ids are of this kind */

struct subs;

MUST_USE enum err subs_new(const struct env *env, struct subs **ret); /* E_NO_MEMORY */
void subs_free(struct subs *s);                                       /* NULL is a no-op */
struct subscriber subs_find(struct subs *s, enum subs_kind kind, const struct id *id);
/* Makes `sub` the listener; *ret_prev is who was. E_NO_MEMORY: nothing changed. */
MUST_USE enum err subs_take(struct subs *s, enum subs_kind kind, const struct id *id,
                            struct subscriber sub, struct subscriber *ret_prev);
/* Room for the listener of a service: no subs_take() of it fails from now on. E_NO_MEMORY. */
MUST_USE enum err subs_reserve(struct subs *s, const struct id *service_id);
/* `sub` does not listen any more, if it did. */
void subs_leave(struct subs *s, enum subs_kind kind, const struct id *id, struct subscriber sub);
/* Nobody listens any more; who did. */
struct subscriber subs_end(struct subs *s, enum subs_kind kind, const struct id *id);
