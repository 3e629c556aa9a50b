/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* nothing.c -- the backend that keeps nothing (enable: off): what is loaded is all there is. */
#include "store/nothing.h"

#include <stdlib.h>

#include "store/service_table.h"
#include "store/store_priv.h"

static enum err start(struct store *s) {
    (void)s;
    return OK;
}

static enum err save(struct store *s, struct store_problem *ret_problem) {
    (void)s;
    (void)ret_problem;
    return OK;
}

static void nothing_close(struct store *s) {
    store__done(s);
    free(s);
}

static enum err record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn) {
    (void)s;
    (void)q;
    (void)r;
    *ret_lsn = 0;
    return OK;
}

static enum err service(struct store *s, struct service *svc, const struct service_rec *rec) {
    (void)s;
    (void)rec;
    svc->lsn = 0;
    return OK;
}

static enum err message(struct store *s, struct queue *q, struct message *m, struct msg_entry *e) {
    (void)s;
    (void)q;
    (void)e;
    m->lsn = 0;
    return OK;
}

static enum err forget(struct store *s, struct queue *q, const struct msg_entry *e,
                       enum store_pace pace, lsn_t *ret_lsn) {
    (void)pace;
    (void)s;
    (void)q;
    (void)e;
    *ret_lsn = 0;
    return OK;
}

static unsigned state(const struct store *s) {
    (void)s;
    return 0;
}

static enum err fate(const struct store *s, lsn_t lsn) {
    (void)s;
    (void)lsn;
    return E_PENDING; /* there is no such change */
}

static const struct store_ops NOTHING_OPS = {
    .start = start,
    .stop = save,
    .save = save,
    .close = nothing_close,
    .record = record,
    .service = service,
    .message = message,
    .forget = forget,
    .fate = fate,
    .load = store__load_at_once,
    .msg_next = store__next_at_once,
    .service_open = store__service_open_at_once,
    .service_scan = store__service_scan_at_once,
    .state = state,
};

enum err nothing_open(const struct store_opts *o, struct store **ret) {
    struct store *s = malloc(sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    const enum err e = store__init(s, &NOTHING_OPS, o);
    if (e == OK) {
        *ret = s;
    } else {
        nothing_close(s);
    }
    return e;
}
