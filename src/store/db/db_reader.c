/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_reader.c -- threads that look up what is not loaded: queues, and the bodies of messages.
 *
 * A reader takes all that waits, up to a limit, and asks the database once. What is left undecided
 * is asked again. Without a database it tries again and who asked waits; when that takes longer
 * than patience_ms, they are answered E_CLOSED. */
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

/* Who asked for queues: told when all of its finds are answered. */
struct db_finding {
    struct store_waiter *waiter; /* borrowed */
    _Atomic size_t n_left;       /* acq_rel: the last one tells */
    struct db_find finds[];
};

/* Who asked for the next message of a queue. */
struct db_body {
    struct db_body *next;
    struct store_next *asked;    /* borrowed */
    struct store_waiter *waiter; /* likewise */
    struct message *message;     /* counted; without its body */
    uint64_t message_id;
};

/* Who asked for what waits for a service. */
struct db_scan {
    struct db_scan *next;
    struct store_scan *asked;    /* borrowed */
    struct store_waiter *waiter; /* likewise */
};

struct reader {
    struct db_store *store;
    struct db_finder *finder; /* owned */
    struct db *db;            /* owned; NULL: no connection */
    struct store_problem problem;
    struct db_array ids;
    struct db_find *finds[DB_FIND_MAX];
    struct db_body *bodies[DB_BODIES_MAX];
    unsigned n_finds, n_bodies;
    struct db_scan *scan; /* NULL: none */
    unsigned pause_ms;
};

/* ---- what waits ---- */

/* False, and nothing is put: at a stop. */
static bool put_finds(struct db_readers *rs, struct db_find *const *finds, size_t n) {
    lock_take(&rs->mtx);
    const bool may = !rs->stopping;
    for (size_t i = 0; i < n && may; i++) {
        finds[i]->next = NULL;
        *rs->finds_end = finds[i];
        rs->finds_end = &finds[i]->next;
    }
    lock_wake(&rs->cond);
    lock_give(&rs->mtx);
    return may;
}

static bool put_body(struct db_readers *rs, struct db_body *b) {
    lock_take(&rs->mtx);
    const bool may = !rs->stopping;
    b->next = NULL;
    if (may) {
        *rs->bodies_end = b;
        rs->bodies_end = &b->next;
    }
    lock_wake(&rs->cond);
    lock_give(&rs->mtx);
    return may;
}

static bool has_work(const struct reader *r) {
    return r->n_finds != 0 || r->n_bodies != 0 || r->scan != NULL;
}

static void take_some(struct reader *r, struct db_readers *rs) {
    for (r->n_finds = 0; rs->finds != NULL && r->n_finds < DB_FIND_MAX; r->n_finds++) {
        r->finds[r->n_finds] = rs->finds;
        rs->finds = rs->finds->next;
    }
    if (rs->finds == NULL) rs->finds_end = &rs->finds;
    for (r->n_bodies = 0; rs->bodies != NULL && r->n_bodies < DB_BODIES_MAX; r->n_bodies++) {
        r->bodies[r->n_bodies] = rs->bodies;
        rs->bodies = rs->bodies->next;
    }
    if (rs->bodies == NULL) rs->bodies_end = &rs->bodies;
    r->scan = rs->scans;
    if (r->scan != NULL) rs->scans = r->scan->next;
    if (rs->scans == NULL) rs->scans_end = &rs->scans;
}

/* False: the end. */
static bool take(struct reader *r) {
    struct db_readers *rs = &r->store->readers;
    lock_take(&rs->mtx);
    while (rs->finds == NULL && rs->bodies == NULL && rs->scans == NULL && !rs->stopping)
        lock_wait(&rs->cond, &rs->mtx);
    take_some(r, rs);
    const bool more = !rs->stopping || has_work(r);
    lock_give(&rs->mtx);
    return more;
}

static bool is_stopping(struct db_readers *rs) {
    lock_take(&rs->mtx);
    const bool is = rs->stopping;
    lock_give(&rs->mtx);
    return is;
}

/* ---- answering ---- */

