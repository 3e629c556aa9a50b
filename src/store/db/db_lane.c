/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_lane.c -- changes on their way into the database: a sink of the commit thread.
 *
 * A group is one transaction. Its first statement sets last_group in the lane's row, if the epoch
 * is still ours, so the row is three things. A fence: who takes over raises the epoch, and from
 * then on no group of ours can be committed. The outcome: when the connection is lost and nobody
 * knows whether the COMMIT came through, the row says which group was the last. And the detector of
 * lost time: when it knows of fewer groups than we were told, the database has gone back.
 *
 * Without a database the thread tries again, and who waits waits. A group that is refused for what
 * is in it is halved until the culprit is alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

enum { STATE_LEN = 6 };

static const struct db_statement LANE_STATEMENTS[] = {
    DB_LANE_STATEMENT,
    /* The row of the cluster is locked meanwhile, so no two draw at once. */
    {"draw", "WITH c AS (UPDATE %s.smpn_cluster SET counters_exact = false RETURNING 1) "
             "SELECT setval('%s.messages_message_id_seq', "
             "nextval('%s.messages_message_id_seq') + $1::int8) FROM c"},
};

/* ---- appending; the mutex of the commit thread is held ---- */

enum err db_lane_append(struct db_lane *l, struct db_change *owned) {
    if (l->n_bytes + owned->n_bytes > DB_PENDING_MAX) return E_STORE;
    owned->next = NULL;
    if (l->tail != NULL) {
        l->tail->next = owned;
    } else {
        l->head = owned;
    }
    l->tail = owned;
    l->n_bytes += owned->n_bytes;
    return OK;
}

uint64_t db_lane_draw(struct db_lane *l) {
    return l->next_id < l->end_id ? l->next_id++ : 0;
}

/* ---- a group is taken; likewise ---- */

/* What is left of the block before is not used: ids follow each other. */
static void use_block(struct db_lane *l, uint64_t last) {
    l->next_id = last - (DB_IDS_BLOCK - 1);
    l->end_id = last + 1;
    l->block_last = last;
}

/* What was drawn takes the place of what is left. */
static void look_for_ids(struct db_lane *l) {
    if (l->end_id - l->next_id < DB_IDS_BLOCK / 2 && l->drawn_last != 0) {
        use_block(l, l->drawn_last);
        l->drawn_last = 0;
    }
    l->wants_ids = l->drawn_last == 0 && l->end_id - l->next_id < DB_IDS_BLOCK / 2 + DB_GROUP_MAX;
}

static lsn_t limit(void *sink, lsn_t upto) {
    const struct db_lane *l = sink;
    size_t n = 0, n_bytes = 0;
    lsn_t last = upto;
    for (const struct db_change *c = l->head; c != NULL && c->lsn <= upto; c = c->next) {
        n_bytes += c->n_bytes;
        if (++n > DB_GROUP_MAX || (n > 1 && n_bytes > DB_GROUP_BYTES_MAX)) return last;
        last = c->lsn;
    }
    return upto;
}

static bool take(void *sink, lsn_t upto) {
    struct db_lane *l = sink;
    look_for_ids(l);
    l->taken = l->taken_tail = NULL;
    while (l->head != NULL && l->head->lsn <= upto) {
        struct db_change *c = l->head;
        l->head = c->next;
        if (l->head == NULL) l->tail = NULL;
        l->n_bytes -= c->n_bytes;
        c->next = NULL;
        if (l->taken == NULL) l->taken = c;
        if (l->taken_tail != NULL) l->taken_tail->next = c;
        l->taken_tail = c;
    }
    return l->taken != NULL;
}

/* All of it: the process can do nothing any more. */
static void drop(void *sink) {
    struct db_lane *l = sink;
    if (l->taken_tail != NULL) {
        l->taken_tail->next = l->head;
    } else {
        l->taken = l->head;
    }
    l->head = l->tail = NULL;
    l->n_bytes = 0;
}

/* ---- the connection; commit thread ---- */

static void disconnect(struct db_lane *l) {
    db_close(STEAL(l->db));
}

