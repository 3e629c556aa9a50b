/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_ntf.c -- commands about notifiers, and of services (spec: behaviour,
 * "Notifications", "Services"). */
#include "relay/handlers/cmd_priv.h"
#include "relay/session/news.h"
#include "relay/session/ntf.h"
#include "relay/session/service.h"
#include "store/ntfs.h"

enum { NKEY_ATTEMPTS = 3 }; /* random ids do not collide; a broken generator must not loop */

static struct store *store_of(const struct request *rq) {
    return rq->session->rl->relay->o.store;
}

/* ---- notifiers ---- */

void send_notifier_gone(const struct request *rq, const struct sub_ended *ended) {
    struct session *s = rq->session;
    const struct news n = {.kind = NEWS_NTF_DELETED,
                           .to = ended->sub,
                           .queue = rq->queue,
                           .notifier = &ended->id};
    news_send(s->rl, &n);
}

static enum err set_notifier(const struct request *rq, struct queue_notifier *n,
                             struct sub_ended *ret_ended, lsn_t *ret_lsn) {
    enum err e = E_EXISTS;
    for (unsigned i = 0; i < NKEY_ATTEMPTS && e == E_EXISTS; i++) {
        env_random(rq->session->rl->relay->o.env, &n->id, sizeof n->id);
        store_fit_id(store_of(rq), ID_NOTIFIER, queue_rcv_id(rq->queue), &n->id);
        e = store_notifier_set(store_of(rq), rq->queue, n, ret_ended, ret_lsn);
    }
    return e == E_EXISTS ? E_INTERNAL : e;
}

struct answer cmd_nkey(struct request *rq) {
    struct queue_notifier n = {.key = rq->cmd->nkey.key};
    struct sub_ended ended;
    uint8_t pub[X25519_LEN];
    lsn_t lsn = 0;
    enum err e =
        agree_secret(rq->session->rl->relay->o.env, &rq->cmd->nkey.dh_key, n.dh_secret, pub);
    if (e == OK) e = set_notifier(rq, &n, &ended, &lsn);
    crypto_wipe(n.dh_secret, sizeof n.dh_secret);
    if (e != OK) return answer_err(e);
    session_count(rq->session, STAT_NTF_CREATED);
    send_notifier_gone(rq, &ended);
    struct wr w = answer_begin(rq);
    reply_nid(&w, rq->params, &rq->to, &n.id, pub);
    return answer_text(&w, lsn);
}

struct answer cmd_ndel(struct request *rq) {
    struct sub_ended ended;
    lsn_t lsn = 0;
    const enum err e = store_notifier_delete(store_of(rq), rq->queue, &ended, &lsn);
    if (e == OK && rq->view->has_notifier) session_count(rq->session, STAT_NTF_DELETED);
    if (e == OK) send_notifier_gone(rq, &ended);
    return answer_result(e, lsn);
}

struct answer cmd_nsub(struct request *rq) {
    const struct service *svc = service_of(rq->session, SUB_NOTIFIER);
    lsn_t lsn = 0;
    const enum err e = ntf_subscribe(rq->session, rq->queue, &rq->view->ntf_id, &lsn);
    if (e != OK) return answer_err(e);
    struct wr w = answer_begin(rq);
    reply_sok(&w, rq->params, &rq->to, svc != NULL ? service_id(svc) : NULL);
    return answer_text(&w, lsn);
}

/* ---- services ---- */

struct answer cmd_subs(struct request *rq) {
    return service_subscribe(rq, SUB_RECIPIENT);
}

struct answer cmd_nsubs(struct request *rq) {
    return service_subscribe(rq, SUB_NOTIFIER);
}
