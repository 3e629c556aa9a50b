/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/session/aside.h"

#include <stdlib.h>

#include "relay/session/session.h"

struct aside {
    struct list in_session;  /* session.asides */
    struct session *session; /* borrowed: it ends its asides before itself */
    struct fate_waiter waiter;
    struct out_text text; /* views data */
    uint8_t data[];
};

static size_t bytes_of_aside(const struct aside *a) {
    return a->text.transmission.n + a->text.held_bytes + SESSION_PENDING_BASE;
}

static void aside_free(struct aside *a) {
    list_remove(&a->in_session);
    a->session->aside_bytes -= bytes_of_aside(a);
    free(a);
}

static void told(struct fate_waiter *w, enum err fate) {
    (void)fate; /* the outbox asks again */
    struct aside *a = CONTAINER_OF(w, struct aside, waiter);
    struct session *s = a->session;
    const struct out_text t = a->text;
    list_remove(&a->in_session);
    session_add_answer(s, &t); /* copies */
    aside_free(a);
    session_adjust_reading(s);
}

enum err aside_add(struct session *s, const struct out_text *t) {
    ASSERT_ON_LOOP(s->rl->loop);
    assert(t->owned_refusal == NULL);
    struct aside *a = calloc(1, sizeof *a + t->transmission.n);
    if (a == NULL) return E_NO_MEMORY;
    a->session = s;
    a->text = *t;
    memcpy(a->data, t->transmission.p, t->transmission.n);
    a->text.transmission.p = a->data;
    fate_waiter_init(&a->waiter, told);
    list_init(&a->in_session);
    list_push_back(&s->asides, &a->in_session);
    s->aside_bytes += bytes_of_aside(a);
    const enum err fate = fate_ask(&s->rl->desk, t->lsn, &a->waiter);
    if (fate != E_PENDING) told(&a->waiter, fate);
    return OK;
}

void asides_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    for (struct list *l; (l = list_first(&s->asides)) != NULL;) {
        struct aside *a = CONTAINER_OF(l, struct aside, in_session);
        const enum err fate = store_fate(s->rl->relay->o.store, a->text.lsn);
        fate_forget(&a->waiter);
        session_settle(s, &a->text.follow_up, fate != OK && fate != E_PENDING);
        aside_free(a);
    }
}
