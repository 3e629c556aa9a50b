/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A relay is in the pool from the first operation that names it until its connection ends, or,
 * when connecting failed, until it may be tried again.
 *
 * An operation that would begin an attempt, but whose session or address has enough of them under
 * way, waits in the queue; a timer lets those in whose turn it is, and gives up attempts for which
 * nobody waits. */
#include "proxy/proxy_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/rd.h"
#include "crypto/crypto.h"
#include "model/limits.h"
#include "net/reach.h"
#include "wire/transmission.h"

enum { SWEEP_MS = 10000, WATCH_MS = 200 };

/* ---- what a connected relay tells of itself ---- */

/* Copies the views of k, so that they outlive the connection. */
static enum err keep_pkey(struct proxy_op *op, const struct reply_pkey *k) {
    const size_t n = k->session_id.n + k->cert_chain.n + k->signed_key.n;
    uint8_t *to = malloc(n);
    if (to == NULL) return E_NO_MEMORY;
    op->data = to;
    op->pkey = *k;
    struct bytes *const parts[] = {&op->pkey.session_id, &op->pkey.cert_chain,
                                   &op->pkey.signed_key};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        memcpy(to, parts[i]->p, parts[i]->n);
        parts[i]->p = to;
        to += parts[i]->n;
    }
    return OK;
}

static struct bytes session_id_of(const struct smp_client *c) {
    const struct wire_params *p = smp_client_params(c);
    return bytes_of(p->session + 1, p->session[0]);
}

static void give_pkey(const struct pooled *relay, struct proxy_op *owned) {
    struct reply_pkey k = {
        .session_id = session_id_of(relay->client),
        .cert_chain = smp_client_chain(relay->client),
        .signed_key = smp_client_signed_key(relay->client),
    };
    smp_client_versions(relay->client, &k.version_min, &k.version_max);
    if (k.version_max > PROXIED_VERSION_MAX) k.version_max = PROXIED_VERSION_MAX;
    struct smp_failure why = {.error = FAILURE_TRANSPORT, .transport = TRANSPORT_VERSION};
    if (k.version_min <= k.version_max) {
        why.transport = TRANSPORT_HS_BAD_AUTH;
        const bool fits = k.cert_chain.n + k.signed_key.n <= PROXY_PROOF_MAX;
        if (fits) why.error = keep_pkey(owned, &k) == OK ? FAILURE_NONE : FAILURE_INTERNAL;
    }
    proxy__complete(owned, &why);
}

/* ---- the life of a relay ---- */

static void forget(struct pooled *relay) {
    (void)idmap_remove(&relay->pool->relays, &relay->by_addr.id);
    free(relay);
}

/* Of a relay's connection, whether it is up or being made; a dial counts what it needs beyond. */
static bool take_socket(const struct pool *pool) {
    struct admission *a = pool->proxy->dial.admission;
    return a == NULL || admission_take_outgoing(a);
}

static void give_socket(const struct pool *pool) {
    struct admission *a = pool->proxy->dial.admission;
    if (a != NULL) admission_give_outgoing(a);
}

/* It is connected, or will not be. */
static void end_attempt(struct pooled *relay) {
    relay->pool->n_connecting--;
    proxy_asker_give(relay->asker, SHARE_RELAYS);
    proxy_asker_unref(relay->asker);
    relay->asker = NULL;
}

static void on_up(void *ctx) {
    struct pooled *relay = ctx;
    end_attempt(relay);
    relay->is_up = true;
    log_line(LOG_DEBUG, "relay-connected", "host=%s", relay->addr.target.host);
    const enum err e = proxy__add_session(relay->pool->proxy, relay, session_id_of(relay->client));
    for (struct list *n; (n = list_first(&relay->waiting)) != NULL;) {
        struct proxy_op *op = CONTAINER_OF(n, struct proxy_op, waiting);
        list_remove(n);
        if (e == OK) {
            give_pkey(relay, op);
        } else {
            proxy__complete_by(op, FAILURE_INTERNAL);
        }
    }
    if (e != OK) smp_client_close(relay->client);
}

