/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_change.c -- what the store tells of changes becomes what the lane writes. A change holds its
 * queue, so that it is not evicted before it is written. */
#include <stdlib.h>

#include "base/day.h"
#include "base/log.h"
#include "store/db/db_store_priv.h"

void db_change_drop_line(struct db_change *c) {
    if (c->line != NULL) crypto_wipe(c->line, c->n_line);
    free(STEAL(c->line));
    c->n_line = 0;
}

void db_change_free(struct db_change *c) {
    if (c == NULL) return;
    queue_unref(c->queue);
    message_unref(c->message);
    db_change_drop_line(c);
    free(c);
}

/* A copy of the values. NULL: out of memory. */
static struct db_change *change_new(enum db_change_kind kind, struct queue *q,
                                    const struct db_value *values, unsigned n) {
    size_t n_bytes = sizeof(struct db_change) + n * sizeof values[0];
    for (unsigned i = 0; i < n; i++) n_bytes += values[i].is_null ? 0 : values[i].b.n;
    struct db_change *c = calloc(1, n_bytes);
    if (c == NULL) return NULL;
    uint8_t *at = (uint8_t *)(c->values + n);
    for (unsigned i = 0; i < n; i++) {
        c->values[i] = values[i];
        if (values[i].is_null || values[i].b.n == 0) continue;
        memcpy(at, values[i].b.p, values[i].b.n);
        c->values[i].b.p = at;
        at += values[i].b.n;
    }
    c->kind = kind;
    c->n_values = n;
    c->n_bytes = n_bytes;
    c->queue = q != NULL ? queue_ref(q) : NULL;
    if (q != NULL) c->rcv_id = *queue_rcv_id(q);
    return c;
}

/* Why a change cannot be taken: nothing is known of it, and who waits should come again. */
static enum err not_taken(enum err e) {
    return e == E_STORE ? E_CLOSED : e;
}

/* Takes the change in any case. r: of a record, for the store log; else NULL. */
static enum err append(struct db_store *m, struct db_change *owned, const struct record *r,
                       lsn_t *ret_lsn) {
    enum err e = owned != NULL ? OK : E_NO_MEMORY;
    if (e == OK && r != NULL) e = db_log_describe(m, owned, r);
    if (e == OK) e = commit_begin(m->commit, ret_lsn);
    if (e == OK) {
        owned->lsn = *ret_lsn;
        e = db_lane_append(&m->lane, owned);
        commit_end(m->commit);
    }
    if (e != OK) db_change_free(owned);
    return not_taken(e);
}

void db_change_nudge(struct db_store *m) {
    lsn_t lsn;
    if (append(m, change_new(DB_NUDGE, NULL, NULL, 0), NULL, &lsn) != OK)
        log_line(LOG_DEBUG, "database", "nudge=failed");
}

/* ---- records ---- */

/* A change of a record as a statement. Columns are those of the row that has this change alone
 * (DB_QUEUE_COLUMNS): $2 and so on. */
struct update {
    const char *sql;
    unsigned first, n; /* of those columns */
};

#define UPDATE(set)                                                                                \
    "UPDATE %s.msg_queues SET " set " WHERE recipient_id = $1 AND deleted_at IS NULL"

static const struct update UPDATES[N_RECORD_TAGS] = {
    [RECORD_LINK] = {UPDATE("link_id = $2, fixed_data = $3, user_data = $4"), 11, 3},
    [RECORD_LDELETE] = {UPDATE("link_id = NULL, fixed_data = NULL, user_data = NULL"), 0, 0},
    [RECORD_SECURE] = {UPDATE("sender_key = $2"), 4, 1},
    [RECORD_KEYS] = {UPDATE("recipient_keys = $2"), 1, 1},
    [RECORD_NOTIFIER] = {UPDATE("notifier_id = $2, notifier_key = $3, rcv_ntf_dh_secret = $4, "
                                "ntf_service_id = NULL"),
                         5, 3},
    [RECORD_NDELETE] = {UPDATE("notifier_id = NULL, notifier_key = NULL, rcv_ntf_dh_secret = NULL, "
                               "ntf_service_id = NULL"),
                        0, 0},
    [RECORD_SUSPEND] = {UPDATE("status = $2"), 8, 1},
    [RECORD_BLOCK] = {UPDATE("status = $2"), 8, 1},
    [RECORD_UNBLOCK] = {UPDATE("status = $2"), 8, 1},
};
static const struct update RCV_SERVICE = {UPDATE("rcv_service_id = $2"), 14, 1},
                           NTF_SERVICE = {UPDATE("ntf_service_id = $2"), 15, 1};

