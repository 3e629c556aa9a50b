/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/pair.h"

#include <stdio.h>

#include "bench/clock.h"
#include "wire/command.h"

enum { SEND_OVERHEAD_MAX = SMP_SHORT_COMMAND_MAX }; /* bytes around a body */

void pair_init(struct pair *p, struct worker *w, struct link *rcv, struct link *snd,
               uint32_t number, const struct pair_events *on, void *owner) {
    *p = (struct pair){.w = w, .rcv = rcv, .snd = snd, .number = number, .on = on, .owner = owner};
    p->command.owner = p->ack.owner = p;
}

void pair_done(struct pair *p) {
    loop_timer_stop(&p->ack_timer);
    smp_queue_done(&p->queue);
}

/* ---- receiving ---- */

static void take_msg(struct pair *p, const struct reply_view *a, uint8_t *text);

static void on_ack(struct call *c, const struct reply_view *a, uint8_t *text);

static void send_ack(struct pair *p, const struct id *msg_id) {
    struct draft d;
    p->ack.what = "ACK";
    p->ack.answered = on_ack;
    if (!call_begin(&p->ack, p->rcv, SMP_SHORT_COMMAND_MAX, id_bytes(&p->queue.rcv_id),
                    smp_queue_recipient(&p->queue), &d))
        return;
    smp_command_ack(&d.w, &d.head, msg_id);
    call_send(&p->ack, &d);
}

static void end_ack_delay(void *ctx) {
    struct pair *p = ctx;
    p->is_ack_delayed = false;
    send_ack(p, &p->ack_id);
}

static void acknowledge(struct pair *p, const struct id *msg_id, bool is_good) {
    const uint64_t ms = (uint64_t)p->w->o->ack_delay_ms;
    p->is_good = is_good;
    if (ms == 0) {
        send_ack(p, msg_id);
        return;
    }
    p->ack_id = *msg_id;
    p->is_ack_delayed = true;
    if (loop_timer_start(p->w->loop, &p->ack_timer, ms, 0, end_ack_delay, p) != OK)
        worker_fail(p->w, "out of memory");
}

/* The answer is OK, or the next message. */
static void on_ack(struct call *c, const struct reply_view *a, uint8_t *text) {
    struct pair *p = c->owner;
    worker_latency(p->w, LATENCY_ACK, c->start_ns);
    if (a->tag != REPLY_MSG && !call_expects(c, a, REPLY_OK)) return;
    const bool was_good = p->is_good;
    if (p->has_next) {
        p->has_next = false;
        acknowledge(p, &p->next_id, p->next_is_good);
    }
    if (was_good) {
        p->n_acked++;
        if (p->on->acked != NULL) p->on->acked(p);
    }
    if (a->tag == REPLY_MSG) take_msg(p, a, text);
}

/* True for a message that was awaited. */
static bool check_msg(struct pair *p, const struct smp_received *m) {
    struct tally *t = &p->w->tally;
    struct stamp stamp = {0};
    if (m->is_quota) return false; /* stands for those that were refused */
    const enum checker_verdict v = checker_take(&p->checker, p->w->run, p->number, m->body, &stamp);
    t->verdicts[v]++;
    if (v != CHECK_GOOD && v != CHECK_DISORDERED) return false;
    p->n_received++;
    worker_latency(p->w, LATENCY_DELIVERY, stamp.sent_ns);
    return true;
}

static void take_msg(struct pair *p, const struct reply_view *a, uint8_t *text) {
    struct smp_received m;
    if (smp_queue_open(&p->queue, &a->msg, text, &m) != OK) {
        worker_fail(p->w, "a message cannot be decrypted");
        return;
    }
    const bool is_good = check_msg(p, &m);
    if (p->ack.is_under_way || p->is_ack_delayed) {
        p->has_next = true;
        p->next_is_good = is_good;
        p->next_id = m.msg_id;
    } else {
        acknowledge(p, &m.msg_id, is_good);
    }
}

static void on_msg(struct link *k, struct idnode *queue, const struct reply_view *a,
                   uint8_t *text) {
    (void)k;
    take_msg(CONTAINER_OF(queue, struct pair, node), a, text);
}

/* ---- the recipient's commands ---- */

static bool begin_command(struct pair *p, const char *what,
                          void (*answered)(struct call *c, const struct reply_view *a,
                                           uint8_t *text),
                          struct draft *ret) {
    p->command.what = what;
    p->command.answered = answered;
    const struct bytes entity = id_bytes(&p->queue.rcv_id);
    return call_begin(&p->command, p->rcv, SMP_SHORT_COMMAND_MAX, entity,
                      smp_queue_recipient(&p->queue), ret);
}

static void tell_created(struct pair *p) {
    if (p->on->created != NULL) p->on->created(p);
}

static void on_key(struct call *c, const struct reply_view *a, uint8_t *text) {
    (void)text;
    if (call_expects(c, a, REPLY_OK)) tell_created(c->owner);
}

