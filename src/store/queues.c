/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queues.c -- queue records: for each change what it needs is allocated, then it is checked,
 * logged and made, all under the queue's lock. What is logged cannot fail any more. */
#include <stdlib.h>
#include <string.h>

#include "base/day.h"
#include "crypto/crypto.h"
#include "store/queue_table.h"
#include "store/store_priv.h"
#include "store/text/record.h"

/* ---- ids ---- */

void store_fit_recipient(const struct store *s, const struct id *snd_id, struct id *io_rcv_id) {
    if (s->ops->shard_of != NULL) io_rcv_id->b[0] = s->ops->shard_of(s, ID_SENDER, snd_id);
}

/* 256 attempts, as a rule. */
void store_fit_id(const struct store *s, enum queue_id_kind kind, const struct id *rcv_id,
                  struct id *io_id) {
    uint64_t tail;
    uint8_t *at = io_id->b + ID_LEN - sizeof tail;
    if (s->ops->shard_of == NULL) return;
    memcpy(&tail, at, sizeof tail);
    while (s->ops->shard_of(s, kind, io_id) != rcv_id->b[0]) {
        tail++;
        memcpy(at, &tail, sizeof tail);
    }
}

/* ---- reading ---- */

static struct msg_head head_of(const struct msg_entry *e) {
    return (struct msg_head){.id = e->id,
                             .ts_s = e->ts_s,
                             .body_len = e->body_len,
                             .is_quota = e->is_quota,
                             .notification = e->notification};
}

void store__view(const struct queue *q, enum queue_want want, struct queue_view *ret) {
    const struct queue_extra *x = q->extra;
    const struct notifier_entry *n = queue_notifier_of(q);
    const struct link_entry *link = queue_link(q);
    ret->version = atomic_load_explicit(&q->version, memory_order_relaxed);
    ret->rcv_key = queue_small_rcv_key(q);
    ret->rcv_keys = x != NULL && x->rcv_keys != NULL ? keyset_ref(x->rcv_keys) : NULL;
    ret->snd_key = queue_snd_key(q);
    ret->mode = (enum queue_mode)q->mode;
    ret->status = (enum queue_status)q->status;
    ret->block = x != NULL && x->block != NULL ? block_info_ref(x->block) : NULL;
    ret->updated_day = q->updated_day;
    ret->has_link = link != NULL;
    ret->has_notifier = n != NULL;
    if (n != NULL) {
        ret->ntf_id = n->rec.id;
        ret->ntf_key = n->rec.key;
    }
    ret->n_messages = want == WANT_MESSAGES ? q->n_messages : 0;
    if (ret->n_messages != 0) ret->head = head_of(q->head);
    ret->link = want == WANT_LINK && link != NULL ? link_data_ref(link->data) : NULL;
}

enum err store_queue_view(struct store *s, struct queue *q, enum queue_want want,
                          struct queue_view *ret) {
    const enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    store__view(q, want, ret);
    store__unlock(s, q);
    return OK;
}

bool queue_view_is_current(const struct queue *q, const struct queue_view *v) {
    return atomic_load_explicit(&q->version, memory_order_acquire) == v->version;
}

const struct pubkey *queue_view_rcv_keys(const struct queue_view *v, size_t *ret_n) {
    *ret_n = v->rcv_keys != NULL ? v->rcv_keys->n : 1;
    return v->rcv_keys != NULL ? v->rcv_keys->keys : &v->rcv_key;
}

void queue_view_done(struct queue_view *v) {
    keyset_unref(v->rcv_keys);
    block_info_unref(v->block);
    link_data_unref(v->link);
}

/* ---- creating ---- */

static struct record create_record(const struct queue_rec *rec) {
    struct record r = {
        .tag = RECORD_CREATE,
        .rcv_id = rec->rcv_id,
        .snd_id = rec->snd_id,
        .rcv_keys = rec->rcv_keys->keys,
        .n_rcv_keys = rec->rcv_keys->n,
        .snd_key = rec->snd_key,
        .mode = rec->mode,
        .has_updated_at = true,
        .updated_at_s = (int64_t)rec->updated_day * DAY_S,
    };
    memcpy(r.dh_secret, rec->dh_secret, sizeof r.dh_secret);
    if (rec->link != NULL) {
        r.has_link = true;
        r.link_id = rec->link->link_id;
        r.link_fixed = link_data_fixed(rec->link);
        r.link_user = link_data_user(rec->link);
    }
    if (rec->notifier != NULL) {
        r.has_notifier = true;
        r.notifier = *rec->notifier;
        r.has_ntf_service = rec->notifier->has_service;
        r.ntf_service_id = rec->notifier->service_id;
    }
    r.has_service = rec->has_rcv_service;
    r.service_id = rec->rcv_service_id;
    return r;
}

