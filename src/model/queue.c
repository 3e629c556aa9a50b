/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/queue.h"

#include <assert.h>
#include <stdlib.h>

enum err keyset_new(const struct pubkey *keys, size_t n, struct keyset **ret) {
    assert(n > 0 && n <= UINT32_MAX);
    struct keyset *k = malloc(sizeof *k + n * sizeof k->keys[0]);
    if (k == NULL) return E_NO_MEMORY;
    atomic_init(&k->refs, 1);
    k->n = (uint32_t)n;
    memcpy(k->keys, keys, n * sizeof k->keys[0]);
    *ret = k;
    return OK;
}

struct keyset *keyset_ref(struct keyset *k) {
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void keyset_unref(struct keyset *k) {
    if (k != NULL && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1) free(k);
}

enum err link_data_new(const struct id *link_id, struct bytes fixed, struct bytes user,
                       struct link_data **ret) {
    assert(fixed.n <= UINT16_MAX && user.n <= UINT16_MAX);
    struct link_data *l = malloc(sizeof *l + fixed.n + user.n);
    if (l == NULL) return E_NO_MEMORY;
    atomic_init(&l->refs, 1);
    l->n_fixed = (uint16_t)fixed.n;
    l->n_user = (uint16_t)user.n;
    l->link_id = *link_id;
    if (fixed.n != 0) memcpy(l->data, fixed.p, fixed.n);
    if (user.n != 0) memcpy(l->data + fixed.n, user.p, user.n);
    *ret = l;
    return OK;
}

struct link_data *link_data_ref(struct link_data *l) {
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void link_data_unref(struct link_data *l) {
    if (l != NULL && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1) free(l);
}

struct bytes link_data_fixed(const struct link_data *l) {
    return bytes_of(l->data, l->n_fixed);
}

struct bytes link_data_user(const struct link_data *l) {
    return bytes_of(l->data + l->n_fixed, l->n_user);
}

enum err block_info_new(struct bytes text, struct block_info **ret) {
    assert(text.n <= UINT16_MAX);
    struct block_info *b = malloc(sizeof *b + text.n);
    if (b == NULL) return E_NO_MEMORY;
    atomic_init(&b->refs, 1);
    b->n = (uint16_t)text.n;
    if (text.n != 0) memcpy(b->text, text.p, text.n);
    *ret = b;
    return OK;
}

struct block_info *block_info_ref(struct block_info *b) {
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void block_info_unref(struct block_info *b) {
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) free(b);
}

bool queue_is_contact(enum queue_mode mode, const struct pubkey *snd_key) {
    return mode == MODE_CONTACT || (mode == MODE_UNKNOWN && snd_key->type == KEY_NONE);
}

bool queue_is_secured_messaging(enum queue_mode mode, const struct pubkey *snd_key) {
    return mode != MODE_CONTACT && snd_key->type != KEY_NONE;
}
