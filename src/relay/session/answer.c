/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/session/answer.h"

#include "relay/session/request.h"
#include "wire/forward.h"

struct wr answer_begin(const struct request *rq) {
    return wr_init(rq->session->rl->scratch, sizeof rq->session->rl->scratch);
}

bool answer_fits(const struct request *rq, size_t n) {
    return n <= (rq->fwd != NULL ? FWD_TRANSMISSION_MAX : SMP_TRANSMISSION_MAX);
}

struct answer answer_blocked(const struct request *rq) {
    struct wr w = answer_begin(rq);
    reply_blocked(&w, rq->params, &rq->to, rq->view->block);
    return answer_text(&w, 0);
}

/* ---- what stands for it when its change is lost ---- */

/* Clients that are older than STORE_RETRY take ERR STORE for the end of their message; left without
 * an answer they try again. A proxy does not wait for the others' answers: its connection stays. */
static enum if_lost if_lost(const struct request *rq) {
    const bool is_send = rq->cmd != NULL && rq->cmd->tag == CMD_SEND; /* a bad block has none */
    const bool silent = is_send && !version_has(rq->params->version, V_STORE_RETRY);
    if (rq->fwd != NULL) return silent ? IF_LOST_NOTHING : IF_LOST_FORWARDED;
    return silent ? IF_LOST_UNANSWERED : IF_LOST_ERR;
}

enum { REFUSAL_MAX = 1024 }; /* bytes: two ids of 255 at most, and a few words */

/* The refusal that may have to stand for a forwarded command's answer; NULL: out of memory. */
static struct forwarded_refusal *make_refusal(const struct request *rq) {
    uint8_t buf[REFUSAL_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    reply_err(&w, rq->params, &rq->to, E_STORE);
    const struct way_back back = forwarded_way_back(rq->fwd, rq->session);
    return forwarded_refusal_new(&back, wr_bytes(&w));
}

/* ---- delivery ---- */

static void deliver_forwarded(const struct request *rq, struct out_text *t) {
    uint8_t buf[SMP_BLOCK_LEN];
    struct wr w = wr_init(buf, sizeof buf);
    if (t->if_lost == IF_LOST_FORWARDED) {
        t->owned_refusal = make_refusal(rq);
        if (t->owned_refusal == NULL) {
            conn_close(rq->session->conn);
            return;
        }
    }
    forwarded_seal(rq->fwd, rq->session, t->transmission, &w);
    t->transmission = wr_bytes(&w);
    session_add_answer(rq->session, t);
}

static void deliver_text(const struct request *rq, const struct answer *a, const struct wr *w) {
    struct out_text t = {.transmission = wr_bytes(w),
                         .lsn = a->lsn,
                         .at_leisure = a->at_leisure,
                         .follow_up = a->follow_up};
    const enum err fate = store_fate(rq->session->rl->relay->o.store, a->lsn);
    if (fate == E_PENDING) t.held_bytes = a->held_bytes;
    if (fate != OK) t.if_lost = if_lost(rq);
    if (rq->fwd != NULL) {
        deliver_forwarded(rq, &t);
    } else {
        session_add_answer(rq->session, &t);
    }
}

static void deliver_err(const struct request *rq, const struct answer *a) {
    const enum if_lost rule = a->err == E_CLOSED  ? IF_LOST_UNANSWERED
                              : a->err == E_STORE ? if_lost(rq)
                                                  : IF_LOST_ERR;
    if (rule == IF_LOST_UNANSWERED) session_leave_unanswered(rq->session, a->err);
    if (rule == IF_LOST_UNANSWERED || rule == IF_LOST_NOTHING) return;
    struct wr w = answer_begin(rq);
    reply_err(&w, rq->params, &rq->to, a->err);
    deliver_text(rq, a, &w);
}

/* What was written, or that it did not fit. */
static void deliver_written(const struct request *rq, const struct answer *a, const struct wr *w) {
    const struct answer failed = answer_err(E_INTERNAL);
    if (wr_err(w) == OK) {
        deliver_text(rq, a, w);
    } else {
        queue_unref(a->follow_up.subscribed);
        deliver_err(rq, &failed);
    }
}

/* Link data is long: only inside the layers is it copied. */
static void deliver_link(const struct request *rq, const struct answer *a) {
    const struct id *snd_id = queue_snd_id(rq->queue);
    if (rq->fwd != NULL) {
        struct wr w = answer_begin(rq);
        reply_lnk(&w, rq->params, &rq->to, snd_id, a->owned_link);
        deliver_written(rq, a, &w);
    } else {
        session_add_link(rq->session, &rq->to, snd_id, a->owned_link, a->lsn);
    }
    link_data_unref(a->owned_link);
}

void answer_deliver(const struct request *rq, const struct answer *a) {
    ASSERT_ON_LOOP(rq->session->rl->loop);
    struct wr w;
    switch (a->kind) {
    case ANSWER_OK:
        w = answer_begin(rq);
        reply_ok(&w, rq->params, &rq->to);
        deliver_text(rq, a, &w);
        break;
    case ANSWER_ERR:
        deliver_err(rq, a);
        break;
    case ANSWER_TEXT:
        deliver_written(rq, a, &a->w);
        break;
    case ANSWER_MESSAGE:
        session_add_msg(rq->session, rq->to.corr_id, rq->queue, a->lsn);
        break;
    case ANSWER_LINK:
        deliver_link(rq, a);
        break;
    case ANSWER_LATER:
        break;
    }
}
