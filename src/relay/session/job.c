/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Parse, find the queues (one look-up per block), run in order, deliver what follows. Each stage
 * can stop: what of a block costs time is measured by the clock, after each command. */
#include "relay/session/job.h"

#include <assert.h>
#include <stdlib.h>

#include "model/limits.h"
#include "relay/session/service.h"
#include "relay/session/slowed.h"
#include "relay/session/subscription.h"
#include "store/records.h"
#include "wire/forward.h"

struct job_item {
    struct transmission t;
    struct command cmd;
    enum err parse_err; /* OK: cmd is set */
    size_t lookup;      /* index + 1 into lookups: its first; 0: none */
    size_t n_lookups;
    struct queue *deliver_after; /* counted; NULL: none */
    bool is_new_sub;
    struct forwarded *fwd; /* owned; an RFWD taken apart: what is inside is run. Or NULL */
};

enum job_stage { JOB_PARSING, JOB_PARSED, JOB_LOADING, JOB_LOADED, JOB_RUNNING, JOB_DELIVERING };

struct job {
    struct list in_session;  /* session.jobs */
    struct session *session; /* borrowed; it stays as long as a job is JOB_LOADING */
    enum job_stage stage;
    bool is_early;       /* its queues were looked for before the job in front had run */
    int64_t begun_us;    /* when its block came */
    struct loop_msg msg; /* brings it home when the store has answered later */
    struct store_waiter waiter;
    unsigned n, next;    /* items, and of the stage the next one */
    struct verifying at; /* of the next one */
    size_t n_lookups, room_lookups;
    struct job_item *items;       /* owned, n of them */
    struct store_lookup *lookups; /* owned, room for room_lookups */
    struct bytes content;         /* views the connection's buffer, or: */
    uint8_t *copy;                /* owned; NULL: none */
};

static struct job *job_of(struct list *in_session) {
    return CONTAINER_OF(in_session, struct job, in_session);
}

/* ---- making and freeing ---- */

static void forget_lookups(struct job *j) {
    for (size_t i = 0; i < j->n_lookups; i++) store_lookup_done(&j->lookups[i]);
}

static void job_free(struct job *j) {
    if (!list_is_empty(&j->in_session)) j->session->n_jobs--;
    list_remove(&j->in_session);
    if (j->copy != NULL) j->session->jobs_bytes -= j->content.n;
    forget_lookups(j);
    for (unsigned i = 0; j->items != NULL && i < j->n; i++) {
        forwarded_free(j->items[i].fwd);
        queue_unref(j->items[i].deliver_after);
    }
    verifying_done(&j->at);
    free(j->items);
    free(j->lookups);
    free(j->copy);
    free(j);
}

static enum err job_new(struct session *s, unsigned n, struct job **ret) {
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) return E_NO_MEMORY;
    list_init(&j->in_session);
    j->session = s;
    j->n = n;
    j->room_lookups = n;
    j->items = calloc(n, sizeof *j->items);
    j->lookups = calloc(n, sizeof *j->lookups);
    if (j->items == NULL || j->lookups == NULL) {
        job_free(j);
        return E_NO_MEMORY;
    }
    *ret = j;
    return OK;
}

static bool share_is_used(const struct job *j) {
    return conn_share_is_used(j->session->conn);
}

/* ---- parsing ---- */

/* The command that is run for an item. */
static const struct command *item_command(const struct job_item *item) {
    return item->fwd != NULL ? &forwarded_command(item->fwd)->cmd : &item->cmd;
}

static const enum queue_id_kind LOOKUP_KINDS[] = {
    [LOOKUP_RECIPIENT] = ID_RECIPIENT,
    [LOOKUP_SENDER] = ID_SENDER,
    [LOOKUP_LINK] = ID_LINK,
    [LOOKUP_NOTIFIER] = ID_NOTIFIER,
};

static enum err need_room(struct job *j) {
    if (j->n_lookups < j->room_lookups) return OK;
    const size_t room = j->room_lookups * 2;
    struct store_lookup *more = realloc(j->lookups, room * sizeof *more);
    if (more == NULL) return E_NO_MEMORY;
    j->lookups = more;
    j->room_lookups = room;
    return OK;
}

