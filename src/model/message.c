/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/message.h"

#include <assert.h>
#include <stdlib.h>

#include "crypto/crypto.h"

/* room: bytes of body kept inside the message. */
static enum err alloc_message(const struct id *id, int64_t ts_s, size_t body_len, size_t room,
                              struct message **ret) {
    assert(body_len <= UINT16_MAX);
    struct message *m = malloc(sizeof *m + room);
    if (m == NULL) return E_NO_MEMORY;
    *m = (struct message){.body_len = (uint16_t)body_len, .id = *id, .ts_s = ts_s};
    atomic_init(&m->refs, 1);
    m->body = m->data;
    *ret = m;
    return OK;
}

enum err message_new(const struct id *id, int64_t ts_s, bool notification, struct bytes body,
                     struct message **ret) {
    const enum err e = alloc_message(id, ts_s, body.n, body.n, ret);
    if (e != OK) return e;
    (*ret)->notification = notification;
    if (body.n != 0) memcpy((*ret)->data, body.p, body.n);
    return OK;
}

enum err message_new_quota(const struct id *id, int64_t ts_s, struct message **ret) {
    const enum err e = alloc_message(id, ts_s, 0, 0, ret);
    if (e == OK) (*ret)->is_quota = true;
    return e;
}

enum err message_new_absent(const struct id *id, int64_t ts_s, bool notification, uint16_t body_len,
                            struct message **ret) {
    const enum err e = alloc_message(id, ts_s, body_len, 0, ret);
    if (e != OK) return e;
    (*ret)->notification = notification;
    (*ret)->body = NULL;
    return OK;
}

void message_set_body(struct message *m, uint8_t *owned) {
    assert(m->body == NULL);
    m->body = owned;
}

struct message *message_ref(struct message *m) {
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void message_unref(struct message *m) {
    if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1) return;
    if (m->body != NULL) crypto_wipe(m->body, m->body_len);
    if (m->body != m->data) free(m->body);
    free(m);
}

bool message_has_body(const struct message *m) {
    return m->body != NULL;
}

struct bytes message_body(const struct message *m) {
    assert(m->body != NULL);
    return bytes_of(m->body, m->body_len);
}
