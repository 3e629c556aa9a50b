/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_queue.c -- commands that make, change and end queues (spec: behaviour, "Queues"). */
#include <stdlib.h>

#include "base/day.h"
#include "relay/handlers/cmd_priv.h"
#include "relay/session/news.h"
#include "relay/session/rules.h"
#include "relay/session/service.h"
#include "relay/session/subscription.h"

enum {
    NEW_ATTEMPTS = 3
}; /* random ids of 24 bytes do not collide; a broken generator must not loop */

static struct store *store_of(const struct request *rq) {
    return rq->session->rl->relay->o.store;
}

/* ---- NEW ---- */

/* Secrets and keys made for a new queue. */
struct new_keys {
    uint8_t rcv_secret[X25519_LEN], rcv_pub[X25519_LEN];
    uint8_t ntf_secret[X25519_LEN], ntf_pub[X25519_LEN];
};

enum err agree_secret(const struct env *env, const struct pubkey *theirs,
                      uint8_t ret_secret[X25519_LEN], uint8_t ret_pub[X25519_LEN]) {
    struct x25519_pair pair;
    x25519_pair_new(env, &pair);
    memcpy(ret_pub, pair.pub, X25519_LEN);
    const enum err e = x25519_dh(pair.priv, theirs->b, ret_secret);
    crypto_wipe(&pair, sizeof pair);
    return e;
}

static enum err make_keys(const struct env *env, const struct cmd_new *c, struct new_keys *ret) {
    enum err e = agree_secret(env, &c->rcv_dh_key, ret->rcv_secret, ret->rcv_pub);
    if (e == OK && c->has_notifier)
        e = agree_secret(env, &c->ntf_dh_key, ret->ntf_secret, ret->ntf_pub);
    return e;
}

static enum err check_new_allowed(const struct request *rq) {
    const struct rules *rules = rq->session->rl->rules;
    const struct cmd_new *c = &rq->cmd->new_queue;
    if (!rules_allow_new_queues(rules) ||
        !rules_fit_password(rules, c->has_basic_auth, c->basic_auth)) {
        return E_AUTH;
    }
    if (rq->session->service != NULL && !c->subscribe) return E_CMD_PROHIBITED;
    return conn_take_new_queue(rq->session->conn) ? OK : E_QUOTA;
}

/* A sender id chosen by the client must be the hash of the correlation id, so that asking for a
 * queue with some id cannot tell whether that id is in use. */
static enum err check_client_id(const struct request *rq, struct id *ret_snd_id) {
    uint8_t hash[SHA384_LEN];
    const enum err e = crypto_sha3_384(rq->to.corr_id, hash);
    if (e != OK) return E_INTERNAL;
    if (!bytes_equal(rq->cmd->new_queue.data.snd_id, bytes_of(hash, ID_LEN)))
        return E_CMD_PROHIBITED;
    memcpy(ret_snd_id->b, hash, ID_LEN);
    return OK;
}

/* Ids of a new queue: random, but those that the client gave. */
struct new_ids {
    struct id rcv, snd, link, ntf;
    bool client_given;
};

/* Those that are ours to choose tell the shard. */
static void fit_ids(const struct store *s, struct new_ids *ids, bool has_given_link) {
    if (ids->client_given) {
        store_fit_recipient(s, &ids->snd, &ids->rcv);
    } else {
        store_fit_id(s, ID_SENDER, &ids->rcv, &ids->snd);
    }
    if (!has_given_link) store_fit_id(s, ID_LINK, &ids->rcv, &ids->link);
    store_fit_id(s, ID_NOTIFIER, &ids->rcv, &ids->ntf);
}

static enum err choose_ids(const struct request *rq, struct new_ids *ret) {
    const struct env *env = rq->session->rl->relay->o.env;
    const struct cmd_new *c = &rq->cmd->new_queue;
    env_random(env, &ret->rcv, sizeof ret->rcv);
    env_random(env, &ret->snd, sizeof ret->snd);
    env_random(env, &ret->link, sizeof ret->link);
    env_random(env, &ret->ntf, sizeof ret->ntf);
    ret->client_given = c->data.present;
    if (!c->data.present) {
        fit_ids(store_of(rq), ret, false);
        return OK;
    }
    if (c->is_contact && !id_from_bytes(c->data.link_id, &ret->link)) return E_CMD_SYNTAX;
    const enum err e = check_client_id(rq, &ret->snd);
    if (e == OK) fit_ids(store_of(rq), ret, c->is_contact);
    return e;
}

