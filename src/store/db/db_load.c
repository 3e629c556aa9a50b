/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_load.c -- rows of the database become records in RAM, with what is known of their messages.
 *
 * Two round trips: the rows of all that is looked for, one statement for each kind of id; then the
 * messages of those queues. Between them nothing of a queue that is not loaded can change: only we
 * change it, and what we change we load. Whether that has happened meanwhile is what `left` and the
 * set of the deleted tell, under the queue's lock. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "store/db/db_store_priv.h"
#include "store/queue_record.h"

enum { N_KINDS = ID_NOTIFIER + 1, TRIES_MAX = 200 };

#define FIND(column)                                                                               \
    "SELECT " DB_QUEUE_COLUMNS ", deleted_at IS NOT NULL FROM %s.msg_queues WHERE " column         \
    " = ANY($1::bytea[])"

const struct db_statement DB_FIND_STATEMENTS[] = {
    DB_LANE_STATEMENT,
    {"by_recipient", FIND("recipient_id")},
    {"by_sender", FIND("sender_id")},
    {"by_link", FIND("link_id")},
    {"by_notifier", FIND("notifier_id")},
    {"entries", "SELECT recipient_id, message_id, msg_id, msg_ts, msg_quota, msg_ntf_flag, "
                "octet_length(msg_body) FROM %s.messages WHERE recipient_id = ANY($1::bytea[]) "
                "ORDER BY recipient_id, message_id"},
    {"bodies", "SELECT message_id, msg_body FROM %s.messages WHERE message_id = ANY($1::bigint[])"},
    {"page", "SELECT recipient_id FROM %s.msg_queues q WHERE rcv_service_id = $1 "
             "AND deleted_at IS NULL AND recipient_id > $2 AND EXISTS "
             "(SELECT FROM %s.messages m WHERE m.recipient_id = q.recipient_id) "
             "ORDER BY recipient_id LIMIT 1000"},
};
const unsigned N_DB_FIND_STATEMENTS = ARRAY_LEN(DB_FIND_STATEMENTS);

static const char *const BY_KIND[N_KINDS] = {"by_recipient", "by_sender", "by_link", "by_notifier"};

/* What a row has become. */
enum fetched {
    FETCHED_OLD,     /* it may be: to be asked for again */
    FETCHED_HERE,    /* the queue is in RAM, from this row or from before */
    FETCHED_DELETED, /* there is no such queue any more */
    FETCHED_BAD,     /* it cannot be read */
};

struct row {
    enum queue_id_kind kind; /* by which it was looked for */
    const PGresult *from;    /* borrowed */
    int at;
    struct id rcv_id, id;
    enum fetched is;
    struct queue *queue;            /* counted, when it is here */
    struct msg_entry *first, *last; /* owned until the queue has them */
    unsigned n_entries;
};

struct db_finder {
    struct db_store *store;
    struct db_array ids;
    struct pubkey keys[RECORD_KEYS_MAX];
    uint32_t left[DB_STRIPES]; /* before it was asked */
    struct row rows[DB_FIND_MAX * 2];
    unsigned n_rows;
    PGresult *results[N_KINDS], *entries; /* owned */
};

enum err db_finder_new(struct db_store *m, struct db_finder **ret) {
    *ret = calloc(1, sizeof **ret);
    if (*ret != NULL) (*ret)->store = m;
    return *ret != NULL ? OK : E_NO_MEMORY;
}

void db_finder_free(struct db_finder *f) {
    if (f == NULL) return;
    db_array_done(&f->ids);
    free(f);
}

/* ---- in RAM ---- */

bool db_find_in_ram(struct db_store *m, struct store_lookup *l) {
    struct queue *q = queue_table_find_locked(m->base.table, l->kind, &l->id);
    if (q == NULL) return false;
    q->log_mark = 1;
    if (l->want != WANT_FREE) store__view(q, l->want, &l->ret_view);
    queue_unlock(m->base.table, q);
    l->ret_queue = q;
    l->ret_err = OK;
    return true;
}

/* ---- asking ---- */

static enum err ask_kind(struct db_finder *f, struct db *db, enum queue_id_kind kind,
                         struct db_find *const *finds, unsigned n, bool *ret_asked) {
    struct db_value ids;
    db_array_begin(&f->ids, DB_BYTEA);
    for (unsigned i = 0; i < n; i++) {
        const struct store_lookup *l = finds[i]->lookup;
        if (l->kind == kind) db_array_add(&f->ids, db_value_of(id_bytes(&l->id)));
    }
    *ret_asked = f->ids.n_elements != 0;
    if (!*ret_asked) return OK;
    const enum err e = db_array_end(&f->ids, &ids);
    return e == OK ? db_pipe_send(db, BY_KIND[kind], 1, &ids) : e;
}

static enum err take_result(struct db *db, PGresult **ret) {
    const enum err e = db_pipe_next(db, ret);
    if (e == E_STORE) (void)db__fail(db, "look up", *ret);
    return e;
}

