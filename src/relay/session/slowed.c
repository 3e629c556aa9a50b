/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/session/slowed.h"

#include "relay/session/session.h"

enum { SLOWED_TICK_MS = 100 };

static void forgive(struct session *s) {
    const int64_t now_ms = loop_turn_ms(s->rl->loop);
    const int64_t n = (now_ms - s->refused_ms) / REFUSED_FORGIVEN_MS;
    s->refused = n < s->refused ? s->refused - (uint32_t)n : 0;
    s->refused_ms += n * REFUSED_FORGIVEN_MS;
}

void slowed_count_refusal(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->refused == 0) s->refused_ms = loop_turn_ms(s->rl->loop);
    s->refused++;
}

static void go_on(void *ctx) {
    struct relay_loop *rl = ctx;
    rl->slowed_ticking = false;
    for (struct list *l; (l = list_first(&rl->slowed)) != NULL;) {
        list_remove(l);
        conn_want_run(CONTAINER_OF(l, struct session, in_slowed)->conn);
    }
}

bool slowed_wait(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct relay_loop *rl = s->rl;
    if (s->refused < REFUSED_MAX) return false;
    forgive(s);
    if (s->refused < REFUSED_MAX) return false;
    if (!rl->slowed_ticking) {
        rl->slowed_ticking =
            loop_timer_start(rl->loop, &rl->slowed_timer, SLOWED_TICK_MS, 0, go_on, rl) == OK;
    }
    if (!rl->slowed_ticking) return false; /* out of memory: better late than never */
    if (list_is_empty(&s->in_slowed)) {
        list_push_back(&rl->slowed, &s->in_slowed);
        session_count(s, STAT_SLOWED);
    }
    return true;
}

void slowed_done(struct session *s) {
    list_remove(&s->in_slowed);
}

void slowed_stop(struct relay_loop *rl) {
    loop_timer_stop(&rl->slowed_timer);
}
