/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_ntfs.c -- notifications out of their log, at start: their queues are loaded, many at a time,
 * and stay loaded while they wait. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/new_file.h"
#include "store/db/db_store_priv.h"
#include "store/disk/store_log.h"
#include "store/text/ntf_line.h"

enum { BATCH = DB_FIND_MAX };

/* What is not needed of a line is not kept. */
struct waiting {
    struct id notifier_id, msg_id;
    int64_t ts_s;
};

struct restorer {
    struct db_store *store;
    struct waiting waiting[BATCH];
    struct store_lookup lookups[BATCH];
    unsigned n;
    uint64_t n_unknown;
};

static enum err push(struct db_store *m, struct queue *q, const struct waiting *w) {
    enum err e = store__lock_live(&m->base, q);
    if (e != OK) return OK;
    struct notifier_entry *n = queue_notifier_of(q);
    if (n != NULL && id_equal(&n->rec.id, &w->notifier_id))
        e = store__ntf_push(&m->base, n, &w->msg_id, w->ts_s);
    store__unlock(&m->base, q);
    return e;
}

/* The queues of those that were read. E_STORE: it cannot be said now whether there are any. */
static enum err restore(struct restorer *x) {
    enum err e = OK;
    for (unsigned i = 0; i < x->n; i++)
        x->lookups[i] = (struct store_lookup){.kind = ID_NOTIFIER, .id = x->waiting[i].notifier_id};
    store_load_wait(&x->store->base, x->lookups, x->n);
    for (unsigned i = 0; i < x->n; i++) {
        struct store_lookup *l = &x->lookups[i];
        if (l->ret_err == E_AUTH) x->n_unknown++;
        if (l->ret_err != OK && l->ret_err != E_AUTH) e = E_STORE;
        if (l->ret_queue != NULL && e == OK) e = push(x->store, l->ret_queue, &x->waiting[i]);
        store_lookup_done(l);
    }
    x->n = 0;
    return e;
}

static enum err read_line(void *ctx, struct bytes text) {
    struct restorer *x = ctx;
    struct ntf_line line;
    const enum err e = ntf_line_parse(text, &line);
    if (e != OK) return e;
    x->waiting[x->n++] = (struct waiting){line.notifier_id, line.msg_id, line.ts_s};
    return x->n == BATCH ? restore(x) : OK;
}

/* It has done its duty. */
static enum err set_aside(const struct db_store *m, struct store_problem *ret_problem) {
    char aside[NEW_FILE_PATH_MAX];
    (void)snprintf(aside, sizeof aside, "%s.bak", m->o.ntfs_log);
    const enum err e = m->o.vfs->rename(m->o.vfs->ctx, m->o.ntfs_log, aside);
    if (e == OK || e == E_NOT_FOUND) return OK;
    (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot rename %s: %s",
                   m->o.ntfs_log, strerror(errno));
    return e;
}

enum err db_ntfs_restore(struct db_store *m, struct store_problem *ret_problem) {
    if (m->o.ntfs_log == NULL) return OK;
    const struct store_log_opts lo = {.env = m->shared.env,
                                      .vfs = m->o.vfs,
                                      .path = m->o.ntfs_log,
                                      .skip_warnings = true};
    struct store_log_stats stats = {0};
    struct store_log_problem problem = {0};
    struct restorer *x = calloc(1, sizeof *x);
    if (x == NULL) return E_NO_MEMORY;
    x->store = m;
    enum err e = store_log_read(&lo, read_line, x, &stats, &problem);
    if (e == OK && x->n != 0) e = restore(x);
    if (e == OK && x->n_unknown > 0)
        log_line(LOG_WARN, "notifications-skipped",
                 "count=%" PRIu64 " their notifiers do not exist", x->n_unknown);
    free(x);
    if (e == OK) return set_aside(m, ret_problem);
    (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot restore %s: %.300s",
                   m->o.ntfs_log, problem.text[0] != '\0' ? problem.text : err_meaning(e));
    return e;
}
