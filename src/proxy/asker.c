/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/asker.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "model/limits.h"

struct proxy_asker {
    /* fixed after proxy_asker_new() */
    struct admission *admission; /* borrowed; may be NULL */
    struct admission_peer *peer; /* held; may be NULL */
    /* atomic */
    atomic_uint n_refs;    /* acquire and release: the last frees */
    atomic_bool is_gone;   /* relaxed: may be seen late */
    atomic_uint n_lookups; /* relaxed: guards nothing else */
};

enum err proxy_asker_new(struct admission *admission, struct admission_peer *peer,
                         struct proxy_asker **ret) {
    struct proxy_asker *a = calloc(1, sizeof *a);
    if (a == NULL) return E_NO_MEMORY;
    a->admission = admission;
    a->peer = peer;
    atomic_init(&a->n_refs, 1);
    if (peer != NULL) admission_hold(admission, peer);
    *ret = a;
    return OK;
}

struct proxy_asker *proxy_asker_ref(struct proxy_asker *a) {
    if (a != NULL) (void)atomic_fetch_add_explicit(&a->n_refs, 1, memory_order_relaxed);
    return a;
}

void proxy_asker_unref(struct proxy_asker *a) {
    if (a == NULL || atomic_fetch_sub_explicit(&a->n_refs, 1, memory_order_acq_rel) != 1) return;
    if (a->peer != NULL) admission_let_go(a->admission, a->peer);
    free(a);
}

void proxy_asker_leave(struct proxy_asker *owned) {
    if (owned == NULL) return;
    atomic_store_explicit(&owned->is_gone, true, memory_order_relaxed);
    proxy_asker_unref(owned);
}

bool proxy_asker_is_gone(const struct proxy_asker *a) {
    return a != NULL && atomic_load_explicit(&a->is_gone, memory_order_relaxed);
}

static bool take_of_session(struct proxy_asker *a) {
    const unsigned before = atomic_fetch_add_explicit(&a->n_lookups, 1, memory_order_relaxed);
    if (before < PROXY_SESSION_LOOKUPS_MAX) return true;
    (void)atomic_fetch_sub_explicit(&a->n_lookups, 1, memory_order_relaxed);
    return false;
}

enum admission_limit proxy_asker_take(struct proxy_asker *a, enum admission_share share) {
    if (a == NULL) return LIMIT_NONE;
    if (share == SHARE_LOOKUPS && !take_of_session(a)) return LIMIT_LOOKUPS;
    if (a->peer == NULL) return LIMIT_NONE;
    const enum admission_limit limit = admission_take_share(a->admission, a->peer, share);
    if (limit != LIMIT_NONE && share == SHARE_LOOKUPS)
        (void)atomic_fetch_sub_explicit(&a->n_lookups, 1, memory_order_relaxed);
    return limit;
}

void proxy_asker_give(struct proxy_asker *a, enum admission_share share) {
    if (a == NULL) return;
    if (share == SHARE_LOOKUPS)
        (void)atomic_fetch_sub_explicit(&a->n_lookups, 1, memory_order_relaxed);
    if (a->peer != NULL) admission_give_share(a->peer, share);
}
