/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_queue.c -- commands on one queue: status, block, unblock, delete. A bare id is looked for
 * as a sender id, then as a link id. */
#include <inttypes.h>
#include <stdio.h>

#include "admin/block_reason.h"
#include "admin/control_priv.h"
#include "base/attr.h"
#include "base/day.h"
#include "base/lock.h"
#include "base/log.h"
#include "relay/operations/moderate.h"

/* A queue that was found. */
struct target {
    enum queue_id_kind kind;
    const struct id *id;
    struct relay_queue_state state;
};

/* False: it was answered why not. */
static bool find(struct control_session *s, const struct control_command *c, struct target *ret) {
    const struct queue_name *q = &c->queue;
    struct relay *r = s->cp->o.relay;
    const struct bytes own = bytes_of(s->cp->identity, sizeof s->cp->identity);
    enum err e = c->queue_err;
    ret->id = &q->id;
    ret->kind = q->is_link ? ID_LINK : ID_SENDER;
    if (e == OK && q->has_server && !bytes_equal(bytes_of(q->server, sizeof q->server), own)) {
        say_error(s, "the link is of another server");
        return false;
    }
    if (e == OK) e = relay_queue_state(r, ret->kind, ret->id, &ret->state);
    if (e == E_AUTH && c->queue_err == OK && !q->is_link) {
        ret->kind = ID_LINK;
        e = relay_queue_state(r, ret->kind, ret->id, &ret->state);
    }
    if (e != OK) say_failure(s, e);
    return e == OK;
}

/* ---- how the reference shows things ---- */

static void show_reason(const struct block_info *b, struct wr *w) {
    block_reason_show(b != NULL ? bytes_of(b->text, b->n) : bytes_str(""), w);
}

static void show_blocked(const struct block_info *b, struct wr *w) {
    wr_str(w, "EntityBlocked (");
    show_reason(b, w);
    wr_str(w, ")");
}

static void show_status(const struct relay_queue_state *q, struct wr *w) {
    switch (q->status) {
    case STATUS_ACTIVE:
        wr_str(w, "EntityActive");
        break;
    case STATUS_OFF:
        wr_str(w, "EntityOff");
        break;
    case STATUS_BLOCKED:
        show_blocked(q->block, w);
        break;
    }
}

static void show_updated(int32_t day, struct wr *w) {
    char text[80];
    (void)snprintf(text, sizeof text, "Just (RoundedSystemTime {roundedSeconds = %" PRId64 "})",
                   (int64_t)day * DAY_S);
    wr_str(w, day != 0 ? text : "Nothing");
}

static const char *mode_shown(enum queue_mode m) {
    switch (m) {
    case MODE_MESSAGING:
        return "Just QMMessaging";
    case MODE_CONTACT:
        return "Just QMContact";
    case MODE_UNKNOWN:
        break;
    }
    return "Nothing";
}

/* ---- the commands ---- */

void run_status(struct control_session *s, const struct control_command *c) {
    struct target t;
    if (!find(s, c, &t)) return;
    struct wr w = say_begin(s);
    wr_str(&w, "status: ");
    show_status(&t.state, &w);
    wr_str(&w, ", updatedAt: ");
    show_updated(t.state.updated_day, &w);
    wr_str(&w, ", queueMode: ");
    wr_str(&w, mode_shown(t.state.mode));
    wr_str(&w, "\n");
    say_end(s, &w);
    relay_queue_state_done(&t.state);
}

/* False: answered that the day's quota is used up. */
static bool may_block(struct control_session *s) {
    struct control_port *cp = s->cp;
    char text[96];
    lock_take(&cp->mtx);
    const int64_t quota = cp->settings.daily_block_quota;
    lock_give(&cp->mtx);
    control_report(cp);
    const int64_t n = (int64_t)cp->report.counter[STAT_Q_BLOCKED];
    if (quota == 0 || n < quota) return true;
    (void)snprintf(text, sizeof text, "reached limit of %" PRId64 " queues blocked daily", quota);
    say_error(s, text);
    return false;
}

static bool has_reason(const struct relay_queue_state *q, struct bytes reason) {
    return q->status == STATUS_BLOCKED && q->block != NULL &&
           bytes_equal(bytes_of(q->block->text, q->block->n), reason);
}

static enum err block(struct control_session *s, const struct target *t, struct block_info *info,
                      lsn_t *ret_lsn) {
    struct control_port *cp = s->cp;
    if (has_reason(&t->state, bytes_of(info->text, info->n))) return OK;
    const enum err e = relay_block_queue(cp->o.relay, t->kind, t->id, info, ret_lsn);
    if (e == OK && t->state.status == STATUS_ACTIVE) stats_add(cp->o.sheet, STAT_Q_BLOCKED, 1);
    return e;
}

void run_block(struct control_session *s, const struct control_command *c) {
    struct target t;
    struct block_info *info = NULL;
    lsn_t lsn = 0;
    if (!may_block(s) || !find(s, c, &t)) return;
    enum err e = block_info_new(bytes_of(c->reason, c->n_reason), &info);
    if (e == OK) e = block(s, &t, info, &lsn);
    if (e == OK) {
        struct wr w = say_begin(s);
        wr_str(&w,
               t.state.status == STATUS_ACTIVE ? "ok, queue blocked: " : "ok, already inactive: ");
        show_blocked(info, &w);
        wr_str(&w, "\n");
        say_when_durable(s, lsn, &w);
    } else {
        say_failure(s, e);
    }
    block_info_unref(info);
    relay_queue_state_done(&t.state);
}

static void unblock(struct control_session *s, const struct target *t) {
    lsn_t lsn = 0;
    const enum err e = relay_unblock_queue(s->cp->o.relay, t->kind, t->id, &lsn);
    if (e != OK) {
        say_failure(s, e);
        return;
    }
    struct wr w = say_begin(s);
    wr_str(&w, "ok, queue unblocked, reason to block was: ");
    show_reason(t->state.block, &w);
    wr_str(&w, "\n");
    say_when_durable(s, lsn, &w);
}

void run_unblock(struct control_session *s, const struct control_command *c) {
    struct target t;
    if (!find(s, c, &t)) return;
    switch (t.state.status) {
    case STATUS_BLOCKED:
        unblock(s, &t);
        break;
    case STATUS_ACTIVE:
        say(s, "ok, queue was active\n");
        break;
    case STATUS_OFF:
        say(s, "error, queue is inactive\n");
        break;
    }
    relay_queue_state_done(&t.state);
}

static void count_deleted(struct stats_sheet *sheet, bool was_secured) {
    stats_add(sheet, STAT_Q_DELETED_ALL, 1);
    stats_add(sheet, was_secured ? STAT_Q_DELETED_SECURED : STAT_Q_DELETED_NEW, 1);
}

void run_delete(struct control_session *s, const struct control_command *c) {
    struct control_port *cp = s->cp;
    struct target t;
    unsigned n = 0;
    lsn_t lsn = 0;
    char text[64];
    if (!find(s, c, &t)) return;
    const enum err e = relay_delete_queue(cp->o.relay, t.kind, t.id, &n, &lsn);
    if (e == OK) {
        count_deleted(cp->o.sheet, t.state.is_secured);
        struct wr w = say_begin(s);
        (void)snprintf(text, sizeof text, "ok, %u messages deleted\n", n);
        wr_str(&w, text);
        say_when_durable(s, lsn, &w);
    } else {
        say_failure(s, e);
    }
    relay_queue_state_done(&t.state);
}