static const struct update *update_of(const struct record *r) {
    if (r->tag != RECORD_QUEUE_SERVICE) return &UPDATES[r->tag];
    return r->party == 'N' ? &NTF_SERVICE : &RCV_SERVICE;
}

/* The record as if it were that of a whole queue, which has what the change says. */
static struct record as_whole(const struct record *r, const struct pubkey *some_key) {
    struct record whole = *r;
    whole.status = r->tag == RECORD_SUSPEND ? RECORD_OFF
                   : r->tag == RECORD_BLOCK ? RECORD_BLOCKED
                                            : r->status;
    if (r->n_rcv_keys == 0) {
        whole.rcv_keys = some_key;
        whole.n_rcv_keys = 1;
    }
    if (r->tag == RECORD_QUEUE_SERVICE && r->party == 'N') {
        whole.has_notifier = true;
        whole.has_ntf_service = r->has_service;
        whole.ntf_service_id = r->service_id;
    }
    return whole;
}

static struct db_change *update_new(struct queue *q, const struct record *r,
                                    const struct db_value row[N_DB_QUEUE_COLUMNS]) {
    const struct update *u = update_of(r);
    struct db_value values[1 + N_DB_QUEUE_COLUMNS] = {db_value_of(id_bytes(queue_rcv_id(q)))};
    for (unsigned i = 0; i < u->n; i++) values[1 + i] = row[u->first + i];
    struct db_change *c = change_new(DB_UPDATE, q, values, 1 + u->n);
    if (c != NULL) c->sql = u->sql;
    return c;
}

static struct db_change *record_change(struct queue *q, const struct record *r) {
    static const struct pubkey some_key = {.type = KEY_X25519};
    struct db_row_buf *buf = malloc(sizeof *buf);
    struct record whole = as_whole(r, &some_key);
    struct db_value row[N_DB_QUEUE_COLUMNS];
    struct db_change *c = NULL;
    if (buf != NULL && db_queue_to_row(&whole, buf, row) == OK) {
        c = r->tag == RECORD_CREATE ? change_new(DB_CREATE, q, row, N_DB_QUEUE_COLUMNS)
                                    : update_new(q, r, row);
    }
    crypto_wipe(&whole, sizeof whole);
    if (buf != NULL) crypto_wipe(buf, sizeof *buf);
    free(buf);
    return c;
}

/* ---- figures ---- */