/* An entity that is no id of ours belongs to no queue: it is looked up as one that nobody can have
 * been given. */
static enum err add_lookup(struct job *j, struct job_item *item, enum queue_id_kind kind,
                           struct bytes id) {
    const enum err e = need_room(j);
    if (e != OK) return e;
    struct store_lookup *l = &j->lookups[j->n_lookups++];
    l->kind = kind;
    l->want = command_row(item_command(item)->tag)->want;
    l->id = (struct id){0};
    l->ret_queue = NULL;
    (void)id_from_bytes(id, &l->id);
    if (item->n_lookups++ == 0) item->lookup = j->n_lookups;
    return OK;
}

/* The queue of its command, or the ids that a new one would have. */
static enum err add_lookups(struct job *j, struct job_item *item) {
    const struct forwarded_command *in = item->fwd != NULL ? forwarded_command(item->fwd) : NULL;
    const struct command *c = item_command(item);
    const struct command_row *row = command_row(c->tag);
    const struct bytes entity = in != NULL ? in->t.entity : item->t.entity;
    if (row->lookup != LOOKUP_NOTHING)
        return add_lookup(j, item, LOOKUP_KINDS[row->lookup], entity);
    if (row->want != WANT_FREE || !c->new_queue.data.present) return OK;
    const enum err e = add_lookup(j, item, ID_SENDER, c->new_queue.data.snd_id);
    if (e != OK || !c->new_queue.is_contact) return e;
    return add_lookup(j, item, ID_LINK, c->new_queue.data.link_id);
}

static bool is_forwarded(const struct job_item *item) {
    return item->parse_err == OK && item->cmd.tag == CMD_RFWD;
}

static void parse_item(const struct job *j, struct bytes t, struct job_item *ret) {
    const struct wire_params *p = &j->session->params;
    ret->parse_err = transmission_parse(t, p, &ret->t);
    if (ret->parse_err == OK) ret->parse_err = command_parse(&ret->t, p->version, &ret->cmd);
}

/* Taking layers off is all that costs much here. */
static bool parse(struct job *j) {
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    if (batch_split(j->content, parts, &n) != OK) return true; /* it could be before */
    while (j->next < j->n) {
        struct job_item *item = &j->items[j->next];
        parse_item(j, parts[j->next], item);
        const bool is_costly = is_forwarded(item);
        if (is_costly) {
            item->parse_err = forwarded_open(j->session, &item->t, item->cmd.rfwd.body, &item->fwd);
        }
        const struct forwarded_command *in =
            item->fwd != NULL ? forwarded_command(item->fwd) : NULL;
        if (item->parse_err == OK && (in == NULL || in->parse_err == OK))
            item->parse_err = add_lookups(j, item);
        j->next++;
        if (is_costly && j->next < j->n && share_is_used(j)) return false;
    }
    return true;
}

/* The views of the items point into the connection's buffer: parse again from a copy of our own.
 * What was inside layers has its own memory, or its error. */
static enum err keep_content(struct job *j) {
    if (j->copy != NULL) return OK;
    j->copy = malloc(j->content.n);
    if (j->copy == NULL) return E_NO_MEMORY;
    memcpy(j->copy, j->content.p, j->content.n);
    j->content.p = j->copy;
    j->session->jobs_bytes += j->content.n;
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    if (batch_split(j->content, parts, &n) != OK || n != j->n) return E_INTERNAL;
    const unsigned n_parsed = j->stage == JOB_PARSING ? j->next : j->n;
    for (unsigned i = 0; i < n_parsed; i++) {
        struct job_item *item = &j->items[i];
        const enum err before = item->parse_err;
        parse_item(j, parts[i], item);
        item->parse_err = before;
    }
    return OK;
}

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

/* ---- finding the queues ---- */