static void on_down(void *ctx, const struct smp_failure *why) {
    struct pooled *relay = ctx;
    struct pool *pool = relay->pool;
    log_line(LOG_DEBUG, relay->is_up ? "relay-disconnected" : "relay-unreachable", "host=%s",
             relay->addr.target.host);
    relay->client = NULL;
    give_socket(pool);
    if (relay->is_up) {
        proxy__remove_session(pool->proxy, relay);
        forget(relay);
        return;
    }
    end_attempt(relay);
    relay->failure = *why;
    relay->retry_at_ms = loop_now_ms(pool->loop) + pool->proxy->retry_after_ms;
    struct list waiting; /* its end may free the relay: by another operation that comes in */
    list_init(&waiting);
    list_move_all(&waiting, &relay->waiting);
    if (relay->is_abandoned) forget(relay); /* of the relay nothing is known */
    for (struct list *n; (n = list_first(&waiting)) != NULL;) {
        list_remove(n);
        proxy__complete(CONTAINER_OF(n, struct proxy_op, waiting), why);
    }
}

static const struct smp_client_events EVENTS = {.on_up = on_up, .on_down = on_down};

/* Forgets what failed long enough ago. */
static void sweep_one(struct idnode *node, void *ctx) {
    struct pooled *relay = CONTAINER_OF(node, struct pooled, by_addr);
    struct list *old = ctx;
    if (relay->client == NULL && loop_now_ms(relay->pool->loop) >= relay->retry_at_ms) {
        list_push_back(old, &relay->waiting); /* nobody waits for a relay that failed */
    }
}

static void sweep(void *ctx) {
    struct pool *pool = ctx;
    struct list old;
    list_init(&old);
    idmap_each(&pool->relays, sweep_one, &old);
    for (struct list *n; (n = list_first(&old)) != NULL;) {
        list_remove(n);
        forget(CONTAINER_OF(n, struct pooled, waiting));
    }
}

/* ---- connecting ---- */

static enum err add_relay(struct pool *pool, const struct relay_addr *addr, struct pooled **ret) {
    if (pool->relays.n_entries >= PROXY_RELAYS_MAX) sweep(pool);
    if (pool->relays.n_entries >= PROXY_RELAYS_MAX) return E_LIMIT;
    struct pooled *relay = calloc(1, sizeof *relay);
    if (relay == NULL) return E_NO_MEMORY;
    relay->by_addr.id = addr->key;
    relay->pool = pool;
    relay->addr = *addr;
    list_init(&relay->waiting);
    const enum err e = idmap_insert(&pool->relays, &relay->by_addr);
    if (e != OK) {
        free(relay);
        return e;
    }
    *ret = relay;
    return OK;
}

static enum smp_failure_kind error_of(enum err e) {
    switch (e) {
    case E_HOST:
        return FAILURE_HOST;
    case E_LIMIT:
        return FAILURE_TIMEOUT; /* too much is under way: to be tried again */
    default:
        return FAILURE_INTERNAL;
    }
}

/* ---- shares of sessions and addresses ---- */

static bool needs_look_up(const struct pool *pool, const struct proxy_op *op) {
    return !pool->proxy->dial.socks_always && host_kind_of(op->addr.target.host) == HOST_NAME;
}

static void give_shares(const struct pool *pool, const struct proxy_op *op) {
    proxy_asker_give(op->asker, SHARE_RELAYS);
    if (needs_look_up(pool, op)) proxy_asker_give(op->asker, SHARE_LOOKUPS);
}

static enum admission_limit take_shares(const struct pool *pool, const struct proxy_op *op) {
    enum admission_limit limit = proxy_asker_take(op->asker, SHARE_RELAYS);
    if (limit != LIMIT_NONE || !needs_look_up(pool, op)) return limit;
    limit = proxy_asker_take(op->asker, SHARE_LOOKUPS);
    if (limit != LIMIT_NONE) proxy_asker_give(op->asker, SHARE_RELAYS);
    return limit;
}

static void looked_up(void *ctx) {
    struct proxy_asker *counted = ctx;
    proxy_asker_give(counted, SHARE_LOOKUPS);
    proxy_asker_unref(counted);
}