static enum err ask_rows(struct db_finder *f, struct db *db, struct db_find *const *finds,
                         unsigned n) {
    bool asked[N_KINDS];
    enum err e = OK;
    for (unsigned k = 0; k < N_KINDS && e == OK; k++)
        e = ask_kind(f, db, (enum queue_id_kind)k, finds, n, &asked[k]);
    if (e == OK) e = db_pipe_sync(db);
    for (unsigned k = 0; k < N_KINDS && e == OK; k++) {
        if (asked[k]) e = take_result(db, &f->results[k]);
    }
    return e == OK ? db_pipe_end(db) : e;
}

static void note_rows(struct db_finder *f, enum queue_id_kind kind) {
    static const int id_column[N_KINDS] = {0, 3, 11, 5};
    const PGresult *from = f->results[kind];
    const int n = from != NULL ? PQntuples(from) : 0;
    for (int i = 0; i < n && f->n_rows < ARRAY_LEN(f->rows); i++) {
        struct row *r = &f->rows[f->n_rows];
        *r = (struct row){.kind = kind, .from = from, .at = i, .is = FETCHED_BAD};
        if (id_from_bytes(db_result_value(from, i, 0).b, &r->rcv_id) &&
            id_from_bytes(db_result_value(from, i, id_column[kind]).b, &r->id))
            f->n_rows++;
    }
}

/* ---- their messages ---- */

static bool is_deleted_row(const struct row *r) {
    return db_bool_of(db_result_value(r->from, r->at, N_DB_QUEUE_COLUMNS));
}

static enum err ask_entries(struct db_finder *f, struct db *db) {
    struct db_value ids;
    db_array_begin(&f->ids, DB_BYTEA);
    for (unsigned i = 0; i < f->n_rows; i++) {
        if (!is_deleted_row(&f->rows[i]))
            db_array_add(&f->ids, db_value_of(id_bytes(&f->rows[i].rcv_id)));
    }
    if (f->ids.n_elements == 0) return OK;
    enum err e = db_array_end(&f->ids, &ids);
    if (e == OK) e = db_pipe_send(db, "entries", 1, &ids);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = take_result(db, &f->entries);
    return e == OK ? db_pipe_end(db) : e;
}

static struct row *row_of(struct db_finder *f, struct bytes rcv_id) {
    for (unsigned i = 0; i < f->n_rows; i++) {
        if (bytes_equal(id_bytes(&f->rows[i].rcv_id), rcv_id)) return &f->rows[i];
    }
    return NULL;
}

/* NULL: out of memory, or it cannot be read. */
static struct msg_entry *read_entry(const PGresult *from, int at) {
    struct msg_entry *e = calloc(1, sizeof *e);
    if (e == NULL) return NULL;
    e->place = (uint64_t)db_number_of(db_result_value(from, at, 1));
    e->ts_s = (uint32_t)db_number_of(db_result_value(from, at, 3));
    e->is_quota = db_bool_of(db_result_value(from, at, 4));
    e->notification = db_bool_of(db_result_value(from, at, 5));
    const int64_t len = db_number_of(db_result_value(from, at, 6));
    e->body_len = (uint16_t)len;
    if (id_from_bytes(db_result_value(from, at, 2).b, &e->id) && len >= 0 && len <= UINT16_MAX)
        return e;
    free(e);
    return NULL;
}

static enum err read_entries(struct db_finder *f) {
    const int n = f->entries != NULL ? PQntuples(f->entries) : 0;
    struct row *r = NULL;
    for (int i = 0; i < n; i++) {
        const struct bytes rcv_id = db_result_value(f->entries, i, 0).b;
        if (r == NULL || !bytes_equal(id_bytes(&r->rcv_id), rcv_id)) r = row_of(f, rcv_id);
        struct msg_entry *e = r != NULL ? read_entry(f->entries, i) : NULL;
        if (e == NULL) return E_NO_MEMORY;
        if (r->first == NULL) r->first = e;
        if (r->last != NULL) r->last->next = e;
        r->last = e;
        r->n_entries++;
    }
    return OK;
}

/* ---- into RAM ---- */

struct admission {
    struct db_finder *finder;
    struct row *row;
};

static bool is_in_deleted(struct db_store *m, const struct id *rcv_id) {
    lock_take(&m->deleted_mtx);
    const bool is = idmap_find(&m->deleted, rcv_id) != NULL;
    lock_give(&m->deleted_mtx);
    return is;
}

