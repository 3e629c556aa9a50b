/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The map holds one entry per address that has a connection, and for the rate of new queues also
 * those that left less than a minute ago with something spent: else a peer could reconnect and
 * begin with a full minute's worth. These wait on a list, oldest first, and are forgotten by
 * whoever enters or leaves later. */
#include "net/admission.h"

#include <assert.h>
#include <stdlib.h>

#include "base/idmap.h"
#include "base/list.h"
#include "base/lock.h"
#include "crypto/crypto.h"
#include "net/addr.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60000,
    /* Addresses remembered without a connection, 120 bytes each; the oldest are forgotten first. */
    REMEMBERED_MAX = 65536,
    FORGET_PER_CALL = 4,
    SECRET_LEN = 32,
};

/* A token bucket that is full after one period. Level and rate are exact: one token is period_ms
 * units. */
struct bucket {
    int64_t level;
    int64_t at_ms;
};

struct admission_peer {
    struct idnode node;  /* keyed hash of the address */
    struct list waiting; /* in admission.remembered while n_connections is 0 */
    bool is_limited;     /* what is per address is for this one too */
    unsigned n_connections, n_handshakes;
    struct bucket handshakes, new_queues;
    int64_t left_ms;
};

struct admission {
    /* fixed after admission_new() */
    struct admission_opts opts;
    const struct env *env; /* borrowed */
    uint8_t secret[SECRET_LEN];

    /* guarded by mtx */
    struct lock mtx;
    struct idmap peers; /* owns its entries */
    struct list remembered;
    unsigned n_remembered;
    unsigned n_connections, n_outgoing;
    struct bucket handshakes, new_queues;
};

const enum stat_id LIMIT_STATS[N_ADMISSION_LIMITS] = {
    [LIMIT_CONNECTIONS] = STAT_LIMIT_CONNECTIONS,
    [LIMIT_CONNECTIONS_PER_ADDRESS] = STAT_LIMIT_CONNECTIONS_PER_ADDRESS,
    [LIMIT_HANDSHAKES] = STAT_LIMIT_HANDSHAKES,
    [LIMIT_HANDSHAKES_PER_ADDRESS] = STAT_LIMIT_HANDSHAKES_PER_ADDRESS,
    [LIMIT_HANDSHAKES_UNDERWAY] = STAT_LIMIT_HANDSHAKES_UNDERWAY,
    [LIMIT_NEW_QUEUES] = STAT_LIMIT_NEW_QUEUES,
    [LIMIT_NEW_QUEUES_PER_ADDRESS] = STAT_LIMIT_NEW_QUEUES_PER_ADDRESS,
};

/* ---- buckets ---- */

static void bucket_fill(struct bucket *b, unsigned rate, int64_t period_ms, int64_t now_ms) {
    *b = (struct bucket){(int64_t)rate * period_ms, now_ms};
}

static void bucket_refill(struct bucket *b, unsigned rate, int64_t period_ms, int64_t now_ms) {
    const int64_t passed = now_ms - b->at_ms;
    if (passed >= period_ms) {
        bucket_fill(b, rate, period_ms, now_ms);
    } else if (passed > 0) {
        const int64_t full = (int64_t)rate * period_ms;
        b->level += passed * (int64_t)rate;
        if (b->level > full) b->level = full;
        b->at_ms = now_ms;
    }
}

static bool bucket_has(struct bucket *b, unsigned rate, int64_t period_ms, int64_t now_ms) {
    if (rate == 0) return true;
    bucket_refill(b, rate, period_ms, now_ms);
    return b->level >= period_ms;
}

/* Of one that has. */
static void bucket_spend(struct bucket *b, unsigned rate, int64_t period_ms) {
    if (rate != 0) b->level -= period_ms;
}

static bool bucket_is_full(struct bucket *b, unsigned rate, int64_t period_ms, int64_t now_ms) {
    bucket_refill(b, rate, period_ms, now_ms);
    return b->level == (int64_t)rate * period_ms;
}

/* ---- addresses ---- */

/* What counts as one address: 4 bytes of IPv4, 8 of IPv6; nothing for other families, which thereby
 * are one address. */
static struct bytes address_of(const struct sockaddr *from) {
    const struct bytes a = addr_unmapped(addr_bytes(from));
    return bytes_of(a.p, a.n == 16 ? 8 : a.n);
}

static bool is_localhost(const struct sockaddr *from) {
    const struct bytes address = address_of(from);
    return address.n == 4 ? address.p[0] == IN_LOOPBACKNET : addr_is_loopback(from);
}

static enum err hash_address(const struct admission *a, const struct sockaddr *from,
                             struct id *ret) {
    uint8_t text[SECRET_LEN + 8];
    uint8_t hash[SHA256_LEN];
    const struct bytes address = address_of(from);
    memcpy(text, a->secret, SECRET_LEN);
    if (address.n != 0) memcpy(text + SECRET_LEN, address.p, address.n);
    const enum err e = crypto_sha256(bytes_of(text, SECRET_LEN + address.n), hash);
    crypto_wipe(text, sizeof text);
    if (e == OK) memcpy(ret->b, hash, ID_LEN);
    return e;
}