/* The two numbers of one row. */
static enum err ask_row(struct db_lane *l, int64_t *ret_epoch, int64_t *ret_group,
                        bool *ret_is_there) {
    PGresult *r = NULL;
    enum err e = db_pipe_send(l->db, "lane", 0, NULL);
    if (e == OK) e = db_pipe_sync(l->db);
    if (e == OK) e = db_pipe_next(l->db, &r);
    if (e == E_STORE) (void)db__fail(l->db, "read the lane", r);
    *ret_is_there = e == OK && PQntuples(r) == 1;
    if (*ret_is_there) {
        *ret_epoch = db_number_of(db_result_value(r, 0, 0));
        *ret_group = db_number_of(db_result_value(r, 0, 1));
    }
    PQclear(r);
    return e == OK ? db_pipe_end(l->db) : e;
}

static enum err connect(struct db_lane *l) {
    struct db_statement all[16];
    unsigned n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(LANE_STATEMENTS); i++) all[n++] = LANE_STATEMENTS[i];
    for (unsigned i = 0; i < N_DB_GROUP_STATEMENTS; i++) all[n++] = DB_GROUP_STATEMENTS[i];
    return db_store_connect_for_clients(l->store, all, n, &l->db, &l->problem);
}

static void lose_lane(struct db_lane *l) {
    db_store_lose(l->store, "database-taken-over", DB_TAKEN_OVER);
}

static bool is_lost(const struct db_lane *l) {
    return atomic_load(&l->store->is_lost);
}

/* A new connection, on which the lane's row says what came of the group that was under way. */
static enum err reconnect(struct db_lane *l, bool *ret_is_done) {
    int64_t epoch = 0, last = 0;
    bool is_there = false;
    *ret_is_done = false;
    enum err e = connect(l);
    if (e == OK) e = db_node_end_backends(l->db);
    if (e == OK) e = ask_row(l, &epoch, &last, &is_there);
    if (e != OK) return e;
    if (!is_there || epoch != l->epoch) {
        lose_lane(l);
        return E_CLOSED;
    }
    *ret_is_done = last == l->last_group + 1;
    return last < l->last_group ? db_replay_run(l, last) : OK;
}

/* ---- trying ---- */

static bool is_abandoned(const struct db_lane *l) {
    return atomic_load_explicit(&l->store->abandon, memory_order_relaxed);
}

static void pause_ms(const struct db_lane *l, unsigned *io_ms) {
    const struct timespec t = {0, (long)(*io_ms % 1000) * 1000000L};
    const struct timespec second = {1, 0};
    if (!is_abandoned(l)) (void)nanosleep(*io_ms < 1000 ? &t : &second, NULL);
    *io_ms = *io_ms * 2 < DB_RETRY_MAX_MS ? *io_ms * 2 : DB_RETRY_MAX_MS;
}

/* Is this the change's own fault? Not the fence, which divides by zero. */
static bool is_of_content(const char state[STATE_LEN]) {
    static const char *const classes[] = {"22", "23", "54"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (strncmp(state, classes[i], 2) == 0) return strcmp(state, "22012") != 0;
    }
    return false;
}

/* Those who wait are told that it takes long, when it does: they ask for their fates again. */
static void wait_for_database(struct db_lane *l, int64_t began_ms, unsigned *io_ms) {
    struct db_store *m = l->store;
    db_outage_note(&l->outage, began_ms, l->problem.text);
    pause_ms(l, io_ms);
    if (db_outage_lasts(&l->outage, m->shared.env, m->o.patience_ms) &&
        m->shared.on_durable != NULL)
        m->shared.on_durable(m->shared.ctx);
}

static void refuse(struct db_lane *l, struct db_change *c, const char state[STATE_LEN]) {
    c->refused = strcmp(state, "23505") == 0 ? E_AUTH : E_STORE; /* 23505: an id is taken */
    log_line(LOG_ERROR, "database-refused", "change=%d state=%s database=\"%s\"", (int)c->kind,
             state, l->store->shown);
}

enum tried { TRIED_DONE, TRIED_AGAIN, TRIED_FENCE, TRIED_CONTENT };

static enum tried try_once(struct db_lane *l, struct db_change **changes, unsigned n,
                           char ret_state[STATE_LEN]) {
    bool is_done = false;
    l->problem.text[0] = '\0';
    if (l->db == NULL && reconnect(l, &is_done) != OK) {
        disconnect(l);
        return TRIED_AGAIN;
    }
    if (is_done) return TRIED_DONE;
    const struct db_group_row row = {l->epoch, l->last_group + 1};
    const enum err e = db_group_write(l->group, l->db, row, changes, n, ret_state);
    if (e == OK) return TRIED_DONE;
    if (e == E_STORE && is_of_content(ret_state)) return TRIED_CONTENT;
    /* The fence: the row is another server's, or a backend that we had lost was not done with this
     * very group. A new connection tells which. */
    if (e == E_STORE && strcmp(ret_state, "22012") == 0) {
        disconnect(l);
        return TRIED_FENCE;
    }
    if (e == E_CLOSED && l->problem.text[0] == '\0') (void)db__fail(l->db, "commit", NULL);
    disconnect(l);
    return TRIED_AGAIN;
}