static void find_answered(struct db_find *find) {
    struct db_finding *of = find->of;
    if (atomic_fetch_sub_explicit(&of->n_left, 1, memory_order_acq_rel) != 1) return;
    struct store_waiter *w = of->waiter;
    free(of);
    w->ready(w);
}

static void body_answered(struct db_body *owned) {
    struct store_waiter *w = owned->waiter;
    free(owned);
    w->ready(w);
}

static void refuse_body(struct db_body *owned, enum err e) {
    message_unref(owned->message);
    owned->asked->ret_message = NULL;
    owned->asked->ret_err = e;
    body_answered(owned);
}

static void scan_answered(struct db_scan *owned) {
    struct store_waiter *w = owned->waiter;
    free(owned);
    w->ready(w);
}

static void refuse_scan(struct db_scan *owned, enum err e) {
    if (owned == NULL) return;
    owned->asked->ret_found = NULL;
    owned->asked->ret_more = false;
    owned->asked->ret_err = e;
    scan_answered(owned);
}

static void refuse_all(struct reader *r, enum err e) {
    for (unsigned i = 0; i < r->n_finds; i++) {
        r->finds[i]->lookup->ret_queue = NULL;
        r->finds[i]->lookup->ret_err = e;
        find_answered(r->finds[i]);
    }
    for (unsigned i = 0; i < r->n_bodies; i++) refuse_body(r->bodies[i], e);
    r->n_finds = r->n_bodies = 0;
    refuse_scan(STEAL(r->scan), e);
}

/* ---- finding ---- */

static void rest_ms(unsigned ms) {
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&t, NULL);
}

static enum err find_queues(struct reader *r) {
    struct db_find *again[DB_FIND_MAX];
    unsigned n_again = 0;
    const enum err e = db_find_all(r->finder, r->db, r->finds, r->n_finds);
    if (e != OK) return e;
    for (unsigned i = 0; i < r->n_finds; i++) {
        if (r->finds[i]->is_answered) {
            find_answered(r->finds[i]);
        } else {
            again[n_again++] = r->finds[i];
        }
    }
    r->n_finds = 0;
    if (n_again != 0) {
        rest_ms(1); /* what was in the way is on its way out */
        if (!put_finds(&r->store->readers, again, n_again)) {
            memcpy(r->finds, again, n_again * sizeof again[0]);
            r->n_finds = n_again;
            refuse_all(r, E_STORE);
        }
    }
    db_cache_trim(r->store);
    return OK;
}

/* What can be answered without its queue: one of several with the same id at most. */
static bool find_in_ram(struct db_store *m, struct store_lookup *l) {
    l->ret_queue = NULL;
    return db_find_in_ram(m, l);
}

bool db_load(struct store *s, struct store_lookup *lookups, size_t n, struct store_waiter *w) {
    struct db_store *m = db_of(s);
    size_t n_missing = 0;
    for (size_t i = 0; i < n; i++) {
        lookups[i].ret_err = find_in_ram(m, &lookups[i]) ? OK : E_PENDING;
        n_missing += lookups[i].ret_err == E_PENDING;
    }
    if (n_missing == 0) return true;
    struct db_finding *of = calloc(1, sizeof *of + n_missing * sizeof of->finds[0]);
    struct db_find **list = calloc(n_missing, sizeof *list);
    size_t at = 0;
    for (size_t i = 0; i < n && of != NULL && list != NULL; i++) {
        if (lookups[i].ret_err != E_PENDING) continue;
        of->finds[at] = (struct db_find){.lookup = &lookups[i], .of = of};
        list[at] = &of->finds[at];
        at++;
    }
    if (at == n_missing) {
        of->waiter = w;
        atomic_init(&of->n_left, n_missing);
        const bool put = put_finds(&m->readers, list, n_missing);
        free(list);
        if (put) return false;
        list = NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (lookups[i].ret_err == E_PENDING) lookups[i].ret_err = E_STORE;
    }
    free(of);
    free(list);
    return true;
}

/* ---- the next message ---- */

/* True: it is answered. False: its body is to be read. The body may be in RAM again, or the queue
 * have another oldest message by now. */
