/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/queue_record.h"

#include "base/day.h"
#include "crypto/crypto.h"

struct queue_notifier queue_record_notifier(const struct record *r) {
    struct queue_notifier n = r->notifier;
    n.has_service = r->has_ntf_service;
    n.service_id = r->ntf_service_id;
    return n;
}

enum err queue_record_add(struct queue_table *t, const struct record *r,
                          struct queue_admission admission, struct queue **ret_queue) {
    struct queue_notifier notifier = queue_record_notifier(r);
    struct queue_rec rec = {
        .rcv_id = r->rcv_id,
        .snd_id = r->snd_id,
        .snd_key = r->snd_key,
        .mode = r->mode,
        .status = (enum queue_status)r->status,
        .notifier = r->has_notifier ? &notifier : NULL,
        .has_rcv_service = r->has_service,
        .rcv_service_id = r->service_id,
        .updated_day = r->has_updated_at ? (int32_t)(r->updated_at_s / DAY_S) : 0,
    };
    memcpy(rec.dh_secret, r->dh_secret, sizeof rec.dh_secret);
    enum err e = keyset_new(r->rcv_keys, r->n_rcv_keys, &rec.rcv_keys);
    if (e == OK && r->has_link)
        e = link_data_new(&r->link_id, r->link_fixed, r->link_user, &rec.link);
    if (e == OK && rec.status == STATUS_BLOCKED) e = block_info_new(r->info, &rec.block);
    if (e == OK) e = queue_table_add(t, &rec, admission, ret_queue);
    keyset_unref(rec.rcv_keys);
    link_data_unref(rec.link);
    block_info_unref(rec.block);
    crypto_wipe(&rec, sizeof rec);
    crypto_wipe(&notifier, sizeof notifier);
    return e;
}
