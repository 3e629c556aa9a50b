/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_service.c -- the lines of service clients in the store log. */
#include <stdlib.h>

#include "crypto/base64.h"
#include "store/files/files_priv.h"
#include "store/service_table.h"
#include "store/text/service_line.h"

/* ---- records ---- */

/* The line of a service that has none yet. */
static enum err describe(const struct service_rec *rec, struct service *svc) {
    struct service_text *t = malloc(sizeof *t);
    if (t == NULL) return E_NO_MEMORY;
    struct service_rec known = *rec;
    known.id = *service_id(svc);
    struct bytes line;
    enum err e = service_line_write(&known, t, &line);
    if (e == OK) e = service_set_line(svc, line);
    free(t);
    return e;
}

enum err files_service(struct store *s, struct service *svc, const struct service_rec *rec) {
    if (svc->is_logged) return OK;
    const struct store_log_of of = {NULL, true, NULL};
    enum err e = svc->line == NULL ? describe(rec, svc) : OK;
    if (e != OK) return e;
    e = files_log_line(files_of(s), &of, bytes_of(svc->line, svc->n_line), &svc->lsn);
    svc->is_logged = e == OK;
    if (e == OK) svc->is_left_out = false;
    return e;
}

/* ---- the log ---- */

static enum err hash_from_text(struct bytes text, uint8_t ret[SHA256_LEN]) {
    size_t n = 0;
    const enum err e = base64url_decode(text, ret, SHA256_LEN, &n);
    return e == OK && n == SHA256_LEN ? OK : E_SYNTAX;
}

enum err files_service_load(struct files_store *m, const struct record *r, struct bytes line) {
    struct service_table *t = queue_table_services(m->base.table);
    struct service_rec rec = {
        .id = r->service_id,
        .role = (enum service_role)r->role,
        .created_at_s = r->created_at_s,
    };
    struct service *svc;
    enum err e = hash_from_text(r->cert_hash, rec.cert_hash);
    if (e != OK) return e;
    lock_take(&t->mtx);
    svc = service_table_by_cert(t, rec.cert_hash);
    if (svc != NULL && id_equal(service_id(svc), &rec.id)) {
        e = OK; /* it came back while the log was written anew */
    } else {
        e = svc != NULL ? E_EXISTS : service_table_add(t, &rec, &svc);
        if (e == OK) e = service_set_line(svc, line);
        if (e == OK) svc->is_logged = true;
    }
    lock_give(&t->mtx);
    return e;
}

enum err files_service_find(struct files_store *m, const struct record *r, struct service **ret) {
    *ret = NULL;
    return r->has_service
               ? service_table_need(queue_table_services(m->base.table), &r->service_id, ret)
               : OK;
}

enum err files_service_each_line(struct files_store *m,
                                 enum err (*line)(void *ctx, struct bytes text), void *ctx) {
    const struct service_table *t = queue_table_services(m->base.table);
    enum err e = OK;
    for (struct service *svc = t->first; svc != NULL && e == OK; svc = svc->next) {
        if (svc->line == NULL || !svc->is_logged) continue;
        if (svc->is_forgotten) {
            svc->is_left_out = true;
            svc->is_logged = false;
        } else {
            e = line(ctx, bytes_of(svc->line, svc->n_line));
        }
    }
    return e;
}