/* On the session's loop. */
static void job_resume(struct loop_msg *msg) {
    struct job *j = CONTAINER_OF(msg, struct job, msg);
    struct session *s = j->session;
    ASSERT_ON_LOOP(s->rl->loop);
    assert(j->stage == JOB_LOADING);
    j->stage = JOB_LOADED;
    s->n_loading--;
    if (s->conn != NULL) {
        conn_want_run(s->conn);
        return;
    }
    job_free(j); /* closed in the meantime */
    if (s->n_loading == 0) session_free(s);
}

/* On any thread. */
static void job_ready(struct store_waiter *w) {
    struct job *j = CONTAINER_OF(w, struct job, waiter);
    loop_post(j->session->rl->loop, &j->msg);
}

static void load(struct job *j) {
    struct session *s = j->session;
    j->msg.run = job_resume;
    j->waiter.ready = job_ready;
    j->is_early = list_first(&s->jobs) != &j->in_session;
    j->stage = JOB_LOADING; /* in time: the mailbox is emptied between two turns */
    if (store_load(s->rl->relay->o.store, j->lookups, j->n_lookups, &j->waiter)) {
        j->stage = JOB_LOADED;
    } else {
        s->n_loading++;
    }
}

/* Was a queue looked for that a job in front may have made? */
static bool must_look_again(const struct job *j) {
    if (!j->is_early) return false;
    for (size_t i = 0; i < j->n_lookups; i++) {
        if (j->lookups[i].ret_err == E_AUTH) return true;
    }
    return false;
}

static void look_again(struct job *j) {
    forget_lookups(j);
    load(j);
}

/* ---- running ---- */

static bool run_item(struct job *j, struct job_item *item) {
    struct session *s = j->session;
    const struct forwarded_command *in = item->fwd != NULL ? forwarded_command(item->fwd) : NULL;
    const struct transmission *t = in != NULL ? &in->t : &item->t;
    const struct command *cmd = item_command(item);
    struct request rq = {
        .session = s,
        .params = in != NULL ? &in->params : &s->params,
        .fwd = item->fwd,
        .t = t,
        .cmd = cmd,
        .to = {.corr_id = t->corr_id, .entity = t->entity},
    };
    const enum err parse_err =
        item->parse_err == OK && in != NULL ? in->parse_err : item->parse_err;
    const struct command_row *row = command_row(cmd->tag);
    const bool is_begun = j->at.steps.next != 0;
    bool done = true;
    if (parse_err != OK) {
        command_refuse(&rq, parse_err);
    } else if (!service_may_send(s, command_row(item->cmd.tag))) {
        command_refuse(&rq, E_CMD_PROHIBITED);
    } else if (!is_begun && (in != NULL ? t->has_service_sig : !service_signature_fits(&rq, row))) {
        command_refuse(&rq, E_SERVICE);
    } else {
        done = command_run(&rq, item->lookup != 0 ? &j->lookups[item->lookup - 1] : NULL,
                           item->n_lookups, &j->at);
    }
    item->fwd = rq.fwd; /* unless it was taken */
    item->deliver_after = rq.deliver_after;
    item->is_new_sub = rq.is_new_sub;
    return done;
}

/* How far a job has come. */
enum progress { P_DONE, P_STOPPED, P_WAITS };

static enum progress run_items(struct job *j) {
    while (j->next < j->n) {
        if (slowed_wait(j->session)) return P_WAITS;
        if (!run_item(j, &j->items[j->next])) return P_STOPPED;
        verifying_done(&j->at);
        j->next++;
        if (j->next < j->n && share_is_used(j)) return P_STOPPED;
    }
    return P_DONE;
}

/* With few answers the messages may share their block; else they follow all the answers (behaviour,
 * "Messages"). */
enum { FEW_ANSWERS = 4 };

static bool are_few(const struct job *j) {
    return j->n <= FEW_ANSWERS;
}

static enum progress deliver(struct job *j) {
    while (j->next < j->n) {
        struct job_item *item = &j->items[j->next];
        struct queue *q = item->deliver_after;
        j->next++;
        if (q == NULL) continue;
        if (sub_due(j->session, q, are_few(j) ? DUE_AMONG : DUE_BEHIND) && item->is_new_sub) {
            session_count(j->session, STAT_Q_SUB);
        }
        item->deliver_after = NULL;
        queue_unref(q);
        if (j->next < j->n && share_is_used(j)) return P_STOPPED;
    }
    return P_DONE;
}

