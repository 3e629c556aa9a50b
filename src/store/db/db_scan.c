/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_scan.c -- what waits for a service in the database: queues of its that have messages, a page
 * at a time in the order of their ids, are loaded as if somebody had looked for them. */
#include <stdlib.h>

#include "store/db/db_store_priv.h"

enum { PAGE_TRIES_MAX = 100 };

/* at[0]: the mark, which a scan of the table never has; at[1] to [3]: the last id. */
static const uint64_t STORED_MARK = UINT64_MAX;

bool db_scan_is_stored(const struct store_cursor *c) {
    return c->at[0] == STORED_MARK;
}

void db_scan_begin_stored(struct store_cursor *c) {
    *c = (struct store_cursor){{STORED_MARK, 0, 0, 0}};
}

_Static_assert(ID_LEN == 3 * sizeof(uint64_t), "an id fits in a cursor");

static struct id last_id(const struct store_cursor *c) {
    struct id id;
    memcpy(id.b, &c->at[1], ID_LEN);
    return id;
}

static void set_last(struct store_cursor *c, const struct id *id) {
    memcpy(&c->at[1], id->b, ID_LEN);
}

static enum err ask_page(struct db *db, const struct store_scan *scan, PGresult **ret) {
    const struct id last = last_id(&scan->cursor);
    const struct db_value values[] = {db_value_of(id_bytes(service_id(scan->service))),
                                      db_value_of(id_bytes(&last))};
    enum err e = db_pipe_send(db, "page", ARRAY_LEN(values), values);
    if (e == OK) e = db_pipe_sync(db);
    if (e == OK) e = db_pipe_next(db, ret);
    if (e == E_STORE) (void)db__fail(db, "look for what waits for a service", *ret);
    return e == OK ? db_pipe_end(db) : e;
}

/* Takes the reference. */
static enum err add_found(struct db_store *m, struct store_scan *scan, struct queue *owned) {
    queue_lock(m->base.table, owned);
    const bool is_due =
        owned->live && queue_rcv_service(owned) == scan->service && owned->head != NULL;
    queue_unlock(m->base.table, owned);
    struct store_found *f = is_due ? malloc(sizeof *f) : NULL;
    if (f == NULL) {
        queue_unref(owned);
        return is_due ? E_NO_MEMORY : OK;
    }
    *f = (struct store_found){.next = scan->ret_found, .queue = owned};
    scan->ret_found = f;
    return OK;
}

struct page {
    struct store_lookup lookups[DB_FIND_MAX];
    struct db_find finds[DB_FIND_MAX], *list[DB_FIND_MAX];
};

/* Loads them, and answers as long as that takes. */
static enum err load_page(struct db_finder *f, struct db *db, struct page *p, unsigned n) {
    unsigned n_open = n;
    enum err e = OK;
    for (unsigned i = 0; i < n; i++) p->list[i] = &p->finds[i];
    for (unsigned tries = 0; n_open != 0 && e == OK; tries++) {
        e = tries < PAGE_TRIES_MAX ? db_find_all(f, db, p->list, n_open) : E_STORE;
        unsigned n_still = 0;
        for (unsigned i = 0; i < n_open && e == OK; i++) {
            if (!p->list[i]->is_answered) p->list[n_still++] = p->list[i];
        }
        n_open = n_still;
    }
    return e;
}

static enum err take_page(struct db_store *m, struct store_scan *scan, struct page *p, unsigned n,
                          enum err e) {
    for (unsigned i = 0; i < n; i++) {
        struct store_lookup *l = &p->lookups[i];
        if (l->ret_queue != NULL && e == OK) e = add_found(m, scan, queue_ref(l->ret_queue));
        store_lookup_done(l);
    }
    return e;
}

static enum err load_some(struct db_store *m, struct db_finder *f, struct db *db,
                          struct store_scan *scan, const PGresult *ids, int first) {
    struct page *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    unsigned n = 0;
    struct id id;
    for (int i = first; i < PQntuples(ids) && n < DB_FIND_MAX; i++) {
        if (!id_from_bytes(db_result_value(ids, i, 0).b, &id)) continue;
        p->lookups[n] = (struct store_lookup){.kind = ID_RECIPIENT, .id = id};
        p->finds[n] = (struct db_find){.lookup = &p->lookups[n]};
        n++;
    }
    const enum err e = take_page(m, scan, p, n, load_page(f, db, p, n));
    free(p);
    return e;
}

enum err db_scan_run(struct db_store *m, struct db_finder *f, struct db *db,
                     struct store_scan *scan) {
    PGresult *ids = NULL;
    struct id id;
    scan->ret_found = NULL;
    scan->ret_err = OK;
    enum err e = ask_page(db, scan, &ids);
    const int n = e == OK ? PQntuples(ids) : 0;
    for (int i = 0; i < n && e == OK; i += DB_FIND_MAX) e = load_some(m, f, db, scan, ids, i);
    if (e == OK) {
        scan->ret_more = n == DB_SCAN_PAGE;
        if (n != 0 && id_from_bytes(db_result_value(ids, n - 1, 0).b, &id))
            set_last(&scan->cursor, &id);
    } else {
        store_scan_done(scan);
    }
    PQclear(ids);
    return e;
}
