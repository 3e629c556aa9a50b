/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* After poll, who has something to do is served (turns.h). What that marked is done in between and
 * once more before the next poll, with what timers marked. Each goes over the marked ones once:
 * sessions which keep marking each other, or have more than their share to write, cannot stop the
 * loop from looking at its sockets. What is left then waits for the next turn, which comes at once.
 */
#include <stdlib.h>

#include "net/dial_priv.h"
#include "net/listener_priv.h"
#include "net/loop_priv.h"
#include "net/stream_priv.h"

enum { TICK_MS = 1000 };

static void move_all(struct list *from, struct list *to) {
    for (struct list *n; (n = list_first(from)) != NULL;) {
        list_remove(n);
        list_push_back(to, n);
    }
}

static void on_tick(uv_timer_t *h) {
    struct streams *s = CONTAINER_OF(h, struct streams, tick);
    const int64_t now = loop_now_ms(s->loop);
    for (struct list *n = s->timed.next; n != &s->timed; n = n->next) {
        stream__time_out(CONTAINER_OF(n, struct stream, timed), now); /* marks; takes nothing off */
    }
    if (list_is_empty(&s->timed)) (void)uv_timer_stop(&s->tick);
}

static void write_marked(struct streams *s) {
    struct list marked;
    list_init(&marked);
    move_all(&s->to_write, &marked);
    if (list_is_empty(&marked)) return;
    int64_t now_us = loop_now_us(s->loop);
    s->write_end_us = now_us + TURN_PART_US;
    for (struct list *n; (n = list_first(&marked)) != NULL;) {
        struct stream *c = CONTAINER_OF(n, struct stream, writing);
        const int64_t before_us = now_us;
        stream__write(c); /* takes it off */
        now_us = loop_now_us(s->loop);
        turn_charge(&c->turn, now_us - before_us);
    }
}

static void close_marked(struct streams *s) {
    for (struct list *n; (n = list_first(&s->closing)) != NULL;) {
        stream__destroy(CONTAINER_OF(n, struct stream, writing)); /* takes it off */
    }
}

static void end_turn(struct streams *s) {
    write_marked(s);
    close_marked(s);
}

bool streams__before_poll(struct streams *s) {
    end_turn(s);
    return !list_is_empty(&s->to_write) || !list_is_empty(&s->closing) || turns_wait(&s->turns);
}

/* What the last of them answer is written before the next poll. */
void streams__after_poll(struct streams *s) {
    turns_serve(&s->turns, TURN_READY, TURN_READY, stream__serve);
    end_turn(s);
    turns_serve(&s->turns, TURN_SHAKING, TURN_OWING, stream__serve);
}

enum err streams__new(struct loop *l, struct streams **ret) {
    struct streams *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->loop = l;
    s->bio_method = stream__bio_method_new();
    if (s->bio_method == NULL) {
        free(s);
        return E_NO_MEMORY;
    }
    struct list *const lists[] = {&s->all,     &s->timed,     &s->to_write,
                                  &s->closing, &s->listeners, &s->dials};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) list_init(lists[i]);
    turns_init(&s->turns, l);
    (void)uv_timer_init(loop__uv(l), &s->tick); /* cannot fail */
    *ret = s;
    return OK;
}

void streams__free(struct streams *s) {
    if (s == NULL) return;
    assert(s->n == 0 && list_is_empty(&s->listeners) && list_is_empty(&s->dials));
    BIO_meth_free(s->bio_method);
    free(s);
}

void streams__close_all(struct streams *s) {
    dial__end_all(&s->dials);
    for (struct list *n = s->all.next; n != &s->all; n = n->next) {
        stream_close(CONTAINER_OF(n, struct stream, all));
    }
    close_marked(s);
    assert(s->n == 0);
}

void streams__close_listeners(struct streams *s) {
    for (struct list *n; (n = list_first(&s->listeners)) != NULL;) {
        listener_close(CONTAINER_OF(n, struct listener, link)); /* takes it off */
    }
}

void streams__add(struct stream *c) {
    struct streams *s = c->set;
    list_push_back(&s->all, &c->all);
    s->n++;
}

void streams__update_timed(struct stream *c) {
    struct streams *s = c->set;
    const bool is_timed = c->deadline_ms != 0 || c->io_deadline_ms != 0;
    if (is_timed == !list_is_empty(&c->timed)) return;
    if (!is_timed) {
        list_remove(&c->timed); /* tick stops itself: begun blocks come and go more often */
        return;
    }
    list_push_back(&s->timed, &c->timed);
    if (!uv_is_active((uv_handle_t *)&s->tick)) {
        (void)uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    }
}

void loop_close_conns(struct loop *l, int64_t grace_ms) {
    ASSERT_ON_LOOP(l);
    struct streams *s = loop__streams(l);
    const int64_t until = loop_now_ms(l) + grace_ms;
    for (struct list *n = s->all.next; n != &s->all; n = n->next) {
        struct stream *c = CONTAINER_OF(n, struct stream, all);
        stream_finish(c);
        if (c->state == STREAM_FINISHING) c->io_deadline_ms = until;
    }
}

unsigned loop_n_conns(const struct loop *l) {
    ASSERT_ON_LOOP(l);
    return loop__streams(l)->n;
}