static bool begin_next(struct db_store *m, struct db_body *b) {
    struct store_next *n = b->asked;
    struct msg_entry head;
    n->ret_message = NULL;
    n->ret_err = store__lock_live(&m->base, n->queue);
    if (n->ret_err != OK) return true;
    struct message *msg = NULL;
    if (n->queue->head != NULL) {
        n->ret_err = store__entry_message(n->queue->head, &msg);
        head = *n->queue->head;
        b->message_id = head.place;
    }
    store__unlock(&m->base, n->queue);
    if (n->ret_err != OK || msg == NULL || message_has_body(msg)) {
        n->ret_message = msg;
        return true;
    }
    b->message = msg;
    return false;
}

bool db_msg_next(struct store *s, struct store_next *n, struct store_waiter *w) {
    struct db_store *m = db_of(s);
    if (store__next_in_ram(s, n)) return true;
    if (w == NULL) return false;
    struct db_body *b = calloc(1, sizeof *b);
    if (b == NULL) {
        n->ret_err = E_NO_MEMORY;
        return true;
    }
    b->asked = n;
    b->waiter = w;
    if (begin_next(m, b)) {
        free(b);
        return true;
    }
    if (put_body(&m->readers, b)) return false;
    message_unref(b->message);
    free(b);
    n->ret_err = E_STORE;
    return true;
}

static enum err ask_bodies(struct reader *r, PGresult **ret) {
    struct db_value ids;
    db_array_begin(&r->ids, DB_INT8);
    for (unsigned i = 0; i < r->n_bodies; i++) {
        uint8_t number[DB_NUMBER_LEN];
        db_array_add(&r->ids, db_number((int64_t)r->bodies[i]->message_id, number));
    }
    enum err e = db_array_end(&r->ids, &ids);
    if (e == OK) e = db_pipe_send(r->db, "bodies", 1, &ids);
    if (e == OK) e = db_pipe_sync(r->db);
    if (e == OK) e = db_pipe_next(r->db, ret);
    if (e == E_STORE) (void)db__fail(r->db, "read messages", *ret);
    return e == OK ? db_pipe_end(r->db) : e;
}

static const char *body_of(const PGresult *from, const struct db_body *b, size_t *ret_n) {
    for (int i = 0; i < PQntuples(from); i++) {
        if ((uint64_t)db_number_of(db_result_value(from, i, 0)) != b->message_id) continue;
        *ret_n = (size_t)PQgetlength(from, i, 1);
        return PQgetvalue(from, i, 1);
    }
    return NULL;
}

/* It has been received, or its queue deleted, since: then another message is the next. */
static void begin_again(struct reader *r, struct db_body *owned) {
    message_unref(owned->message);
    owned->message = NULL;
    if (begin_next(r->store, owned)) {
        body_answered(owned);
    } else if (!put_body(&r->store->readers, owned)) {
        refuse_body(owned, E_STORE);
    }
}

static void give_body(struct reader *r, struct db_body *owned, const char *text, size_t n) {
    uint8_t *body = n == owned->message->body_len ? malloc(n + 1) : NULL;
    if (body == NULL) {
        if (n != owned->message->body_len)
            log_line(LOG_ERROR, "message-unreadable", "reason=\"another length\"");
        refuse_body(owned, E_STORE);
        return;
    }
    (void)r;
    memcpy(body, text, n);
    message_set_body(owned->message, body);
    owned->asked->ret_message = owned->message;
    owned->asked->ret_err = OK;
    body_answered(owned);
}

static enum err read_bodies(struct reader *r) {
    PGresult *from = NULL;
    const enum err e = ask_bodies(r, &from);
    for (unsigned i = 0; i < r->n_bodies && e == OK; i++) {
        size_t n = 0;
        const char *text = body_of(from, r->bodies[i], &n);
        if (text != NULL) {
            give_body(r, r->bodies[i], text, n);
        } else {
            begin_again(r, r->bodies[i]);
        }
    }
    if (e == OK) r->n_bodies = 0;
    PQclear(from);
    return e;
}

/* ---- what waits for a service ---- */

