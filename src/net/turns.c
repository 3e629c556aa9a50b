/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/turns.h"

#include "base/attr.h"
#include "net/loop.h"

void turns_init(struct turns *t, struct loop *l) {
    *t = (struct turns){.loop = l, .counted_us = loop_now_us(l)};
    for (unsigned i = 0; i < N_TURN_LISTS; i++) list_init(&t->lists[i]);
}

void turn_init(struct turn *t) {
    *t = (struct turn){.credit_us = TURN_SHARE_US};
    list_init(&t->link);
}

/* ---- credit ---- */

/* n connections have wanted the time since then. */
static void count_time(struct turns *t, int64_t now_us, unsigned n) {
    t->virtual_ns += (now_us - t->counted_us) * 1000 / (2 * (int64_t)n);
    t->counted_us = now_us;
}

static void give_credit(const struct turns *t, struct turn *c) {
    const int64_t us = (t->virtual_ns - c->since_ns) / 1000;
    const int64_t room = TURN_SHARE_US - c->credit_us;
    c->credit_us += (int32_t)(us < room ? us : room);
    c->since_ns += us * 1000;
}

void turn_charge(struct turn *c, int64_t us) {
    const int64_t left = c->credit_us - us;
    c->credit_us = (int32_t)(left > -TURN_DEBT_US ? left : -TURN_DEBT_US);
}

/* ---- lists ---- */

void turn_want(struct turns *t, struct turn *c, bool is_shaking) {
    if (!list_is_empty(&c->link)) return;
    give_credit(t, c);
    const enum turn_list with_credit = c->credit_us > 0 ? TURN_READY : TURN_OWING;
    list_push_back(&t->lists[is_shaking ? TURN_SHAKING : with_credit], &c->link);
    t->n_waiting++;
}

void turn_drop(struct turns *t, struct turn *c) {
    if (list_is_empty(&c->link)) return;
    list_remove(&c->link);
    t->n_waiting--;
}

bool turns_share_is_used(const struct turns *t) {
    return loop_now_us(t->loop) >= t->share_end_us;
}

/* Those that come back while they are served wait for the next turn. */
static int64_t serve_list(struct turns *t, enum turn_list which, int64_t now_us,
                          void (*serve)(struct turn *c)) {
    struct list *l = &t->lists[which];
    const int64_t end_us = now_us + TURN_PART_US;
    const struct list *last = l->prev;
    for (bool more = true; more && now_us < end_us && !list_is_empty(l);) {
        struct turn *c = CONTAINER_OF(list_first(l), struct turn, link);
        more = &c->link != last;
        turn_drop(t, c);
        const int64_t share_us = now_us + TURN_SHARE_US;
        t->share_end_us = share_us < end_us ? share_us : end_us;
        const int64_t before_us = now_us;
        serve(c);
        now_us = loop_now_us(t->loop);
        if (which != TURN_SHAKING) turn_charge(c, now_us - before_us);
    }
    return now_us;
}

void turns_serve(struct turns *t, enum turn_list from, enum turn_list to,
                 void (*serve)(struct turn *c)) {
    if (!turns_wait(t)) return;
    int64_t now_us = loop_now_us(t->loop);
    count_time(t, now_us, t->n_waiting);
    for (enum turn_list i = from; i <= to; i++) {
        if (!list_is_empty(&t->lists[i])) now_us = serve_list(t, i, now_us, serve);
    }
}
