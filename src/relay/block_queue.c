/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* block_queue.c -- the operator blocks a queue, or takes that back (spec: behaviour, "Queues"). */
#include "relay/relay_priv.h"

static void loaded(void *ctx) {
    *(bool *)ctx = true;
}

/* A reference, or E_AUTH, E_STORE. Records in RAM are found at once; a store that cannot is not one
 * that this may be asked of. */
static enum err find(struct relay *r, enum queue_id_kind kind, const struct id *id,
                     struct queue **ret) {
    struct store_lookup l = {.kind = kind, .id = *id};
    bool done = false;
    store_load(r->o.store, &l, 1, loaded, &done);
    assert(done);
    *ret = l.ret_queue;
    return l.ret_err;
}

enum err relay_block_queue(struct relay *r, enum queue_id_kind kind, const struct id *id,
                           struct block_info *info) {
    struct queue *q;
    struct news n = {.kind = NOTE_BLOCKED};
    lsn_t lsn;
    enum err e = find(r, kind, id, &q);
    if (e != OK) return e;
    e = store_queue_block(r->o.store, q, info, &n.to, &lsn);
    n.queue = q;
    if (e == OK) tell_from_outside(r, &n);
    queue_unref(q);
    return e;
}

enum err relay_unblock_queue(struct relay *r, enum queue_id_kind kind, const struct id *id) {
    struct queue *q;
    lsn_t lsn;
    enum err e = find(r, kind, id, &q);
    if (e != OK) return e;
    e = store_queue_unblock(r->o.store, q, &lsn);
    queue_unref(q);
    return e;
}