struct creation {
    struct store *store;
    const struct queue_rec *rec;
    lsn_t lsn;
};

static enum err log_create(struct queue *q, void *ctx) {
    struct creation *c = ctx;
    struct record r = create_record(c->rec);
    const enum err e = store__record(c->store, q, &r, &c->lsn);
    crypto_wipe(&r, sizeof r);
    return e;
}

enum err store_queue_create(struct store *s, const struct queue_rec *rec, struct queue **ret_queue,
                            lsn_t *ret_lsn) {
    struct creation c = {.store = s, .rec = rec};
    const struct queue_admission admission = {log_create, &c, false};
    const enum err e = queue_table_add(c.store->table, rec, admission, ret_queue);
    *ret_lsn = c.lsn;
    return e;
}

/* ---- changing ---- */

static enum err secure_locked(struct store *s, struct queue *q, const struct pubkey *key,
                              lsn_t *ret_lsn) {
    const struct pubkey old = queue_snd_key(q);
    if (old.type != KEY_NONE) return pubkey_equal(&old, key) ? OK : E_AUTH;
    const struct record r = {.tag = RECORD_SECURE, .rcv_id = *queue_rcv_id(q), .snd_key = *key};
    enum err e = queue_reserve_snd_key(q, key);
    if (e == OK) e = store__record(s, q, &r, ret_lsn);
    return e == OK ? queue_set_snd_key(q, key) : e;
}

enum err store_queue_secure(struct store *s, struct queue *q, const struct pubkey *key,
                            struct link_data **ret_link, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    e = secure_locked(s, q, key, ret_lsn);
    const struct link_entry *link = queue_link(q);
    if (e == OK && ret_link != NULL) *ret_link = link != NULL ? link_data_ref(link->data) : NULL;
    store__unlock(s, q);
    return e;
}

enum err store_queue_set_keys(struct store *s, struct queue *q, struct keyset *keys,
                              lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_KEYS,
                             .rcv_id = *queue_rcv_id(q),
                             .rcv_keys = keys->keys,
                             .n_rcv_keys = keys->n};
    e = queue_reserve_rcv_keys(q, keys);
    if (e == OK) e = store__record(s, q, &r, ret_lsn);
    if (e == OK) e = queue_set_rcv_keys(q, keys);
    store__unlock(s, q);
    return e;
}

enum err store_queue_suspend(struct store *s, struct queue *q, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_SUSPEND, .rcv_id = *queue_rcv_id(q)};
    if (q->status != STATUS_OFF) e = store__record(s, q, &r, ret_lsn);
    if (e == OK) q->status = STATUS_OFF;
    store__unlock(s, q);
    return e;
}

enum err store_queue_touch(struct store *s, struct queue *q, int32_t day, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_TIME,
                             .rcv_id = *queue_rcv_id(q),
                             .has_updated_at = true,
                             .updated_at_s = (int64_t)day * DAY_S};
    e = store__record(s, q, &r, ret_lsn);
    if (e == OK) q->updated_day = day;
    store__unlock(s, q);
    return e;
}

/* ---- links ---- */

/* May this link stand in this queue? (behaviour, "LSET") */
static enum err check_link(const struct queue *q, const struct link_data *link) {
    const struct pubkey snd_key = queue_snd_key(q);
    if (queue_is_secured_messaging((enum queue_mode)q->mode, &snd_key)) return E_AUTH;
    if (queue_link(q) == NULL) return OK;
    const struct link_data *old = queue_link(q)->data;
    const bool same_id = id_equal(&old->link_id, &link->link_id);
    return same_id && bytes_equal(link_data_fixed(old), link_data_fixed(link)) ? OK : E_AUTH;
}