/* The operation has its shares. */
static void open_relay(struct pooled *relay, struct proxy_op *owned) {
    struct pool *pool = relay->pool;
    const bool may = pool->n_connecting < PROXY_CONNECTING_MAX && take_socket(pool);
    enum err e = may ? OK : E_LIMIT;
    if (may)
        e = smp_client_open(pool->loop, &pool->proxy->client, &EVENTS, relay, &relay->addr.target,
                            &relay->client);
    if (e != OK) {
        if (may) give_socket(pool);
        forget(relay);
        give_shares(pool, owned);
        proxy__complete_by(owned, error_of(e));
        return;
    }
    if (owned->asker != NULL && needs_look_up(pool, owned))
        smp_client_on_looked_up(relay->client, looked_up, proxy_asker_ref(owned->asker));
    pool->n_connecting++;
    relay->asker = proxy_asker_ref(owned->asker);
    list_push_back(&relay->waiting, &owned->waiting);
}

static void begin_attempt(struct pool *pool, struct pooled *relay, struct proxy_op *owned) {
    const enum err e = relay != NULL ? OK : add_relay(pool, &owned->addr, &relay);
    if (e == OK) {
        open_relay(relay, owned);
    } else {
        give_shares(pool, owned);
        proxy__complete_by(owned, error_of(e));
    }
}

/* ---- turns ---- */

static void watch(void *ctx);

/* Out of memory: what is queued waits for the next attempt, or operation, that starts it. */
static void keep_watch(struct pool *pool) {
    if (pool->is_watching) return;
    pool->is_watching =
        loop_timer_start(pool->loop, &pool->watch, WATCH_MS, WATCH_MS, watch, pool) == OK;
}

static void wait_for_turn(struct pool *pool, struct proxy_op *owned, enum admission_limit limit) {
    const int64_t now_ms = loop_now_ms(pool->loop);
    if (owned->queued_until_ms == 0) {
        stats_add(loop_stats(pool->loop), LIMIT_STATS[limit], 1);
        owned->queued_until_ms = now_ms + pool->proxy->client.connect_timeout_ms;
    }
    if (now_ms >= owned->queued_until_ms || pool->n_queued >= PROXY_QUEUED_MAX) {
        proxy__complete_by(owned, FAILURE_TIMEOUT);
        return;
    }
    list_push_back(&pool->queued, &owned->waiting);
    pool->n_queued++;
}

static void try_queued(struct pool *pool) {
    struct list queued;
    list_init(&queued);
    list_move_all(&queued, &pool->queued);
    pool->n_queued = 0;
    for (struct list *n; (n = list_first(&queued)) != NULL;) {
        struct proxy_op *op = CONTAINER_OF(n, struct proxy_op, waiting);
        list_remove(n);
        if (proxy_asker_is_gone(op->asker)) {
            proxy__complete_by(op, FAILURE_NETWORK);
        } else {
            pool__connect(pool, op);
        }
    }
}

static bool is_waited_for(const struct pooled *relay) {
    for (struct list *n = relay->waiting.next; n != &relay->waiting; n = n->next) {
        if (!proxy_asker_is_gone(CONTAINER_OF(n, struct proxy_op, waiting)->asker)) return true;
    }
    return false;
}

static void look_for_abandoned(struct idnode *node, void *ctx) {
    struct pooled *relay = CONTAINER_OF(node, struct pooled, by_addr);
    struct pooled **found = ctx;
    if (*found == NULL && relay->client != NULL && !relay->is_up && !is_waited_for(relay))
        *found = relay;
}

/* One at a time: its end changes the map. */
static void give_up_abandoned(struct pool *pool) {
    for (unsigned n = pool->n_connecting; n > 0; n--) {
        struct pooled *relay = NULL;
        idmap_each(&pool->relays, look_for_abandoned, &relay);
        if (relay == NULL) return;
        relay->is_abandoned = true;
        smp_client_close(relay->client);
    }
}

static void watch(void *ctx) {
    struct pool *pool = ctx;
    give_up_abandoned(pool);
    try_queued(pool);
    if (pool->n_queued != 0 || pool->n_connecting != 0) return;
    loop_timer_stop(&pool->watch);
    pool->is_watching = false;
}

