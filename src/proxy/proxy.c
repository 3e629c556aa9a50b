/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/proxy_priv.h"

#include <stdlib.h>

#include "base/lock.h"
#include "crypto/crypto.h"
#include "model/limits.h"
#include "net/tls.h"

/* ---- relay sessions of all pools ---- */

/* Session ids are of 12 or 32 bytes; what is beyond an id's length is compared apart. */
static struct id key_of(struct bytes session_id) {
    struct id id = {{0}};
    memcpy(id.b, session_id.p, session_id.n < sizeof id.b ? session_id.n : sizeof id.b);
    return id;
}

struct pool *proxy__find_session(struct proxy *p, struct bytes session_id,
                                 struct pooled **ret_relay) {
    if (session_id.n == 0) return NULL;
    const struct id id = key_of(session_id);
    struct pool *pool = NULL;
    lock_take(&p->mtx);
    struct idnode *node = idmap_find(&p->sessions, &id);
    if (node != NULL) {
        *ret_relay = CONTAINER_OF(node, struct pooled, by_session);
        if (bytes_equal(session_id, (*ret_relay)->session_id)) pool = (*ret_relay)->pool;
    }
    lock_give(&p->mtx);
    return pool;
}

enum err proxy__add_session(struct proxy *p, struct pooled *relay, struct bytes session_id) {
    lock_take(&p->mtx);
    relay->session_id = session_id;
    relay->by_session.id = key_of(session_id);
    const enum err e = idmap_insert(&p->sessions, &relay->by_session);
    if (e != OK) relay->session_id = (struct bytes){0};
    lock_give(&p->mtx);
    return e;
}

void proxy__remove_session(struct proxy *p, struct pooled *relay) {
    lock_take(&p->mtx);
    if (relay->session_id.n != 0) (void)idmap_remove(&p->sessions, &relay->by_session.id);
    relay->session_id = (struct bytes){0};
    lock_give(&p->mtx);
}

/* ---- the way of an operation ---- */

static bool is_stopping(struct proxy *p) {
    return atomic_load_explicit(&p->is_stopping, memory_order_acquire);
}

static void returned(struct loop_msg *m) {
    struct proxy_op *op = CONTAINER_OF(m, struct proxy_op, msg);
    op->done(op);
}

void proxy__complete(struct proxy_op *owned, const struct smp_failure *why) {
    owned->failure = *why;
    if (loop_index(owned->home) == loop_index(owned->from)) {
        owned->done(owned);
    } else if (is_stopping(owned->proxy)) {
        owned->drop(owned);
    } else {
        owned->msg.run = returned;
        loop_post(owned->from, &owned->msg);
    }
}

void proxy__complete_by(struct proxy_op *owned, enum smp_failure_kind error) {
    const struct smp_failure why = {.error = error};
    proxy__complete(owned, &why);
}

/* On the loop of the pool. */
static void run(struct proxy_op *op) {
    struct proxy *p = op->proxy;
    struct pool *pool = &p->pools[loop_index(op->home)];
    if (is_stopping(p)) {
        proxy__complete_by(op, FAILURE_NETWORK);
    } else if (op->session_id.n != 0) {
        pool__forward(pool, op);
    } else {
        pool__connect(pool, op);
    }
}

static void arrived(struct loop_msg *m) {
    run(CONTAINER_OF(m, struct proxy_op, msg));
}

static void begin(struct proxy *p, struct loop *from, struct proxy_op *op) {
    ASSERT_ON_LOOP(from);
    op->proxy = p;
    op->from = op->home = from;
    list_init(&op->waiting);
    op->session_id = (struct bytes){0};
    op->is_own = false;
    op->data = NULL;
    op->request.transmission = NULL;
    op->queued_until_ms = 0;
}

static void go_home(struct proxy_op *op, struct loop *home) {
    op->home = home;
    if (home == op->from) {
        run(op);
    } else {
        op->msg.run = arrived;
        loop_post(home, &op->msg);
    }
}

static enum smp_failure_kind address_error(enum err e) {
    if (e == E_HOST) return FAILURE_HOST;
    return e == E_SYNTAX ? FAILURE_NETWORK : FAILURE_INTERNAL; /* nobody can be there */
}

void proxy_connect(struct proxy *p, struct loop *from, const struct relay_name *to,
                   struct proxy_op *owned) {
    begin(p, from, owned);
    const enum err e = relay_addr_from(to, &p->rules, &owned->addr);
    owned->is_own = relay_name_is_own(to, &p->rules);
    if (e != OK) {
        proxy__complete_by(owned, address_error(e));
        return;
    }
    uint32_t hash;
    memcpy(&hash, owned->addr.key.b, sizeof hash);
    go_home(owned, p->pools[hash % p->n_pools].loop);
}