static enum err log_link(struct store *s, struct queue *q, const struct link_data *link,
                         lsn_t *ret_lsn) {
    const struct record r = {
        .tag = RECORD_LINK,
        .rcv_id = *queue_rcv_id(q),
        .has_link = true,
        .link_id = link->link_id,
        .link_fixed = link_data_fixed(link),
        .link_user = link_data_user(link),
    };
    return store__record(s, q, &r, ret_lsn);
}

/* Replaces the user data of a link that the queue has already; *ret_done says whether there was
 * one. */
static enum err replace_link(struct store *s, struct queue *q, struct link_data *link,
                             bool *ret_done, lsn_t *ret_lsn) {
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    struct link_data *old = NULL;
    e = check_link(q, link);
    *ret_done = queue_link(q) != NULL;
    if (e == OK && *ret_done) {
        e = log_link(s, q, link, ret_lsn);
        if (e == OK) {
            old = queue_link(q)->data;
            queue_link(q)->data = link_data_ref(link);
        }
    }
    store__unlock(s, q);
    link_data_unref(old);
    return e;
}

/* The first link of a queue; entry is indexed already, and stays the caller's unless OK. */
static enum err show_link(struct store *s, struct queue *q, struct link_entry *entry,
                          lsn_t *ret_lsn) {
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    e = queue_link(q) == NULL ? check_link(q, entry->data)
                              : E_AUTH; /* else another LSET was faster */
    if (e == OK) e = queue_need_extra(q);
    if (e == OK) e = log_link(s, q, entry->data, ret_lsn);
    if (e == OK) q->extra->link = entry;
    store__unlock(s, q);
    return e;
}

enum err store_link_set(struct store *s, struct queue *q, struct link_data *link, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    bool done = false;
    enum err e = replace_link(s, q, link, &done, ret_lsn);
    if (e != OK || done) return e;
    struct link_entry *entry; /* indexed before it is shown: the locks of the queue and of the index
                                 are never held together */
    e = queue_table_add_link(s->table, q, link, &entry);
    if (e != OK) return e;
    e = show_link(s, q, entry, ret_lsn);
    if (e != OK) queue_table_remove_link(s->table, entry);
    return e;
}

enum err store_link_delete(struct store *s, struct queue *q, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    struct link_entry *gone = NULL;
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    if (queue_link(q) != NULL) {
        const struct record r = {.tag = RECORD_LDELETE, .rcv_id = *queue_rcv_id(q)};
        e = store__record(s, q, &r, ret_lsn);
        if (e == OK) gone = STEAL(q->extra->link);
    }
    store__unlock(s, q);
    queue_table_remove_link(s->table, gone);
    return e;
}

/* ---- deleting ---- */

static enum err delete_by(struct store *s, struct queue *q, store_record_fn *record,
                          struct queue_ended *ret, lsn_t *ret_lsn) {

    *ret_lsn = 0;
    *ret = (struct queue_ended){0};
    enum err e = store__lock_live(s, q);
    if (e != OK) return e;
    const struct record r = {.tag = RECORD_DELETE, .rcv_id = *queue_rcv_id(q)};
    e = record(s, q, &r, ret_lsn);
    if (e != OK) {
        store__unlock(s, q);
        return e;
    }
    queue_changed(q);
    const struct notifier_entry *n = queue_notifier_of(q);
    q->live = false;
    ret->recipient.sub = store__end_sub(s, q);
    if (n != NULL) {
        ret->notifier = (struct sub_ended){store__end_ntf_sub(s, n), n->rec.id};
        store__count_ntfs(s, -(int64_t)n->n_ntfs);
    }
    struct msg_entry *messages = q->head;
    ret->n_messages = q->n_messages;
    store__count_messages(s, -(int64_t)q->n_messages);
    q->head = q->tail = NULL;
    q->n_messages = 0;
    store__unlock(s, q);
    queue_table_remove(s->table, q);
    for (struct msg_entry *next; messages != NULL; messages = next) {
        next = messages->next;
        msg_entry_free(messages);
    }
    return OK;
}

enum err store_queue_delete(struct store *s, struct queue *q, struct queue_ended *ret,
                            lsn_t *ret_lsn) {
    return delete_by(s, q, s->ops->record, ret, ret_lsn);
}

void store__queue_undo(struct store *s, struct queue *q, store_record_fn *record) {
    struct queue_ended ended;
    lsn_t lsn;
    const enum err e = delete_by(s, q, record, &ended, &lsn);
    (void)e; /* out of memory: it stays, here and in the log; nobody has its ids */
}