void pool__connect(struct pool *pool, struct proxy_op *owned) {
    ASSERT_ON_LOOP(pool->loop);
    struct idnode *node = idmap_find(&pool->relays, &owned->addr.key);
    struct pooled *relay = node != NULL ? CONTAINER_OF(node, struct pooled, by_addr) : NULL;
    if (relay != NULL && relay->client != NULL && !relay->is_up) {
        list_push_back(&relay->waiting, &owned->waiting);
    } else if (relay != NULL && relay->client != NULL && smp_client_is_up(relay->client)) {
        give_pkey(relay, owned);
    } else if (relay != NULL && relay->client != NULL) {
        proxy__complete_by(owned, FAILURE_NETWORK); /* it is just ending */
    } else if (relay != NULL && loop_now_ms(pool->loop) < relay->retry_at_ms) {
        proxy__complete(owned, &relay->failure);
    } else {
        const enum admission_limit limit = take_shares(pool, owned);
        if (limit == LIMIT_NONE) {
            begin_attempt(pool, relay, owned);
        } else {
            wait_for_turn(pool, owned, limit);
        }
        keep_watch(pool);
    }
}

/* ---- forwarding ---- */

static void put_text(struct smp_failure *f, enum smp_failure_kind error, struct bytes text) {
    f->error = error;
    f->n_text = 0;
    for (size_t i = 0; i < text.n && i < FAILURE_TEXT_MAX; i++) {
        const uint8_t c = text.p[i];
        f->text[f->n_text++] = (char)(c >= ' ' && c < 0x7f ? c : '?');
    }
}

/* The errors that a relay may answer a forwarded command with; others are no errors of SMP. */
static bool is_smp_error(struct bytes text) {
    static const char *const WORDS[] = {
        "BLOCK", "SESSION", "CMD",     "PROXY",  "AUTH",      "BLOCKED",  "SERVICE", "CRYPTO",
        "QUOTA", "STORE",   "EXPIRED", "NO_MSG", "LARGE_MSG", "INTERNAL", "NAME",
    };
    struct rd r = rd_init(text);
    const struct bytes word = rd_until(&r, ' ');
    if (text.n > FAILURE_TEXT_MAX) return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < ' ' || text.p[i] >= 0x7f) return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++) {
        if (bytes_equal(word, bytes_str(WORDS[i]))) return true;
    }
    return false;
}

static enum smp_failure_kind open_answer(struct proxy_op *op, uint8_t *tail, size_t n) {
    struct pooled *relay;
    const struct pool *pool = proxy__find_session(op->proxy, op->session_id, &relay);
    if (pool == NULL) return FAILURE_NETWORK;
    struct box_nonce nonce;
    memcpy(nonce.b, op->request.node.id.b, sizeof nonce.b);
    struct bytes body;
    const enum err e =
        forward_open_answer(smp_client_shared_key(relay->client), &nonce, tail, n, &body);
    if (e != OK) return e == E_CRYPTO ? FAILURE_CRYPTO : FAILURE_RESPONSE;
    if (body.n > FWD_ENCRYPTED_LEN) return FAILURE_RESPONSE;
    free(op->data); /* the command; its views go with it */
    op->data = malloc(body.n + 1);
    if (op->data == NULL) return FAILURE_INTERNAL;
    memcpy(op->data, body.p, body.n);
    op->response = bytes_of(op->data, body.n);
    return FAILURE_NONE;
}

static enum err take_forward(struct pool *pool, const struct proxy_op *op) {
    if (pool->n_forwarding >= PROXY_FORWARDING_MAX) return E_LIMIT;
    const enum admission_limit limit = proxy_asker_take(op->asker, SHARE_FORWARDS);
    if (limit != LIMIT_NONE) {
        stats_add(loop_stats(pool->loop), LIMIT_STATS[limit], 1);
        return E_LIMIT;
    }
    pool->n_forwarding++;
    return OK;
}

static void give_forward(struct pool *pool, const struct proxy_op *op) {
    pool->n_forwarding--;
    proxy_asker_give(op->asker, SHARE_FORWARDS);
}

