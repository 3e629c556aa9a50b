/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/body_cache.h"

#include <stdlib.h>

struct cached_body {
    struct cached_body *next;
    struct queue *queue; /* counted */
    struct id msg_id;
    lsn_t lsn; /* its body must stay in RAM until this is durable */
    size_t n_bytes;
};

void body_cache_init(struct body_cache *c) {
    *c = (struct body_cache){0};
    lock_init(&c->mtx, LOCK_BODIES);
}

void body_cache_add(struct body_cache *c, struct queue *q, const struct message *msg, lsn_t lsn) {
    struct cached_body *b = malloc(sizeof *b);
    if (b == NULL) return;
    *b = (struct cached_body){.queue = queue_ref(q), .msg_id = msg->id, .lsn = lsn};
    b->n_bytes = sizeof *msg + msg->body_len;
    lock_take(&c->mtx);
    if (c->tail != NULL) {
        c->tail->next = b;
    } else {
        c->head = b;
    }
    c->tail = b;
    c->n_bytes += b->n_bytes;
    lock_give(&c->mtx);
}

/* The oldest, if there are more than limit bytes and it is durable; else NULL. */
static struct cached_body *take(struct body_cache *c, size_t limit, lsn_t durable) {
    lock_take(&c->mtx);
    struct cached_body *b = c->head;
    if (b != NULL && (c->n_bytes <= limit || b->lsn > durable)) b = NULL;
    if (b != NULL) {
        c->head = b->next;
        if (c->head == NULL) c->tail = NULL;
        c->n_bytes -= b->n_bytes;
    }
    lock_give(&c->mtx);
    return b;
}

static void cached_free(struct cached_body *b) {
    queue_unref(b->queue);
    free(b);
}

void body_cache_trim(struct body_cache *c, size_t limit_bytes, lsn_t durable) {
    for (struct cached_body *b; (b = take(c, limit_bytes, durable)) != NULL; cached_free(b)) {
        struct message *body = NULL;
        queue_lock(c->table, b->queue);
        struct msg_entry *entry = queue_find_msg(b->queue, &b->msg_id);
        if (entry != NULL && !entry->is_quota) body = STEAL(entry->ram);
        queue_unlock(c->table, b->queue);
        message_unref(body);
    }
}

void body_cache_done(struct body_cache *c) {
    for (struct cached_body *b; (b = take(c, 0, UINT64_MAX)) != NULL;) cached_free(b);
    lock_done(&c->mtx);
}