/* ---- entries; under the lock ---- */

static struct admission_peer *find_peer(struct admission *a, const struct id *id) {
    struct idnode *n = idmap_find(&a->peers, id);
    return n != NULL ? CONTAINER_OF(n, struct admission_peer, node) : NULL;
}

static enum err add_peer(struct admission *a, const struct id *id, bool is_limited, int64_t now_ms,
                         struct admission_peer **ret) {
    struct admission_peer *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    p->node.id = *id;
    list_init(&p->waiting);
    p->is_limited = is_limited;
    bucket_fill(&p->handshakes, a->opts.handshakes_per_address, SECOND_MS, now_ms);
    bucket_fill(&p->new_queues, a->opts.new_queues_per_minute, MINUTE_MS, now_ms);
    const enum err e = idmap_insert(&a->peers, &p->node);
    if (e != OK) {
        free(p);
        return e;
    }
    *ret = p;
    return OK;
}

static void forget(struct admission *a, struct admission_peer *p) {
    (void)idmap_remove(&a->peers, &p->node.id);
    free(p);
}

static struct admission_peer *oldest_remembered(const struct admission *a) {
    struct list *n = list_first(&a->remembered);
    return n != NULL ? CONTAINER_OF(n, struct admission_peer, waiting) : NULL;
}

static void stop_remembering(struct admission *a, struct admission_peer *p) {
    list_remove(&p->waiting);
    a->n_remembered--;
}

static void forget_old(struct admission *a, int64_t now_ms) {
    for (int i = 0; i < FORGET_PER_CALL; i++) {
        struct admission_peer *p = oldest_remembered(a);
        if (p == NULL) return;
        if (now_ms - p->left_ms < MINUTE_MS && a->n_remembered <= REMEMBERED_MAX) return;
        stop_remembering(a, p);
        forget(a, p);
    }
}

/* Of an address whose last connection has ended. */
static void remember(struct admission *a, struct admission_peer *p, int64_t now_ms) {
    const struct admission_opts *o = &a->opts;
    if (bucket_is_full(&p->new_queues, o->new_queues_per_minute, MINUTE_MS, now_ms) &&
        bucket_is_full(&p->handshakes, o->handshakes_per_address, SECOND_MS, now_ms)) {
        forget(a, p);
        return;
    }
    p->left_ms = now_ms;
    list_push_back(&a->remembered, &p->waiting);
    a->n_remembered++;
}

static bool is_full(unsigned n, unsigned max) {
    return max != 0 && n >= max;
}

/* One address leaves at least half of all places to others. */
static unsigned places_of_address(const struct admission_opts *o) {
    const unsigned half = o->connections_max / 2;
    if (o->connections_per_address == 0 || half == 0) return o->connections_per_address;
    return o->connections_per_address < half ? o->connections_per_address : half;
}

static enum admission_limit limit_of_peer(const struct admission *a, struct admission_peer *p,
                                          int64_t now_ms) {
    const struct admission_opts *o = &a->opts;
    if (!p->is_limited) return LIMIT_NONE;
    if (is_full(p->n_connections, places_of_address(o))) return LIMIT_CONNECTIONS_PER_ADDRESS;
    if (is_full(p->n_handshakes, o->handshakes_underway)) return LIMIT_HANDSHAKES_UNDERWAY;
    if (!bucket_has(&p->handshakes, o->handshakes_per_address, SECOND_MS, now_ms))
        return LIMIT_HANDSHAKES_PER_ADDRESS;
    return LIMIT_NONE;
}

/* What is in all comes last, so that who is refused anyway does not use up what is others'. p: NULL
 * for a new address. */
static enum admission_limit limit_of(struct admission *a, struct admission_peer *p,
                                     int64_t now_ms) {
    if (is_full(a->n_connections, a->opts.connections_max)) return LIMIT_CONNECTIONS;
    const enum admission_limit limit = p != NULL ? limit_of_peer(a, p, now_ms) : LIMIT_NONE;
    if (limit != LIMIT_NONE) return limit;
    if (!bucket_has(&a->handshakes, a->opts.handshakes_per_second, SECOND_MS, now_ms))
        return LIMIT_HANDSHAKES;
    return LIMIT_NONE;
}

