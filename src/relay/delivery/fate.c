/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/delivery/fate.h"

/* ---- any thread ---- */

void fates_init(struct fates *f, const struct store *store) {
    f->store = store;
    lock_init(&f->mtx, LOCK_FATES);
    list_init(&f->desks);
}

void fates_done(struct fates *f) {
    assert(list_is_empty(&f->desks));
    lock_done(&f->mtx);
}

static void call_owner(struct fate_desk *d) {
    if (!atomic_exchange_explicit(&d->is_waited_at, false, memory_order_acq_rel)) return;
    if (!atomic_exchange_explicit(&d->is_called, true, memory_order_acq_rel))
        loop_post(d->loop, &d->call);
}

void fates_changed(struct fates *f) {
    lock_take(&f->mtx);
    for (struct list *l = f->desks.next; l != &f->desks; l = l->next) {
        call_owner(CONTAINER_OF(l, struct fate_desk, in_fates));
    }
    lock_give(&f->mtx);
}

/* True: nobody waited before, so what was decided in the meantime was told to nobody, and is to be
 * looked at once more. */
static bool begin_waiting(struct fate_desk *d) {
    return !atomic_exchange_explicit(&d->is_waited_at, true, memory_order_acq_rel);
}

void fate_leave(struct fate_desk *d, lsn_t lsn, struct loop_msg *owned) {
    loop_leave(d->loop, owned);
    /* In this order: whoever decides it from now on calls. */
    (void)begin_waiting(d);
    if (store_fate(d->fates->store, lsn) != E_PENDING) call_owner(d);
}

/* ---- the desk's loop ---- */

/* Those who are told may ask again. */
static void call_decided(struct fate_desk *d) {
    struct list all;
    list_init(&all);
    list_move_all(&all, &d->waiting);
    for (struct list *l; (l = list_first(&all)) != NULL;) {
        struct fate_waiter *w = CONTAINER_OF(l, struct fate_waiter, in_desk);
        const enum err fate = store_fate(d->fates->store, w->lsn);
        list_remove(l);
        if (fate == E_PENDING) {
            list_push_back(&d->waiting, l);
        } else {
            w->told(w, fate);
        }
    }
}

static void called(struct loop_msg *msg) {
    struct fate_desk *d = CONTAINER_OF(msg, struct fate_desk, call);
    (void)atomic_exchange_explicit(&d->is_called, false, memory_order_acq_rel);
    call_decided(d);
    if (!list_is_empty(&d->waiting) && begin_waiting(d)) call_decided(d);
}

void fate_desk_open(struct fates *f, struct loop *l, struct fate_desk *ret) {
    ret->fates = f;
    ret->loop = l;
    ret->call.run = called;
    list_init(&ret->waiting);
    atomic_init(&ret->is_waited_at, false);
    atomic_init(&ret->is_called, false);
    lock_take(&f->mtx);
    list_push_back(&f->desks, &ret->in_fates);
    lock_give(&f->mtx);
}

void fate_desk_close(struct fate_desk *d) {
    assert(list_is_empty(&d->waiting));
    lock_take(&d->fates->mtx);
    list_remove(&d->in_fates);
    lock_give(&d->fates->mtx);
}

void fate_waiter_init(struct fate_waiter *w, void (*told)(struct fate_waiter *w, enum err fate)) {
    *w = (struct fate_waiter){.told = told};
    list_init(&w->in_desk);
}

enum err fate_ask(struct fate_desk *d, lsn_t lsn, struct fate_waiter *w) {
    ASSERT_ON_LOOP(d->loop);
    list_remove(&w->in_desk);
    /* In this order: whoever decides it from now on calls. */
    (void)begin_waiting(d);
    const enum err fate = store_fate(d->fates->store, lsn);
    if (fate != E_PENDING) return fate;
    w->lsn = lsn;
    list_push_back(&d->waiting, &w->in_desk);
    return E_PENDING;
}

void fate_forget(struct fate_waiter *w) {
    list_remove(&w->in_desk);
}
