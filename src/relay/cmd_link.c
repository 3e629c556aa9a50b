/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_link.c -- short-link data of queues (spec: behaviour, "Queues"). */
#include "relay/relay_priv.h"

static struct store *store_of(const struct request *rq) {
    return rq->session->rl->relay->o.store;
}

void cmd_lset(struct request *rq) {
    struct id link_id;
    struct link_data *link = NULL;
    lsn_t lsn = 0;
    /* an id of another length cannot be the queue's */
    enum err e = id_from_bytes(rq->cmd->lset.link_id, &link_id) ? OK : E_AUTH;
    if (e == OK) e = link_data_new(&link_id, rq->cmd->lset.fixed, rq->cmd->lset.user, &link);
    if (e == OK) e = store_link_set(store_of(rq), rq->queue, link, &lsn);
    link_data_unref(link);
    answer_result(rq, e == E_EXISTS ? E_AUTH : e,
                  lsn); /* whose link id it is, is nobody's business */
}

void cmd_ldel(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_link_delete(store_of(rq), rq->queue, &lsn);
    answer_result(rq, e, lsn);
}

static void answer_link(const struct request *rq, lsn_t lsn) {
    struct id link_id;
    struct link_data *link = NULL;
    enum err e = id_from_bytes(rq->to.entity, &link_id) ? OK : E_AUTH;
    if (e == OK) e = store_link_get(store_of(rq), rq->queue, &link_id, &link);
    if (e == OK && rq->fwd != NULL) {
        struct wr w = answer_begin(rq);
        reply_lnk(&w, rq->params, &rq->to, queue_snd_id(rq->queue), link);
        answer_end(rq, &w, lsn);
    } else if (e == OK) {
        session_add_link(rq->session, &rq->to, queue_snd_id(rq->queue), link, lsn);
    } else {
        answer_err(rq, e);
    }
    link_data_unref(link);
}

void cmd_lkey(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_queue_secure(store_of(rq), rq->queue, &rq->cmd->key, &lsn);
    if (e == OK) {
        session_count(rq->session, STAT_Q_SECURED);
        answer_link(rq, lsn);
    } else {
        answer_err(rq, e);
    }
}

void cmd_lget(struct request *rq) {
    if (queue_is_contact(rq->view->mode, &rq->view->snd_key)) {
        answer_link(rq, 0);
    } else {
        answer_err(rq, E_AUTH);
    }
}
