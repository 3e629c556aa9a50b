/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_group.c -- a group of changes as one transaction, sent in one go. What is alike goes into one
 * statement, as arrays; in the order services, queues, their records, messages, what was received,
 * what was deleted: within a group that is the order of changes of each queue, or it makes no
 * difference. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

/* A join of 256 ids with a table is else planned as a scan of the whole table. The triggers of 7
 * name functions without a schema. */
const struct db_statement DB_GROUP_STATEMENTS[] = {
    {"begin", "BEGIN"},
    {"set",
     "SELECT set_config('search_path', $1, true), set_config('enable_seqscan', 'off', true), "
     "set_config('enable_hashjoin', 'off', true), "
     "set_config('enable_mergejoin', 'off', true)"},
    {"fence", "WITH u AS (UPDATE %s.smpn_lane SET last_group = $2 "
              "WHERE node_id = 0 AND lane = 0 AND epoch = $1 AND last_group <> $2 RETURNING 1) "
              "SELECT 1 / count(*) FROM u"},
    {"service", "INSERT INTO %s.services (" DB_SERVICE_COLUMNS ") VALUES ($1, $2, $3, $4, $5) "
                "ON CONFLICT (service_id) DO NOTHING"},
    {"create",
     "INSERT INTO %s.msg_queues (" DB_QUEUE_COLUMNS ") SELECT * FROM unnest($1::bytea[], "
     "$2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], "
     "$9::text[], $10::bigint[], $11::text[], $12::bytea[], $13::bytea[], $14::bytea[], "
     "$15::bytea[], $16::bytea[])"},
    {"days", "UPDATE %s.msg_queues q SET updated_at = u.day FROM unnest($1::bytea[], $2::bigint[]) "
             "u (id, day) WHERE q.recipient_id = u.id AND q.deleted_at IS NULL"},
    {"messages", "INSERT INTO %s.messages (message_id, " DB_MESSAGE_COLUMNS ") "
                 "OVERRIDING SYSTEM VALUE SELECT * FROM unnest($1::bigint[], $2::bytea[], "
                 "$3::bytea[], $4::bigint[], $5::boolean[], $6::boolean[], $7::bytea[])"},
    {"forget", "DELETE FROM %s.messages WHERE message_id = ANY($1::bigint[])"},
    {"writable",
     "UPDATE %s.msg_queues q SET msg_can_write = u.can FROM unnest($1::bytea[], $2::boolean[]) "
     "u (id, can) WHERE q.recipient_id = u.id"},
    {"purge", "DELETE FROM %s.messages WHERE recipient_id = ANY($1::bytea[])"},
    {"delete",
     "UPDATE %s.msg_queues q SET deleted_at = u.day, msg_queue_size = 0, msg_can_write = true, "
     "msg_queue_expire = false, "
     "fixed_data = CASE WHEN link_id IS NOT NULL THEN ''::bytea END, "
     "user_data = CASE WHEN link_id IS NOT NULL THEN ''::bytea END "
     "FROM unnest($1::bytea[], $2::bigint[]) u (id, day) WHERE q.recipient_id = u.id"},
    {"commit", "COMMIT"},
    {"rollback", "ROLLBACK"},
};
const unsigned N_DB_GROUP_STATEMENTS = ARRAY_LEN(DB_GROUP_STATEMENTS);

struct db_group {
    struct db_array arrays[N_DB_QUEUE_COLUMNS];
    /* of the group that is being written */
    struct db *db;
    struct db_change *const *changes;
    unsigned n;
    unsigned n_sent;
};

enum err db_group_new(struct db_group **ret) {
    *ret = calloc(1, sizeof **ret);
    return *ret != NULL ? OK : E_NO_MEMORY;
}

void db_group_free(struct db_group *g) {
    if (g == NULL) return;
    for (size_t i = 0; i < ARRAY_LEN(g->arrays); i++) db_array_done(&g->arrays[i]);
    free(g);
}

static unsigned count(const struct db_group *g, enum db_change_kind kind) {
    unsigned n = 0;
    for (unsigned i = 0; i < g->n; i++) n += g->changes[i]->kind == kind;
    return n;
}

static void begin(struct db_group *g, const enum db_type types[], unsigned n) {
    for (unsigned i = 0; i < n; i++) db_array_begin(&g->arrays[i], types[i]);
}

