/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/files/files_hold.h"

#include <stdlib.h>

#include "store/files/files_priv.h"

/* As an lsn, and as a place: no change and no segment has a number as large. */
#define HELD_MARK (UINT64_C(1) << 63)

static const lsn_t HELD_WAITS = 0, HELD_DELIVERED = UINT64_MAX, HELD_LOST = UINT64_MAX - 1;

struct held {
    struct list link;    /* in hold.waiting */
    struct queue *queue; /* counted */
    struct id msg_id;
    uint64_t n;
    int64_t due_ms;
};

bool files_is_held(const struct msg_entry *e) {
    return (e->place & HELD_MARK) != 0;
}

bool files_is_held_lsn(lsn_t lsn) {
    return (lsn & HELD_MARK) != 0;
}

/* ---- fates ---- */

static struct held_fate *fate_of(const struct hold *h, uint64_t n) {
    return &h->fates[n % HELD_MAX];
}

/* False: its place was used again, so it was decided long ago. */
static bool read_fate(const struct hold *h, uint64_t n, lsn_t *ret) {
    const struct held_fate *f = fate_of(h, n);
    *ret = atomic_load_explicit(&f->lsn, memory_order_acquire);
    return atomic_load_explicit(&f->n, memory_order_acquire) == n;
}

static void set_fate(struct hold *h, uint64_t n, lsn_t lsn) {
    lsn_t before;
    const uint64_t upto = atomic_load_explicit(&h->lost_upto, memory_order_relaxed);
    if (lsn == HELD_LOST && n > upto) atomic_store_explicit(&h->lost_upto, n, memory_order_release);
    if (read_fate(h, n, &before))
        atomic_store_explicit(&fate_of(h, n)->lsn, lsn, memory_order_release);
}

/* Of those whose places were used again, all up to the last one that was lost count as lost: their
 * senders try again, and what comes twice is dropped by the apps. */
enum err files_hold_fate(const struct files_store *m, lsn_t lsn) {
    const uint64_t n = lsn & ~HELD_MARK;
    lsn_t now;
    if (!read_fate(&m->hold, n, &now))
        return n <= atomic_load_explicit(&m->hold.lost_upto, memory_order_acquire) ? E_STORE : OK;
    if (now == HELD_WAITS) return E_PENDING;
    if (now == HELD_DELIVERED) return OK;
    return now == HELD_LOST ? E_STORE : commit_fate(m->commit, now);
}

bool files_hold_waits(const struct hold *h, lsn_t lsn) {
    lsn_t now;
    return files_is_held_lsn(lsn) && read_fate(h, lsn & ~HELD_MARK, &now) && now == HELD_WAITS;
}

/* ---- holding ---- */

/* A number whose place is free, and so is not asked for by anybody who has reason to; 0: none. mtx
 * is held. */
static uint64_t take_number(struct hold *h) {
    lsn_t before;
    const uint64_t n = h->last_n + 1;
    const bool is_used =
        n > HELD_MAX && read_fate(h, n - HELD_MAX, &before) && before == HELD_WAITS;
    if (is_used || h->stopping || h->n_waiting == HELD_MAX) return 0;
    struct held_fate *f = fate_of(h, n);
    atomic_store_explicit(&f->n, n, memory_order_release);
    atomic_store_explicit(&f->lsn, HELD_WAITS, memory_order_release);
    h->last_n = n;
    return n;
}

bool files_hold_message(struct files_store *m, struct queue *q, struct message *msg,
                        struct msg_entry *e) {
    struct hold *h = &m->hold;
    if (h->hold_ms == 0 || !h->thread.is_started || commit_state(m->commit) != COMMIT_OK)
        return false;
    struct held *x = calloc(1, sizeof *x);
    if (x == NULL) return false;
    *x = (struct held){.queue = q, .msg_id = msg->id};
    list_init(&x->link);
    x->due_ms = env_mono_ms(m->shared.env) + h->hold_ms;
    lock_take(&h->mtx);
    x->n = take_number(h);
    const bool wakes = x->n != 0 && h->dozes;
    if (wakes) h->dozes = false;
    if (x->n != 0) {
        (void)queue_ref(q);
        list_push_back(&h->waiting, &x->link);
        h->n_waiting++;
        msg->lsn = e->place = HELD_MARK | x->n;
    }
    lock_give(&h->mtx);
    if (wakes) lock_wake(&h->wake);
    if (x->n != 0) return true;
    free(x);
    return false;
}

