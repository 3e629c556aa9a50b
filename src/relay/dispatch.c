/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dispatch.c -- from a block's content to handlers: parse, find the queues (one look-up per block),
 * verify, run in order.
 *
 * A block is a job. The store may find the queues at once or later; both ways lead to job_run().
 * When it is later, the block's content is copied, because the connection's buffer is needed for
 * others, and the session is not read until the job is done.
 *
 * Refusals are in an order that tells a stranger nothing: whether a queue exists shows neither in
 * the answer nor in its time (crypto/authz.h). Source: reference, Server.hs verifyTransmission and
 * verifyQueueTransmission. */
#include <assert.h>
#include <stdlib.h>

#include "crypto/authz.h"
#include "model/limits.h"
#include "relay/relay_priv.h"
#include "wire/forward.h"

struct job_item {
    struct transmission t;
    struct command cmd;
    enum err parse_err;          /* OK: cmd is set */
    size_t lookup;               /* index + 1 into lookups; 0: none */
    struct queue *deliver_after; /* counted; NULL: none */
    bool is_new_sub;
    struct forwarded *fwd; /* owned; an RFWD taken apart: what is inside is run. Or NULL */
};

struct job {
    struct session *session; /* borrowed; its job field points back while the store is asked */
    int64_t begun_us;        /* when its block came */
    struct loop_msg msg;     /* brings it home when the store has answered later */
    struct store_waiter waiter;
    unsigned n;
    size_t n_lookups;
    struct job_item *items;       /* owned, n of them */
    struct store_lookup *lookups; /* owned, room for n */
    uint8_t *content;             /* owned copy, only when the store answers later */
};

void job_free(struct job *j) {
    if (j == NULL) return;
    for (size_t i = 0; i < j->n_lookups; i++) queue_unref(j->lookups[i].ret_queue);
    for (size_t i = 0; j->items != NULL && i < j->n; i++) forwarded_free(j->items[i].fwd);
    free(j->items);
    free(j->lookups);
    free(j->content);
    free(j);
}

/* ---- answers ---- */

struct wr answer_begin(const struct request *rq) {
    return wr_init(rq->session->rl->scratch, sizeof rq->session->rl->scratch);
}

/* Clients that are older than STORE_RETRY take ERR STORE for the end of their message; left without
 * an answer they try again. A proxy does not wait for the others' answers: its connection stays. */
