/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_beat.c -- the active server's sign of life in the database, each second, on a connection of
 * its own: who waits sees by it whether to take over.
 *
 * It is also where this server learns that it was replaced while it had nothing to write. And when
 * somebody waits to take over, a server that cannot beat for long has to end before that one
 * begins: clients that have nothing to say would stay with it, and hear nothing any more. */
#include "base/log.h"
#include "store/db/db_store_priv.h"

static const struct db_statement STATEMENTS[] = {
    {"beat", "WITH b AS (UPDATE %s.smpn_node SET beat_at = clock_timestamp() "
             "WHERE node_id = 0 AND epoch = $1 RETURNING 1) SELECT (SELECT count(*) FROM b), "
             "(SELECT count(*) FROM %s.smpn_standby "
             "WHERE beat_at > clock_timestamp() - interval '10 s')"},
    {"leave", "UPDATE %s.smpn_node SET state = 'left' WHERE node_id = 0 AND epoch = $1"},
};

void db_store_lose(struct db_store *m, const char *event, const char *why) {
    if (atomic_exchange(&m->is_lost, true)) return;
    log_line(LOG_ERROR, event, "database=\"%s\" schema=%s reason=\"%s\"", m->shown, m->o.db.schema,
             why);
    atomic_store_explicit(&m->abandon, true, memory_order_relaxed);
    if (m->o.taken_over != NULL) m->o.taken_over(m->shared.ctx);
}

static enum err connect(struct db_store *m) {
    struct store_problem problem = {0};
    struct db_opts o = m->o.db;
    o.connect_s = DB_BEAT_PATIENCE_MS / 1000;
    enum err e = db_open(&o, &m->beat.db, &problem);
    if (e != OK) return e;
    m->beat.problem = problem;
    m->beat.db->problem = &m->beat.problem;
    m->beat.db->abandon = &m->abandon;
    m->beat.db->patience_ms = DB_BEAT_PATIENCE_MS;
    return db_pipe_open(m->beat.db, STATEMENTS, ARRAY_LEN(STATEMENTS));
}

static enum err say(struct db_store *m, const char *name, PGresult **ret) {
    uint8_t number[DB_NUMBER_LEN];
    const struct db_value epoch = db_number(m->lane.epoch, number);
    enum err e = m->beat.db == NULL ? connect(m) : OK;
    *ret = NULL;
    if (e == OK) e = db_pipe_ask(m->beat.db, "beat", name, 1, &epoch, ret);
    if (e != OK) db_close(STEAL(m->beat.db));
    return e;
}

/* False: the row is another server's. */
static bool beat(struct db_store *m) {
    PGresult *r;
    const int64_t now_ms = env_mono_ms(m->shared.env);
    if (say(m, "beat", &r) != OK) return true;
    const bool is_ours = db_number_of(db_result_value(r, 0, 0)) == 1;
    const int64_t n = db_number_of(db_result_value(r, 0, 1));
    PQclear(r);
    atomic_store_explicit(&m->beat.last_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&m->n_standbys, (unsigned)n, memory_order_relaxed);
    return is_ours;
}

bool db_beat_is_silent(const struct db_store *m, unsigned ms) {
    const int64_t last_ms = atomic_load_explicit(&m->beat.last_ms, memory_order_relaxed);
    return last_ms != 0 && env_mono_ms(m->shared.env) - last_ms >= (int64_t)ms;
}

static void judge(struct db_store *m) {
    const unsigned n = atomic_load_explicit(&m->n_standbys, memory_order_relaxed);
    if (!beat(m)) {
        db_store_lose(m, "database-taken-over", DB_TAKEN_OVER);
    } else if (n != 0 && db_beat_is_silent(m, DB_BEAT_SILENT_MS)) {
        db_store_lose(m, "database-out-of-reach",
                      "there was no way to it for seconds, and a standby waits, which may take "
                      "over: this one ends");
    }
}

static bool is_stopping(struct db_beat *b, int64_t wait_ms) {
    lock_take(&b->mtx);
    if (!b->stopping) (void)lock_wait_ms(&b->cond, &b->mtx, wait_ms);
    const bool stopping = b->stopping;
    lock_give(&b->mtx);
    return stopping;
}

static void run(void *ctx) {
    struct db_store *m = ctx;
    PGresult *r;
    while (!is_stopping(&m->beat, DB_BEAT_MS)) {
        if (!atomic_load(&m->is_lost)) judge(m);
    }
    if (!atomic_load(&m->is_lost) && say(m, "leave", &r) == OK) PQclear(r);
    db_close(STEAL(m->beat.db));
}

enum err db_beat_start(struct db_store *m) {
    const int64_t now_ms = env_mono_ms(m->shared.env);
    atomic_store_explicit(&m->beat.last_ms, now_ms, memory_order_relaxed);
    m->beat.stopping = false;
    return thread_start(&m->beat.thread, "db-beat", run, m);
}

void db_beat_stop(struct db_store *m) {
    lock_take(&m->beat.mtx);
    m->beat.stopping = true;
    lock_wake(&m->beat.cond);
    lock_give(&m->beat.mtx);
    thread_join(&m->beat.thread);
}

void db_beat_init(struct db_store *m) {
    lock_init(&m->beat.mtx, LOCK_DB_BEAT);
    lock_cond_init(&m->beat.cond);
}

void db_beat_done(struct db_store *m) {
    lock_cond_done(&m->beat.cond);
    lock_done(&m->beat.mtx);
}
