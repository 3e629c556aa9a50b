/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* id.h -- the 24-byte id of queues, senders, links, notifiers, services and messages (SMP protocol:
 * random or SHA3-derived). */
#pragma once

#include "base/bytes.h"

enum { ID_LEN = 24 };

struct id {
    uint8_t b[ID_LEN];
};

static inline struct bytes id_bytes(const struct id *id) {
    return bytes_of(id->b, ID_LEN);
}

static inline bool id_equal(const struct id *a, const struct id *b) {
    return memcmp(a->b, b->b, ID_LEN) == 0;
}

/* False, and *ret untouched, unless b is exactly as long as an id. */
static inline bool id_from_bytes(struct bytes b, struct id *ret) {
    if (b.n != ID_LEN) return false;
    memcpy(ret->b, b.p, ID_LEN);
    return true;
}