/* To the last answer in the outbox; those of PRXY and PFWD come when they come. */
static void observe_latency(const struct job *j) {
    const struct relay_loop *rl = j->session->rl;
    if (rl->stats == NULL) return;
    const int64_t us = loop_now_us(rl->loop) - j->begun_us;
    stats_observe(rl->stats, HISTOGRAM_COMMAND_US, us > 0 ? (uint64_t)us : 0);
}

static void begin_stage(struct job *j, enum job_stage stage) {
    j->stage = stage;
    j->next = 0;
}

/* Before its turn to run. */
static enum progress prepare(struct job *j) {
    if (j->stage == JOB_PARSING) {
        if (!parse(j)) return P_STOPPED;
        count_batch(j);
        j->stage = JOB_PARSED;
    }
    if (j->stage == JOB_PARSED) load(j);
    return j->stage == JOB_LOADING ? P_WAITS : P_DONE;
}

/* The first of its session's. */
static enum progress run(struct job *j) {
    struct session *s = j->session;
    if (j->stage == JOB_LOADED) {
        if (must_look_again(j)) look_again(j);
        if (j->stage == JOB_LOADING) return P_WAITS;
        outbox_begin(&s->outbox);
        begin_stage(j, JOB_RUNNING);
    }
    if (j->stage == JOB_RUNNING) {
        const enum progress p = run_items(j);
        if (p != P_DONE) return p;
        begin_stage(j, JOB_DELIVERING);
    }
    if (deliver(j) == P_STOPPED) return P_STOPPED;
    outbox_end(&s->outbox, are_few(j));
    if (s->conn != NULL) conn_want_write(s->conn); /* they may go now */
    observe_latency(j);
    return P_DONE;
}

/* ---- the jobs of a session ---- */

/* All of them as far as they go now. */
static enum progress go_on(struct session *s) {
    for (struct list *l = s->jobs.next, *next; l != &s->jobs; l = next) {
        struct job *j = job_of(l);
        next = l->next;
        enum progress p = prepare(j);
        const bool is_first = s->jobs.next == l;
        if (p == P_DONE && is_first) p = run(j);
        if (p == P_STOPPED || (p == P_WAITS && j->stage > JOB_LOADED)) return p;
        if (p != P_DONE || !is_first) continue;
        job_free(j);
        if (next != &s->jobs && conn_share_is_used(s->conn)) return P_STOPPED;
    }
    return P_DONE;
}

void jobs_run(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    const enum progress p = go_on(s);
    enum err e = OK;
    for (struct list *l = s->jobs.next; l != &s->jobs && e == OK; l = l->next) {
        e = keep_content(job_of(l));
    }
    if (e != OK) conn_close(s->conn);
    s->has_stopped = p != P_DONE;
    if (p == P_STOPPED) conn_want_run(s->conn);
    session_adjust_reading(s);
}

enum err jobs_take(struct session *s, struct bytes content, int64_t now_us) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    if (batch_split(content, parts, &n) != OK) {
        dispatch_bad_block(s);
        return OK;
    }
    struct job *j;
    const enum err e = job_new(s, n, &j);
    if (e != OK) return e;
    j->content = content;
    j->begun_us = now_us;
    list_push_back(&s->jobs, &j->in_session);
    s->n_jobs++;
    jobs_run(s);
    return OK;
}

bool jobs_are_full(const struct session *s) {
    return s->has_stopped || s->n_jobs >= SESSION_JOBS_MAX ||
           s->jobs_bytes + SMP_BLOCK_LEN > SESSION_JOBS_BYTES_MAX;
}

bool jobs_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    for (struct list *l = s->jobs.next, *next; l != &s->jobs; l = next) {
        next = l->next;
        if (job_of(l)->stage != JOB_LOADING) job_free(job_of(l));
    }
    slowed_done(s);
    return s->n_loading == 0;
}