static void on_answer(struct smp_request *rq, const struct smp_failure *why, uint8_t *message,
                      size_t n) {
    struct proxy_op *op = CONTAINER_OF(rq, struct proxy_op, request);
    struct smp_failure f = *why;
    const struct bytes text = bytes_of(message, n);
    give_forward(&op->proxy->pools[loop_index(op->home)], op);
    if (f.error != FAILURE_NONE) {
        /* nothing came */
    } else if (bytes_begin(text, "RRES ")) {
        f.error = open_answer(op, message + 5, n - 5);
        if (f.error == FAILURE_RESPONSE) put_text(&f, FAILURE_RESPONSE, bytes_str("BLOCK"));
    } else if (bytes_begin(text, "ERR ") && is_smp_error(bytes_of(message + 4, n - 4))) {
        put_text(&f, FAILURE_PROTOCOL, bytes_of(message + 4, n - 4));
    } else if (bytes_begin(text, "ERR ")) {
        put_text(&f, FAILURE_RESPONSE, bytes_str("CMD SYNTAX"));
    } else {
        put_text(&f, FAILURE_UNEXPECTED, bytes_of(message, n < 32 ? n : 32));
    }
    proxy__complete(op, &f);
}

/* Encodes RFWD; op->data stays, for the session id. */
static enum err make_request(const struct pooled *relay, struct proxy_op *op) {
    struct smp_request *rq = &op->request;
    const struct box_key *key = smp_client_shared_key(relay->client);
    if (key == NULL) return E_CRYPTO;
    struct box_nonce nonce;
    env_random(relay->pool->proxy->client.env, nonce.b, sizeof nonce.b);
    memcpy(rq->node.id.b, nonce.b, sizeof rq->node.id.b);
    rq->transmission = malloc(SMP_BLOCK_LEN);
    if (rq->transmission == NULL) return E_NO_MEMORY;
    struct wr w = wr_init(rq->transmission, SMP_BLOCK_LEN - SMP_BLOCK_OVERHEAD - 2);
    transmission_begin(&w, smp_client_params(relay->client), id_bytes(&rq->node.id),
                       (struct bytes){0});
    wr_str(&w, "RFWD ");
    const enum err e = forward_seal(key, &nonce, &op->forward, &w);
    rq->n = wr_bytes(&w).n;
    rq->done = on_answer;
    return e == E_LIMIT ? E_CMD_SYNTAX : e; /* longer than any client makes it */
}

void pool__forward(struct pool *pool, struct proxy_op *owned) {
    ASSERT_ON_LOOP(pool->loop);
    struct pooled *relay;
    if (proxy__find_session(pool->proxy, owned->session_id, &relay) != pool ||
        !smp_client_is_up(relay->client)) {
        proxy__complete_by(owned, FAILURE_NO_SESSION);
        return;
    }
    owned->is_own = relay->addr.is_own;
    owned->home = pool->loop;
    enum err e = take_forward(pool, owned);
    if (e != OK) {
        proxy__complete_by(owned, error_of(e));
        return;
    }
    e = make_request(relay, owned);
    if (e == E_CMD_SYNTAX) {
        const struct smp_failure why = {.error = FAILURE_TRANSPORT,
                                        .transport = TRANSPORT_LARGE_MSG};
        give_forward(pool, owned);
        free(owned->request.transmission);
        owned->request.transmission = NULL;
        proxy__complete(owned, &why);
        return;
    }
    if (e == OK) e = smp_client_request(relay->client, &owned->request);
    if (e == OK) return;
    give_forward(pool, owned);
    free(owned->request.transmission);
    owned->request.transmission = NULL;
    proxy__complete_by(owned, error_of(e));
}

/* ---- start and stop ---- */

void pool__init(struct pool *pool, struct proxy *p, struct loop *l) {
    uint64_t seed[3];
    env_random(p->client.env, seed, sizeof seed);
    pool->proxy = p;
    pool->loop = l;
    idmap_init(&pool->relays, seed);
    list_init(&pool->queued);
}

enum err pool__start(struct pool *pool) {
    return loop_timer_start(pool->loop, &pool->sweep, SWEEP_MS, SWEEP_MS, sweep, pool);
}

static void free_relay(struct idnode *node, void *ctx) {
    (void)ctx;
    free(CONTAINER_OF(node, struct pooled, by_addr));
}

/* The loops have closed what was open. */
void pool__done(struct pool *pool) {
    loop_timer_stop(&pool->sweep);
    loop_timer_stop(&pool->watch);
    for (struct list *n; (n = list_first(&pool->queued)) != NULL;) {
        struct proxy_op *op = CONTAINER_OF(n, struct proxy_op, waiting);
        list_remove(n);
        op->drop(op);
    }
    idmap_each(&pool->relays, free_relay, NULL);
    idmap_done(&pool->relays);
}
