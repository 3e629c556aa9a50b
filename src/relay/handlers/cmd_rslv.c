/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* cmd_rslv.c -- names: RSLV, directly or inside RFWD (spec: names).
 *
 * The answer comes when the resolver's has: it may be behind those of later commands. Of one
 * session only resolver_concurrency names are asked for at once. More of them wait here, and as
 * long as some do, the session is not read. */
#include <stdlib.h>

#include "names/resolver.h"
#include "relay/session/later.h"
#include "relay/session/request.h"

struct asked {
    struct resolver_request rq;
    struct relay *relay;        /* borrowed */
    struct subscriber who;      /* its session, which may be gone when the answer comes */
    struct forwarded *fwd;      /* owned; NULL: it came directly */
    struct list waiting;        /* in session.names_waiting */
    struct bytes corr_id, name; /* view text */
    uint8_t text[];
};

static void asked_free(struct asked *a) {
    forwarded_free(a->fwd);
    free(a);
}

/* ---- answers ---- */

static enum stat_id stat_of(enum name_error e) {
    switch (e) {
    case NAME_OK:
        return STAT_RSLV_SUCC;
    case NAME_NOT_FOUND:
        return STAT_RSLV_NOT_FOUND;
    default:
        return STAT_RSLV_RESOLVER_ERRS;
    }
}

/* False: the record does not fit where the answer goes. */
static bool write_record(const struct request *rq, struct bytes record, struct wr *w) {
    reply_rname(w, rq->params, &rq->to, record);
    return wr_err(w) == OK && answer_fits(rq, wr_bytes(w).n);
}

static void answer(struct session *s, const struct asked *a) {
    struct request rq = {
        .session = s,
        .params = a->fwd != NULL ? &forwarded_command(a->fwd)->params : &s->params,
        .fwd = a->fwd,
        .to = {.corr_id = a->corr_id},
    };
    struct name_failure f = a->rq.failure;
    struct wr w = answer_begin(&rq);
    if (f.error == NAME_OK && !write_record(&rq, a->rq.record, &w)) f.error = NAME_TOO_LARGE;
    session_count(s, stat_of(f.error));
    if (f.error != NAME_OK) {
        w = answer_begin(&rq);
        reply_name_err(&w, rq.params, &rq.to, &f);
    }
    const struct answer text = answer_text(&w, 0);
    answer_deliver(&rq, &text);
}

static void start_waiting(struct session *s);

static void on_done(struct resolver_request *rq) {
    struct asked *a = CONTAINER_OF(rq, struct asked, rq);
    struct relay_loop *rl = &a->relay->loops[a->who.loop];
    struct session *s = session_find(rl, a->who);
    if (s != NULL) {
        answer(s, a);
        s->n_names--;
        start_waiting(s);
        session_adjust_reading(s);
    } else {
        stats_add(rl->stats, stat_of(rq->failure.error), 1);
    }
    asked_free(a);
}

static void on_drop(struct resolver_request *rq) {
    asked_free(CONTAINER_OF(rq, struct asked, rq));
}

/* ---- asking ---- */

/* Takes what was forwarded out of the request. */
static struct asked *asked_new(struct request *rq) {
    const struct bytes name = rq->cmd->rslv.name;
    struct asked *a = calloc(1, sizeof *a + rq->to.corr_id.n + name.n);
    if (a == NULL) return NULL;
    struct wr w = wr_init(a->text, rq->to.corr_id.n + name.n);
    wr_bytes_raw(&w, rq->to.corr_id);
    wr_bytes_raw(&w, name);
    a->corr_id = bytes_of(a->text, rq->to.corr_id.n);
    a->name = bytes_of(a->text + a->corr_id.n, name.n);
    a->rq.done = on_done;
    a->rq.drop = on_drop;
    a->relay = rq->session->rl->relay;
    a->who = rq->session->self;
    list_init(&a->waiting);
    a->fwd = STEAL(rq->fwd);
    return a;
}

/* a may be gone when this returns. */
static void start(struct session *s, struct asked *a) {
    a->rq.n_others = s->n_names++;
    resolver_ask(a->relay->o.resolver, s->rl->loop, a->name, &a->rq);
}

static bool has_room(const struct session *s) {
    return s->n_names < s->rl->relay->o.settings.resolver_concurrency;
}

/* One that is answered at once comes back here from inside start(). */
static void start_waiting(struct session *s) {
    if (s->is_starting_names) return;
    s->is_starting_names = true;
    for (struct list *n; has_room(s) && (n = list_first(&s->names_waiting)) != NULL;) {
        list_remove(n);
        start(s, CONTAINER_OF(n, struct asked, waiting));
    }
    s->is_starting_names = false;
}

struct answer cmd_rslv(struct request *rq) {
    struct session *s = rq->session;
    session_count(s, STAT_RSLV_REQS);
    if (s->rl->relay->o.resolver == NULL) {
        session_count(s, STAT_RSLV_DISABLED);
        return answer_err(E_NAME_NO_RESOLVER);
    }
    struct asked *a = asked_new(rq);
    if (a == NULL) {
        session_count(s, STAT_RSLV_RESOLVER_ERRS);
        return answer_err(E_INTERNAL);
    }
    list_push_back(&s->names_waiting, &a->waiting);
    start_waiting(s);
    return answer_later();
}

bool names_are_waiting(const struct session *s) {
    return !list_is_empty(&s->names_waiting);
}

void names_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    for (struct list *n; (n = list_first(&s->names_waiting)) != NULL;) {
        list_remove(n);
        asked_free(CONTAINER_OF(n, struct asked, waiting));
    }
}
