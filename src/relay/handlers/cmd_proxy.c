/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_proxy.c -- the client's end of private message routing: PRXY and PFWD (spec: behaviour,
 * "Proxy").
 *
 * These two are the only commands whose answers come when they come: what they wait for is another
 * server, and nothing else of the session waits for that. Of one session only proxy_concurrency are
 * given to the proxy at once. Further ones are copied and wait here, and when PROXY_WAITING_MAX of
 * them do, the session is not read until there are fewer. */
#include <stdlib.h>

#include "proxy/proxy.h"
#include "relay/session/later.h"
#include "relay/session/request.h"
#include "relay/session/rules.h"

struct proxied {
    struct proxy_op op;
    struct relay *relay;   /* borrowed */
    bool is_forward;       /* PFWD; else PRXY */
    struct subscriber who; /* its session, which may be gone when the answer comes */
    struct list waiting;   /* in session.proxied_waiting */
    struct bytes corr_id, entity, command; /* view text; command only while waiting */
    uint8_t text[];
};

static void proxied_free(struct proxied *p) {
    proxy_op_done(&p->op);
    free(p);
}

/* ---- counting ---- */

enum outcome { P_SUCCESSES, P_ERRORS_CONNECT, P_ERRORS_COMPAT, P_ERRORS_OTHER, N_OUTCOMES };

/* Of all relays, and of own ones. */
struct proxy_stats {
    enum stat_id requests[2], outcome[2][N_OUTCOMES];
};

static const struct proxy_stats CONNECT_STATS = {
    {STAT_P_RELAYS_REQUESTS, STAT_P_RELAYS_OWN_REQUESTS},
    {{STAT_P_RELAYS_SUCCESSES, STAT_P_RELAYS_ERRORS_CONNECT, STAT_P_RELAYS_ERRORS_COMPAT,
      STAT_P_RELAYS_ERRORS_OTHER},
     {STAT_P_RELAYS_OWN_SUCCESSES, STAT_P_RELAYS_OWN_ERRORS_CONNECT,
      STAT_P_RELAYS_OWN_ERRORS_COMPAT, STAT_P_RELAYS_OWN_ERRORS_OTHER}},
};
static const struct proxy_stats FORWARD_STATS = {
    {STAT_P_MSG_FWDS_REQUESTS, STAT_P_MSG_FWDS_OWN_REQUESTS},
    {{STAT_P_MSG_FWDS_SUCCESSES, STAT_P_MSG_FWDS_ERRORS_CONNECT, STAT_P_MSG_FWDS_ERRORS_COMPAT,
      STAT_P_MSG_FWDS_ERRORS_OTHER},
     {STAT_P_MSG_FWDS_OWN_SUCCESSES, STAT_P_MSG_FWDS_OWN_ERRORS_CONNECT,
      STAT_P_MSG_FWDS_OWN_ERRORS_COMPAT, STAT_P_MSG_FWDS_OWN_ERRORS_OTHER}},
};

static enum outcome connect_outcome(struct smp_failure f) {
    switch (f.error) {
    case FAILURE_NONE:
        return P_SUCCESSES;
    case FAILURE_NETWORK:
    case FAILURE_TIMEOUT:
    case FAILURE_INTERNAL:
        return P_ERRORS_CONNECT;
    case FAILURE_TRANSPORT:
        return f.transport == TRANSPORT_VERSION || f.transport == TRANSPORT_NO_AUTH
                   ? P_ERRORS_COMPAT
                   : P_ERRORS_OTHER;
    default:
        return P_ERRORS_OTHER;
    }
}

/* What the other relay answers is a success of forwarding, whatever it says. */
static enum outcome forward_outcome(struct smp_failure f) {
    if (f.error == FAILURE_NONE || f.error == FAILURE_PROTOCOL) return P_SUCCESSES;
    return f.error == FAILURE_NO_SESSION ? P_ERRORS_CONNECT : P_ERRORS_OTHER;
}

static void count(const struct relay_loop *rl, bool is_forward, bool is_own, struct smp_failure f) {
    const struct proxy_stats *to = is_forward ? &FORWARD_STATS : &CONNECT_STATS;
    const enum outcome outcome = is_forward ? forward_outcome(f) : connect_outcome(f);
    for (unsigned own = 0; own <= (is_own ? 1 : 0); own++) {
        stats_add(rl->stats, to->requests[own], 1);
        stats_add(rl->stats, to->outcome[own][outcome], 1);
    }
}

/* ---- answers ---- */

static void answer(struct session *s, const struct proxied *p) {
    const struct request rq = {
        .session = s,
        .params = &s->params,
        .to = {.corr_id = p->corr_id, .entity = p->entity},
    };
    struct wr w = answer_begin(&rq);
    if (p->op.failure.error != FAILURE_NONE) {
        reply_proxy_err(&w, rq.params, &rq.to, &p->op.failure);
    } else if (p->op.pkey.session_id.n != 0) {
        reply_pkey(&w, rq.params, &rq.to, &p->op.pkey);
    } else {
        reply_pres(&w, rq.params, &rq.to, p->op.response);
    }
    const struct answer text = answer_text(&w, 0);
    answer_deliver(&rq, &text);
}

static void start_waiting(struct session *s);

