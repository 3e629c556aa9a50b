/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* body_cache.h -- the bodies of the last moments, which are in RAM although the storage has them:
 * what was just written is likely to be delivered at once.
 *
 * The oldest go first, and none before it is durable. Any thread. */
#pragma once

#include "base/lock.h"
#include "store/queue_table.h"

struct cached_body;

struct body_cache {
    struct queue_table *table; /* borrowed; fixed after body_cache_init() */
    struct lock mtx;
    /* guarded by mtx */
    struct cached_body *head, *tail; /* owned */
    size_t n_bytes;
};

void body_cache_init(struct body_cache *c);
void body_cache_done(struct body_cache *c); /* before the table is freed */
/* A message that was just written at lsn, and stands in q with its body. Under the queue's lock.
 * Without memory for it the body stays in RAM until its message goes. */
void body_cache_add(struct body_cache *c, struct queue *q, const struct message *msg, lsn_t lsn);
/* Down to limit_bytes, of what is durable. Under no queue's lock. */
void body_cache_trim(struct body_cache *c, size_t limit_bytes, lsn_t durable);
