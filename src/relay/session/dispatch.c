/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dispatch.c -- one command: is it authorized, who runs it, where its answer goes. Jobs bring it
 * (job.c).
 *
 * Refusals are in an order that tells a stranger nothing: whether a queue exists shows neither in
 * the answer nor in its time (crypto/authz.h). Source: reference, Server.hs verifyTransmission and
 * verifyQueueTransmission. */
#include <assert.h>

#include "base/day.h"
#include "model/limits.h"
#include "relay/session/job.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/slowed.h"

/* ---- handlers: cmd_<fn> of each row of commands.def ---- */

/* What is inside of an RFWD is run in its place. */
struct answer cmd_taken_apart(struct request *rq) {
    (void)rq;
    assert(false);
    return answer_err(E_INTERNAL);
}

static cmd_fn *const HANDLERS[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    [CMD_##tag] = cmd_##fn,
#include "wire/commands.def"
#undef CMD
};

enum { STAT_UNCOUNTED = N_STATS };

/* Who counts a refused authorization. */
static const unsigned REFUSED[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    [CMD_##tag] = (unsigned)STAT_##refused,
#include "wire/commands.def"
#undef CMD
};

/* ---- authorization ---- */

static struct pubkey command_key(const struct command *c) {
    return c->tag == CMD_NEW ? c->new_queue.rcv_auth_key : c->key;
}

/* SKEY and LKEY are authorized by the key they bring; it is tried only where it may secure the
 * queue. */
static bool may_secure(const struct queue_view *v, const struct pubkey *key) {
    return v->mode == MODE_MESSAGING &&
           (v->snd_key.type == KEY_NONE || pubkey_equal(&v->snd_key, key));
}

enum { SIGNED_HEAD_MAX = SHA256_LEN + 1 + SESSION_ID_MAX };

/* What is signed begins with the session; where the service signs too, the hash of its certificate
 * comes first. */
static struct bytes signed_head(const struct request *rq, uint8_t buf[SIGNED_HEAD_MAX]) {
    const struct bytes session = wire_session(&rq->session->params);
    if (!rq->t->has_service_sig) return session;
    memcpy(buf, rq->session->service->cert_hash, SHA256_LEN);
    memcpy(buf + SHA256_LEN, session.p, session.n);
    return bytes_of(buf, SHA256_LEN + session.n);
}

void verifying_done(struct verifying *at) {
    keyset_unref(at->keys);
    *at = (struct verifying){0};
}

/* A queue may have 32 keys. Those that were tried must be the queue's when the last is. */
static enum authz_verdict verify_recipient(const struct request *rq, const struct authz *a,
                                           const struct queue_view *v, struct verifying *at) {
    size_t n = 0;
    const struct pubkey *keys = v != NULL ? queue_view_rcv_keys(v, &n) : NULL;
    struct keyset *set = v != NULL ? v->rcv_keys : NULL;
    if (at->keys != set) {
        verifying_done(at);
        at->keys = set != NULL ? keyset_ref(set) : NULL;
    }
    enum authz_verdict verdict;
    do {
        verdict = authz_step(a, keys, n, &at->steps);
    } while (verdict == AUTHZ_MORE && !conn_share_is_used(rq->session->conn));
    return verdict;
}

static enum authz_verdict verdict_of(bool good) {
    return good ? AUTHZ_YES : AUTHZ_NO;
}

/* v is NULL when there is no such queue: then every path goes through the dummy verification.
 * AUTHZ_MORE: the share of this turn is used. */
static enum authz_verdict verify(const struct request *rq, const struct command_row *row,
                                 const struct queue_view *v, struct verifying *at) {
    uint8_t head[SIGNED_HEAD_MAX];
    const struct authz a = {
        .auth = rq->t->auth,
        .text_a = signed_head(rq, head),
        .text_b = rq->t->signed_text,
        .corr_id = rq->t->corr_id,
        .session_priv = rq->session->keys->priv,
        .known = &rq->session->agreements,
    };
    const bool has_notifier =
        v != NULL && v->has_notifier && bytes_equal(rq->t->entity, id_bytes(&v->ntf_id));
    const bool has_queue = row->lookup == LOOKUP_NOTHING || v != NULL;
    switch (row->key) {
    case NEED_KEY_NONE:
        return verdict_of(has_queue);
    case NEED_KEY_IN_COMMAND: {
        const struct pubkey key = command_key(rq->cmd);
        const bool tried = row->lookup == LOOKUP_NOTHING || (v != NULL && may_secure(v, &key));
        return verdict_of(authz_verify(&a, &key, tried ? 1 : 0));
    }
    case NEED_KEY_RECIPIENT:
        return verify_recipient(rq, &a, v, at);
    case NEED_KEY_SENDER: /* not secured yet: anybody may send, without an authorization */
        if (v != NULL && v->snd_key.type == KEY_NONE && rq->t->auth.n == 0) return AUTHZ_YES;
        return verdict_of(authz_verify(&a, v != NULL ? &v->snd_key : NULL, v != NULL ? 1 : 0));
    case NEED_KEY_NOTIFIER:
        return verdict_of(
            authz_verify(&a, has_notifier ? &v->ntf_key : NULL, has_notifier ? 1 : 0));
    case NEED_KEY_SERVICE: /* that signature is all: service_signature_fits() */
        return AUTHZ_YES;
    }
    return AUTHZ_NO;
}

/* ---- running ---- */

/* A use of the queue changes its date, at most once a day. */
static void touch(const struct request *rq) {
    const struct relay_opts *o = &rq->session->rl->relay->o;
    const int32_t today = (int32_t)(env_now_s(o->env) / DAY_S);
    lsn_t lsn;
    if (rq->view->updated_day != today && store_queue_touch(o->store, rq->queue, today, &lsn) != OK)
        return;
}

/* What is refused inside of RFWD is not counted: the reference does not either, and a proxy speaks
 * for many. */
static void count_unauthorized(const struct request *rq) {
    const unsigned stat = REFUSED[rq->cmd->tag];
    if (rq->fwd != NULL) return;
    slowed_count_refusal(rq->session);
    if (stat != STAT_UNCOUNTED) session_count(rq->session, (enum stat_id)stat);
}

/* v: the view of its queue, or NULL. */
static struct answer run(struct request *rq, const struct command_row *row,
                         const struct queue_view *v) {
    if (v != NULL && v->block != NULL && row->blocked == BLOCKED_ANSWERS) return answer_blocked(rq);
    if (v != NULL && row->party != PARTY_NOTIFIER) touch(rq); /* to ask is not to use */
    return HANDLERS[rq->cmd->tag](rq);
}

void command_refuse(const struct request *rq, enum err e) {
    const struct answer a = answer_err(e);
    answer_deliver(rq, &a);
}

void dispatch_bad_block(struct session *s) {
    const struct request rq = {.session = s, .params = &s->params};
    command_refuse(&rq, E_BLOCK);
    session_adjust_reading(s);
}

/* What was found, as it is now: a command in front, or another thread, may have changed it. E_AUTH:
 * there is no such queue; E_STORE: nobody knows. */
static enum err look(struct store *s, struct store_lookup *lookups, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct store_lookup *l = &lookups[i];
        if (l->ret_err != OK) return l->ret_err;
        if (l->want == WANT_FREE || queue_view_is_current(l->ret_queue, &l->ret_view)) continue;
        queue_view_done(&l->ret_view);
        l->ret_err = store_queue_view(s, l->ret_queue, l->want, &l->ret_view);
        if (l->ret_err == OK) continue;
        queue_unref(l->ret_queue);
        l->ret_queue = NULL;
        return l->ret_err;
    }
    return OK;
}

bool command_run(struct request *rq, struct store_lookup *lookups, size_t n_lookups,
                 struct verifying *at) {
    ASSERT_ON_LOOP(rq->session->rl->loop);
    struct store *store = rq->session->rl->relay->o.store;
    const struct command_row *row = command_row(rq->cmd->tag);
    const enum err e = look(store, lookups, n_lookups);
    if (e != OK && e != E_AUTH) {
        command_refuse(rq, e);
        return true;
    }
    const bool is_found = e == OK && row->lookup != LOOKUP_NOTHING;
    rq->queue = is_found ? lookups->ret_queue : NULL;
    rq->view = is_found ? &lookups->ret_view : NULL;
    const enum authz_verdict verdict = verify(rq, row, rq->view, at);
    if (verdict == AUTHZ_YES) {
        const struct answer a = run(rq, row, rq->view);
        answer_deliver(rq, &a);
    } else if (verdict == AUTHZ_NO) {
        count_unauthorized(rq);
        command_refuse(rq, E_AUTH);
    }
    return verdict != AUTHZ_MORE;
}