static void on_done(struct proxy_op *op) {
    struct proxied *p = CONTAINER_OF(op, struct proxied, op);
    struct relay_loop *rl = &p->relay->loops[p->who.loop];
    struct session *s = session_find(rl, p->who);
    count(rl, p->is_forward, p->op.is_own, p->op.failure);
    if (s != NULL) {
        answer(s, p);
        s->n_proxied--;
        start_waiting(s);
        session_adjust_reading(s);
    }
    proxied_free(p);
}

static void on_drop(struct proxy_op *op) {
    proxied_free(CONTAINER_OF(op, struct proxied, op));
}

/* ---- beginning ---- */

/* NULL when out of memory. */
static struct proxy_asker *asker_of(struct session *s) {
    struct admission *a = s->rl->relay->o.admission;
    if (s->asker == NULL && proxy_asker_new(a, conn_peer(s->conn), &s->asker) != OK) return NULL;
    return proxy_asker_ref(s->asker);
}

/* Copies what the answer needs, and the command when it has to wait. */
static struct proxied *proxied_new(const struct request *rq, bool keep_command) {
    const struct bytes command = keep_command ? rq->t->command : (struct bytes){0};
    const size_t n = rq->to.corr_id.n + rq->to.entity.n + command.n;
    struct proxied *p = calloc(1, sizeof *p + n);
    if (p == NULL) return NULL;
    p->op.asker = asker_of(rq->session);
    if (p->op.asker == NULL) {
        free(p);
        return NULL;
    }
    p->op.done = on_done;
    p->op.drop = on_drop;
    p->relay = rq->session->rl->relay;
    p->who = rq->session->self;
    list_init(&p->waiting);
    struct wr w = wr_init(p->text, n);
    wr_bytes_raw(&w, rq->to.corr_id);
    wr_bytes_raw(&w, rq->to.entity);
    wr_bytes_raw(&w, command);
    p->corr_id = bytes_of(p->text, rq->to.corr_id.n);
    p->entity = bytes_of(p->text + p->corr_id.n, rq->to.entity.n);
    p->command = bytes_of(p->text + p->corr_id.n + p->entity.n, command.n);
    return p;
}

/* c views the block, or p. p may be gone when this returns. */
static void start(struct session *s, struct proxied *p, const struct command *c) {
    struct proxy *proxy = p->relay->o.proxy;
    p->is_forward = c->tag == CMD_PFWD;
    s->n_proxied++;
    if (c->tag == CMD_PRXY) {
        const struct relay_name name = {c->prxy.hosts, c->prxy.port, c->prxy.identity};
        proxy_connect(proxy, s->rl->loop, &name, &p->op);
    } else {
        const struct forward f = {p->corr_id, c->pfwd.version, c->pfwd.key, c->pfwd.body};
        proxy_forward(proxy, s->rl->loop, p->entity, &f, &p->op);
    }
}

static void start_kept(struct session *s, struct proxied *p) {
    const struct transmission t = {.corr_id = p->corr_id,
                                   .entity = p->entity,
                                   .command = p->command};
    struct command c;
    if (command_parse(&t, s->params.version, &c) == OK) { /* it could be parsed before */
        start(s, p, &c);
    } else {
        proxied_free(p);
    }
}

static bool has_room(const struct session *s) {
    return s->n_proxied < s->rl->relay->o.settings.proxy_concurrency;
}

/* One that is answered at once comes back here from inside start(). */
static void start_waiting(struct session *s) {
    if (s->is_starting_proxied) return;
    s->is_starting_proxied = true;
    for (struct list *n; has_room(s) && (n = list_first(&s->proxied_waiting)) != NULL;) {
        list_remove(n);
        s->n_proxied_waiting--;
        start_kept(s, CONTAINER_OF(n, struct proxied, waiting));
    }
    s->is_starting_proxied = false;
}

/* What is kept of a command that waits, besides its text, is small; a block brings 255 at most. */
static struct answer start_or_wait(const struct request *rq) {
    struct session *s = rq->session;
    const bool at_once = has_room(s) && s->n_proxied_waiting == 0;
    struct proxied *p = proxied_new(rq, !at_once);
    if (p == NULL) return answer_err(E_INTERNAL);
    if (at_once) {
        start(s, p, rq->cmd);
    } else {
        list_push_back(&s->proxied_waiting, &p->waiting);
        s->n_proxied_waiting++;
    }
    return answer_later();
}

static struct answer refuse(const struct request *rq, enum smp_failure_kind error) {
    const struct smp_failure f = {.error = error};
    struct wr w = answer_begin(rq);
    reply_proxy_err(&w, &rq->session->params, &rq->to, &f);
    return answer_text(&w, 0);
}

struct answer cmd_prxy(struct request *rq) {
    const struct relay_loop *rl = rq->session->rl;
    const struct command *c = rq->cmd;
    if (rl->relay->o.proxy != NULL &&
        rules_fit_password(rl->rules, c->prxy.has_basic_auth, c->prxy.basic_auth)) {
        return start_or_wait(rq);
    }
    return refuse(rq, FAILURE_BASIC_AUTH);
}

struct answer cmd_pfwd(struct request *rq) {
    if (rq->session->rl->relay->o.proxy != NULL) return start_or_wait(rq);
    count(rq->session->rl, true, false, (struct smp_failure){.error = FAILURE_NO_SESSION});
    return refuse(rq, FAILURE_NO_SESSION);
}

void proxied_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    proxy_asker_leave(s->asker);
    s->asker = NULL;
    for (struct list *n; (n = list_first(&s->proxied_waiting)) != NULL;) {
        list_remove(n);
        proxied_free(CONTAINER_OF(n, struct proxied, waiting));
    }
}