/* E_STORE: the lane is lost, or nobody waits any longer. */
static enum err write_some(struct db_lane *l, struct db_change **changes, unsigned n) {
    unsigned ms = DB_RETRY_MIN_MS;
    for (;;) {
        char state[STATE_LEN] = "";
        const int64_t began_ms = env_mono_ms(l->store->shared.env);
        const enum tried t = try_once(l, changes, n, state);
        if (t == TRIED_DONE) break;
        if (is_lost(l) || is_abandoned(l)) return E_STORE;
        if (t == TRIED_FENCE) continue;
        if (t == TRIED_AGAIN) {
            wait_for_database(l, began_ms, &ms);
        } else if (n == 1) {
            refuse(l, changes[0], state);
            return OK;
        } else {
            const enum err e = write_some(l, changes, n / 2);
            return e == OK ? write_some(l, changes + n / 2, n - n / 2) : e;
        }
    }
    l->last_group++;
    for (unsigned i = 0; i < n; i++) changes[i]->group = l->last_group;
    atomic_store_explicit(&l->committed, l->last_group, memory_order_release);
    db_outage_over(&l->outage, l->store->shared.env);
    return OK;
}

/* ---- message ids ---- */

/* The last of a new block; 0: not now. */
static uint64_t draw_block(struct db_lane *l) {
    uint8_t number[DB_NUMBER_LEN];
    const struct db_value more = db_number(DB_IDS_BLOCK - 1, number);
    PGresult *r = NULL;
    uint64_t last = 0;
    enum err e = db_pipe_send(l->db, "draw", 1, &more);
    if (e == OK) e = db_pipe_sync(l->db);
    if (e == OK) e = db_pipe_next(l->db, &r);
    if (e == E_STORE) (void)db__fail(l->db, "draw message ids", r);
    if (e == OK && PQntuples(r) == 1) last = (uint64_t)db_number_of(db_result_value(r, 0, 0));
    PQclear(r);
    if (e == E_CLOSED || db_pipe_end(l->db) != OK) disconnect(l);
    return last;
}

/* ---- the sink ---- */

static void remember_refusal(struct db_lane *l, const struct db_change *c) {
    lock_take(&l->mtx);
    l->refused[l->n_refused % DB_REFUSED_KEPT].lsn = c->lsn;
    l->refused[l->n_refused % DB_REFUSED_KEPT].err = c->refused;
    l->n_refused++;
    lock_give(&l->mtx);
    atomic_store_explicit(&l->any_refused, 1, memory_order_release);
}

enum err db_lane_fate(const struct db_lane *l, lsn_t lsn) {
    if (atomic_load_explicit(&l->any_refused, memory_order_acquire) == 0) return E_PENDING;
    struct lock *mtx = &l->store->lane.mtx;
    enum err e = E_PENDING;
    lock_take(mtx);
    for (unsigned i = 0; i < l->n_refused && i < DB_REFUSED_KEPT; i++) {
        if (l->refused[i].lsn == lsn) e = l->refused[i].err;
    }
    lock_give(mtx);
    return e;
}

/* Who learns that a change was refused finds it taken back already. */
static void settle_refused(struct db_lane *l) {
    for (struct db_change *c = l->taken; c != NULL; c = c->next) {
        if (c->refused == OK) continue;
        db_change_undo(l->store, c);
        remember_refusal(l, c);
    }
}

static enum err write(void *sink) {
    struct db_lane *l = sink;
    struct db_change *changes[DB_GROUP_MAX];
    unsigned n = 0;
    for (struct db_change *c = l->taken; c != NULL && n < DB_GROUP_MAX; c = c->next)
        changes[n++] = c;
    const enum err e = write_some(l, changes, n);
    if (e != OK) {
        errno = is_lost(l) ? EBUSY : ETIMEDOUT;
        return E_SYS;
    }
    settle_refused(l);
    if (l->wants_ids && l->db != NULL) l->drawn_last = draw_block(l);
    return OK;
}

