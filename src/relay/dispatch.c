/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dispatch.c -- one command: is it authorized, who runs it, where its answer goes. Jobs bring it
 * (job.c).
 *
 * Refusals are in an order that tells a stranger nothing: whether a queue exists shows neither in
 * the answer nor in its time (crypto/authz.h). Source: reference, Server.hs verifyTransmission and
 * verifyQueueTransmission. */
#include <assert.h>

#include "model/limits.h"
#include "relay/job.h"
#include "relay/relay_priv.h"
#include "relay/slowed.h"
#include "wire/forward.h"

/* ---- answers ---- */

struct wr answer_begin(const struct request *rq) {
    return wr_init(rq->session->rl->scratch, sizeof rq->session->rl->scratch);
}

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
    return forwarded_refusal_new(rq->fwd, rq->session, wr_bytes(&w));
}

static bool may_be_lost(const struct request *rq, lsn_t lsn) {
    return fate_of(rq->session->rl->relay->o.store, lsn) != FATE_DURABLE;
}

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

static void deliver(const struct request *rq, struct bytes transmission, lsn_t lsn) {
    struct out_text t = {.transmission = transmission, .lsn = lsn, .held_bytes = rq->held_bytes};
    if (may_be_lost(rq, lsn)) t.if_lost = if_lost(rq);
    if (rq->fwd != NULL) {
        deliver_forwarded(rq, &t);
    } else {
        session_add_answer(rq->session, &t);
    }
}

void answer_end(const struct request *rq, const struct wr *w, lsn_t lsn) {
    if (wr_err(w) != OK) {
        answer_err(rq, E_INTERNAL);
    } else {
        deliver(rq, wr_bytes(w), lsn);
    }
}

bool answer_fits(const struct request *rq, size_t n) {
    return n <= (rq->fwd != NULL ? FWD_TRANSMISSION_MAX : SMP_TRANSMISSION_MAX);
}

void answer_ok(const struct request *rq, lsn_t lsn) {
    struct wr w = answer_begin(rq);
    reply_ok(&w, rq->params, &rq->to);
    answer_end(rq, &w, lsn);
}

/* What refuses a change may itself wait for one: the quota marker of ERR QUOTA. */
static void answer_err_after(const struct request *rq, enum err e, lsn_t lsn) {
    const enum if_lost rule = e == E_STORE ? if_lost(rq) : IF_LOST_ERR;
    if (rule == IF_LOST_UNANSWERED) session_leave_unanswered(rq->session);
    if (rule == IF_LOST_UNANSWERED || rule == IF_LOST_NOTHING) return;
    struct wr w = answer_begin(rq);
    reply_err(&w, rq->params, &rq->to, e);
    deliver(rq, wr_bytes(&w), lsn);
}

void answer_err(const struct request *rq, enum err e) {
    answer_err_after(rq, e, 0);
}

void answer_blocked(const struct request *rq) {
    struct wr w = answer_begin(rq);
    reply_blocked(&w, rq->params, &rq->to, rq->view->block);
    answer_end(rq, &w, 0);
}

void answer_result(const struct request *rq, enum err e, lsn_t lsn) {
    if (e == OK) {
        answer_ok(rq, lsn);
    } else {
        answer_err_after(rq, e, lsn);
    }
}

void dispatch_bad_block(struct session *s) {
    const struct request rq = {.session = s, .params = &s->params};
    answer_err(&rq, E_BLOCK);
}

/* ---- handlers: cmd_<fn> of each row of commands.def ---- */

/* What is inside of an RFWD is run in its place. */
void cmd_taken_apart(struct request *rq) {
    (void)rq;
    assert(false);
}

static cmd_fn *const HANDLERS[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, key, blocked, forward, refused, fn,      \
            params)                                                                                \
    [CMD_##tag] = cmd_##fn,
#include "wire/commands.def"
#undef CMD
};

enum { STAT_UNCOUNTED = N_STATS };

/* Who counts a refused authorization. */
static const unsigned REFUSED[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, key, blocked, forward, refused, fn,      \
            params)                                                                                \
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
        .session_priv = rq->session->priv,
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
    const int32_t today = (int32_t)(env_now_s(o->env) / 86400);
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
static void run(struct request *rq, const struct command_row *row, const struct queue_view *v) {
    if (v != NULL && v->block != NULL && row->blocked == BLOCKED_ANSWERS) {
        answer_blocked(rq);
        return;
    }
    if (v != NULL && row->party != PARTY_NOTIFIER) touch(rq); /* to ask is not to use */
    HANDLERS[rq->cmd->tag](rq);
}

bool command_run(struct request *rq, const struct store_lookup *lookup, struct verifying *at) {
    struct store *store = rq->session->rl->relay->o.store;
    const struct command_row *row = command_row(rq->cmd->tag);
    struct queue_view view = {0};
    enum err e = lookup == NULL ? OK : lookup->ret_err;
    if (lookup != NULL && e == OK) e = store_queue_view(store, lookup->ret_queue, &view);
    if (e != OK && e != E_AUTH) {
        answer_err(rq, e);
        return true;
    }
    const struct queue_view *v = lookup != NULL && e == OK ? &view : NULL;
    rq->queue = v != NULL ? lookup->ret_queue : NULL;
    rq->view = v;
    const enum authz_verdict verdict = verify(rq, row, v, at);
    if (verdict == AUTHZ_YES) {
        run(rq, row, v);
    } else if (verdict == AUTHZ_NO) {
        count_unauthorized(rq);
        answer_err(rq, E_AUTH);
    }
    rq->view = NULL;
    queue_view_done(&view);
    return verdict != AUTHZ_MORE;
}