/* Copies what f and session_id view. */
static enum err keep_forward(struct proxy_op *op, struct bytes session_id,
                             const struct forward *f) {
    op->data = malloc(session_id.n + f->corr_id.n + f->body.n);
    if (op->data == NULL) return E_NO_MEMORY;
    struct wr w = wr_init(op->data, session_id.n + f->corr_id.n + f->body.n);
    wr_bytes_raw(&w, session_id);
    wr_bytes_raw(&w, f->corr_id);
    wr_bytes_raw(&w, f->body);
    op->session_id = bytes_of(op->data, session_id.n);
    op->forward = *f;
    op->forward.corr_id.p = op->data + session_id.n;
    op->forward.body.p = op->data + session_id.n + f->corr_id.n;
    return OK;
}

void proxy_forward(struct proxy *p, struct loop *from, struct bytes session_id,
                   const struct forward *f, struct proxy_op *owned) {
    begin(p, from, owned);
    struct pooled *relay;
    const struct pool *pool = proxy__find_session(p, session_id, &relay);
    if (pool == NULL) {
        proxy__complete_by(owned, FAILURE_NO_SESSION);
    } else if (keep_forward(owned, session_id, f) != OK) {
        proxy__complete_by(owned, FAILURE_INTERNAL);
    } else {
        go_home(owned, pool->loop);
    }
}

void proxy_op_done(struct proxy_op *op) {
    free(op->data);
    free(op->request.transmission);
    op->data = op->request.transmission = NULL;
    proxy_asker_unref(op->asker);
    op->asker = NULL;
}

/* ---- start and stop ---- */

static void set_opts(struct proxy *p, const struct proxy_opts *o) {
    const struct proxy_settings *set = &o->settings;
    p->rules = (struct relay_addr_rules){o->prefer_onion, set->required_host_mode, p->own_domains};
    if (o->socks != NULL) p->socks = *o->socks;
    p->conn = (struct conn_opts){
        .ops = &SMP_CLIENT_OPS,
        .stream.tls_timeout_ms = set->connect_timeout_s * 1000,
        .block_timeout_ms = (int64_t)BLOCK_TIMEOUT_S * 1000,
    };
    p->dial.conn = &p->conn;
    p->dial.socks = o->socks != NULL ? &p->socks : NULL;
    p->dial.socks_always = o->socks_always;
    p->dial.allow_private = set->allow_private;
    p->dial.admission = o->admission;
    p->client = (struct smp_client_opts){
        .env = o->env,
        .dial = &p->dial,
        .version_min = V_SENDING_PROXY,
        .version_max = o->version_max,
        .is_proxy = true,
        .connect_timeout_ms = set->connect_timeout_s * 1000,
        .request_timeout_ms = set->request_timeout_s * 1000,
        .ping_after_ms = set->ping_after_s * 1000,
        .idle_ms = set->idle_s * 1000,
        .requests_max = PROXY_RELAY_REQUESTS_MAX,
        .unsent_max = PROXY_RELAY_UNSENT_MAX,
    };
    p->retry_after_ms = set->retry_after_s * 1000;
}

enum err proxy_new(const struct proxy_opts *o, struct proxy **ret) {
    if (strlen(o->own_domains) >= sizeof((struct proxy *)0)->own_domains) return E_LIMIT;
    struct proxy *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    memcpy(p->own_domains, o->own_domains, strlen(o->own_domains) + 1);
    set_opts(p, o);
    uint64_t seed[3];
    env_random(o->env, seed, sizeof seed);
    idmap_init(&p->sessions, seed);
    lock_init(&p->mtx, LOCK_PROXY);
    enum err e = tls_client_ctx_new(o->env, &p->dial.tls);
    p->pools = calloc(o->n_loops, sizeof *p->pools);
    if (e == OK && p->pools == NULL) e = E_NO_MEMORY;
    if (e != OK) {
        proxy_free(p);
        return e;
    }
    p->n_pools = o->n_loops;
    for (unsigned i = 0; i < p->n_pools; i++) pool__init(&p->pools[i], p, o->loops[i]);
    *ret = p;
    return OK;
}

enum err proxy_start(struct proxy *p) {
    enum err e = OK;
    for (unsigned i = 0; i < p->n_pools && e == OK; i++) e = pool__start(&p->pools[i]);
    return e;
}

void proxy_stop(struct proxy *p) {
    if (p != NULL) atomic_store_explicit(&p->is_stopping, true, memory_order_release);
}

void proxy_free(struct proxy *p) {
    if (p == NULL) return;
    for (unsigned i = 0; i < p->n_pools; i++) pool__done(&p->pools[i]);
    free(p->pools);
    idmap_done(&p->sessions);
    tls_ctx_free(p->dial.tls);
    lock_done(&p->mtx);
    crypto_wipe(&p->socks, sizeof p->socks);
    free(p);
}
