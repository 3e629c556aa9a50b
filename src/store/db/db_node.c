/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_node.c -- our own tables, and the row of the active server in them: made, read, taken. */
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "store/db/db_store_priv.h"

static const char *const TABLES[] = {
    "CREATE TABLE IF NOT EXISTS %s.smpn_cluster (id smallint PRIMARY KEY, key bytea NOT NULL, "
    "counters_exact boolean NOT NULL, format integer NOT NULL)",
    "CREATE TABLE IF NOT EXISTS %s.smpn_lane (node_id integer NOT NULL, lane integer NOT NULL, "
    "epoch bigint NOT NULL, last_group bigint NOT NULL, PRIMARY KEY (node_id, lane))",
    "CREATE TABLE IF NOT EXISTS %s.smpn_node (node_id integer PRIMARY KEY, epoch bigint NOT NULL, "
    "address text NOT NULL, version text NOT NULL, identity bytea NOT NULL, "
    "beat_at timestamptz NOT NULL, state text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS %s.smpn_standby (id bytea PRIMARY KEY, address text NOT NULL, "
    "beat_at timestamptz NOT NULL)",
};

static enum err run(struct db *db, const char *sql, unsigned n, const struct db_value *values) {
    return db_pipe_run_sql(db, "make the tables of smp-server", sql, n, values);
}

/* IF NOT EXISTS alone is no protection from somebody who makes them at the same moment. */
enum err db_node_make_tables(struct db *db, const struct env *env) {
    uint8_t key[SIPHASH_KEY_LEN];
    env_random(env, key, sizeof key);
    const struct db_value value = db_value_of(bytes_of(key, sizeof key));
    enum err e = run(db, "BEGIN", 0, NULL);
    if (e == OK) e = run(db, "LOCK TABLE %s.migrations IN SHARE ROW EXCLUSIVE MODE", 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(TABLES) && e == OK; i++) e = run(db, TABLES[i], 0, NULL);
    if (e == OK)
        e = run(db,
                "INSERT INTO %s.smpn_cluster VALUES (1, $1, false, 1) ON CONFLICT (id) DO NOTHING",
                1, &value);
    if (e == OK) e = run(db, "COMMIT", 0, NULL);
    crypto_wipe(key, sizeof key);
    return e;
}

enum err db_node_read_key(struct db *db, uint8_t ret[SIPHASH_KEY_LEN]) {
    PGresult *r = NULL;
    enum err e = db_pipe_send_sql(db, "SELECT key FROM %s.smpn_cluster WHERE id = 1", 0, NULL);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, &r);
    if (e != OK) (void)db__fail(db, "read the key of the cluster", r);
    const bool is_there = e == OK && PQntuples(r) == 1;
    const struct bytes key = is_there ? db_result_value(r, 0, 0).b : (struct bytes){0};
    if (key.n == SIPHASH_KEY_LEN) memcpy(ret, key.p, SIPHASH_KEY_LEN);
    if (e == OK && key.n != SIPHASH_KEY_LEN)
        e = db__say(db, E_STORE, "smpn_cluster.key is not %d bytes long", SIPHASH_KEY_LEN);
    PQclear(r);
    return e;
}

/* ---- taking it ---- */

/* The epoch is above all that there were. $4, $5: epoch and beat of who is taken for dead; NULL:
 * whoever is there. */
#define CLAIM                                                                                      \
    "WITH n AS (INSERT INTO %s.smpn_node AS n "                                                    \
    "(node_id, epoch, address, version, identity, beat_at, state) VALUES (0, "                     \
    "(SELECT coalesce(max(epoch), 0) + 1 FROM %s.smpn_lane WHERE node_id = 0), "                   \
    "$1::text, $2::text, $3::bytea, clock_timestamp(), 'active') "                                 \
    "ON CONFLICT (node_id) DO UPDATE SET epoch = greatest(n.epoch + 1, EXCLUDED.epoch), "          \
    "address = EXCLUDED.address, version = EXCLUDED.version, identity = EXCLUDED.identity, "       \
    "beat_at = EXCLUDED.beat_at, state = 'active' WHERE $4::int8 IS NULL OR (n.epoch = $4::int8 "  \
    "AND (n.state = 'left' OR (extract(epoch FROM n.beat_at) * 1000000)::int8 = $5::int8)) "       \
    "RETURNING epoch), l AS (INSERT INTO %s.smpn_lane AS l (node_id, lane, epoch, last_group) "    \
    "SELECT 0, 0, epoch, 0 FROM n ON CONFLICT (node_id, lane) DO UPDATE SET "                      \
    "epoch = EXCLUDED.epoch RETURNING epoch, last_group) SELECT epoch, last_group FROM l"

static void claim_values(const struct db_node *node, const struct db_nodes *dead,
                         uint8_t numbers[2][DB_NUMBER_LEN], struct db_value ret[5]) {
    ret[0] = db_value_of(bytes_str(node->address));
    ret[1] = db_value_of(bytes_str(node->version));
    ret[2] = db_value_of(bytes_of(node->identity, sizeof node->identity));
    ret[3] = dead != NULL ? db_number(dead->epoch, numbers[0]) : db_value_null();
    ret[4] = dead != NULL ? db_number(dead->beat_us, numbers[1]) : db_value_null();
}

