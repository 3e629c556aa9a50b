/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_link.c -- short-link data of queues (spec: behaviour, "Queues"). */
#include "relay/session/request.h"

static struct store *store_of(const struct request *rq) {
    return rq->session->rl->relay->o.store;
}

struct answer cmd_lset(struct request *rq) {
    struct id link_id;
    struct link_data *link = NULL;
    lsn_t lsn = 0;
    /* an id of another length cannot be the queue's */
    enum err e = id_from_bytes(rq->cmd->lset.link_id, &link_id) ? OK : E_AUTH;
    if (e == OK) e = link_data_new(&link_id, rq->cmd->lset.fixed, rq->cmd->lset.user, &link);
    if (e == OK) e = store_link_set(store_of(rq), rq->queue, link, &lsn);
    link_data_unref(link);
    /* whose link id it is, is nobody's business */
    return answer_result(e == E_EXISTS ? E_AUTH : e, lsn);
}

struct answer cmd_ldel(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_link_delete(store_of(rq), rq->queue, &lsn);
    return answer_result(e, lsn);
}

static struct answer link_of(const struct request *rq, lsn_t lsn) {
    struct id link_id;
    struct link_data *link = NULL;
    enum err e = id_from_bytes(rq->to.entity, &link_id) ? OK : E_AUTH;
    if (e == OK) e = store_link_get(store_of(rq), rq->queue, &link_id, &link);
    if (e != OK) return answer_err(e);
    return (struct answer){.kind = ANSWER_LINK, .lsn = lsn, .owned_link = link};
}

struct answer cmd_lkey(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_queue_secure(store_of(rq), rq->queue, &rq->cmd->key, &lsn);
    if (e != OK) return answer_err(e);
    session_count(rq->session, STAT_Q_SECURED);
    return link_of(rq, lsn);
}

struct answer cmd_lget(struct request *rq) {
    if (!queue_is_contact(rq->view->mode, &rq->view->snd_key)) return answer_err(E_AUTH);
    return link_of(rq, 0);
}
