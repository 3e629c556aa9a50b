/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_load.c -- the store log into RAM, and RAM into a compact log (docs/FORMATS.md
 * "Store log").
 *
 * A line that names a queue which is not there is no damage: the reference leaves such lines too.
 * They are counted and left out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/day.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "store/files/files_priv.h"
#include "store/queue_record.h"
#include "store/service_table.h"

/* ---- one record into the table ---- */

struct loader {
    struct files_store *store;
    struct record_scratch *scratch; /* owned */
    uint64_t n_unknown; /* lines for queues that are not there, or that are there already */
};

static enum err apply_create(struct loader *l, const struct record *r) {
    struct queue *q = NULL;
    const struct queue_admission nobody_asks = {0};
    const enum err e = queue_record_add(l->store->base.table, r, nobody_asks, &q);
    queue_unref(q);
    return e;
}

static enum err apply_link(struct loader *l, struct queue *q, const struct record *r) {
    struct queue_table *t = l->store->base.table;
    struct link_data *data = NULL;
    struct link_entry *entry = NULL;
    enum err e = queue_need_extra(q);
    if (e == OK) e = link_data_new(&r->link_id, r->link_fixed, r->link_user, &data);
    if (e == OK) {
        queue_table_remove_link(t, STEAL(q->extra->link));
        e = queue_table_add_link(t, q, data, &entry);
    }
    if (e == OK) q->extra->link = entry;
    link_data_unref(data);
    return e;
}

static enum err apply_notifier(struct loader *l, struct queue *q, const struct record *r) {
    struct queue_table *t = l->store->base.table;
    const struct queue_notifier rec = queue_record_notifier(r);
    struct notifier_entry *entry = NULL;
    enum err e = queue_need_extra(q);
    if (e != OK) return e;
    queue_table_remove_notifier(t, STEAL(q->extra->notifier));
    e = queue_table_add_notifier(t, q, &rec, &entry);
    if (e == OK) q->extra->notifier = entry;
    return e;
}

static enum err apply_keys(struct queue *q, const struct record *r) {
    struct keyset *keys;
    enum err e = keyset_new(r->rcv_keys, r->n_rcv_keys, &keys);
    if (e != OK) return e;
    e = queue_set_rcv_keys(q, keys);
    keyset_unref(keys);
    return e;
}

static enum err apply_block(struct queue *q, const struct record *r) {
    struct block_info *info;
    enum err e = queue_need_extra(q);
    if (e == OK) e = block_info_new(r->info, &info);
    if (e != OK) return e;
    block_info_unref(q->extra->block);
    q->extra->block = info;
    q->status = STATUS_BLOCKED;
    return OK;
}

static void apply_unblock(struct queue *q) {
    q->status = STATUS_ACTIVE;
    if (q->extra != NULL) block_info_unref(STEAL(q->extra->block));
}

static enum err apply_queue_service(struct loader *l, struct queue *q, const struct record *r) {
    struct service *svc;
    struct notifier_entry *n = queue_notifier_of(q);
    enum err e = files_service_find(l->store, r, &svc);
    if (e != OK) return e;
    if (r->party == 'N') {
        if (n == NULL) return E_NOT_FOUND;
        service_uncount(n->service, SUB_NOTIFIER, &n->rec.id);
        service_count(svc, SUB_NOTIFIER, &n->rec.id);
        n->service = svc;
        return OK;
    }
    e = queue_need_extra(q);
    if (e != OK) return e;
    service_uncount(q->extra->rcv_service, SUB_RECIPIENT, queue_rcv_id(q));
    service_count(svc, SUB_RECIPIENT, queue_rcv_id(q));
    q->extra->rcv_service = svc;
    return OK;
}

static void apply_delete(struct loader *l, struct queue *q) {
    queue_lock(l->store->base.table, q);
    q->live = false;
    store__unlock(&l->store->base, q);
    queue_table_remove(l->store->base.table, q);
}

/* A record about a queue that is there. */
static enum err apply_to_queue(struct loader *l, struct queue *q, const struct record *r) {
    switch (r->tag) {
    case RECORD_LINK:
        return apply_link(l, q, r);
    case RECORD_LDELETE:
        if (q->extra != NULL) queue_table_remove_link(l->store->base.table, STEAL(q->extra->link));
        return OK;
    case RECORD_SECURE:
        return queue_set_snd_key(q, &r->snd_key);
    case RECORD_KEYS:
        return apply_keys(q, r);
    case RECORD_NOTIFIER:
        return apply_notifier(l, q, r);
    case RECORD_NDELETE:
        if (q->extra != NULL)
            queue_table_remove_notifier(l->store->base.table, STEAL(q->extra->notifier));
        return OK;
    case RECORD_SUSPEND:
        q->status = STATUS_OFF;
        return OK;
    case RECORD_BLOCK:
        return apply_block(q, r);
    case RECORD_UNBLOCK:
        apply_unblock(q);
        return OK;
    case RECORD_DELETE:
        apply_delete(l, q);
        return OK;
    case RECORD_TIME:
        q->updated_day = (int32_t)(r->updated_at_s / DAY_S);
        return OK;
    case RECORD_QUEUE_SERVICE:
        return apply_queue_service(l, q, r);
    case RECORD_CREATE:
    case RECORD_NEW_SERVICE:
    case N_RECORD_TAGS:
        break;
    }
    return E_INTERNAL;
}