bool db_scan_stored(struct db_store *m, struct store_scan *scan, struct store_waiter *w) {
    struct db_readers *rs = &m->readers;
    struct db_scan *s = malloc(sizeof *s);
    if (s == NULL) {
        scan->ret_found = NULL;
        scan->ret_more = false;
        scan->ret_err = E_NO_MEMORY;
        return true;
    }
    *s = (struct db_scan){.asked = scan, .waiter = w};
    lock_take(&rs->mtx);
    *rs->scans_end = s;
    rs->scans_end = &s->next;
    lock_wake(&rs->cond);
    lock_give(&rs->mtx);
    return false;
}

static enum err scan_some(struct reader *r) {
    const enum err e = db_scan_run(r->store, r->finder, r->db, r->scan->asked);
    if (e == OK) scan_answered(STEAL(r->scan));
    return e;
}

/* ---- the thread ---- */

/* Answers what was taken, or what of it can be: once more, later. */
static enum err work(struct reader *r) {
    enum err e = OK;
    if (r->db == NULL) {
        e = db_store_connect_for_clients(r->store, DB_FIND_STATEMENTS, N_DB_FIND_STATEMENTS, &r->db,
                                         &r->problem);
        if (e == OK) e = db_replay_check(r->store, r->db);
    }
    if (e == OK && r->n_finds != 0) e = find_queues(r);
    if (e == OK && r->n_bodies != 0) e = read_bodies(r);
    if (e == OK && r->scan != NULL) e = scan_some(r);
    return e;
}

static void wait_for_database(struct reader *r, int64_t began_ms) {
    struct db_store *m = r->store;
    struct db_outage *o = &m->readers.outage;
    if (r->problem.text[0] == '\0' && r->db != NULL) (void)db__fail(r->db, "look up", NULL);
    db_close(STEAL(r->db));
    db_outage_note(o, began_ms, r->problem.text);
    if (is_stopping(&m->readers)) {
        refuse_all(r, E_STORE);
    } else if (atomic_load(&m->is_lost) || db_outage_lasts(o, m->shared.env, m->o.patience_ms)) {
        refuse_all(r, E_CLOSED);
    } else {
        rest_ms(r->pause_ms);
    }
    r->pause_ms = r->pause_ms * 2 < DB_RETRY_MAX_MS ? r->pause_ms * 2 : DB_RETRY_MAX_MS;
}

static void run(void *ctx) {
    struct db_store *m = ctx;
    struct reader r = {.store = m, .pause_ms = DB_RETRY_MIN_MS};
    while (db_finder_new(m, &r.finder) != OK) rest_ms(DB_RETRY_MAX_MS);
    while (take(&r)) {
        while (has_work(&r)) {
            const int64_t began_ms = env_mono_ms(m->shared.env);
            r.problem.text[0] = '\0';
            if (work(&r) != OK) {
                wait_for_database(&r, began_ms);
                continue;
            }
            db_outage_over(&m->readers.outage, m->shared.env);
            r.pause_ms = DB_RETRY_MIN_MS;
        }
    }
    db_close(r.db);
    db_finder_free(r.finder);
    db_array_done(&r.ids);
}

/* ---- start and stop ---- */

void db_readers_init(struct db_store *m) {
    struct db_readers *rs = &m->readers;
    *rs = (struct db_readers){0};
    rs->finds_end = &rs->finds;
    rs->bodies_end = &rs->bodies;
    rs->scans_end = &rs->scans;
    lock_init(&rs->mtx, LOCK_DB_ASKED);
    lock_cond_init(&rs->cond);
    db_outage_init(&rs->outage, "look-ups", m->shown);
}

void db_readers_done(struct db_store *m) {
    db_outage_done(&m->readers.outage);
    lock_cond_done(&m->readers.cond);
    lock_done(&m->readers.mtx);
}

enum err db_readers_start(struct db_store *m) {
    enum err e = OK;
    for (unsigned i = 0; i < DB_N_READERS && e == OK; i++)
        e = thread_start(&m->readers.threads[i], "db-reader", run, m);
    return e;
}

void db_readers_stop(struct db_store *m) {
    lock_take(&m->readers.mtx);
    m->readers.stopping = true;
    lock_wake_all(&m->readers.cond);
    lock_give(&m->readers.mtx);
    for (unsigned i = 0; i < DB_N_READERS; i++) thread_join(&m->readers.threads[i]);
}