void files_hold_delivered(struct files_store *m, const struct msg_entry *e) {
    set_fate(&m->hold, e->place & ~HELD_MARK, HELD_DELIVERED);
    if (m->shared.on_durable != NULL) m->shared.on_durable(m->shared.ctx);
}

void files_hold_lost(struct hold *h, const struct msg_entry *e) {
    if (e->ram == NULL || !files_is_held_lsn(e->ram->lsn)) return;
    set_fate(h, e->ram->lsn & ~HELD_MARK, HELD_LOST);
}

/* ---- writing ---- */

/* The message is still there, and nobody has acknowledged it. The queue is locked. True: it could
 * not be written, and is taken out. */
static bool write_entry(struct files_store *m, struct queue *q, struct msg_entry *e, uint64_t n) {
    lsn_t lsn;
    if (files_write_message(m, q, e->ram, e, &lsn) == OK) {
        set_fate(&m->hold, n, lsn);
        return false;
    }
    queue_unlink(q, e);
    store__count_messages(&m->base, -1);
    set_fate(&m->hold, n, HELD_LOST);
    return true;
}

static void write_held(struct files_store *m, struct held *owned) {
    struct held *x = owned;
    queue_lock(m->base.table, x->queue);
    struct msg_entry *e = x->queue->live ? queue_find_msg(x->queue, &x->msg_id) : NULL;
    bool gone = false;
    if (e != NULL && e->place == (HELD_MARK | x->n)) gone = write_entry(m, x->queue, e, x->n);
    store__unlock(&m->base, x->queue);
    if (gone) {
        msg_entry_free(e);
        if (m->shared.on_durable != NULL) m->shared.on_durable(m->shared.ctx);
    }
    queue_unref(x->queue);
    free(x);
}

/* Those that are due; at a stop all. mtx is held on entry and on return. */
static void write_due(struct files_store *m, bool all) {
    struct hold *h = &m->hold;
    const int64_t now_ms = env_mono_ms(m->shared.env);
    for (struct list *l; (l = list_first(&h->waiting)) != NULL;) {
        struct held *x = CONTAINER_OF(l, struct held, link);
        if (!all && x->due_ms > now_ms) return;
        list_remove(l);
        h->n_waiting--;
        lock_give(&h->mtx);
        write_held(m, x);
        lock_take(&h->mtx);
    }
}

static void run(void *ctx) {
    struct files_store *m = ctx;
    struct hold *h = &m->hold;
    bool was_empty = false;
    lock_take(&h->mtx);
    while (!h->stopping) {
        write_due(m, false);
        const bool is_empty = list_is_empty(&h->waiting);
        if (is_empty && was_empty) {
            h->dozes = true;
            while (h->dozes && !h->stopping) lock_wait(&h->wake, &h->mtx);
        } else if (!h->stopping) {
            /* what is acknowledged in time is not even looked at before */
            (void)lock_wait_ms(&h->wake, &h->mtx, h->hold_ms);
        }
        was_empty = is_empty;
    }
    write_due(m, true);
    lock_give(&h->mtx);
}

/* ---- start and stop ---- */

enum err files_hold_init(struct hold *h, unsigned hold_ms) {
    *h = (struct hold){.hold_ms = hold_ms};
    lock_init(&h->mtx, LOCK_HELD);
    lock_cond_init(&h->wake);
    list_init(&h->waiting);
    if (hold_ms == 0) return OK;
    h->fates = calloc(HELD_MAX, sizeof *h->fates);
    return h->fates != NULL ? OK : E_NO_MEMORY;
}

void files_hold_done(struct hold *h) {
    free(h->fates);
    lock_cond_done(&h->wake);
    lock_done(&h->mtx);
}

enum err files_hold_start(struct files_store *m) {
    return m->hold.hold_ms != 0 ? thread_start(&m->hold.thread, "hold", run, m) : OK;
}

void files_hold_stop(struct files_store *m) {
    struct hold *h = &m->hold;
    if (!h->thread.is_started) return;
    lock_take(&h->mtx);
    h->stopping = true;
    lock_wake(&h->wake);
    lock_give(&h->mtx);
    thread_join(&h->thread);
}
