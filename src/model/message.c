/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/message.h"

#include <assert.h>
#include <stdlib.h>

static enum err new_message(const struct id *id, int64_t ts_s, struct bytes body,
                            struct message **ret) {
    assert(body.n <= UINT16_MAX);
    struct message *m = malloc(sizeof *m + body.n);
    if (m == NULL) return E_NO_MEMORY;
    *m = (struct message){.body_len = (uint16_t)body.n, .id = *id, .ts_s = ts_s};
    atomic_init(&m->refs, 1);
    if (body.n != 0) memcpy(m->body, body.p, body.n);
    *ret = m;
    return OK;
}

enum err message_new(const struct id *id, int64_t ts_s, bool notification, struct bytes body,
                     struct message **ret) {
    const enum err e = new_message(id, ts_s, body, ret);
    if (e == OK) (*ret)->notification = notification;
    return e;
}

enum err message_new_quota(const struct id *id, int64_t ts_s, struct message **ret) {
    const enum err e = new_message(id, ts_s, (struct bytes){0}, ret);
    if (e == OK) (*ret)->is_quota = true;
    return e;
}

struct message *message_ref(struct message *m) {
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void message_unref(struct message *m) {
    if (m != NULL && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) free(m);
}

struct bytes message_body(const struct message *m) {
    return bytes_of(m->body, m->body_len);
}