static enum queue_mode mode_of(const struct cmd_new *c) {
    if (!c->has_mode) return MODE_UNKNOWN;
    return c->is_contact ? MODE_CONTACT : MODE_MESSAGING;
}

/* One attempt with one set of ids. */
static enum err create_with(const struct request *rq, const struct new_ids *ids,
                            const struct new_keys *keys, struct queue **ret_queue, lsn_t *ret_lsn) {
    const struct cmd_new *c = &rq->cmd->new_queue;
    struct queue_notifier ntf = {.id = ids->ntf, .key = c->ntf_key};
    memcpy(ntf.dh_secret, keys->ntf_secret, sizeof ntf.dh_secret);
    struct queue_rec rec = {
        .rcv_id = ids->rcv,
        .snd_id = ids->snd,
        .mode = mode_of(c),
        .notifier = c->has_notifier ? &ntf : NULL,
        .updated_day = (int32_t)(env_now_s(rq->session->rl->relay->o.env) / DAY_S),
    };
    memcpy(rec.dh_secret, keys->rcv_secret, sizeof rec.dh_secret);
    const struct session_service *service = rq->session->service;
    if (service != NULL) {
        rec.has_rcv_service = true;
        rec.rcv_service_id = *service_id(service->service);
    }
    enum err e = keyset_new(&c->rcv_auth_key, 1, &rec.rcv_keys);
    if (e == OK && c->data.present)
        e = link_data_new(&ids->link, c->data.fixed, c->data.user, &rec.link);
    if (e == OK) e = store_queue_create(store_of(rq), &rec, ret_queue, ret_lsn);
    keyset_unref(rec.rcv_keys);
    link_data_unref(rec.link);
    crypto_wipe(&rec, sizeof rec);
    crypto_wipe(&ntf, sizeof ntf);
    return e;
}

static enum err create(const struct request *rq, const struct new_keys *keys,
                       struct new_ids *ret_ids, struct queue **ret_queue, lsn_t *ret_lsn) {
    for (unsigned i = 0; i < NEW_ATTEMPTS; i++) {
        enum err e = choose_ids(rq, ret_ids);
        if (e == OK) e = create_with(rq, ret_ids, keys, ret_queue, ret_lsn);
        if (e != E_EXISTS) return e;
        if (ret_ids->client_given) return E_AUTH;
    }
    return E_INTERNAL;
}

static struct answer answer_ids(const struct request *rq, const struct new_ids *ids,
                                const struct new_keys *keys, lsn_t lsn) {
    const struct cmd_new *c = &rq->cmd->new_queue;
    struct reply_ids r = {
        .rcv_id = ids->rcv,
        .snd_id = ids->snd,
        .mode = mode_of(c),
        .link_id = c->data.present ? &ids->link : NULL,
        .service_id =
            rq->session->service != NULL ? service_id(rq->session->service->service) : NULL,
        .notifier_id = c->has_notifier ? &ids->ntf : NULL,
    };
    memcpy(r.dh_key, keys->rcv_pub, sizeof r.dh_key);
    memcpy(r.ntf_dh_key, keys->ntf_pub, sizeof r.ntf_dh_key);
    struct wr w = answer_begin(rq);
    reply_ids(&w, &rq->session->params, &rq->to, &r);
    return answer_text(&w, lsn);
}

/* A service's queue is associated since it was created; its session serves it from now on. */
static enum err subscribe_new(struct session *s, struct queue *q, lsn_t *ret_lsn) {
    struct sub_moved moved;
    if (s->service == NULL) return sub_subscribe(s, q, &moved);
    const struct sub_request r = {.party = SUB_RECIPIENT,
                                  .sub = s->self,
                                  .service = s->service->service};
    const enum err e = store_subscribe(s->rl->relay->o.store, q, &r, &moved);
    if (e != OK) return e;
    const struct news served = {.kind = NEWS_SERVED,
                                .to = moved.server,
                                .service = s->service->service};
    service_gained(s, queue_rcv_id(q), true);
    if (!session_is(s, moved.server)) news_send(s->rl, &served);
    if (moved.lsn > *ret_lsn) *ret_lsn = moved.lsn;
    return OK;
}

/* The client is not told of the queue: it must not stay. */
static void undo_create(const struct request *rq, struct queue *q) {
    struct queue_ended ended;
    lsn_t lsn;
    const enum err e = store_queue_delete(store_of(rq), q, &ended, &lsn);
    (void)e; /* then it stays; nobody has its ids */
}

/* What depends on whether the queue stays. */
static void follow_up(const struct request *rq, struct queue *q, struct answer *a) {
    answer_counts(a, STAT_Q_CREATED);
    if (rq->cmd->new_queue.has_notifier) answer_counts(a, STAT_NTF_NEW_CREATED);
    if (rq->cmd->new_queue.subscribe) a->follow_up.subscribed = queue_ref(q);
}