static void add(_Atomic int64_t *n, int64_t by) {
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

static int64_t link_bytes(const struct queue *q) {
    const struct link_entry *l = queue_link(q);
    return l != NULL ? l->data->n_fixed + l->data->n_user : 0;
}

static int64_t new_link_bytes(const struct record *r) {
    return r->has_link ? (int64_t)(r->link_fixed.n + r->link_user.n) : 0;
}

static int8_t more_notifiers(const struct queue *q, const struct record *r) {
    const bool had = queue_notifier_of(q) != NULL;
    if (r->tag == RECORD_CREATE) return r->has_notifier;
    if (r->tag == RECORD_NOTIFIER) return !had;
    return r->tag == RECORD_NDELETE || r->tag == RECORD_DELETE ? (int8_t)-had : 0;
}

/* What there is after the change. Under the queue's lock, before it is made. */
static void count(struct db_store *m, const struct queue *q, const struct record *r) {
    add(&m->n_notifiers, more_notifiers(q, r));
    switch (r->tag) {
    case RECORD_CREATE:
        add(&m->n_queues, 1);
        add(&m->cache.n_link_bytes, new_link_bytes(r));
        break;
    case RECORD_DELETE:
        add(&m->n_queues, -1);
        add(&m->cache.n_link_bytes, -link_bytes(q));
        add(&m->cache.n_entries, -(int64_t)q->n_messages);
        break;
    case RECORD_LINK:
    case RECORD_LDELETE:
        add(&m->cache.n_link_bytes, new_link_bytes(r) - link_bytes(q));
        break;
    default:
        break;
    }
}

/* ---- records ---- */

/* Nobody waits for the day of the last use. */
static enum err record_day(struct db_store *m, struct queue *q, const struct record *r) {
    uint8_t day[DB_NUMBER_LEN];
    const struct db_value values[] = {db_value_of(id_bytes(queue_rcv_id(q))),
                                      db_number(r->updated_at_s, day)};
    lsn_t lsn;
    return append(m, change_new(DB_DAY, q, values, ARRAY_LEN(values)), r, &lsn);
}

/* In the set of the deleted before anybody can look for it in the database. */
static enum err record_delete(struct db_store *m, struct queue *q, const struct record *r,
                              lsn_t *ret_lsn) {
    uint8_t day[DB_NUMBER_LEN];
    const int64_t today_s = env_now_s(m->shared.env) / DAY_S * DAY_S;
    const struct db_value values[] = {db_value_of(id_bytes(queue_rcv_id(q))),
                                      db_number(today_s, day)};
    struct db_change *c = change_new(DB_DELETE, q, values, ARRAY_LEN(values));
    if (c == NULL) return E_NO_MEMORY;
    c->in_deleted.id = *queue_rcv_id(q);
    c->n_notifiers = more_notifiers(q, r);
    lock_take(&m->deleted_mtx);
    enum err e = idmap_insert(&m->deleted, &c->in_deleted);
    lock_give(&m->deleted_mtx);
    if (e != OK) {
        db_change_free(c);
        return e == E_EXISTS ? E_STORE : e;
    }
    const struct id id = *queue_rcv_id(q);
    e = db_log_describe(m, c, r);
    if (e == OK) e = commit_begin(m->commit, ret_lsn);
    if (e == OK) {
        c->lsn = *ret_lsn;
        e = db_lane_append(&m->lane, c);
        commit_end(m->commit);
    }
    if (e == OK) return OK;
    lock_take(&m->deleted_mtx);
    (void)idmap_remove(&m->deleted, &id);
    lock_give(&m->deleted_mtx);
    db_change_free(c);
    return not_taken(e);
}

enum err db_record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn) {
    struct db_store *m = db_of(s);
    enum err e;
    *ret_lsn = 0;
    if (r->tag == RECORD_TIME) {
        e = record_day(m, q, r);
    } else if (r->tag == RECORD_DELETE) {
        e = record_delete(m, q, r, ret_lsn);
    } else {
        struct db_change *c = record_change(q, r);
        if (c != NULL) {
            c->tag = r->tag;
            c->n_notifiers = more_notifiers(q, r);
        }
        e = append(m, c, r, ret_lsn);
    }
    if (e == OK) count(m, q, r);
    return e;
}

/* ---- services ---- */