static void tell_sender_key(struct pair *p) {
    const struct pubkey key = smp_queue_sender_key(&p->queue);
    struct draft d;
    if (smp_queue_meet(&p->queue, link_session_key(p->snd)) != OK) {
        worker_fail(p->w, "the server's session key is of no use");
        return;
    }
    if (!begin_command(p, "KEY", on_key, &d)) return;
    smp_command_key(&d.w, &d.head, CMD_KEY, &key);
    call_send(&p->command, &d);
}

static void on_ids(struct call *c, const struct reply_view *a, uint8_t *text) {
    (void)text;
    struct pair *p = c->owner;
    worker_latency(p->w, LATENCY_NEW, c->start_ns);
    if (!call_expects(c, a, REPLY_IDS)) return;
    p->node.id = a->ids.rcv_id;
    p->rcv->on_msg = on_msg;
    if (smp_queue_take_ids(&p->queue, &a->ids) != OK ||
        idmap_insert(&p->rcv->queues, &p->node) != OK) {
        worker_fail(p->w, "a new queue is of no use");
        return;
    }
    if (p->snd != NULL) {
        tell_sender_key(p);
    } else {
        tell_created(p);
    }
}

void pair_create(struct pair *p, bool subscribe) {
    const struct link *sender = p->snd != NULL ? p->snd : p->rcv;
    struct smp_new q = {.basic_auth = bytes_str(p->w->goal->password),
                        .subscribe = subscribe,
                        .mode = MODE_MESSAGING};
    struct draft d;
    smp_queue_init(&p->queue, &ENV_SYSTEM, link_params(sender)->version);
    smp_queue_describe(&p->queue, &q);
    if (!begin_command(p, "NEW", on_ids, &d)) return;
    d.head.entity = (struct bytes){0};
    smp_command_new(&d.w, &d.head, &q);
    call_send(&p->command, &d);
}

static void on_sub(struct call *c, const struct reply_view *a, uint8_t *text) {
    struct pair *p = c->owner;
    worker_latency(p->w, LATENCY_SUB, c->start_ns);
    const bool is_done = a->tag == REPLY_SOK || a->tag == REPLY_MSG;
    if (!is_done && !call_expects(c, a, REPLY_OK)) return;
    if (p->on->subscribed != NULL) p->on->subscribed(p);
    if (a->tag == REPLY_MSG) take_msg(p, a, text);
}

void pair_subscribe(struct pair *p) {
    struct draft d;
    if (!begin_command(p, "SUB", on_sub, &d)) return;
    smp_command_plain(&d.w, &d.head, CMD_SUB);
    call_send(&p->command, &d);
}

static void on_del(struct call *c, const struct reply_view *a, uint8_t *text) {
    (void)text;
    struct pair *p = c->owner;
    worker_latency(p->w, LATENCY_DEL, c->start_ns);
    if (!call_expects(c, a, REPLY_OK)) return;
    (void)idmap_remove(&p->rcv->queues, &p->node.id);
    if (p->on->deleted != NULL) p->on->deleted(p);
}

void pair_delete(struct pair *p) {
    struct draft d;
    if (!begin_command(p, "DEL", on_del, &d)) return;
    smp_command_plain(&d.w, &d.head, CMD_DEL);
    call_send(&p->command, &d);
}

/* ---- sending ---- */

static void on_send(struct call *c, const struct reply_view *a, uint8_t *text) {
    (void)text;
    struct pair *p = c->owner;
    const bool is_refused = call_is_refused(c, a);
    if (is_refused) {
        p->n_refused++;
    } else if (call_expects(c, a, REPLY_OK)) {
        worker_latency(p->w, LATENCY_SEND, c->start_ns);
    } else {
        return;
    }
    if (p->on->sent != NULL) p->on->sent(p, c, !is_refused);
}

void pair_send(struct pair *p, struct call *c, int64_t due_ns) {
    const size_t largest = command_max_body(link_params(p->snd)->version);
    const size_t wanted = (size_t)p->w->o->size;
    const size_t n = wanted == 0 || wanted > largest ? largest : wanted;
    struct draft d;
    c->what = "SEND";
    c->owner = p;
    c->answered = on_send;
    c->is_forwarded = p->snd->relay != NULL;
    if (!call_begin(c, p->snd, n + SEND_OVERHEAD_MAX, id_bytes(&p->queue.snd_id),
                    smp_queue_sender(&p->queue), &d))
        return;
    if (due_ns != 0) {
        worker_latency(p->w, LATENCY_LATE, due_ns);
        c->start_ns = due_ns;
    }
    const struct stamp stamp = {.run = p->w->run,
                                .queue = p->number,
                                .number = p->n_sent++,
                                .sent_ns = c->start_ns};
    stamp_write(&stamp, p->w->scratch, n);
    smp_command_send(&d.w, &d.head, false, bytes_of(p->w->scratch, n));
    call_send(c, &d);
}

uint64_t pair_under_way(const struct pair *p) {
    return p->n_sent - p->n_refused - p->n_received;
}

void pair_check(struct pair *p) {
    const uint64_t missing = checker_lost(&p->checker, p->n_sent);
    p->w->tally.lost += missing > p->n_refused ? missing - p->n_refused : 0;
}
