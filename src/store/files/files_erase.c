/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_erase.c -- nothing of a deleted queue stays in the store log, nor what a living one had
 * before, and copies of it that are kept for the operator are kept for a time (ADR 19). The journal
 * does the same for itself (store/disk/journal_erase.c). All but the noting runs on the compactor's
 * thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "store/files/files_priv.h"

enum { COPIES_LOOK_MS = 3600 * 1000 };

/* ---- what is to be erased ---- */

void files_erase_init(struct deleted *d) {
    lock_init(&d->mtx, LOCK_DELETED);
}

void files_erase_done(struct deleted *d) {
    free(d->gone.v);
    free(d->replaced.v);
    lock_done(&d->mtx);
}

static enum err add(struct id_list *l, const struct id *id) {
    if (l->n == l->cap) {
        const size_t cap = l->cap != 0 ? 2 * l->cap : 64;
        struct id *p = realloc(l->v, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        l->v = p;
        l->cap = cap;
    }
    l->v[l->n++] = *id;
    return OK;
}

static void note(struct files_store *m, struct id_list *l, const struct id *rcv_id) {
    struct deleted *d = &m->deleted;
    if (m->o.erase_ms == 0) return;
    lock_take(&d->mtx);
    if (add(l, rcv_id) != OK) d->is_incomplete = true;
    lock_give(&d->mtx);
}

void files_note_deleted(struct files_store *m, const struct id *rcv_id) {
    note(m, &m->deleted.gone, rcv_id);
}

/* Does the queue have what this record takes away or puts something else in the place of? */
static bool replaces(const struct queue *q, const struct record *r) {
    const struct notifier_entry *n = queue_notifier_of(q);
    switch (r->tag) {
    case RECORD_KEYS:
    case RECORD_LDELETE:
    case RECORD_NDELETE:
    case RECORD_UNBLOCK:
        return true;
    case RECORD_LINK:
        return queue_link(q) != NULL;
    case RECORD_NOTIFIER:
        return n != NULL;
    case RECORD_BLOCK:
        return q->extra != NULL && q->extra->block != NULL;
    case RECORD_QUEUE_SERVICE:
        return r->party == 'N' ? n != NULL && n->service != NULL
                               : q->extra != NULL && q->extra->rcv_service != NULL;
    case RECORD_CREATE:
    case RECORD_SECURE: /* once in a queue's life */
    case RECORD_SUSPEND:
    case RECORD_DELETE: /* is noted by itself */
    case RECORD_TIME:
    case RECORD_NEW_SERVICE:
    case N_RECORD_TAGS:
        break;
    }
    return false;
}

void files_note_replaced(struct files_store *m, const struct queue *q, const struct record *r) {
    if (replaces(q, r)) note(m, &m->deleted.replaced, queue_rcv_id(q));
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

/* ---- what a living queue had before ---- */

/* All that it has now in one line more, which makes those before it superfluous; to readers it is a
 * queue that is there already. */
static enum err log_anew(struct files_store *m, const struct id *rcv_id, uint8_t *buf) {
    struct queue *q = queue_table_find(m->base.table, ID_RECIPIENT, rcv_id);
    struct bytes line;
    lsn_t lsn;
    if (q == NULL) return OK; /* deleted since: noted as such */
    enum err e = store__lock_live(&m->base, q);
    if (e == OK) {
        const struct store_log_of of = {&q->log_mark, true, NULL};
        e = files_queue_line(q, buf, &line);
        if (e == OK) e = files_log_line(m, &of, line, &lsn);
        store__unlock(&m->base, q);
    } else {
        e = OK;
    }
    queue_unref(q);
    return e;
}

static enum err log_all_anew(struct files_store *m, const struct id_list *ids) {
    uint8_t *buf = ids->n != 0 ? malloc(RECORD_LINE_MAX) : NULL;
    enum err e = ids->n == 0 || buf != NULL ? OK : E_NO_MEMORY;
    for (size_t i = 0; i < ids->n && e == OK; i++) {
        if (i != 0 && id_equal(&ids->v[i], &ids->v[i - 1])) continue;
        e = log_anew(m, &ids->v[i], buf);
    }
    if (buf != NULL) crypto_wipe(buf, RECORD_LINE_MAX);
    free(buf);
    return e;
}

/* ---- lines ---- */

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct id));
}

static void sort(struct id_list *l) {
    if (l->n > 1) qsort(l->v, l->n, sizeof *l->v, compare_ids);
}

static enum store_log_life find_dead(void *ctx, struct bytes line, size_t *ret_which) {
    const struct id_list *ids = ctx;
    enum record_tag tag;
    struct id id;
    if (!record_queue_of(line, &id, &tag)) return LIFE_OF_OTHERS;
    const struct id *found = bsearch(&id, ids->v, ids->n, sizeof *ids->v, compare_ids);
    if (found == NULL) return LIFE_OF_OTHERS;
    *ret_which = (size_t)(found - ids->v);
    return tag == RECORD_CREATE ? LIFE_BEGINS : tag == RECORD_DELETE ? LIFE_ENDS : LIFE_GOES_ON;
}

static enum err add_all(struct id_list *l, const struct id_list *ids) {
    enum err e = OK;
    for (size_t i = 0; i < ids->n && e == OK; i++) e = add(l, &ids->v[i]);
    return e;
}

/* Takes over what was noted. */
static void take(struct deleted *d, struct id_list *ret_gone, struct id_list *ret_replaced) {
    lock_take(&d->mtx);
    *ret_gone = d->gone;
    *ret_replaced = d->replaced;
    d->gone = d->replaced = (struct id_list){0};
    lock_give(&d->mtx);
}

static void put_back(struct deleted *d, const struct id_list *gone,
                     const struct id_list *replaced) {
    lock_take(&d->mtx);
    if (add_all(&d->gone, gone) != OK || add_all(&d->replaced, replaced) != OK)
        d->is_incomplete = true;
    lock_give(&d->mtx);
}

static enum err erase_all(struct files_store *m, const struct id_list *gone,
                          struct id_list *replaced) {
    struct id_list all = {0};
    sort(replaced);
    enum err e = log_all_anew(m, replaced);
    if (e == OK) e = add_all(&all, gone);
    if (e == OK) e = add_all(&all, replaced);
    sort(&all);
    const struct store_log_dead dead = {all.n, find_dead, &all};
    if (e == OK) e = store_log_erase(m->log, &dead);
    free(all.v);
    return e;
}

void files_erase(struct files_store *m) {
    struct id_list gone, replaced;
    take(&m->deleted, &gone, &replaced);
    const enum err e = gone.n + replaced.n != 0 ? erase_all(m, &gone, &replaced) : OK;
    if (e != OK) {
        if (e != E_STORE) /* then changes are refused, which has been said */
            log_line(LOG_WARN, "store-log-not-erased", "path=%s error=\"%s\"", m->o.store_log,
                     err_reason(e));
        put_back(&m->deleted, &gone, &replaced);
    }
    free(gone.v);
    free(replaced.v);
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
