/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_ntf_log.c -- notifications out of their log, at start (docs/FORMATS.md, "Notifications
 * log"). */
#include <inttypes.h>

#include "base/log.h"
#include "store/files/files_priv.h"
#include "store/text/ntf_line.h"

struct restorer {
    struct files_store *store;
    uint64_t n, n_unknown;
};

/* Before the store is shared. */
static enum err restore_line(void *ctx, struct bytes text) {
    struct restorer *x = ctx;
    struct ntf_line line;
    enum err e = ntf_line_parse(text, &line);
    if (e != OK) return e;
    struct queue *q = queue_table_find(x->store->base.table, ID_NOTIFIER, &line.notifier_id);
    if (q == NULL) {
        x->n_unknown++;
        return OK;
    }
    e = store__ntf_push(&x->store->base, queue_notifier_of(q), &line.msg_id, line.ts_s);
    queue_unref(q);
    if (e == OK) x->n++;
    return e;
}

enum err files_restore_ntfs(struct files_store *m, struct saved_log *l,
                            struct store_problem *ret_problem) {
    struct restorer x = {.store = m};
    l->lost = "the notifications at its end";
    const enum err e = files_read_saved(m, l, restore_line, &x, ret_problem);
    if (x.n_unknown > 0) {
        log_line(LOG_WARN, "notifications-skipped",
                 "count=%" PRIu64 " their notifiers do not exist", x.n_unknown);
    }
    return e;
}
