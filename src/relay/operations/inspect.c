/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/operations/inspect.h"

#include <stdlib.h>

#include "relay/session/session.h"

/* The message to a loop, and back with the answer. */
struct inquiry {
    struct loop_msg msg;
    struct relay *relay;
    struct loop *back;
    void (*done)(void *ctx, const struct inspect_part *part);
    void *ctx;
    struct inspect_place at;
    struct inspect_part part;
};

static void describe(const struct session *s, int64_t now_ms, struct relay_client *ret) {
    const struct relay *r = s->rl->relay;
    *ret = (struct relay_client){
        .number = (s->self.generation - r->first_generation) * r->o.n_loops + s->rl->index,
        .n_session_id = s->params.session[0],
        .age_s = (now_ms - s->created_ms) / 1000,
        .received_s_ago = (now_ms - s->received_ms) / 1000,
        .sent_s_ago = (now_ms - s->sent_ms) / 1000,
        .n_subscriptions = s->subs.n_entries,
        .n_ntf_subscriptions = s->nsubs.n_entries,
    };
    memcpy(ret->session_id, s->params.session + 1, ret->n_session_id);
}

static void look(const struct relay_loop *rl, struct inquiry *q) {
    ASSERT_ON_LOOP(rl->loop);
    struct inspect_part *part = &q->part;
    const int64_t now_ms = loop_now_ms(rl->loop);
    uint32_t i = q->at.slot;
    for (unsigned n = 0; n < INSPECT_SLOTS && i < rl->n_slots; n++, i++) {
        const struct session *s = rl->slots[i].session;
        if (s != NULL && s->state == SESSION_RUNNING)
            describe(s, now_ms, &part->clients[part->n++]);
    }
    const bool loop_done = i >= rl->n_slots;
    part->next = loop_done ? (struct inspect_place){q->at.loop + 1, 0}
                           : (struct inspect_place){q->at.loop, i};
    part->is_last = part->next.loop == rl->relay->o.n_loops;
}

/* On the loop that asked. */
static void run_answer(struct loop_msg *msg) {
    struct inquiry *q = CONTAINER_OF(msg, struct inquiry, msg);
    q->done(q->ctx, &q->part);
    free(q);
}

/* On the loop that was asked. */
static void run_inquiry(struct loop_msg *msg) {
    struct inquiry *q = CONTAINER_OF(msg, struct inquiry, msg);
    look(&q->relay->loops[q->at.loop], q);
    q->msg.run = run_answer;
    loop_post(q->back, &q->msg);
}

enum err relay_inspect(struct relay *r, struct inspect_place at, struct loop *back,
                       void (*done)(void *ctx, const struct inspect_part *part), void *ctx) {
    assert(at.loop < r->o.n_loops);
    struct inquiry *q = calloc(1, sizeof *q);
    if (q == NULL) return E_NO_MEMORY;
    q->msg.run = run_inquiry;
    q->relay = r;
    q->back = back;
    q->done = done;
    q->ctx = ctx;
    q->at = at;
    q->part.loop = at.loop;
    loop_post(r->loops[at.loop].loop, &q->msg);
    return OK;
}