enum err db_service(struct store *s, struct service *svc, const struct service_rec *rec) {
    if (svc->is_logged) return OK;
    uint8_t day[DB_NUMBER_LEN];
    const char role = (char)rec->role;
    const struct db_value values[N_DB_SERVICE_COLUMNS] = {
        db_value_of(id_bytes(service_id(svc))),
        db_value_of(bytes_of(&role, 1)),
        db_value_of(rec->cert_chain),
        db_value_of(bytes_of(rec->cert_hash, SHA256_LEN)),
        db_number(rec->created_at_s / DAY_S * DAY_S, day),
    };
    struct db_change *c = change_new(DB_SERVICE, NULL, values, ARRAY_LEN(values));
    struct service_rec known = *rec;
    known.id = *service_id(svc);
    enum err e = c != NULL ? db_log_describe_service(db_of(s), c, &known) : OK;
    if (e == OK) {
        e = append(db_of(s), c, NULL, &svc->lsn);
    } else {
        db_change_free(c);
    }
    svc->is_logged = e == OK;
    return e;
}

/* ---- messages ---- */

enum err db_message(struct store *s, struct queue *q, struct message *msg, struct msg_entry *e) {
    struct db_store *m = db_of(s);
    struct db_change *c = change_new(DB_MESSAGE, q, NULL, 0);
    if (c == NULL) return E_NO_MEMORY;
    c->message = message_ref(msg);
    c->n_bytes += msg->body_len;
    c->sets_can_write = msg->is_quota;
    lsn_t lsn;
    enum err err = commit_begin(m->commit, &lsn);
    if (err == OK) {
        c->lsn = msg->lsn = lsn;
        e->place = c->message_id = db_lane_draw(&m->lane);
        err = e->place != 0 ? db_lane_append(&m->lane, c) : E_STORE;
        commit_end(m->commit);
    }
    if (err != OK) {
        db_change_free(c);
        return not_taken(err);
    }
    add(&m->cache.n_entries, 1);
    if (!msg->is_quota) body_cache_add(&m->bodies, q, msg, msg->lsn);
    return OK;
}

enum err db_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                   enum store_pace pace, lsn_t *ret_lsn) {
    (void)pace;
    struct db_store *m = db_of(s);
    struct db_change *c = change_new(DB_FORGET, q, NULL, 0);
    if (c == NULL) return E_NO_MEMORY;
    c->message_id = e->place;
    c->sets_can_write = c->can_write = q->refuses && q->n_messages == 1;
    const enum err err = append(m, c, NULL, ret_lsn);
    if (err == OK) add(&m->cache.n_entries, -1);
    return err;
}

/* ---- what was refused ---- */

static enum err record_nothing(struct store *s, struct queue *q, const struct record *r,
                               lsn_t *ret_lsn) {
    *ret_lsn = 0;
    count(db_of(s), q, r);
    return OK;
}

static void undo_message(struct db_store *m, const struct db_change *c) {
    queue_lock(m->base.table, c->queue);
    struct msg_entry *entry = queue_find_msg(c->queue, &c->message->id);
    if (entry != NULL) {
        queue_unlink(c->queue, entry);
        store__count_messages(&m->base, -1);
        add(&m->cache.n_entries, -1);
        if (entry->is_quota) c->queue->refuses = false;
    }
    queue_unlock(m->base.table, c->queue);
    msg_entry_free(entry);
}

/* The link id is another queue's, which was not loaded. */
static void undo_link(struct db_store *m, const struct db_change *c) {
    struct link_entry *gone = NULL;
    queue_lock(m->base.table, c->queue);
    const struct link_entry *l = queue_link(c->queue);
    if (c->queue->live && l != NULL && bytes_equal(id_bytes(&l->data->link_id), c->values[1].b)) {
        queue_changed(c->queue);
        add(&m->cache.n_link_bytes, -link_bytes(c->queue));
        gone = STEAL(c->queue->extra->link);
    }
    queue_unlock(m->base.table, c->queue);
    queue_table_remove_link(m->base.table, gone);
}

void db_change_undo(struct db_store *m, struct db_change *c) {
    if (c->kind == DB_CREATE) store__queue_undo(&m->base, c->queue, record_nothing);
    if (c->kind == DB_MESSAGE) undo_message(m, c);
    if (c->kind == DB_UPDATE && c->tag == RECORD_LINK) undo_link(m, c);
}
