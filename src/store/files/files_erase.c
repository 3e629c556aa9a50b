/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_erase.c -- nothing of a deleted queue stays in the store log, and copies of it that are
 * kept for the operator are kept for a time (ADR 19). The journal does the same for itself
 * (store/disk/journal_erase.c). All but the noting runs on the compactor's thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/files/files_priv.h"

enum { COPIES_LOOK_MS = 3600 * 1000 };

/* ---- lines of deleted queues ---- */

void files_erase_init(struct deleted *d) {
    lock_init(&d->mtx, LOCK_DELETED);
}

void files_erase_done(struct deleted *d) {
    free(d->v);
    lock_done(&d->mtx);
}

static enum err add(struct deleted *d, const struct id *id) {
    if (d->n == d->cap) {
        const size_t cap = d->cap != 0 ? 2 * d->cap : 64;
        struct id *p = realloc(d->v, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        d->v = p;
        d->cap = cap;
    }
    d->v[d->n++] = *id;
    return OK;
}

void files_note_deleted(struct files_store *m, const struct id *rcv_id) {
    struct deleted *d = &m->deleted;
    if (m->o.erase_ms == 0) return;
    lock_take(&d->mtx);
    if (add(d, rcv_id) != OK) d->is_incomplete = true;
    lock_give(&d->mtx);
}

bool files_must_rewrite(struct files_store *m) {
    lock_take(&m->deleted.mtx);
    const bool must = m->deleted.is_incomplete;
    lock_give(&m->deleted.mtx);
    return must;
}

void files_was_rewritten(struct files_store *m) {
    lock_take(&m->deleted.mtx);
    m->deleted.is_incomplete = false;
    lock_give(&m->deleted.mtx);
}

struct ids {
    struct id *v; /* sorted */
    size_t n;
};

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct id));
}

static bool find_dead(void *ctx, struct bytes line, size_t *ret_which, bool *ret_is_end) {
    const struct ids *ids = ctx;
    enum record_tag tag;
    struct id id;
    if (!record_queue_of(line, &id, &tag)) return false;
    const struct id *found = bsearch(&id, ids->v, ids->n, sizeof *ids->v, compare_ids);
    if (found == NULL) return false;
    *ret_which = (size_t)(found - ids->v);
    *ret_is_end = tag == RECORD_DELETE;
    return true;
}

static void put_back(struct deleted *d, const struct ids *ids) {
    lock_take(&d->mtx);
    for (size_t i = 0; i < ids->n; i++) {
        if (add(d, &ids->v[i]) == OK) continue;
        d->is_incomplete = true;
        break;
    }
    lock_give(&d->mtx);
}

void files_erase(struct files_store *m) {
    struct deleted *d = &m->deleted;
    lock_take(&d->mtx);
    struct ids ids = {STEAL(d->v), d->n};
    d->n = d->cap = 0;
    lock_give(&d->mtx);
    if (ids.n > 1) qsort(ids.v, ids.n, sizeof *ids.v, compare_ids);
    const struct store_log_dead dead = {ids.n, find_dead, &ids};
    const enum err e = ids.n != 0 ? store_log_erase(m->log, &dead) : OK;
    if (e != OK) {
        if (e != E_STORE) /* then changes are refused, which has been said */
            log_line(LOG_WARN, "store-log-not-erased", "path=%s error=\"%s\"", m->o.store_log,
                     err_reason(e));
        put_back(d, &ids);
    }
    free(ids.v);
}

/* ---- copies ---- */

/* Of a log that was set aside at the start, or before. */
static void remove_copy(const struct files_store *m, const char *path) {
    char copy[NEW_FILE_PATH_MAX];
    if (path == NULL) return;
    const int n = snprintf(copy, sizeof copy, "%s.bak", path);
    if (n < 0 || (size_t)n >= sizeof copy) return;
    const enum err e = store_log_remove_file(m->o.vfs, copy);
    if (e != OK)
        log_line(LOG_WARN, "copy-not-removed", "path=%s error=\"%s\"", copy, err_reason(e));
}

void files_look_after_copies(struct files_store *m) {
    struct deleted *d = &m->deleted;
    const int64_t now_ms = env_mono_ms(m->shared.env);
    if (m->o.copies_ttl_s == 0 || now_ms < d->copies_at_ms) return;
    if (d->copies_at_ms == 0) d->baks_at_ms = now_ms + m->o.copies_ttl_s * 1000;
    d->copies_at_ms = now_ms + COPIES_LOOK_MS;
    store_log_remove_copies(m->log);
    if (now_ms < d->baks_at_ms) return;
    d->baks_at_ms = INT64_MAX;
    remove_copy(m, m->o.store_log);
    remove_copy(m, m->o.messages_log);
    remove_copy(m, m->o.ntfs_log);
}
