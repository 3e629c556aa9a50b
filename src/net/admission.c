/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The map holds one entry per address that has a connection, and also those that left with
 * something spent of a rate: else a peer could reconnect and begin with a full one. These wait on a
 * list, are looked at once a minute by whoever enters or leaves later, and are forgotten when their
 * rates are full again. */
#include "net/admission.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/day.h"
#include "base/idmap.h"
#include "base/list.h"
#include "base/lock.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "net/addr.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60000,
    DAY_MS = DAY_S * SECOND_MS,
    MEMORY_LOOK_MS = 200,
    /* Addresses remembered without a connection, 190 bytes each; the oldest are forgotten first. */
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

/* What an address may do in a time. */
enum rate { RATE_HANDSHAKES, RATE_NEW_QUEUES, RATE_NEW_QUEUES_DAY, RATE_NEW_SERVICES, N_RATES };

static const int64_t PERIODS_MS[N_RATES] = {
    [RATE_HANDSHAKES] = SECOND_MS,
    [RATE_NEW_QUEUES] = MINUTE_MS,
    [RATE_NEW_QUEUES_DAY] = DAY_MS,
    [RATE_NEW_SERVICES] = DAY_MS,
};

struct admission_peer {
    struct idnode node;  /* keyed hash of the address */
    struct list waiting; /* in admission.remembered while n_connections is 0 */
    bool is_limited;     /* fixed: what is per address is for this one too */
    unsigned n_connections, n_handshakes, n_holds;
    struct bucket rates[N_RATES];
    int64_t looked_ms; /* since when it waits */
    /* atomic, relaxed: they guard nothing else */
    atomic_uint shares[N_ADMISSION_SHARES];
};

struct admission {
    /* fixed after admission_new() */
    struct admission_opts opts;
    const struct env *env; /* borrowed */
    uint8_t *secret;       /* owned, of secret.h: SECRET_LEN bytes */
    unsigned rates[N_RATES];
    unsigned shares[N_ADMISSION_SHARES];

    /* guarded by mtx */
    struct lock mtx;
    struct idmap peers; /* owns its entries */
    struct list remembered;
    unsigned n_remembered;
    unsigned n_connections, n_outgoing;
    struct bucket handshakes, new_queues;
    int64_t memory_look_ms;
    bool is_memory_full;
};