enum err db_node_claim(struct db *db, const struct db_node *node, const struct db_nodes *dead,
                       int64_t *ret_epoch, int64_t *ret_group) {
    struct db_value values[5];
    uint8_t numbers[2][DB_NUMBER_LEN];
    PGresult *r = NULL;
    claim_values(node, dead, numbers, values);
    enum err e = db_pipe_send_sql(db, CLAIM, ARRAY_LEN(values), values);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, &r);
    if (e != OK) (void)db__fail(db, "take the schema over", r);
    const bool is_ours = e == OK && PQntuples(r) == 1;
    if (is_ours) {
        *ret_epoch = db_number_of(db_result_value(r, 0, 0));
        *ret_group = db_number_of(db_result_value(r, 0, 1));
    }
    PQclear(r);
    if (e != E_CLOSED && db_pipe_end(db) != OK) e = E_CLOSED;
    return e != OK || is_ours ? e : E_EXISTS;
}

/* ---- reading it ---- */

/* The time since the beat is the database's. */
#define FIND                                                                                       \
    "SELECT epoch, (extract(epoch FROM beat_at) * 1000000)::int8, state = 'left', address, "       \
    "version, identity, (extract(epoch FROM clock_timestamp() - beat_at) * 1000)::int8, "          \
    "(SELECT count(*) FROM %s.smpn_standby WHERE beat_at > clock_timestamp() - interval '10 s'), " \
    "pg_postmaster_start_time() < clock_timestamp() - interval '10 s' "                            \
    "FROM %s.smpn_node WHERE node_id = 0"

static void copy_text(const PGresult *r, int column, char *ret, size_t cap) {
    (void)snprintf(ret, cap, "%.*s", PQgetlength(r, 0, column), PQgetvalue(r, 0, column));
}

static void read_row(const PGresult *r, const uint8_t identity[SHA256_LEN], struct db_nodes *ret) {
    const struct bytes theirs = db_result_value(r, 0, 5).b;
    ret->is_there = true;
    ret->epoch = db_number_of(db_result_value(r, 0, 0));
    ret->beat_us = db_number_of(db_result_value(r, 0, 1));
    ret->has_left = db_bool_of(db_result_value(r, 0, 2));
    copy_text(r, 3, ret->active, sizeof ret->active);
    copy_text(r, 4, ret->version, sizeof ret->version);
    ret->is_other = !bytes_equal(theirs, bytes_of(identity, SHA256_LEN));
    ret->age_ms = db_number_of(db_result_value(r, 0, 6));
    ret->n_standbys = db_number_of(db_result_value(r, 0, 7));
    ret->db_is_old = db_bool_of(db_result_value(r, 0, 8));
}

enum err db_node_find(struct db *db, const uint8_t identity[SHA256_LEN], struct db_nodes *ret) {
    PGresult *r = NULL;
    *ret = (struct db_nodes){0};
    enum err e = db_pipe_send_sql(db, FIND, 0, NULL);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, &r);
    if (e != OK) (void)db__fail(db, "look who is active", r);
    if (e == OK && PQntuples(r) == 1) read_row(r, identity, ret);
    PQclear(r);
    return e != E_CLOSED && db_pipe_end(db) != OK ? E_CLOSED : e;
}

enum err db_node_end_backends(struct db *db) {
    return db_pipe_run_sql(
        db, "end what is left of the connection before",
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a "
        "ON a.pid = l.pid WHERE l.relation = '%s.smpn_lane'::regclass AND l.granted AND l.mode = "
        "'RowExclusiveLock' AND l.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - "
        "interval '1 s'",
        0, NULL);
}

static enum err has_tables(struct db *db, bool *ret) {
    PGresult *r = NULL;
    enum err e = db_pipe_send_sql(db, "SELECT to_regclass('%s.smpn_standby') IS NOT NULL", 0, NULL);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, &r);
    if (e != OK) (void)db__fail(db, "look for the tables of smp-server", r);
    *ret = e == OK && db_bool_of(db_result_value(r, 0, 0));
    PQclear(r);
    return e != E_CLOSED && db_pipe_end(db) != OK ? E_CLOSED : e;
}

enum err db_nodes_find(const struct db_opts *o, const uint8_t identity[SHA256_LEN],
                       struct db_nodes *ret, struct store_problem *ret_problem) {
    struct db *db = NULL;
    bool is_there = false;
    *ret = (struct db_nodes){0};
    enum err e = db_open(o, &db, ret_problem);
    if (e == OK) e = db_pipe_open(db, NULL, 0);
    if (e == OK) e = has_tables(db, &is_there);
    if (e == OK && is_there) e = db_node_find(db, identity, ret);
    db_close(db);
    return e;
}