static enum if_lost if_lost(const struct request *rq) {
    const bool silent =
        rq->cmd->tag == CMD_SEND && !version_has(rq->params->version, V_STORE_RETRY);
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
    const struct store *store = rq->session->rl->relay->o.store;
    return lsn > store_durable_lsn(store) || store_is_lost(store, lsn);
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

/* v is NULL when there is no such queue: then every path goes through the dummy verification. */
static bool verify(const struct request *rq, const struct command_row *row,
                   const struct queue_view *v) {
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
        return has_queue;
    case NEED_KEY_IN_COMMAND: {
        const struct pubkey key = command_key(rq->cmd);
        const bool tried = row->lookup == LOOKUP_NOTHING || (v != NULL && may_secure(v, &key));
        return authz_verify(&a, &key, tried ? 1 : 0);
    }
    case NEED_KEY_RECIPIENT: {
        size_t n = 0;
        const struct pubkey *keys = v != NULL ? queue_view_rcv_keys(v, &n) : NULL;
        return authz_verify(&a, keys, n);
    }
    case NEED_KEY_SENDER: /* not secured yet: anybody may send, without an authorization */
        if (v != NULL && v->snd_key.type == KEY_NONE && rq->t->auth.n == 0) return true;
        return authz_verify(&a, v != NULL ? &v->snd_key : NULL, v != NULL ? 1 : 0);
    case NEED_KEY_NOTIFIER:
        return authz_verify(&a, has_notifier ? &v->ntf_key : NULL, has_notifier ? 1 : 0);
    case NEED_KEY_SERVICE: /* that signature is all: service_signature_fits() */
        return true;
    }
    return false;
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

/* What is refused inside of RFWD is not counted: the reference does not either. */
static void count_unauthorized(const struct request *rq) {
    const unsigned stat = REFUSED[rq->cmd->tag];
    if (rq->fwd == NULL && stat != STAT_UNCOUNTED) session_count(rq->session, (enum stat_id)stat);
}

static void run_verified(struct request *rq, const struct command_row *row,
                         const struct store_lookup *lookup) {
    struct store *store = rq->session->rl->relay->o.store;
    struct queue_view view = {0};
    enum err e = lookup == NULL ? OK : lookup->ret_err;
    if (lookup != NULL && e == OK) e = store_queue_view(store, lookup->ret_queue, &view);
    if (e != OK && e != E_AUTH) {
        answer_err(rq, e);
        return;
    }
    const struct queue_view *v = lookup != NULL && e == OK ? &view : NULL;
    rq->queue = v != NULL ? lookup->ret_queue : NULL;
    rq->view = v;
    if (!verify(rq, row, v)) {
        count_unauthorized(rq);
        answer_err(rq, E_AUTH);
    } else if (v != NULL && v->block != NULL && row->blocked == BLOCKED_ANSWERS) {
        answer_blocked(rq);
    } else {
        if (v != NULL && row->party != PARTY_NOTIFIER) touch(rq); /* to ask is not to use */
        HANDLERS[rq->cmd->tag](rq);
    }
    rq->view = NULL;
    queue_view_done(&view);
}

/* The command that is run for an item. */
static const struct command *item_command(const struct job_item *item) {
    return item->fwd != NULL ? &forwarded_command(item->fwd)->cmd : &item->cmd;
}

static void run_item(const struct job *j, struct job_item *item) {
    const struct forwarded_command *in = item->fwd != NULL ? forwarded_command(item->fwd) : NULL;
    const struct transmission *t = in != NULL ? &in->t : &item->t;
    const struct command *cmd = item_command(item);
    struct request rq = {
        .session = j->session,
        .params = in != NULL ? &in->params : &j->session->params,
        .fwd = item->fwd,
        .t = t,
        .cmd = cmd,
        .to = {.corr_id = t->corr_id, .entity = t->entity},
        .batch_len = j->n,
    };
    const enum err parse_err = in != NULL ? in->parse_err : item->parse_err;
    const struct command_row *row = command_row(cmd->tag);
    if (parse_err != OK) {
        answer_err(&rq, parse_err);
    } else if (!service_may_send(j->session, command_row(item->cmd.tag))) {
        answer_err(&rq, E_CMD_PROHIBITED);
    } else if (in != NULL ? t->has_service_sig : !service_signature_fits(&rq, row)) {
        answer_err(&rq, E_SERVICE);
    } else {
        run_verified(&rq, row, item->lookup != 0 ? &j->lookups[item->lookup - 1] : NULL);
    }
    item->fwd = rq.fwd; /* unless it was taken */
    item->deliver_after = rq.deliver_after;
    item->is_new_sub = rq.is_new_sub;
}

/* With few answers the messages may share their block; else they follow all the answers (behaviour,
 * "Messages"). */
enum { FEW_ANSWERS = 4 };

/* To the last answer in the outbox; those of PRXY and PFWD come when they come. */
static void observe_latency(const struct job *j) {
    const struct relay_loop *rl = j->session->rl;
    if (rl->stats == NULL) return;
    const int64_t us = loop_now_us(rl->loop) - j->begun_us;
    stats_observe(rl->stats, HISTOGRAM_COMMAND_US, us > 0 ? (uint64_t)us : 0);
}

static void job_run(struct job *j) {
    const bool are_few = j->n <= FEW_ANSWERS;
    outbox_begin(&j->session->outbox);
    for (unsigned i = 0; i < j->n; i++) run_item(j, &j->items[i]);
    for (unsigned i = 0; i < j->n; i++) {
        struct queue *q = j->items[i].deliver_after;
        if (q != NULL && sub_deliver_queue(j->session, q, are_few ? OUT_IN_ORDER : OUT_AFTER) &&
            j->items[i].is_new_sub) {
            session_count(j->session, STAT_Q_SUB);
        }
        queue_unref(q);
    }
    outbox_end(&j->session->outbox, are_few);
    observe_latency(j);
}

/* ---- batches ---- */

/* A block with several commands of recipients, or of notifiers, and none of others, is counted by
 * its first (reference: Server.hs, receive, updateBatchStats). */
static void count_batch(const struct job *j) {
    const struct command *first = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < j->n; i++) {
        const struct job_item *item = &j->items[i];
        if (item->parse_err != OK) continue;
        if (first == NULL) first = &item->cmd;
        if (command_row(item->cmd.tag)->party != command_row(first->tag)->party) return;
        n++;
    }
    if (n < 2) return;
    if (first->tag == CMD_SUB) session_count(j->session, STAT_Q_SUB_ALL_B);
    if (first->tag == CMD_DEL) session_count(j->session, STAT_Q_DELETED_ALL_B);
    if (first->tag == CMD_NDEL) session_count(j->session, STAT_NTF_DELETED_B);
    if (first->tag == CMD_NSUB) session_count(j->session, STAT_NTF_SUB_B);
}

