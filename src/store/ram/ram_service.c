/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ram_service.c -- service clients: their records, who serves them, what waits for them. */
#include <stdlib.h>

#include "base/rd.h"
#include "crypto/base64.h"
#include "store/ram/ram_priv.h"
#include "store/service_table.h"

enum { DAY_S = 86400 };

/* ---- records ---- */

/* A chain as the log has it: base64url of each certificate, commas between them. */
static enum err chain_text(struct bytes chain, struct wr *w) {
    struct rd r = rd_init(chain);
    const unsigned n = rd_list(&r);
    for (unsigned i = 0; i < n && rd_err(&r) == OK; i++) {
        if (i != 0) wr_u8(w, ',');
        base64url_write(rd_large(&r), w);
    }
    return rd_err(&r) != OK ? rd_err(&r) : wr_err(w);
}

/* Room for the line of a new service. */
struct service_text {
    uint8_t cert[RECORD_CERT_MAX];
    char hash[BASE64_LEN(SHA256_LEN) + 1];
    uint8_t line[RECORD_LINE_MAX];
};

static enum err write_line(const struct service_rec *rec, struct service_text *t,
                           struct bytes *ret) {
    struct wr cert = wr_init(t->cert, sizeof t->cert);
    const enum err e = chain_text(rec->cert_chain, &cert);
    if (e != OK) return e;
    base64url_encode(bytes_of(rec->cert_hash, SHA256_LEN), t->hash);
    const struct record r = {
        .tag = RECORD_NEW_SERVICE,
        .has_service = true,
        .service_id = rec->id,
        .role = (char)rec->role,
        .cert = wr_bytes(&cert),
        .cert_hash = bytes_str(t->hash),
        .created_at_s = rec->created_at_s / DAY_S * DAY_S,
    };
    struct wr line = wr_init(t->line, sizeof t->line);
    record_write(&r, &line);
    *ret = wr_bytes(&line);
    return wr_err(&line);
}

/* The table's mutex is held, so that one certificate does not get two records. */
static enum err create_locked(struct ram_store *m, const struct service_rec *rec,
                              struct service **ret) {
    if (queue_table_services(m->table)->n >= SERVICES_MAX) return E_LIMIT;
    struct service_text *t = malloc(sizeof *t);
    if (t == NULL) return E_NO_MEMORY;
    struct bytes line = {0};
    enum err e = m->log != NULL ? write_line(rec, t, &line) : OK;
    if (e == OK) e = service_table_add(queue_table_services(m->table), rec, line, ret);
    free(t);
    return e;
}

/* What a full disk refused is tried again when the service comes back. */
static enum err log_locked(struct ram_store *m, struct service *svc) {
    if (svc->is_logged || m->log == NULL) return OK;
    const struct queue_log_of of = {NULL, true};
    const enum err e = ram_log_line(m, &of, bytes_of(svc->line, svc->n_line), &svc->lsn);
    svc->is_logged = e == OK;
    return e;
}

enum err ram_service_open(struct store *s, const struct service_rec *rec, bool may_create,
                          struct service **ret, lsn_t *ret_lsn) {
    struct ram_store *m = ram_of(s);
    struct service_table *t = queue_table_services(m->table);
    lock_take(&t->mtx);
    struct service *svc = service_table_by_cert(t, rec->cert_hash);
    enum err e = OK;
    if (svc == NULL) e = may_create ? create_locked(m, rec, &svc) : E_NOT_FOUND;
    if (e == OK && svc->role != rec->role) e = E_SERVICE;
    if (e == OK) e = log_locked(m, svc);
    if (e == OK) {
        *ret = svc;
        *ret_lsn = svc->lsn;
    }
    lock_give(&t->mtx);
    return e;
}

/* ---- the log ---- */

static enum err hash_from_text(struct bytes text, uint8_t ret[SHA256_LEN]) {
    size_t n = 0;
    const enum err e = base64url_decode(text, ret, SHA256_LEN, &n);
    return e == OK && n == SHA256_LEN ? OK : E_SYNTAX;
}

enum err ram_service_load(struct ram_store *m, const struct record *r, struct bytes line) {
    struct service_table *t = queue_table_services(m->table);
    struct service_rec rec = {
        .id = r->service_id,
        .role = (enum service_role)r->role,
        .created_at_s = r->created_at_s,
    };
    struct service *svc;
    enum err e = hash_from_text(r->cert_hash, rec.cert_hash);
    if (e != OK) return e;
    lock_take(&t->mtx);
    e = service_table_by_cert(t, rec.cert_hash) != NULL ? E_EXISTS
                                                        : service_table_add(t, &rec, line, &svc);
    if (e == OK) svc->is_logged = true;
    lock_give(&t->mtx);
    return e;
}

enum err ram_service_find(struct ram_store *m, const struct record *r, struct service **ret) {
    *ret = NULL;
    return r->has_service ? service_table_need(queue_table_services(m->table), &r->service_id, ret)
                          : OK;
}

enum err ram_service_each_line(struct ram_store *m, enum err (*line)(void *ctx, struct bytes text),
                               void *ctx) {
    const struct service_table *t = queue_table_services(m->table);
    enum err e = OK;
    for (const struct service *svc = t->first; svc != NULL && e == OK; svc = svc->next) {
        if (svc->line != NULL && svc->is_logged) e = line(ctx, bytes_of(svc->line, svc->n_line));
    }
    return e;
}

/* ---- serving ---- */

void ram_service_subscribe(struct store *s, struct service *svc, enum sub_party party,
                           struct subscriber sub, struct subscriber *ret_prev,
                           struct ids_sum *ret_sum) {
    (void)s;
    *ret_prev = service_take(svc, sub, party, ret_sum);
}

bool ram_service_is_subscribed(struct store *s, struct service *svc, struct subscriber sub) {
    (void)s;
    return subscriber_equal(service_subscriber(svc), sub);
}

void ram_service_unsubscribe(struct store *s, struct service *svc, struct subscriber sub) {
    (void)s;
    service_leave(svc, sub);
}

struct service_scan {
    const struct service *service;
    enum sub_party party;
    void (*found)(struct queue *q, void *ctx);
    void *ctx;
};

/* Under the queue's lock. */
static void visit(struct queue *q, void *ctx) {
    const struct service_scan *scan = ctx;
    const struct notifier_entry *n = queue_notifier_of(q);
    const bool is_found = scan->party == SUB_RECIPIENT
                              ? queue_rcv_service(q) == scan->service && q->head != NULL
                              : n != NULL && n->service == scan->service && n->head != NULL;
    if (is_found) scan->found(q, scan->ctx);
}

bool ram_service_scan(struct store *s, struct service *svc, enum sub_party party,
                      struct store_cursor *c, unsigned max_queues,
                      void (*found)(struct queue *q, void *ctx), void *ctx) {
    struct service_scan scan = {svc, party, found, ctx};
    return queue_table_scan(ram_of(s)->table, c, max_queues, visit, &scan);
}
