/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/secret.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/lock.h"
#include "crypto/crypto.h"

enum {
    UNIT = 32,
    UNITS_MAX = 8, /* what is larger has pages of its own */
    BLOCK_LEN = 64 << 10,
    /* OpenSSL's: the key of an exchange stays as long as its connection, 64 bytes for X448 */
    HEAP_UNIT = 32,
    HEAP_PER_CONNECTION = 64,
    HEAP_MIN = 1 << 20,
    HEAP_MAX = 128 << 20,
};

struct slot {
    struct slot *next;
};

static struct lock mtx = {.mtx = PTHREAD_MUTEX_INITIALIZER, .kind = LOCK_SECRETS};
/* guarded by mtx; blocks are never given back */
static struct slot *unused[UNITS_MAX + 1]; /* by number of units */
static uint8_t *block;                     /* of which nothing was given out from block_at on */
static size_t block_at = BLOCK_LEN;
/* atomic, relaxed: once and for all */
static _Atomic bool has_locked, has_unlocked;

/* ---- pages ---- */

static size_t page_len(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Without the two pages around it. */
static size_t pages_for(size_t n) {
    return (n + page_len() - 1) / page_len() * page_len();
}

static void note(bool is_locked) {
    atomic_store_explicit(is_locked ? &has_locked : &has_unlocked, true, memory_order_relaxed);
}

static void *map(size_t n) {
    const size_t len = pages_for(n), guard = page_len();
    uint8_t *all = mmap(NULL, len + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return NULL;
    if (mprotect(all + guard, len, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(all, len + 2 * guard);
        return NULL;
    }
    (void)madvise(all + guard, len, MADV_DONTDUMP);
    return all + guard;
}

static void unmap(void *p, size_t n) {
    const size_t guard = page_len();
    (void)munmap((uint8_t *)p - guard, pages_for(n) + 2 * guard);
}

/* ---- slots ---- */

static size_t units_of(size_t n) {
    return n != 0 ? (n + UNIT - 1) / UNIT : 1;
}

/* What is left of a block is lost: less than a slot. */
static void *cut(size_t n_units) {
    if (block_at + n_units * UNIT > BLOCK_LEN) {
        uint8_t *p = map(BLOCK_LEN);
        if (p == NULL) return NULL;
        note(mlock2(p, BLOCK_LEN, MLOCK_ONFAULT) == 0); /* pages cost memory once they are used */
        block = p;
        block_at = 0;
    }
    void *p = block + block_at;
    block_at += n_units * UNIT;
    return p;
}

static void *take_slot(size_t n_units) {
    lock_take(&mtx);
    struct slot *s = unused[n_units];
    void *p = s;
    if (s != NULL) {
        unused[n_units] = s->next;
        s->next = NULL;
    } else {
        p = cut(n_units);
    }
    lock_give(&mtx);
    return p;
}

static void give_slot(void *p, size_t n_units) {
    struct slot *s = p;
    lock_take(&mtx);
    s->next = unused[n_units];
    unused[n_units] = s;
    lock_give(&mtx);
}

/* ---- public ---- */

void *secret_new(size_t n) {
    const size_t n_units = units_of(n);
    return n_units > UNITS_MAX ? map(n) : take_slot(n_units);
}

void secret_free(void *owned, size_t n) {
    const size_t n_units = units_of(n);
    if (owned == NULL) return;
    crypto_wipe(owned, n);
    if (n_units > UNITS_MAX) {
        unmap(owned, n);
    } else {
        give_slot(owned, n_units);
    }
}

void secret_begin(size_t n_connections) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &limit); /* then it is what it is */
    }
    secret_free(secret_new(UNIT), UNIT); /* first: in a small limit there is room for ours */
    size_t len = HEAP_MIN;
    while (len < HEAP_MAX && len / HEAP_PER_CONNECTION < n_connections) len *= 2;
    /* 1: made; 2: made, but not locked; 0: OpenSSL goes on without */
    note(CRYPTO_secure_malloc_init(len, HEAP_UNIT) == 1);
}

enum secret_locking secret_locking(void) {
    if (!atomic_load_explicit(&has_unlocked, memory_order_relaxed)) return SECRETS_LOCKED;
    return atomic_load_explicit(&has_locked, memory_order_relaxed) ? SECRETS_PARTLY_LOCKED
                                                                   : SECRETS_UNLOCKED;
}