static enum err apply(struct loader *l, const struct record *r, struct bytes line) {
    if (r->tag == RECORD_CREATE) return apply_create(l, r);
    if (r->tag == RECORD_NEW_SERVICE) return files_service_load(l->store, r, line);
    struct queue *q = queue_table_find(l->store->base.table, ID_RECIPIENT, &r->rcv_id);
    if (q == NULL) return E_NOT_FOUND;
    const enum err e = apply_to_queue(l, q, r);
    queue_unref(q);
    return e;
}

/* A line that says all of a queue again (files_erase.c), and those before it are there still. */
static bool is_said_again(const struct loader *l, const struct record *r) {
    struct queue *q = r->tag == RECORD_CREATE
                          ? queue_table_find(l->store->base.table, ID_RECIPIENT, &r->rcv_id)
                          : NULL;
    const bool is = q != NULL && id_equal(queue_snd_id(q), &r->snd_id);
    queue_unref(q);
    return is;
}

static enum err load_line(void *ctx, struct bytes line) {
    struct loader *l = ctx;
    struct record r;
    enum err e = record_parse(line, l->scratch, &r);
    if (e != OK) return e;
    e = apply(l, &r, line);
    if (e == E_NOT_FOUND || e == E_EXISTS) {
        l->n_unknown += !is_said_again(l, &r);
        e = OK;
    }
    crypto_wipe(&r, sizeof r);
    return e;
}

/* ---- the whole table as a compact log ---- */

struct compaction {
    struct store_log_writer *writer;
    uint8_t *line; /* owned, RECORD_LINE_MAX */
    enum err err;
};

uint64_t files_n_log_lines(const struct files_store *m) {
    struct service_table *t = queue_table_services(m->base.table);
    lock_take(&t->mtx);
    const uint64_t n_services = t->n - t->n_forgotten;
    lock_give(&t->mtx);
    return queue_table_size(m->base.table) + n_services;
}

static struct record record_of(const struct queue *q, const struct pubkey *small_key) {
    const struct queue_extra *x = q->extra;
    struct record r = {
        .tag = RECORD_CREATE,
        .rcv_id = *queue_rcv_id(q),
        .snd_id = *queue_snd_id(q),
        .rcv_keys = x != NULL && x->rcv_keys != NULL ? x->rcv_keys->keys : small_key,
        .n_rcv_keys = x != NULL && x->rcv_keys != NULL ? x->rcv_keys->n : 1,
        .snd_key = queue_snd_key(q),
        .mode = (enum queue_mode)q->mode,
        .status = (enum record_status)q->status,
        .has_updated_at = q->updated_day != 0,
        .updated_at_s = (int64_t)q->updated_day * DAY_S,
    };
    memcpy(r.dh_secret, q->dh_secret, sizeof r.dh_secret);
    if (x == NULL) return r;
    if (x->link != NULL) {
        r.has_link = true;
        r.link_id = x->link->data->link_id;
        r.link_fixed = link_data_fixed(x->link->data);
        r.link_user = link_data_user(x->link->data);
    }
    if (x->notifier != NULL) {
        r.has_notifier = true;
        r.notifier = x->notifier->rec;
        r.has_ntf_service = x->notifier->service != NULL;
        if (r.has_ntf_service) r.ntf_service_id = *service_id(x->notifier->service);
    }
    if (x->block != NULL) r.info = bytes_of(x->block->text, x->block->n);
    r.has_service = x->rcv_service != NULL;
    if (r.has_service) r.service_id = *service_id(x->rcv_service);
    return r;
}

enum err files_queue_line(const struct queue *q, uint8_t *buf, struct bytes *ret) {
    const struct pubkey small_key = queue_small_rcv_key(q);
    struct record r = record_of(q, &small_key);
    struct wr w = wr_init(buf, RECORD_LINE_MAX);
    record_write(&r, &w);
    crypto_wipe(&r, sizeof r);
    *ret = wr_bytes(&w);
    return wr_err(&w) == OK ? OK : E_INTERNAL;
}

static void put_queue(struct queue *q, void *ctx) {
    struct compaction *c = ctx;
    struct bytes line;
    if (c->err == OK) c->err = files_queue_line(q, c->line, &line);
    if (c->err == OK) c->err = store_log_put(c->writer, line);
}

static enum err put_line(void *ctx, struct bytes line) {
    return store_log_put(ctx, line);
}

