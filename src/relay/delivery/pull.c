/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/delivery/pull.h"

#include <stdlib.h>

#include "crypto/crypto.h"
#include "store/records.h"

/* A question that the store answers later. The store's thread has it until it is posted; who asked
 * may be gone by then. */
struct asked {
    struct loop_msg msg;
    struct store_waiter waiter;
    struct store_next next; /* queue counted */
    const struct pull_home *home;
    struct subscriber who;
    bool is_answered, is_abandoned;
};

static void asked_free(struct asked *a) {
    message_unref(a->next.ret_message);
    queue_unref(a->next.queue);
    free(a);
}

static void take_answer(struct loop_msg *msg) {
    struct asked *a = CONTAINER_OF(msg, struct asked, msg);
    a->is_answered = true;
    if (a->is_abandoned) {
        asked_free(a);
    } else {
        a->home->came(a->home->ctx, a->who);
    }
}

/* On any thread. */
static void answered(struct store_waiter *w) {
    struct asked *a = CONTAINER_OF(w, struct asked, waiter);
    loop_post(a->home->loop, &a->msg);
}

void pull_init(struct pull *p, struct queue *q) {
    *p = (struct pull){.queue = queue_ref(q)};
}

void pull_done(struct pull *p) {
    if (p->asked != NULL && !p->asked->is_answered) {
        p->asked->is_abandoned = true;
    } else if (p->asked != NULL) {
        asked_free(p->asked);
    }
    message_unref(p->message);
    queue_unref(p->queue);
    *p = (struct pull){0};
}

/* NULL: out of memory. */
static struct asked *asked_new(const struct pull *p, const struct pull_home *home,
                               struct subscriber who) {
    struct asked *a = malloc(sizeof *a);
    if (a == NULL) return NULL;
    *a = (struct asked){.msg = {.run = take_answer},
                        .waiter = {answered},
                        .next = {.queue = queue_ref(p->queue)},
                        .home = home,
                        .who = who};
    return a;
}

/* Asks the store, or takes what it has answered. False: later. */
static bool ask(struct pull *p, const struct pull_home *home, struct subscriber who,
                struct store_next *ret) {
    if (p->asked == NULL) {
        *ret = (struct store_next){.queue = p->queue};
        if (store_msg_next(home->store, ret, NULL)) return true;
        ret->ret_message = NULL;
        ret->ret_err = E_NO_MEMORY;
        p->asked = asked_new(p, home, who);
        if (p->asked == NULL) return true;
        p->asked->is_answered = store_msg_next(home->store, &p->asked->next, &p->asked->waiter);
    }
    if (!p->asked->is_answered) return false;
    *ret = p->asked->next;
    p->asked->next.ret_message = NULL;
    asked_free(p->asked);
    p->asked = NULL;
    return true;
}

/* One that is lost was taken back before that can be known: then the store is asked again. */
enum pulled pull_try(struct pull *p, const struct pull_home *home, struct subscriber who) {
    ASSERT_ON_LOOP(home->loop);
    for (;;) {
        struct store_next next = {.ret_message = p->message};
        if (p->message == NULL && !ask(p, home, who, &next)) return PULLED_LATER;
        if (next.ret_err == E_CLOSED) return PULLED_CLOSED;
        if (next.ret_err != OK && next.ret_err != E_AUTH) return PULLED_FAILED;
        p->message = next.ret_message;
        if (p->message == NULL) return PULLED_NOTHING;
        const enum err fate = store_fate(home->store, p->message->lsn);
        if (fate == OK || store_is_held(home->store, p->message->lsn)) return PULLED_MESSAGE;
        if (fate == E_PENDING) return PULLED_LATER;
        if (fate == E_CLOSED) return PULLED_CLOSED;
        message_unref(p->message);
        p->message = NULL;
    }
}

lsn_t pull_waits_for(const struct pull *p) {
    return p->message != NULL ? p->message->lsn : 0;
}

void pull_write(const struct pull *p, const struct wire_params *params, struct bytes corr_id,
                struct wr *w) {
    const struct reply_to to = {.corr_id = corr_id, .entity = id_bytes(queue_rcv_id(p->queue))};
    struct box_key key = box_key_from_secret(queue_dh_secret(p->queue));
    reply_msg(w, params, &to, p->message, &key);
    crypto_wipe(&key, sizeof key);
}