const enum stat_id LIMIT_STATS[N_ADMISSION_LIMITS] = {
    [LIMIT_CONNECTIONS] = STAT_LIMIT_CONNECTIONS,
    [LIMIT_MEMORY] = STAT_LIMIT_MEMORY,
    [LIMIT_CONNECTIONS_PER_ADDRESS] = STAT_LIMIT_CONNECTIONS_PER_ADDRESS,
    [LIMIT_HANDSHAKES] = STAT_LIMIT_HANDSHAKES,
    [LIMIT_HANDSHAKES_PER_ADDRESS] = STAT_LIMIT_HANDSHAKES_PER_ADDRESS,
    [LIMIT_HANDSHAKES_UNDERWAY] = STAT_LIMIT_HANDSHAKES_UNDERWAY,
    [LIMIT_NEW_QUEUES] = STAT_LIMIT_NEW_QUEUES,
    [LIMIT_NEW_QUEUES_PER_ADDRESS] = STAT_LIMIT_NEW_QUEUES_PER_ADDRESS,
    [LIMIT_NEW_QUEUES_PER_DAY] = STAT_LIMIT_NEW_QUEUES_PER_DAY,
    [LIMIT_NEW_SERVICES] = STAT_LIMIT_NEW_SERVICES,
    [LIMIT_RELAYS] = STAT_LIMIT_RELAYS,
    [LIMIT_LOOKUPS] = STAT_LIMIT_LOOKUPS,
    [LIMIT_FORWARDS] = STAT_LIMIT_FORWARDS,
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
    for (unsigned i = 0; i < N_RATES; i++)
        bucket_fill(&p->rates[i], a->rates[i], PERIODS_MS[i], now_ms);
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

static bool has_spent(const struct admission *a, struct admission_peer *p, int64_t now_ms) {
    for (unsigned i = 0; i < N_RATES; i++) {
        if (!bucket_is_full(&p->rates[i], a->rates[i], PERIODS_MS[i], now_ms)) return true;
    }
    return false;
}

static void remember(struct admission *a, struct admission_peer *p, int64_t now_ms) {
    p->looked_ms = now_ms;
    list_push_back(&a->remembered, &p->waiting);
    a->n_remembered++;
}

static void forget_old(struct admission *a, int64_t now_ms) {
    for (int i = 0; i < FORGET_PER_CALL; i++) {
        struct admission_peer *p = oldest_remembered(a);
        const bool are_too_many = a->n_remembered > REMEMBERED_MAX;
        if (p == NULL || (now_ms - p->looked_ms < MINUTE_MS && !are_too_many)) return;
        stop_remembering(a, p);
        if (p->n_holds == 0 && (are_too_many || !has_spent(a, p, now_ms))) {
            forget(a, p);
        } else {
            remember(a, p, now_ms);
        }
    }
}

/* Of an address whose last connection has ended. */
static void leave_last(struct admission *a, struct admission_peer *p, int64_t now_ms) {
    if (p->n_holds != 0 || has_spent(a, p, now_ms)) {
        remember(a, p, now_ms);
    } else {
        forget(a, p);
    }
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

static bool rate_has(const struct admission *a, struct admission_peer *p, enum rate r,
                     int64_t now_ms) {
    return !p->is_limited || bucket_has(&p->rates[r], a->rates[r], PERIODS_MS[r], now_ms);
}

static void rate_spend(const struct admission *a, struct admission_peer *p, enum rate r) {
    if (p->is_limited) bucket_spend(&p->rates[r], a->rates[r], PERIODS_MS[r]);
}

static enum admission_limit limit_of_peer(const struct admission *a, struct admission_peer *p,
                                          int64_t now_ms) {
    const struct admission_opts *o = &a->opts;
    if (!p->is_limited) return LIMIT_NONE;
    if (is_full(p->n_connections, places_of_address(o))) return LIMIT_CONNECTIONS_PER_ADDRESS;
    if (is_full(p->n_handshakes, o->handshakes_underway)) return LIMIT_HANDSHAKES_UNDERWAY;
    return rate_has(a, p, RATE_HANDSHAKES, now_ms) ? LIMIT_NONE : LIMIT_HANDSHAKES_PER_ADDRESS;
}

/* The kernel is asked now and then: what it says is only a little late. */
static bool is_memory_full(struct admission *a, int64_t now_ms) {
    const struct admission_opts *o = &a->opts;
    if (o->memory_used == NULL || o->memory_max == 0) return false;
    if (now_ms - a->memory_look_ms >= MEMORY_LOOK_MS) {
        a->memory_look_ms = now_ms;
        a->is_memory_full = o->memory_used() >= o->memory_max;
    }
    return a->is_memory_full;
}

/* What is in all comes last, so that who is refused anyway does not use up what is others'. p: NULL
 * for a new address. */
static enum admission_limit limit_of(struct admission *a, struct admission_peer *p,
                                     int64_t now_ms) {
    if (is_full(a->n_connections, a->opts.connections_max)) return LIMIT_CONNECTIONS;
    if (is_memory_full(a, now_ms)) return LIMIT_MEMORY;
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
    rate_spend(a, p, RATE_HANDSHAKES);
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
    uint8_t *secret = secret_new(SECRET_LEN);
    if (a == NULL || secret == NULL) {
        secret_free(secret, SECRET_LEN);
        free(a);
        return E_NO_MEMORY;
    }
    env_random(env, secret, SECRET_LEN);
    a->secret = secret;
    a->opts = *o;
    a->env = env;
    uint64_t seed[3];
    env_random(env, seed, sizeof seed);
    idmap_init(&a->peers, seed);
    list_init(&a->remembered);
    a->rates[RATE_HANDSHAKES] = o->handshakes_per_address;
    a->rates[RATE_NEW_QUEUES] = o->new_queues_per_minute;
    a->rates[RATE_NEW_QUEUES_DAY] = o->new_queues_per_day;
    a->rates[RATE_NEW_SERVICES] = o->new_services_per_day;
    a->shares[SHARE_RELAYS] = o->relays_underway;
    a->shares[SHARE_LOOKUPS] = o->lookups_underway;
    a->shares[SHARE_FORWARDS] = o->forwards_underway;
    const int64_t now = env_mono_ms(env);
    a->memory_look_ms = now - MEMORY_LOOK_MS;
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
    secret_free(a->secret, SECRET_LEN);
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
    if (--owned->n_connections == 0) leave_last(a, owned, now);
    forget_old(a, now);
    lock_give(&a->mtx);
}

static enum admission_limit take_new_queue(struct admission *a, struct admission_peer *p,
                                           int64_t now_ms) {
    const unsigned in_all = a->opts.new_queues_in_all;
    if (!rate_has(a, p, RATE_NEW_QUEUES, now_ms)) return LIMIT_NEW_QUEUES_PER_ADDRESS;
    if (!rate_has(a, p, RATE_NEW_QUEUES_DAY, now_ms)) return LIMIT_NEW_QUEUES_PER_DAY;
    if (!bucket_has(&a->new_queues, in_all, MINUTE_MS, now_ms)) return LIMIT_NEW_QUEUES;
    rate_spend(a, p, RATE_NEW_QUEUES);
    rate_spend(a, p, RATE_NEW_QUEUES_DAY);
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

enum admission_limit admission_take_new_service(struct admission *a, struct admission_peer *peer) {
    const int64_t now = env_mono_ms(a->env);
    lock_take(&a->mtx);
    const bool has = rate_has(a, peer, RATE_NEW_SERVICES, now);
    if (has) rate_spend(a, peer, RATE_NEW_SERVICES);
    lock_give(&a->mtx);
    return has ? LIMIT_NONE : LIMIT_NEW_SERVICES;
}

void admission_hold(struct admission *a, struct admission_peer *peer) {
    lock_take(&a->mtx);
    peer->n_holds++;
    lock_give(&a->mtx);
}

/* It is forgotten later, by forget_old(). */
void admission_let_go(struct admission *a, struct admission_peer *held) {
    lock_take(&a->mtx);
    assert(held->n_holds > 0);
    held->n_holds--;
    lock_give(&a->mtx);
}

enum admission_limit admission_take_share(struct admission *a, struct admission_peer *peer,
                                          enum admission_share share) {
    static const enum admission_limit LIMITS[N_ADMISSION_SHARES] = {
        [SHARE_RELAYS] = LIMIT_RELAYS,
        [SHARE_LOOKUPS] = LIMIT_LOOKUPS,
        [SHARE_FORWARDS] = LIMIT_FORWARDS,
    };
    const unsigned before =
        atomic_fetch_add_explicit(&peer->shares[share], 1, memory_order_relaxed);
    if (!peer->is_limited || !is_full(before, a->shares[share])) return LIMIT_NONE;
    admission_give_share(peer, share);
    return LIMITS[share];
}

void admission_give_share(struct admission_peer *peer, enum admission_share share) {
    const unsigned before =
        atomic_fetch_sub_explicit(&peer->shares[share], 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
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