static enum err nothing(void *sink) {
    (void)sink;
    return OK;
}

static void count_committed(struct db_store *m, const struct db_change *c) {
    atomic_fetch_add_explicit(&m->n_committed_notifiers, c->n_notifiers, memory_order_relaxed);
    if (c->kind == DB_MESSAGE || c->kind == DB_FORGET) {
        atomic_fetch_add_explicit(&m->n_committed_messages, c->kind == DB_MESSAGE ? 1 : -1,
                                  memory_order_relaxed);
    }
    if (c->kind == DB_CREATE || c->kind == DB_DELETE) {
        atomic_fetch_add_explicit(&m->n_committed_queues, c->kind == DB_CREATE ? 1 : -1,
                                  memory_order_relaxed);
    }
}

/* From here on who asks the database sees that the queue is gone; what was asked before is asked
 * again. */
static void forget_deleted(struct db_store *m, const struct db_change *c) {
    queue_lock(m->base.table, c->queue);
    db_cache_left(m, c->queue);
    lock_take(&m->deleted_mtx);
    (void)idmap_remove(&m->deleted, &c->in_deleted.id);
    lock_give(&m->deleted_mtx);
    queue_unlock(m->base.table, c->queue);
}

static void done(void *sink, bool ok) {
    struct db_lane *l = sink;
    if (ok) db_log_append(l->store, l->taken);
    for (struct db_change *c; (c = l->taken) != NULL;) {
        l->taken = c->next;
        if (ok && c->refused == OK) count_committed(l->store, c);
        if (c->kind == DB_DELETE) forget_deleted(l->store, c);
        if (ok && c->refused == OK) {
            db_replay_keep(l, c);
        } else {
            db_change_free(c);
        }
    }
    l->taken_tail = NULL;
    db_cache_trim(l->store);
}

struct commit_sink db_lane_sink(struct db_lane *l) {
    return (struct commit_sink){
        .limit = limit,
        .take = take,
        .write = write,
        .sync = nothing,
        .undo = nothing,
        .drop = drop,
        .done = done,
        .retry = nothing,
        .sink = l,
    };
}

/* ---- start ---- */

static enum err make_tables(struct db_lane *l) {
    struct db *db = NULL;
    enum err e = db_store_connect(l->store, NULL, 0, &db, &l->problem);
    if (e == OK) e = db_node_make_tables(db, l->store->shared.env);
    if (e == OK) e = db_node_read_key(db, l->store->ids_key);
    db_close(db);
    return e;
}

/* Who waited for it has it already, if nobody has taken it since. */
static enum err take_lane(struct db_lane *l) {
    const struct db_node *node = &l->store->o.node;
    bool is_there = false;
    if (node->epoch == 0) return db_node_claim(l->db, node, NULL, &l->epoch, &l->last_group);
    const enum err e = ask_row(l, &l->epoch, &l->last_group, &is_there);
    if (e != OK || (is_there && l->epoch == node->epoch)) return e;
    return db__say(l->db, E_STORE, "another smp-server has taken over meanwhile");
}

enum err db_lane_start(struct db_lane *l, struct store_problem *ret_problem) {
    l->problem.text[0] = '\0';
    enum err e = make_tables(l);
    if (e == OK) e = connect(l);
    if (e == OK) e = take_lane(l);
    const uint64_t last = e == OK ? draw_block(l) : 0;
    if (last != 0) {
        use_block(l, last);
        atomic_store_explicit(&l->committed, l->last_group, memory_order_release);
        return OK;
    }
    *ret_problem = l->problem;
    disconnect(l);
    return e != OK ? e : E_STORE;
}

void db_lane_init(struct db_store *m) {
    struct db_lane *l = &m->lane;
    *l = (struct db_lane){.store = m};
    lock_init(&l->mtx, LOCK_DB_REFUSED);
    db_outage_init(&l->outage, "changes", m->shown);
}

void db_lane_done(struct db_lane *l) {
    drop(l);
    for (struct db_change *c; (c = l->taken) != NULL;) {
        l->taken = c->next;
        db_change_free(c);
    }
    disconnect(l);
    db_replay_done(l);
    db_group_free(l->group);
    db_outage_done(&l->outage);
    lock_done(&l->mtx);
}
