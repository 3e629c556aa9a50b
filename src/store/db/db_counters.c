/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_counters.c -- the three columns of msg_queues that say what is in messages: the reference
 * lives by them, we do not look at them. Two rows for each message would be written if they were
 * kept; so they are made right at an orderly stop, those that are not. */
#include <stdio.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

static const struct db_statement STATEMENTS[] = {
    {"begin", "BEGIN"},
    {"set",
     "SELECT set_config('search_path', $1, true), set_config('statement_timeout', $2, true)"},
    {"fence", "WITH u AS (UPDATE %s.smpn_lane SET last_group = last_group "
              "WHERE node_id = 0 AND lane = 0 AND epoch = $1 RETURNING 1) "
              "SELECT 1 / count(*) FROM u"},
    {"some",
     "UPDATE %s.msg_queues q SET msg_queue_size = c.n, msg_can_write = c.n_markers = 0, "
     "msg_queue_expire = c.n > c.n_markers FROM (SELECT recipient_id, count(*) AS n, "
     "count(*) FILTER (WHERE msg_quota) AS n_markers FROM %s.messages GROUP BY recipient_id) c "
     "WHERE q.recipient_id = c.recipient_id AND (q.msg_queue_size, q.msg_can_write, "
     "q.msg_queue_expire) IS DISTINCT FROM (c.n, c.n_markers = 0, c.n > c.n_markers)"},
    {"none", "UPDATE %s.msg_queues q SET msg_queue_size = 0, msg_can_write = true, "
             "msg_queue_expire = false WHERE (msg_queue_size <> 0 OR NOT msg_can_write OR "
             "msg_queue_expire) AND NOT EXISTS (SELECT FROM %s.messages m WHERE m.recipient_id = "
             "q.recipient_id)"},
    {"exact", "UPDATE %s.smpn_cluster SET counters_exact = true"},
    {"commit", "COMMIT"},
};

static enum err send_all(const struct db_store *m, struct db *db) {
    char timeout[24];
    uint8_t epoch[DB_NUMBER_LEN];
    (void)snprintf(timeout, sizeof timeout, "%u", m->o.counters_ms);
    const struct db_value set[] = {db_value_of(bytes_str(db->schema)),
                                   db_value_of(bytes_str(timeout))};
    const struct db_value fence = db_number(m->lane.epoch, epoch);
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(STATEMENTS) && e == OK; i++) {
        const char *name = STATEMENTS[i].name;
        e = i == 1   ? db_pipe_send(db, name, ARRAY_LEN(set), set)
            : i == 2 ? db_pipe_send(db, name, 1, &fence)
                     : db_pipe_send(db, name, 0, NULL);
    }
    return e == OK ? db_pipe_sync(db) : e;
}

static enum err take_all(struct db *db) {
    enum err e = OK;
    for (size_t i = 0; i < ARRAY_LEN(STATEMENTS) && e == OK; i++) {
        PGresult *r;
        e = db_pipe_next(db, &r);
        if (e != OK) e = db__fail(db, "set the counters", r);
        PQclear(r);
    }
    return e;
}

void db_counters_set(struct db_store *m) {
    struct db *db = NULL;
    struct store_problem problem = {0};
    const bool is_gone = atomic_load_explicit(&m->abandon, memory_order_relaxed);
    enum err e =
        is_gone ? E_CLOSED : db_store_connect(m, STATEMENTS, ARRAY_LEN(STATEMENTS), &db, &problem);
    if (e == OK) e = send_all(m, db);
    if (e == OK) e = take_all(db);
    db_close(db);
    if (e == OK) return;
    log_line(LOG_WARN, "database-counters",
             "database=\"%s\" schema=%s reason=\"%s\": counters of queues are not exact, which "
             "matters to the reference alone; `smp-server start -m` sets them, however long that "
             "takes",
             m->shown, m->o.db.schema, is_gone ? "there is no database" : problem.text);
}