static enum err write_all(void *ctx, struct store_log_writer *writer) {
    struct files_store *m = ctx;
    struct compaction c = {.writer = writer, .line = malloc(RECORD_LINE_MAX)};
    if (c.line == NULL) return E_NO_MEMORY;
    c.err = files_service_each_line(m, put_line, writer);
    struct store_cursor cursor = {0};
    while (c.err == OK &&
           queue_table_scan(m->base.table, &cursor, EXPIRY_QUEUES_PER_STEP, put_queue, &c))
        continue;
    crypto_wipe(c.line, RECORD_LINE_MAX);
    free(c.line);
    return c.err;
}

/* ---- when it is compacted ---- */

/* What is not whole is kept as it was before anything is appended, so that cannot wait. */
static bool must_compact(const struct files_store *m, const struct store_log_stats *stats) {
    return m->o.compact_log || stats->n_bad > 0 || stats->torn_bytes > 0;
}

static bool can_compact(const struct files_store *m, const struct store_log_stats *stats) {
    return stats->n_lines > files_n_log_lines(m);
}

static bool is_later(const struct files_store *m, const struct store_log_stats *stats) {
    return m->o.compact_later_len != 0 && m->o.compact_look_ms != 0 &&
           stats->len_bytes >= m->o.compact_later_len;
}

/* ---- the store log ---- */

static void log_progress(void *ctx, uint64_t done, uint64_t total) {
    const struct files_store *m = ctx;
    if (m->o.progress != NULL) m->o.progress("queues", done, total);
}

static enum err read_log(struct files_store *m, const struct store_log_opts *lo,
                         struct store_log_stats *ret, struct store_problem *ret_problem) {
    struct loader l = {.store = m, .scratch = malloc(sizeof *l.scratch)};
    if (l.scratch == NULL) return E_NO_MEMORY;
    struct store_log_problem problem = {0};
    const enum err e = store_log_read(lo, load_line, &l, ret, &problem);
    free(l.scratch);
    if (e != OK) (void)snprintf(ret_problem->text, sizeof ret_problem->text, "%s", problem.text);
    if (ret->torn_bytes > 0) {
        log_line(LOG_WARN, "store-log-torn",
                 "path=%s bytes=%llu dropped: the end was not written whole, nor acknowledged",
                 lo->path, (unsigned long long)ret->torn_bytes);
    }
    if (l.n_unknown > 0) {
        log_line(LOG_WARN, "store-log-lines-skipped",
                 "count=%llu they name queues that do not exist or exist already",
                 (unsigned long long)l.n_unknown);
    }
    return e;
}

static enum err compact(struct files_store *m, struct store_log_opts *io_lo,
                        struct store_problem *ret_problem) {
    const enum err e = store_log_compact(io_lo, write_all, m);
    io_lo->n_lines = files_n_log_lines(m);
    if (e == OK) service_table_sweep(queue_table_services(m->base.table), true);
    if (e == OK) return OK;
    const char *log = m->o.store_log;
    if (e == E_STORE) { /* half exchanged */
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot rewrite %s: %s; it is still there as %s.start, and the next start "
                       "puts it back: run `smp-server start` again",
                       log, strerror(errno), log);
    } else {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text,
                       "cannot rewrite %s: %s; the file is unchanged", log, err_reason(e));
    }
    return e;
}

enum err files_load_log(struct files_store *m, struct store_problem *ret_problem) {
    struct store_log_opts lo = {
        .env = m->shared.env,
        .vfs = m->o.vfs,
        .path = m->o.store_log,
        .skip_warnings = m->o.skip_warnings,
        .has_sums = true,
        .copies_ttl_s = m->o.copies_ttl_s,
        .progress = log_progress,
        .progress_ctx = m,
        .creation_lost = files_creation_lost,
        .creation_ctx = m,
    };
    struct store_log_stats stats = {0};
    enum err e = read_log(m, &lo, &stats, ret_problem);
    lo.n_lines = stats.n_lines;
    lo.sums = stats.sums;
    struct service_table *t = queue_table_services(m->base.table);
    const int64_t ttl_s = m->shared.expiry.service_ttl_s;
    if (ttl_s != 0) service_table_forget(t, env_now_s(m->shared.env) - ttl_s);
    if (e == OK && must_compact(m, &stats)) {
        e = compact(m, &lo, ret_problem);
    } else if (e == OK && can_compact(m, &stats)) {
        m->compactor.is_due = is_later(m, &stats);
        if (!m->compactor.is_due) e = compact(m, &lo, ret_problem);
    }
    if (e != OK) return e;
    e = store_log_open(&lo, m->commit, &m->log);
    if (e != OK) {
        (void)snprintf(ret_problem->text, sizeof ret_problem->text, "cannot append to %s: %s",
                       m->o.store_log, err_reason(e));
    }
    return e;
}