/* The arrays as they were filled. */
static enum err send(struct db_group *g, const char *name, unsigned n) {
    struct db_value values[N_DB_QUEUE_COLUMNS];
    enum err e = OK;
    for (unsigned i = 0; i < n && e == OK; i++) e = db_array_end(&g->arrays[i], &values[i]);
    if (e == OK) e = db_pipe_send(g->db, name, n, values);
    if (e == OK) g->n_sent++;
    return e;
}

static enum err send_plain(struct db_group *g, const char *name, unsigned n,
                           const struct db_value *values) {
    const enum err e = db_pipe_send(g->db, name, n, values);
    if (e == OK) g->n_sent++;
    return e;
}

/* ---- the parts ---- */

static enum err send_head(struct db_group *g, struct db_group_row row) {
    uint8_t epoch[DB_NUMBER_LEN], number[DB_NUMBER_LEN];
    const struct db_value schema = db_value_of(bytes_str(g->db->schema));
    const struct db_value fence[] = {db_number(row.epoch, epoch), db_number(row.number, number)};
    enum err e = send_plain(g, "begin", 0, NULL);
    if (e == OK) e = send_plain(g, "set", 1, &schema);
    return e == OK ? send_plain(g, "fence", ARRAY_LEN(fence), fence) : e;
}

static enum err send_services(struct db_group *g) {
    enum err e = OK;
    for (unsigned i = 0; i < g->n && e == OK; i++) {
        const struct db_change *c = g->changes[i];
        if (c->kind == DB_SERVICE) e = send_plain(g, "service", c->n_values, c->values);
    }
    return e;
}

/* All values of all changes of a kind. */
static enum err send_values(struct db_group *g, enum db_change_kind kind, const char *name,
                            const enum db_type types[], unsigned n) {
    if (count(g, kind) == 0) return OK;
    begin(g, types, n);
    for (unsigned i = 0; i < g->n; i++) {
        const struct db_change *c = g->changes[i];
        for (unsigned v = 0; c->kind == kind && v < n; v++)
            db_array_add(&g->arrays[v], c->values[v]);
    }
    return send(g, name, n);
}

static enum err send_creates(struct db_group *g) {
    static const enum db_type types[N_DB_QUEUE_COLUMNS] = {
        DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA,
        DB_TEXT,  DB_INT8,  DB_TEXT,  DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA, DB_BYTEA,
    };
    return send_values(g, DB_CREATE, "create", types, ARRAY_LEN(types));
}

static enum err send_updates(struct db_group *g) {
    enum err e = OK;
    for (unsigned i = 0; i < g->n && e == OK; i++) {
        const struct db_change *c = g->changes[i];
        if (c->kind != DB_UPDATE) continue;
        e = db_pipe_send_sql(g->db, c->sql, c->n_values, c->values);
        if (e == OK) g->n_sent++;
    }
    return e;
}

static void add_message(struct db_group *g, const struct db_change *c) {
    const struct message *m = c->message;
    uint8_t number[DB_NUMBER_LEN], time[DB_I64_LEN];
    struct db_value v[N_DB_MESSAGE_COLUMNS];
    const struct msg_line line = {
        .rcv_id = c->rcv_id,
        .msg_id = m->id,
        .ts_s = m->ts_s,
        .is_quota = m->is_quota,
        .notification = m->notification,
        .body = m->is_quota ? (struct bytes){0} : message_body(m),
    };
    db_message_to_row(&line, time, v);
    db_array_add(&g->arrays[0], db_number((int64_t)c->message_id, number));
    for (unsigned i = 0; i < N_DB_MESSAGE_COLUMNS; i++) db_array_add(&g->arrays[1 + i], v[i]);
}

static enum err send_messages(struct db_group *g) {
    static const enum db_type types[1 + N_DB_MESSAGE_COLUMNS] = {DB_INT8, DB_BYTEA, DB_BYTEA,
                                                                 DB_INT8, DB_BOOL,  DB_BOOL,
                                                                 DB_BYTEA};
    if (count(g, DB_MESSAGE) == 0) return OK;
    begin(g, types, ARRAY_LEN(types));
    for (unsigned i = 0; i < g->n; i++) {
        if (g->changes[i]->kind == DB_MESSAGE) add_message(g, g->changes[i]);
    }
    return send(g, "messages", ARRAY_LEN(types));
}

