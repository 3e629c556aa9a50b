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

/* Unless it is gone by now, or another one's. */
static struct answer answer_link(const struct request *rq, struct link_data *owned, lsn_t lsn) {
    if (owned != NULL && bytes_equal(rq->to.entity, id_bytes(&owned->link_id)))
        return (struct answer){.kind = ANSWER_LINK, .lsn = lsn, .owned_link = owned};
    link_data_unref(owned);
    return answer_err(E_AUTH);
}

struct answer cmd_lkey(struct request *rq) {
    struct link_data *link = NULL;
    lsn_t lsn = 0;
    const enum err e = store_queue_secure(store_of(rq), rq->queue, &rq->cmd->key, &link, &lsn);
    if (e != OK) return answer_err(e);
    session_count(rq->session, STAT_Q_SECURED);
    return answer_link(rq, link, lsn);
}

struct answer cmd_lget(struct request *rq) {
    if (!queue_is_contact(rq->view->mode, &rq->view->snd_key)) return answer_err(E_AUTH);
    return answer_link(rq, rq->view->link != NULL ? link_data_ref(rq->view->link) : NULL, 0);
}