/* Under the queue's lock: may it come in, and with what. E_PENDING: the row may be old. */
static enum err admit(struct queue *q, void *ctx) {
    struct admission *a = ctx;
    struct db_store *m = a->finder->store;
    struct row *r = a->row;
    const uint32_t left = atomic_load_explicit(&m->cache.left[q->stripe], memory_order_acquire);
    if (left != a->finder->left[q->stripe]) return E_PENDING;
    if (is_in_deleted(m, &r->rcv_id)) return E_NOT_FOUND;
    for (struct msg_entry *e; (e = r->first) != NULL;) {
        r->first = e->next;
        q->refuses = e->is_quota; /* of the last */
        queue_push(q, e);
    }
    q->log_mark = 1;
    const struct link_entry *l = queue_link(q);
    const int64_t n_link = l != NULL ? l->data->n_fixed + l->data->n_user : 0;
    atomic_fetch_add_explicit(&m->cache.n_entries, r->n_entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->cache.n_link_bytes, n_link, memory_order_relaxed);
    return OK;
}

static enum err add_queue(struct admission *a, const struct record *r) {
    const struct queue_admission admission = {admit, a, true};
    return queue_record_add(a->finder->store->base.table, r, admission, &a->row->queue);
}

/* Another row, or its creation, was faster: what is in RAM counts, if it is there yet. */
static void look_in_ram(struct db_finder *f, struct row *r) {
    struct queue_table *t = f->store->base.table;
    r->queue = queue_table_find_locked(t, ID_RECIPIENT, &r->rcv_id);
    if (r->queue != NULL) queue_unlock(t, r->queue);
    r->is = r->queue != NULL ? FETCHED_HERE : FETCHED_OLD;
}

static enum err load_row(struct db_finder *f, struct row *r) {
    struct db_value v[N_DB_QUEUE_COLUMNS];
    struct record rec;
    const char *column = "";
    if (is_deleted_row(r)) {
        r->is = FETCHED_DELETED;
        return OK;
    }
    for (int i = 0; i < N_DB_QUEUE_COLUMNS; i++) v[i] = db_result_value(r->from, r->at, i);
    if (db_queue_from_row(v, f->keys, &rec, &column) != OK) {
        log_line(LOG_ERROR, "database-row-unreadable", "table=msg_queues column=%s", column);
        return OK; /* FETCHED_BAD */
    }
    struct admission a = {f, r};
    const enum err e = add_queue(&a, &rec);
    crypto_wipe(&rec, sizeof rec);
    if (e == E_EXISTS) {
        look_in_ram(f, r);
        return OK;
    }
    r->is = e == OK ? FETCHED_HERE : e == E_NOT_FOUND ? FETCHED_DELETED : FETCHED_OLD;
    return e == E_NO_MEMORY ? e : OK;
}

/* ---- answering ---- */

static void answer_err(struct db_find *find, enum err e) {
    find->lookup->ret_queue = NULL;
    find->lookup->ret_err = e;
    find->is_answered = true;
}

static void answer_none(struct db_find *find) {
    answer_err(find, find->lookup->want == WANT_FREE ? OK : E_AUTH);
}

static struct row *find_row(struct db_finder *f, const struct store_lookup *l) {
    for (unsigned i = 0; i < f->n_rows; i++) {
        if (f->rows[i].kind == l->kind && id_equal(&f->rows[i].id, &l->id)) return &f->rows[i];
    }
    return NULL;
}

static void answer(struct db_finder *f, struct db_find *find) {
    const struct row *r = find_row(f, find->lookup);
    find->is_answered = db_find_in_ram(f->store, find->lookup);
    if (find->is_answered) return;
    if (r == NULL || r->is == FETCHED_HERE) {
        answer_none(find); /* it is not, or not any more: in RAM it has another id */
    } else if (r->is == FETCHED_DELETED) {
        answer_err(find, E_AUTH); /* and what was its id stays taken, until its row is gone */
    } else if (r->is == FETCHED_BAD || ++find->n_tries == TRIES_MAX) {
        answer_err(find, E_STORE);
    }
}

static void release(struct db_finder *f) {
    for (unsigned i = 0; i < f->n_rows; i++) {
        struct row *r = &f->rows[i];
        for (struct msg_entry *e; (e = r->first) != NULL; msg_entry_free(e)) r->first = e->next;
        queue_unref(r->queue);
    }
    for (unsigned k = 0; k < N_KINDS; k++) PQclear(STEAL(f->results[k]));
    PQclear(STEAL(f->entries));
    f->n_rows = 0;
}

enum err db_find_all(struct db_finder *f, struct db *db, struct db_find *const *finds, unsigned n) {
    for (unsigned i = 0; i < DB_STRIPES; i++)
        f->left[i] = atomic_load_explicit(&f->store->cache.left[i], memory_order_acquire);
    enum err e = ask_rows(f, db, finds, n);
    for (unsigned k = 0; k < N_KINDS && e == OK; k++) note_rows(f, (enum queue_id_kind)k);
    if (e == OK) e = ask_entries(f, db);
    if (e == OK) e = read_entries(f);
    for (unsigned i = 0; i < f->n_rows && e == OK; i++) e = load_row(f, &f->rows[i]);
    for (unsigned i = 0; i < n && e == OK; i++) answer(f, finds[i]);
    release(f);
    return e;
}