static enum err send_forgets(struct db_group *g) {
    static const enum db_type types[] = {DB_INT8};
    if (count(g, DB_FORGET) == 0) return OK;
    begin(g, types, 1);
    for (unsigned i = 0; i < g->n; i++) {
        const struct db_change *c = g->changes[i];
        uint8_t number[DB_NUMBER_LEN];
        if (c->kind == DB_FORGET)
            db_array_add(&g->arrays[0], db_number((int64_t)c->message_id, number));
    }
    return send(g, "forget", 1);
}

/* The last word in this group on whether its queue takes messages. */
static bool is_last_word(const struct db_group *g, unsigned at) {
    for (unsigned i = at + 1; i < g->n; i++) {
        if (g->changes[i]->sets_can_write &&
            id_equal(&g->changes[i]->rcv_id, &g->changes[at]->rcv_id))
            return false;
    }
    return g->changes[at]->sets_can_write;
}

static enum err send_writable(struct db_group *g) {
    static const enum db_type types[] = {DB_BYTEA, DB_BOOL};
    static const uint8_t bools[] = {0, 1};
    begin(g, types, ARRAY_LEN(types));
    for (unsigned i = 0; i < g->n; i++) {
        const struct db_change *c = g->changes[i];
        if (!is_last_word(g, i)) continue;
        db_array_add(&g->arrays[0], db_value_of(id_bytes(&c->rcv_id)));
        db_array_add(&g->arrays[1], db_value_of(bytes_of(&bools[c->can_write], 1)));
    }
    return g->arrays[0].n_elements != 0 ? send(g, "writable", ARRAY_LEN(types)) : OK;
}

static enum err send_all(struct db_group *g, struct db_group_row row) {
    static const enum db_type day[] = {DB_BYTEA, DB_INT8};
    enum err e = send_head(g, row);
    if (e == OK) e = send_services(g);
    if (e == OK) e = send_creates(g);
    if (e == OK) e = send_updates(g);
    if (e == OK) e = send_values(g, DB_DAY, "days", day, ARRAY_LEN(day));
    if (e == OK) e = send_messages(g);
    if (e == OK) e = send_forgets(g);
    if (e == OK) e = send_writable(g);
    if (e == OK) e = send_values(g, DB_DELETE, "purge", day, 1);
    if (e == OK) e = send_values(g, DB_DELETE, "delete", day, ARRAY_LEN(day));
    if (e == OK) e = send_plain(g, "commit", 0, NULL);
    return e == OK ? db_pipe_sync(g->db) : e;
}

/* ---- the outcome ---- */

static enum err take_results(struct db_group *g, char ret_state[6]) {
    enum err first = OK;
    for (unsigned i = 0; i < g->n_sent; i++) {
        PGresult *r;
        const enum err e = db_pipe_next(g->db, &r);
        if (e == E_STORE && first == OK) {
            const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
            (void)snprintf(ret_state, 6, "%s", state != NULL ? state : "");
            first = db__fail(g->db, "commit", r);
        }
        PQclear(r);
        if (e == E_CLOSED) return e;
    }
    const enum err e = db_pipe_end(g->db);
    return e == OK ? first : e;
}

static enum err roll_back(struct db_group *g) {
    char ignored[6];
    const struct store_problem kept = *g->db->problem;
    g->n_sent = 0;
    enum err e = send_plain(g, "rollback", 0, NULL);
    if (e == OK) e = db_pipe_sync(g->db);
    if (e == OK) e = take_results(g, ignored);
    *g->db->problem = kept;
    return e;
}

enum err db_group_write(struct db_group *g, struct db *db, struct db_group_row row,
                        struct db_change *const *changes, unsigned n, char ret_state[6]) {
    g->db = db;
    g->changes = changes;
    g->n = n;
    g->n_sent = 0;
    enum err e = send_all(g, row);
    if (e == OK) e = take_results(g, ret_state);
    if (e == E_STORE && roll_back(g) != OK) return E_CLOSED;
    return e == E_NO_MEMORY ? E_CLOSED : e; /* some of it was sent: only a new connection helps */
}
