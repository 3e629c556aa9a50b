/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_chores.c -- what nobody waits for: how much there is, which queues have messages that may have
 * expired, and the rows of queues that were deleted long ago. */
#include <stdlib.h>

#include "base/day.h"
#include "base/log.h"
#include "store/db/db_store_priv.h"

enum { FEW = 20000 };

static const struct db_statement STATEMENTS[] = {
    {"few", "SELECT (SELECT count(*) FROM (SELECT FROM %s.msg_queues LIMIT $1) q) + "
            "(SELECT count(*) FROM (SELECT FROM %s.messages LIMIT $1) m)"},
    {"queues", "SELECT count(*), count(notifier_id) FROM %s.msg_queues WHERE deleted_at IS NULL"},
    {"messages", "SELECT count(*), 0::bigint FROM %s.messages"},
    {"deleted", "DELETE FROM %s.msg_queues WHERE recipient_id = ANY(ARRAY(SELECT recipient_id "
                "FROM %s.msg_queues WHERE deleted_at < $1 LIMIT 1000))"},
    {"old", "SELECT DISTINCT recipient_id FROM %s.messages WHERE msg_ts < $1 AND recipient_id > $2 "
            "ORDER BY recipient_id LIMIT $3"},
};

static enum err ask(struct db *db, const char *name, unsigned n, const struct db_value *values,
                    PGresult **ret) {
    *ret = NULL;
    enum err e = db_pipe_send(db, name, n, values);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, ret);
    return e == OK ? db_pipe_end(db) : e;
}

/* ---- figures ----
 *
 * What was committed since the start is in the count already, and in what is counted since then. */

static void add(_Atomic int64_t *n, int64_t by) {
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

static enum err count_one(struct db *db, const char *name, const _Atomic int64_t *committed,
                          int64_t ret[2]) {
    PGresult *r;
    const int64_t before = atomic_load_explicit(committed, memory_order_relaxed);
    const enum err e = ask(db, name, 0, NULL, &r);
    for (int i = 0; i < 2 && e == OK; i++) ret[i] = db_number_of(db_result_value(r, 0, i));
    ret[0] -= before;
    PQclear(r);
    return e;
}

static enum err count_all(struct db_store *m, struct db *db) {
    int64_t queues[2] = {0}, messages[2] = {0};
    const int64_t notifiers = atomic_load_explicit(&m->n_committed_notifiers, memory_order_relaxed);
    enum err e = count_one(db, "queues", &m->n_committed_queues, queues);
    if (e == OK) e = count_one(db, "messages", &m->n_committed_messages, messages);
    if (e != OK) return e;
    add(&m->n_queues, queues[0]);
    add(&m->n_notifiers, queues[1] - notifiers);
    add(&m->n_before_messages, messages[0]);
    return OK;
}

static void count_later(void *ctx) {
    struct db_store *m = ctx;
    struct db *db = NULL;
    struct store_problem problem = {0};
    enum err e = db_store_connect(m, STATEMENTS, ARRAY_LEN(STATEMENTS), &db, &problem);
    if (e == OK) e = count_all(m, db);
    if (e != OK && !atomic_load_explicit(&m->abandon, memory_order_relaxed))
        log_line(LOG_WARN, "database-not-counted", "reason=\"%s\"", problem.text);
    db_close(db);
}

/* Little is counted at once, before anything changes; much takes seconds, and nobody waits. */
enum err db_count_start(struct db_store *m, struct store_problem *ret_problem) {
    struct db *db = NULL;
    uint8_t number[DB_NUMBER_LEN];
    const struct db_value few = db_number(FEW, number);
    PGresult *r = NULL;
    enum err e = db_store_connect(m, STATEMENTS, ARRAY_LEN(STATEMENTS), &db, ret_problem);
    if (e == OK) e = ask(db, "few", 1, &few, &r);
    const bool is_little = e == OK && db_number_of(db_result_value(r, 0, 0)) < FEW;
    PQclear(r);
    if (is_little) {
        e = count_all(m, db);
    } else if (e == OK) {
        e = thread_start(&m->counter, "db-count", count_later, m);
    }
    if (e == E_STORE || e == E_CLOSED) e = db__fail(db, "count what there is", NULL);
    db_close(db);
    return e;
}

void db_counts(const struct store *s, struct store_counts *io) {
    const struct db_store *m = db_of_const(s);
    const int64_t queues = atomic_load_explicit(&m->n_queues, memory_order_relaxed);
    const int64_t notifiers = atomic_load_explicit(&m->n_notifiers, memory_order_relaxed);
    const int64_t before = atomic_load_explicit(&m->n_before_messages, memory_order_relaxed);
    const int64_t messages = (int64_t)io->n_messages + before;
    io->n_standbys = atomic_load_explicit(&m->n_standbys, memory_order_relaxed);
    io->n_queues = queues > 0 ? (uint64_t)queues : 0;
    io->n_notifiers = notifiers > 0 ? (uint64_t)notifiers : 0;
    io->n_messages = messages > 0 ? (uint64_t)messages : 0;
}

/* ---- what expires; the thread of the store's expiry ---- */

static struct db *chores_db(struct db_store *m, struct store_problem *problem) {
    if (m->chores == NULL &&
        db_store_connect(m, STATEMENTS, ARRAY_LEN(STATEMENTS), &m->chores, problem) != OK)
        db_close(STEAL(m->chores));
    return m->chores;
}

/* The rows of queues that were deleted long ago, some at a time. */
static void drop_deleted(struct db_store *m, struct db *db) {
    uint8_t number[DB_NUMBER_LEN];
    const int64_t before_s = env_now_s(m->shared.env) - m->o.deleted_ttl_s;
    const struct db_value before = db_number(before_s, number);
    for (long n = 1; m->o.deleted_ttl_s >= 0 && n > 0;) {
        PGresult *r;
        const enum err e = ask(db, "deleted", 1, &before, &r);
        n = e == OK ? strtol(PQcmdTuples(r), NULL, 10) : 0;
        PQclear(r);
    }
}

bool db_old_queues(struct store *s, int64_t before_ts_s, struct id *io_after, struct id *ret_ids,
                   unsigned max, unsigned *ret_n) {
    static const struct id first = {{0}};
    struct db_store *m = db_of(s);
    struct store_problem problem = {0};
    uint8_t ts[DB_NUMBER_LEN], limit[DB_NUMBER_LEN];
    PGresult *r = NULL;
    *ret_n = 0;
    struct db *db = chores_db(m, &problem);
    if (db == NULL) return false; /* the readers have said so; next time */
    if (id_equal(io_after, &first)) drop_deleted(m, db);
    const struct db_value values[] = {db_number(before_ts_s, ts), db_value_of(id_bytes(io_after)),
                                      db_number(max, limit)};
    const enum err e = ask(db, "old", ARRAY_LEN(values), values, &r);
    for (int i = 0; e == OK && i < PQntuples(r); i++)
        *ret_n += id_from_bytes(db_result_value(r, i, 0).b, &ret_ids[*ret_n]);
    PQclear(r);
    if (*ret_n != 0) *io_after = ret_ids[*ret_n - 1];
    if (*ret_n < max) db_close(STEAL(m->chores)); /* until the next pass */
    return *ret_n == max;
}
