/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_standby.c -- waits to take over.
 *
 * The active one is dead when its beat stands still, for DB_BEAT_DEAD_MS by our clock, while we see
 * the database: that it beats by the database's clock and we measure by ours lets either be wrong.
 * After the database was away the time begins anew, because nobody could beat meanwhile. A claim
 * names the beat that it takes for the last, so of several that wait one gets it, and none if there
 * was another beat. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/log.h"
#include "store/db/db_store_priv.h"

struct db_standby {
    struct db_standby_opts o;
    uint8_t id[16]; /* of its row */
    struct db *db;  /* owned; NULL: no connection */
    struct store_problem problem;
    bool was_connected, is_ours;
    int64_t beat_due_ms;
    struct db_nodes seen;
    int64_t seen_ms; /* since when it is so, and we can see it */
};

enum err db_standby_new(const struct db_standby_opts *o, struct db_standby **ret) {
    struct db_standby *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->o = *o;
    s->o.db.connect_s = DB_BEAT_PATIENCE_MS / 1000;
    env_random(o->env, s->id, sizeof s->id);
    *ret = s;
    return OK;
}

/* ---- the connection ---- */

static enum err prepare(struct db_standby *s) {
    assert(s->db != NULL);
    enum err e = s->o.migrates ? db_migrate(s->db, &s->problem) : OK;
    if (e == OK) e = db_check_schema(s->db, &s->o.db, &s->problem);
    s->db->problem = &s->problem;
    s->db->patience_ms = DB_BEAT_PATIENCE_MS;
    if (e == OK) e = db_pipe_open(s->db, NULL, 0);
    return e == OK ? db_node_make_tables(s->db, s->o.env) : e;
}

static enum err connect(struct db_standby *s) {
    enum err e = db_open(&s->o.db, &s->db, &s->problem);
    if (e == OK) e = prepare(s);
    if (e == OK) s->seen = (struct db_nodes){.epoch = -1};
    return e;
}

/* ---- who is there ---- */

/* Our row, so that the active one and `check` know of us. */
static enum err show(struct db_standby *s, int64_t now_ms) {
    const struct db_value values[] = {db_value_of(bytes_of(s->id, sizeof s->id)),
                                      db_value_of(bytes_str(s->o.node.address))};
    if (now_ms < s->beat_due_ms) return OK;
    s->beat_due_ms = now_ms + DB_BEAT_MS;
    return db_pipe_run_sql(
        s->db, "wait as a standby",
        "WITH d AS (DELETE FROM %s.smpn_standby "
        "WHERE beat_at < clock_timestamp() - interval '1 min' AND id <> $1::bytea) "
        "INSERT INTO %s.smpn_standby VALUES ($1::bytea, $2::text, clock_timestamp()) "
        "ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp()",
        ARRAY_LEN(values), values);
}

static bool is_dead(struct db_standby *s, const struct db_nodes *now, int64_t now_ms) {
    if (now->epoch != s->seen.epoch || now->beat_us != s->seen.beat_us) s->seen_ms = now_ms;
    s->seen = *now;
    /* It was like this when we came; later PostgreSQL may have been away for the active one too. */
    const bool was_dead = !s->was_connected && now->age_ms >= DB_BEAT_DEAD_MS && now->db_is_old;
    s->was_connected = true;
    return !now->is_there || now->has_left || was_dead || now_ms - s->seen_ms >= DB_BEAT_DEAD_MS;
}

/* ---- taking over ---- */

static enum err run(struct db_standby *s, const char *sql) {
    return db_pipe_run_sql(s->db, "take the schema over", sql, 0, NULL);
}

static enum err claim(struct db_standby *s, const struct db_nodes *dead, int64_t *ret_epoch) {
    int64_t group;
    const struct db_nodes none = {.epoch = -1};
    enum err e = run(s, "BEGIN");
    if (e == OK) e = run(s, "SET LOCAL lock_timeout = '300ms'");
    if (e != OK) return e;
    e = db_node_claim(s->db, &s->o.node, dead->is_there ? dead : &none, ret_epoch, &group);
    if (e == OK) e = run(s, "COMMIT");
    s->is_ours = e == OK;
    if (e == OK || e == E_CLOSED) return e;
    *ret_epoch = 0;
    const bool was_locked = e == E_STORE;
    e = run(s, "ROLLBACK");
    return e == OK && was_locked ? db_node_end_backends(s->db)
                                 : e; /* and again with the next look */
}

static enum err look(struct db_standby *s, struct db_standby_view *ret) {
    enum err e = s->db == NULL ? connect(s) : OK;
    const int64_t now_ms = env_mono_ms(s->o.env);
    if (e == OK) e = show(s, now_ms);
    if (e == OK) e = db_node_find(s->db, s->o.node.identity, &ret->nodes);
    if (e != OK) return e;
    if (ret->nodes.is_there && ret->nodes.is_other) {
        (void)db__say(s->db, E_IDENTITY,
                      "the server that uses the schema %s (%s) has another identity: give this one "
                      "the same ca.crt, server.crt, server.key and fingerprint, or another schema",
                      s->o.db.schema, ret->nodes.active);
        return E_IDENTITY;
    }
    return is_dead(s, &ret->nodes, now_ms) ? claim(s, &ret->nodes, &ret->epoch) : OK;
}

enum err db_standby_look(struct db_standby *s, struct db_standby_view *ret,
                         struct store_problem *ret_problem) {
    *ret = (struct db_standby_view){0};
    s->problem.text[0] = '\0';
    enum err e = look(s, ret);
    if (e == OK) return OK;
    *ret_problem = s->problem;
    if (e == E_STORE) e = E_CLOSED;
    db_close(STEAL(s->db));
    return e;
}

void db_standby_free(struct db_standby *s) {
    if (s == NULL) return;
    const struct db_value id = db_value_of(bytes_of(s->id, sizeof s->id));
    if (s->db != NULL &&
        db_pipe_run_sql(s->db, "leave", "DELETE FROM %s.smpn_standby WHERE id = $1::bytea", 1,
                        &id) != OK)
        log_line(LOG_DEBUG, "standby", "reason=\"%s\"", s->problem.text);
    db_close(s->db);
    free(s);
}
