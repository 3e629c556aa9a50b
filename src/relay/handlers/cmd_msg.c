/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_msg.c -- subscribing, sending, receiving, acknowledging (spec: behaviour, "Messages"). */
#include "relay/session/news.h"
#include "relay/session/ntf.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/subscription.h"
#include "store/messages.h"

static struct store *store_of(const struct request *rq) {
    return rq->session->rl->relay->o.store;
}

struct answer cmd_ping(struct request *rq) {
    struct wr w = answer_begin(rq);
    reply_pong(&w, &rq->session->params, &rq->to);
    return answer_text(&w, 0);
}

/* ---- SUB ---- */

static enum err subscribe(struct session *s, struct queue *q, struct sub_moved *ret) {
    struct sub *sub = sub_find(s, queue_rcv_id(q));
    if (sub != NULL && sub->by_get) {
        session_count(s, STAT_Q_SUB_PROHIBITED);
        return E_CMD_PROHIBITED;
    }
    if (sub == NULL) return sub_subscribe(s, q, ret);
    session_count(s, STAT_Q_SUB_DUPLICATE);
    const enum err e = sub_register(s, q, ret);
    if (e == OK) sub_clear_delivered(s, sub); /* again in the same connection: delivered again */
    return e;
}

struct answer cmd_sub(struct request *rq) {
    struct session *s = rq->session;
    const struct service *svc = service_of(s, SUB_RECIPIENT);
    rq->is_new_sub = sub_find(s, queue_rcv_id(rq->queue)) == NULL &&
                     (svc == NULL || s->service->subscribed.n == 0);
    struct sub_moved moved;
    const enum err e = subscribe(s, rq->queue, &moved);
    if (e != OK) return answer_err(e);
    if (moved.has_due) rq->deliver_after = queue_ref(rq->queue);
    struct wr w = answer_begin(rq);
    reply_sok(&w, &s->params, &rq->to, svc != NULL ? service_id(svc) : NULL);
    return answer_text(&w, moved.lsn);
}

/* ---- GET and ACK ---- */

static struct answer answer_next(bool has_next, lsn_t lsn) {
    return (struct answer){.kind = has_next ? ANSWER_MESSAGE : ANSWER_OK, .lsn = lsn};
}

static void count_get(const struct request *rq, bool has_msg, bool again) {
    if (!has_msg) {
        session_count(rq->session, STAT_MSG_GET_NO_MSG);
    } else {
        session_count(rq->session, again ? STAT_MSG_GET_DUPLICATE : STAT_MSG_GET);
    }
}

struct answer cmd_get(struct request *rq) {
    struct session *s = rq->session;
    struct sub *sub = sub_find(s, queue_rcv_id(rq->queue));
    const unsigned n = rq->view->n_messages;
    enum err e = OK;
    if (sub != NULL && !sub->by_get) {
        session_count(s, STAT_MSG_GET_PROHIBITED);
        e = E_CMD_PROHIBITED;
    }
    if (e == OK && sub == NULL) e = sub_add(s, rq->queue, SUB_BY_GET, &sub);
    if (e != OK) return answer_err(e);
    count_get(rq, n != 0, sub->has_delivered);
    sub_clear_delivered(s, sub);
    sub->is_asked = n != 0;
    return answer_next(n != 0, 0);
}

/* An empty id stands for whatever was delivered, and deletes nothing (reference: Server.hs
 * acknowledgeMsg). */
static bool names_delivered(const struct request *rq, const struct sub *sub, struct id *ret) {
    const struct bytes msg_id = rq->cmd->ack.msg_id;
    return sub_is_delivered(sub, rq->view, ret) &&
           (msg_id.n == 0 || bytes_equal(msg_id, id_bytes(ret)));
}

/* A message was sent or received. */
static void count_activity(const struct request *rq, bool notification) {
    struct stats_sheet *stats = rq->session->rl->stats;
    stats_active(stats, ACTIVITY_MSG, queue_rcv_id(rq->queue));
    if (notification) stats_active(stats, ACTIVITY_NTF, queue_rcv_id(rq->queue));
}

static void count_received(const struct request *rq, const struct sub *sub, bool notification) {
    const struct relay_loop *rl = rq->session->rl;
    const uint32_t now_s = (uint32_t)(loop_turn_ms(rl->loop) / 1000);
    stats_observe(rl->stats, HISTOGRAM_ACK_S, sub->has_delivered ? now_s - sub->delivered_s : 0);
    session_count(rq->session, STAT_MSG_RECV);
    if (sub->by_get) session_count(rq->session, STAT_MSG_RECV_GET);
    if (notification) session_count(rq->session, STAT_MSG_RECV_NTF);
    count_activity(rq, notification);
}

