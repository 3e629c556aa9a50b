/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "subs/subs.h"

#include <stdlib.h>

#include "base/idmap.h"
#include "base/lock.h"

enum { N_STRIPES = 64, CACHE_LINE = 64 };

struct listener {
    struct idnode node;
    struct subscriber sub; /* nobody: of a service only */
};

struct stripe {
    _Alignas(CACHE_LINE) struct lock mtx;
    /* guarded by mtx */
    struct idmap map;
};

struct subs {
    struct stripe stripes[N_SUBS_KINDS][N_STRIPES];
};

static const struct subscriber NOBODY;

/* ---- stripes ---- */

/* These ids are random ones of the server's own. */
static struct stripe *stripe_of(struct subs *s, enum subs_kind kind, const struct id *id) {
    return &s->stripes[kind][id->b[ID_LEN - 1] % N_STRIPES];
}

static struct listener *listener_of(struct idnode *node) {
    return node != NULL ? CONTAINER_OF(node, struct listener, node) : NULL;
}

/* The entry, new or not; most are. One that is there is found without memory. */
static enum err need_locked(struct stripe *st, const struct id *id, struct listener **ret) {
    struct listener *l = malloc(sizeof *l);
    if (l != NULL) {
        *l = (struct listener){.node.id = *id};
        if (idmap_insert(&st->map, &l->node) == OK) {
            *ret = l;
            return OK;
        }
        free(l);
    }
    *ret = listener_of(idmap_find(&st->map, id));
    return *ret != NULL ? OK : E_NO_MEMORY;
}

/* Nobody listens any more. */
static void clear_locked(struct stripe *st, enum subs_kind kind, struct listener *l) {
    l->sub = NOBODY;
    if (kind == SUBS_SERVICE) return;
    (void)idmap_remove(&st->map, &l->node.id);
    free(l);
}

/* ---- the registry ---- */

enum err subs_new(const struct env *env, struct subs **ret) {
    struct subs *s = aligned_alloc(CACHE_LINE, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    uint64_t seed[3];
    env_random(env, seed, sizeof seed);
    for (unsigned k = 0; k < N_SUBS_KINDS; k++) {
        for (unsigned i = 0; i < N_STRIPES; i++) {
            lock_init(&s->stripes[k][i].mtx, LOCK_SUBS);
            idmap_init(&s->stripes[k][i].map, seed);
        }
    }
    *ret = s;
    return OK;
}

static void free_listener(struct idnode *node, void *ctx) {
    (void)ctx;
    free(listener_of(node));
}

void subs_free(struct subs *s) {
    if (s == NULL) return;
    for (unsigned k = 0; k < N_SUBS_KINDS; k++) {
        for (unsigned i = 0; i < N_STRIPES; i++) {
            idmap_each(&s->stripes[k][i].map, free_listener, NULL);
            idmap_done(&s->stripes[k][i].map);
            lock_done(&s->stripes[k][i].mtx);
        }
    }
    free(s);
}

struct subscriber subs_find(struct subs *s, enum subs_kind kind, const struct id *id) {
    struct stripe *st = stripe_of(s, kind, id);
    lock_take(&st->mtx);
    const struct listener *l = listener_of(idmap_find(&st->map, id));
    const struct subscriber sub = l != NULL ? l->sub : NOBODY;
    lock_give(&st->mtx);
    return sub;
}

enum err subs_take(struct subs *s, enum subs_kind kind, const struct id *id, struct subscriber sub,
                   struct subscriber *ret_prev) {
    struct stripe *st = stripe_of(s, kind, id);
    struct listener *l;
    lock_take(&st->mtx);
    const enum err e = need_locked(st, id, &l);
    if (e == OK) {
        *ret_prev = l->sub;
        l->sub = sub;
    }
    lock_give(&st->mtx);
    return e;
}

enum err subs_reserve(struct subs *s, const struct id *service_id) {
    struct stripe *st = stripe_of(s, SUBS_SERVICE, service_id);
    struct listener *l;
    lock_take(&st->mtx);
    const enum err e = need_locked(st, service_id, &l);
    lock_give(&st->mtx);
    return e;
}

void subs_leave(struct subs *s, enum subs_kind kind, const struct id *id, struct subscriber sub) {
    struct stripe *st = stripe_of(s, kind, id);
    lock_take(&st->mtx);
    struct listener *l = listener_of(idmap_find(&st->map, id));
    if (l != NULL && subscriber_equal(l->sub, sub)) clear_locked(st, kind, l);
    lock_give(&st->mtx);
}

struct subscriber subs_end(struct subs *s, enum subs_kind kind, const struct id *id) {
    struct stripe *st = stripe_of(s, kind, id);
    struct subscriber sub = NOBODY;
    lock_take(&st->mtx);
    struct listener *l = listener_of(idmap_find(&st->map, id));
    if (l != NULL) {
        sub = l->sub;
        clear_locked(st, kind, l);
    }
    lock_give(&st->mtx);
    return sub;
}