struct answer cmd_new(struct request *rq) {
    struct new_keys keys = {0};
    struct new_ids ids;
    struct queue *q = NULL;
    lsn_t lsn = 0;
    enum err e = check_new_allowed(rq);
    if (e == OK) e = make_keys(rq->session->rl->relay->o.env, &rq->cmd->new_queue, &keys);
    if (e == OK) e = create(rq, &keys, &ids, &q, &lsn);
    if (e == OK && rq->cmd->new_queue.subscribe) {
        e = subscribe_new(rq->session, q, &lsn);
        if (e != OK) undo_create(rq, q);
        if (e == E_AUTH) e = E_STORE; /* gone again: its creation was lost */
    }
    struct answer a = e == OK ? answer_ids(rq, &ids, &keys, lsn) : answer_err(e);
    if (e == OK) follow_up(rq, q, &a);
    queue_unref(q);
    crypto_wipe(&keys, sizeof keys);
    return a;
}

/* ---- keys ---- */

struct answer cmd_key(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_queue_secure(store_of(rq), rq->queue, &rq->cmd->key, NULL, &lsn);
    if (e == OK) session_count(rq->session, STAT_Q_SECURED);
    return answer_result(e, lsn);
}

struct answer cmd_skey(struct request *rq) {
    /* that the queue is a messaging queue is part of the authorization: dispatch.c, may_secure() */
    return cmd_key(rq);
}

struct answer cmd_rkey(struct request *rq) {
    if (rq->view->mode != MODE_CONTACT) return answer_err(E_AUTH);
    if (rq->cmd->rkey.n > RCV_KEYS_MAX) return answer_err(E_CMD_PROHIBITED);
    struct pubkey keys[RCV_KEYS_MAX];
    command_rkey(rq->cmd, keys);
    struct keyset *set = NULL;
    lsn_t lsn = 0;
    enum err e = keyset_new(keys, rq->cmd->rkey.n, &set);
    if (e == OK) e = store_queue_set_keys(store_of(rq), rq->queue, set, &lsn);
    keyset_unref(set);
    return answer_result(e, lsn);
}

/* ---- the end of queues ---- */

struct answer cmd_off(struct request *rq) {
    lsn_t lsn = 0;
    const enum err e = store_queue_suspend(store_of(rq), rq->queue, &lsn);
    return answer_result(e, lsn);
}

static void count_deleted(const struct request *rq) {
    const bool secured = rq->view->snd_key.type != KEY_NONE;
    session_count(rq->session, STAT_Q_DELETED_ALL);
    session_count(rq->session, secured ? STAT_Q_DELETED_SECURED : STAT_Q_DELETED_NEW);
}

struct answer cmd_del(struct request *rq) {
    struct session *s = rq->session;
    struct queue_ended ended;
    lsn_t lsn = 0;
    const enum err e = store_queue_delete(store_of(rq), rq->queue, &ended, &lsn);
    if (e == OK) {
        count_deleted(rq);
        struct sub *own = sub_find(s, queue_rcv_id(rq->queue));
        const bool was_own = session_is(s, ended.recipient.sub);
        if (was_own && (own == NULL || own->by_service)) service_lost(s, queue_rcv_id(rq->queue));
        if (own != NULL) sub_remove(s, own);
        if (!was_own) news_about(s->rl, NEWS_DELETED, ended.recipient.sub, rq->queue);
        send_notifier_gone(rq, &ended.notifier);
    }
    return answer_result(e, lsn);
}

/* ---- QUE ---- */

static enum queue_sub_state sub_state(const struct sub *sub) {
    if (sub == NULL) return SUB_STATE_NONE;
    return sub->by_get ? SUB_STATE_PROHIBITED : SUB_STATE_IDLE;
}

struct answer cmd_que(struct request *rq) {
    const struct sub *sub = sub_find(rq->session, queue_rcv_id(rq->queue));
    const struct queue_view *v = rq->view;
    struct id delivered;
    struct reply_info info = {
        .secured = v->snd_key.type != KEY_NONE,
        .has_notifier = v->has_notifier,
        .sub = sub_state(sub),
        .delivered = sub_is_delivered(sub, v, &delivered) ? &delivered : NULL,
        .size = v->n_messages,
        .head = v->n_messages != 0 ? &v->head : NULL,
    };
    struct wr w = answer_begin(rq);
    reply_info(&w, &rq->session->params, &rq->to, &info);
    return answer_text(&w, 0);
}