struct answer cmd_ack(struct request *rq) {
    struct sub *sub = sub_find(rq->session, queue_rcv_id(rq->queue));
    struct id delivered;
    if (!names_delivered(rq, sub, &delivered)) return answer_err(E_NO_MSG);
    struct msg_acked acked;
    const struct id *deleted = rq->cmd->ack.msg_id.n != 0 ? &delivered : NULL;
    const enum err e = store_msg_ack(store_of(rq), rq->queue, deleted, PACE_AT_LEISURE, &acked);
    if (e != OK) return answer_err(e); /* nothing has changed: the message waits for an ACK still */
    if (acked.was_deleted) count_received(rq, sub, acked.notification);
    sub_clear_delivered(rq->session, sub);
    sub->is_due = false; /* the next one comes with the answer, in no older place */
    sub->is_asked = acked.has_next && !sub->by_get;
    struct answer next = answer_next(sub->is_asked, acked.lsn);
    next.at_leisure = next.kind == ANSWER_OK; /* a message that is to come is waited for */
    if (sub->by_service && !sub->is_asked) sub_remove(rq->session, sub);
    return next;
}

/* ---- SEND ---- */

static enum err check_send(const struct request *rq) {
    if (rq->cmd->send.body.n > command_max_body(rq->params->version)) {
        session_count(rq->session, STAT_MSG_SENT_LARGE);
        return E_LARGE_MSG;
    }
    if (rq->view->status != STATUS_OFF) return OK;
    session_count(rq->session, STAT_MSG_SENT_AUTH);
    return E_AUTH;
}

/* What else a SEND does: spent link data goes, and old messages where that is configured. */
static void before_write(const struct request *rq, int64_t now_s) {
    const struct relay_opts *o = &rq->session->rl->relay->o;
    lsn_t lsn;
    unsigned n;
    if (rq->view->has_link && queue_is_secured_messaging(rq->view->mode, &rq->view->snd_key) &&
        store_link_delete(o->store, rq->queue, &lsn) != OK) {
        return; /* the queue is gone: the write will say so */
    }
    if (o->settings.expire_on_send && o->message_ttl_s > 0 &&
        store_expire_queue(o->store, rq->queue, now_s - o->message_ttl_s, &n) == OK) {
        stats_add(rq->session->rl->stats, STAT_MSG_EXPIRED, n); /* else as above */
    }
}

static void count_sent(const struct request *rq, struct answer *a) {
    const bool notification = rq->cmd->send.notification;
    answer_counts(a, STAT_MSG_SENT);
    if (notification) answer_counts(a, STAT_MSG_SENT_NTF);
    count_activity(rq, notification);
}

/* Who sends to itself gets the message before the answer. */
static void announce(const struct request *rq, const struct msg_written *w) {
    if (session_is(rq->session, w->sub)) {
        (void)sub_due(rq->session, rq->queue, DUE_AHEAD);
    } else {
        news_of_message(rq->session->rl, w->sub, rq->queue, w->lsn);
    }
}

/* Not of who sends to itself, which may wait for the answer before it acknowledges; and a proxy's
 * answers keep their order, for all its clients. */
static bool may_hold(const struct request *rq) {
    return rq->fwd == NULL && sub_find(rq->session, queue_rcv_id(rq->queue)) == NULL;
}

struct answer cmd_send(struct request *rq) {
    const struct env *env = rq->session->rl->relay->o.env;
    const int64_t now_s = env_now_s(env);
    struct message *m = NULL;
    struct msg_written written = {0};
    struct id id;
    enum err e = check_send(rq);
    if (e == OK && rq->view->block != NULL) {
        session_count(rq->session, STAT_MSG_SENT_BLOCK);
        return answer_blocked(rq);
    }
    if (e == OK) {
        env_random(env, &id, sizeof id);
        before_write(rq, now_s);
        e = message_new(&id, now_s, rq->cmd->send.notification, rq->cmd->send.body, &m);
    }
    if (e == OK) m->may_hold = may_hold(rq);
    if (e == OK) e = store_msg_write(store_of(rq), rq->queue, m, &written);
    if (e == E_QUOTA) session_count(rq->session, STAT_MSG_SENT_QUOTA);
    if (written.was_empty) announce(rq, &written);
    if (e == OK && rq->cmd->send.notification && rq->view->has_notifier)
        ntf_sent(rq->session, rq->queue, &id, now_s);
    struct answer a = answer_result(e, written.lsn);
    if (e == OK) count_sent(rq, &a);
    a.held_bytes = rq->cmd->send.body.n;
    return a;
}