/* ---- parsing and loading ---- */

static const enum queue_id_kind LOOKUP_KINDS[] = {
    [LOOKUP_RECIPIENT] = ID_RECIPIENT,
    [LOOKUP_SENDER] = ID_SENDER,
    [LOOKUP_LINK] = ID_LINK,
    [LOOKUP_NOTIFIER] = ID_NOTIFIER,
};

/* An entity that is no id of ours belongs to no queue: it is looked up as one that nobody can have
 * been given. */
static void add_lookup(struct job *j, struct job_item *item) {
    const struct forwarded_command *in = item->fwd != NULL ? forwarded_command(item->fwd) : NULL;
    const struct command_row *row = command_row(item_command(item)->tag);
    const enum err parse_err = in != NULL ? in->parse_err : item->parse_err;
    if (parse_err != OK || row->lookup == LOOKUP_NOTHING) return;
    struct store_lookup *l = &j->lookups[j->n_lookups++];
    *l = (struct store_lookup){.kind = LOOKUP_KINDS[row->lookup]};
    (void)id_from_bytes(in != NULL ? in->t.entity : item->t.entity, &l->id);
    item->lookup = j->n_lookups;
}

static void parse_item(const struct job *j, struct bytes t, struct job_item *ret) {
    const struct wire_params *p = &j->session->params;
    ret->parse_err = transmission_parse(t, p, &ret->t);
    if (ret->parse_err == OK) ret->parse_err = command_parse(&ret->t, p->version, &ret->cmd);
    /* Not again when it is parsed from the copy: what is inside has its own memory. */
    if (ret->parse_err == OK && ret->cmd.tag == CMD_RFWD && ret->fwd == NULL)
        ret->parse_err = forwarded_open(j->session, &ret->t, ret->cmd.rfwd.body, &ret->fwd);
}

static enum err job_new(struct session *s, unsigned n, struct job **ret) {
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) return E_NO_MEMORY;
    j->session = s;
    j->n = n;
    j->items = calloc(n, sizeof *j->items);
    j->lookups = calloc(n, sizeof *j->lookups);
    if (j->items == NULL || j->lookups == NULL) {
        job_free(j);
        return E_NO_MEMORY;
    }
    *ret = j;
    return OK;
}

/* On the session's loop. */
static void job_resume(struct loop_msg *msg) {
    struct job *j = CONTAINER_OF(msg, struct job, msg);
    struct session *s = j->session;
    ASSERT_ON_LOOP(s->rl->loop);
    assert(s->job == j);
    s->job = NULL;
    if (s->conn == NULL) {
        session_free(s); /* closed in the meantime */
    } else {
        job_run(j);
        session_adjust_reading(s);
    }
    job_free(j);
}

/* On any thread. */
static void job_ready(struct store_waiter *w) {
    struct job *j = CONTAINER_OF(w, struct job, waiter);
    loop_post(j->session->rl->loop, &j->msg);
}

/* The views of the items point into the connection's buffer: parse again from a copy of our own. */
static enum err keep_content(struct job *j, struct bytes content) {
    j->content = malloc(content.n);
    if (j->content == NULL) return E_NO_MEMORY;
    memcpy(j->content, content.p, content.n);
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    if (batch_split(bytes_of(j->content, content.n), parts, &n) != OK || n != j->n)
        return E_INTERNAL;
    for (unsigned i = 0; i < n; i++) parse_item(j, parts[i], &j->items[i]);
    return OK;
}

enum err dispatch_block(struct session *s, struct bytes content, int64_t now_us) {
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    if (batch_split(content, parts, &n) != OK) {
        dispatch_bad_block(s);
        return OK;
    }
    struct job *j;
    enum err e = job_new(s, n, &j);
    if (e != OK) return e;
    for (unsigned i = 0; i < n; i++) {
        parse_item(j, parts[i], &j->items[i]);
        add_lookup(j, &j->items[i]);
    }
    j->begun_us = now_us;
    count_batch(j);
    j->msg.run = job_resume;
    j->waiter.ready = job_ready;
    if (store_load(s->rl->relay->o.store, j->lookups, j->n_lookups, &j->waiter)) {
        job_run(j);
        job_free(j);
        return OK;
    }
    s->job = j; /* in time: the mailbox is emptied between two turns */
    return keep_content(j, content);
}
