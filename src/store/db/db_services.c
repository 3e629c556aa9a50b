/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_services.c -- services: all are in RAM from the start, with the sums over their queues, which
 * for the most part are not. */
#include <stdlib.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

static const struct db_statement STATEMENTS[] = {
    {"services", "SELECT service_id, service_role, service_cert_hash, created_at FROM %s.services "
                 "ORDER BY created_at, service_id"},
    {"rcv_sums", "SELECT rcv_service_id, count(*), "
                 "bit_xor(('x' || md5(recipient_id))::bit(128)) FROM %s.msg_queues "
                 "WHERE rcv_service_id IS NOT NULL AND deleted_at IS NULL GROUP BY 1"},
    {"ntf_sums", "SELECT ntf_service_id, count(*), "
                 "bit_xor(('x' || md5(notifier_id))::bit(128)) FROM %s.msg_queues "
                 "WHERE ntf_service_id IS NOT NULL AND deleted_at IS NULL GROUP BY 1"},
};
enum { BIT_HEAD_LEN = 4 }; /* of a bit string: its length in bits */

/* ---- at start ---- */

static enum err ask(struct db *db, const char *name, PGresult **ret) {
    enum err e = db_pipe_send(db, name, 0, NULL);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, ret);
    if (e != OK) return db__fail(db, "read the services", *ret);
    return db_pipe_end(db);
}

static enum err read_one(struct service_table *t, const PGresult *r, int at) {
    struct service_rec rec = {0};
    struct service *svc;
    const struct bytes role = db_result_value(r, at, 1).b, hash = db_result_value(r, at, 2).b;
    if (!id_from_bytes(db_result_value(r, at, 0).b, &rec.id) || role.n != 1 ||
        hash.n != SHA256_LEN) {
        log_line(LOG_ERROR, "database-row-unreadable", "table=services");
        return OK;
    }
    rec.role = (enum service_role)role.p[0];
    memcpy(rec.cert_hash, hash.p, SHA256_LEN);
    lock_take(&t->mtx);
    const enum err e = service_table_add(t, &rec, &svc);
    if (e == OK) {
        svc->is_logged = true;
        svc->used_s = db_number_of(db_result_value(r, at, 3));
    }
    lock_give(&t->mtx);
    return e;
}

static enum err read_sum(struct service_table *t, enum sub_party party, const PGresult *r, int at) {
    struct id id;
    struct service *svc;
    const struct bytes hash = db_result_value(r, at, 2).b;
    if (!id_from_bytes(db_result_value(r, at, 0).b, &id) || hash.n != BIT_HEAD_LEN + IDS_HASH_LEN)
        return E_STORE;
    const enum err e = service_table_need(t, &id, &svc);
    if (e != OK) return e;
    lock_take(&svc->mtx);
    svc->sums[party].n = db_number_of(db_result_value(r, at, 1));
    memcpy(svc->sums[party].hash, hash.p + BIT_HEAD_LEN, IDS_HASH_LEN);
    lock_give(&svc->mtx);
    return OK;
}

static enum err read_sums(struct service_table *t, struct db *db, enum sub_party party) {
    PGresult *r = NULL;
    enum err e = ask(db, party == SUB_RECIPIENT ? "rcv_sums" : "ntf_sums", &r);
    for (int i = 0; e == OK && i < PQntuples(r); i++) e = read_sum(t, party, r, i);
    PQclear(r);
    return e;
}

enum err db_services_read(struct db_store *m, struct db *db) {
    struct service_table *t = queue_table_services(m->base.table);
    PGresult *r = NULL;
    enum err e = db_pipe_open(db, STATEMENTS, ARRAY_LEN(STATEMENTS));
    if (e == OK) e = ask(db, "services", &r);
    for (int i = 0; e == OK && i < PQntuples(r); i++) e = read_one(t, r, i);
    PQclear(r);
    if (e == OK && t->n != 0) e = read_sums(t, db, SUB_RECIPIENT);
    if (e == OK && t->n != 0) e = read_sums(t, db, SUB_NOTIFIER);
    return e;
}

/* ---- forgetting ---- */

static const struct db_statement FORGET[] = {
    {"forget_service",
     "DELETE FROM %s.services s WHERE service_id = ANY($1::bytea[]) "
     "AND NOT EXISTS (SELECT FROM %s.msg_queues WHERE rcv_service_id = s.service_id) "
     "AND NOT EXISTS (SELECT FROM %s.msg_queues WHERE ntf_service_id = s.service_id) "
     "RETURNING service_id"},
};

/* Ids of those that are marked. */
static void list_forgotten(struct service_table *t, struct db_array *ids) {
    db_array_begin(ids, DB_BYTEA);
    lock_take(&t->mtx);
    for (const struct service *svc = t->first; svc != NULL; svc = svc->next) {
        if (svc->is_forgotten) db_array_add(ids, db_value_of(id_bytes(service_id(svc))));
    }
    lock_give(&t->mtx);
}

/* The rows of these are gone. */
static void note_gone(struct service_table *t, const PGresult *r) {
    for (int i = 0; i < PQntuples(r); i++) {
        struct service *svc;
        struct id id;
        if (!id_from_bytes(db_result_value(r, i, 0).b, &id) ||
            service_table_need(t, &id, &svc) != OK)
            continue;
        lock_take(&t->mtx);
        svc->is_logged = false;
        lock_give(&t->mtx);
    }
}

enum err db_services_forget(struct db_store *m, struct store_problem *ret_problem) {
    struct service_table *t = queue_table_services(m->base.table);
    const int64_t ttl_s = m->shared.expiry.service_ttl_s;
    if (ttl_s == 0) return OK;
    service_table_forget(t, env_now_s(m->shared.env) - ttl_s);
    if (service_table_n_forgotten(t) == 0) return OK;
    struct db *db = NULL;
    struct db_array ids = {0};
    struct db_value value;
    PGresult *r = NULL;
    list_forgotten(t, &ids);
    enum err e = db_array_end(&ids, &value);
    if (e == OK) e = db_store_connect(m, FORGET, ARRAY_LEN(FORGET), &db, ret_problem);
    if (e == OK) e = db_pipe_send(db, FORGET[0].name, 1, &value);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, &r);
    if (e == OK) note_gone(t, r);
    if (e != OK && db != NULL) e = db__fail(db, "forget services", r);
    PQclear(r);
    db_array_done(&ids);
    db_close(db);
    if (e == OK) service_table_sweep(t, true);
    return e;
}

/* ---- in use ---- */

/* Recipients: first what is loaded, then what the database has. Notifications are in RAM alone. */
bool db_service_scan(struct store *s, struct store_scan *scan, struct store_waiter *w) {
    if (scan->party == SUB_NOTIFIER || !db_scan_is_stored(&scan->cursor)) {
        store__service_scan(s, scan);
        if (scan->party == SUB_RECIPIENT && !scan->ret_more) {
            db_scan_begin_stored(&scan->cursor);
            scan->ret_more = true;
        }
        return true;
    }
    return db_scan_stored(db_of(s), scan, w);
}