static enum err enter_locked(struct admission *a, const struct id *id, bool is_limited,
                             int64_t now_ms, struct admission_peer **ret,
                             enum admission_limit *ret_limit) {
    forget_old(a, now_ms);
    struct admission_peer *p = find_peer(a, id);
    *ret_limit = limit_of(a, p, now_ms);
    if (*ret_limit != LIMIT_NONE) return E_LIMIT;
    if (p == NULL) {
        const enum err e = add_peer(a, id, is_limited, now_ms, &p);
        if (e != OK) return e;
    } else if (p->n_connections == 0) {
        stop_remembering(a, p);
    }
    bucket_spend(&a->handshakes, a->opts.handshakes_per_second, SECOND_MS);
    if (is_limited) bucket_spend(&p->handshakes, a->opts.handshakes_per_address, SECOND_MS);
    p->n_handshakes++;
    p->n_connections++;
    a->n_connections++;
    *ret = p;
    return OK;
}

/* ---- public ---- */

enum err admission_new(const struct admission_opts *o, const struct env *env,
                       struct admission **ret) {
    struct admission *a = calloc(1, sizeof *a);
    if (a == NULL) return E_NO_MEMORY;
    a->opts = *o;
    a->env = env;
    env_random(env, a->secret, sizeof a->secret);
    uint64_t seed[3];
    env_random(env, seed, sizeof seed);
    idmap_init(&a->peers, seed);
    list_init(&a->remembered);
    const int64_t now = env_mono_ms(env);
    bucket_fill(&a->handshakes, o->handshakes_per_second, SECOND_MS, now);
    bucket_fill(&a->new_queues, o->new_queues_in_all, MINUTE_MS, now);
    lock_init(&a->mtx, LOCK_ADMISSION);
    *ret = a;
    return OK;
}

void admission_free(struct admission *a) {
    if (a == NULL) return;
    assert(a->n_connections == 0 && a->n_outgoing == 0);
    for (struct admission_peer *p; (p = oldest_remembered(a)) != NULL;) {
        stop_remembering(a, p);
        forget(a, p);
    }
    idmap_done(&a->peers);
    lock_done(&a->mtx);
    crypto_wipe(a->secret, sizeof a->secret);
    free(a);
}

enum err admission_enter(struct admission *a, const struct sockaddr *from,
                         struct admission_peer **ret_peer, enum admission_limit *ret_limit) {
    struct id id;
    *ret_limit = LIMIT_NONE;
    enum err e = hash_address(a, from, &id);
    if (e != OK) return e;
    const bool is_limited = a->opts.limit_localhost || !is_localhost(from);
    const int64_t now = env_mono_ms(a->env);
    lock_take(&a->mtx);
    e = enter_locked(a, &id, is_limited, now, ret_peer, ret_limit);
    lock_give(&a->mtx);
    return e;
}

void admission_settle(struct admission *a, struct admission_peer *peer) {
    lock_take(&a->mtx);
    assert(peer->n_handshakes > 0);
    peer->n_handshakes--;
    lock_give(&a->mtx);
}

void admission_leave(struct admission *a, struct admission_peer *owned) {
    const int64_t now = env_mono_ms(a->env);
    lock_take(&a->mtx);
    assert(owned->n_connections > 0);
    a->n_connections--;
    if (--owned->n_connections == 0) remember(a, owned, now);
    forget_old(a, now);
    lock_give(&a->mtx);
}

static enum admission_limit take_new_queue(struct admission *a, struct admission_peer *p,
                                           int64_t now_ms) {
    const unsigned own = p->is_limited ? a->opts.new_queues_per_minute : 0;
    const unsigned in_all = a->opts.new_queues_in_all;
    if (!bucket_has(&p->new_queues, own, MINUTE_MS, now_ms)) return LIMIT_NEW_QUEUES_PER_ADDRESS;
    if (!bucket_has(&a->new_queues, in_all, MINUTE_MS, now_ms)) return LIMIT_NEW_QUEUES;
    bucket_spend(&p->new_queues, own, MINUTE_MS);
    bucket_spend(&a->new_queues, in_all, MINUTE_MS);
    return LIMIT_NONE;
}

enum admission_limit admission_take_new_queue(struct admission *a, struct admission_peer *peer) {
    const int64_t now = env_mono_ms(a->env);
    lock_take(&a->mtx);
    const enum admission_limit limit = take_new_queue(a, peer, now);
    lock_give(&a->mtx);
    return limit;
}

bool admission_take_outgoing(struct admission *a) {
    lock_take(&a->mtx);
    const bool taken = !is_full(a->n_outgoing, a->opts.outgoing_max);
    if (taken) a->n_outgoing++;
    lock_give(&a->mtx);
    return taken;
}

void admission_give_outgoing(struct admission *a) {
    lock_take(&a->mtx);
    assert(a->n_outgoing > 0);
    a->n_outgoing--;
    lock_give(&a->mtx);
}

unsigned admission_connections(const struct admission *a) {
    struct admission *m = (struct admission *)(uintptr_t)a; /* the lock of a const object */
    lock_take(&m->mtx);
    const unsigned n = m->n_connections;
    lock_give(&m->mtx);
    return n;
}
