/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A relay is in the pool from the first operation that names it until its connection ends, or,
 * when connecting failed, until it may be tried again. */
#include "proxy/proxy_priv.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/rd.h"
#include "crypto/crypto.h"
#include "model/limits.h"
#include "wire/transmission.h"

enum { SWEEP_MS = 10000 };

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

static void on_up(void *ctx) {
    struct pooled *relay = ctx;
    relay->pool->n_connecting--;
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
    pool->n_connecting--;
    relay->failure = *why;
    relay->retry_at_ms = loop_now_ms(pool->loop) + pool->proxy->retry_after_ms;
    struct list waiting; /* its end may free the relay: by another operation that comes in */
    list_init(&waiting);
    for (struct list *n; (n = list_first(&relay->waiting)) != NULL;) {
        list_remove(n);
        list_push_back(&waiting, n);
    }
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
        proxy__complete_by(owned, error_of(e));
        return;
    }
    pool->n_connecting++;
    list_push_back(&relay->waiting, &owned->waiting);
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
        enum err e = relay != NULL ? OK : add_relay(pool, &owned->addr, &relay);
        if (e == OK) {
            open_relay(relay, owned);
        } else {
            proxy__complete_by(owned, error_of(e));
        }
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

static void on_answer(struct smp_request *rq, const struct smp_failure *why, uint8_t *message,
                      size_t n) {
    struct proxy_op *op = CONTAINER_OF(rq, struct proxy_op, request);
    struct smp_failure f = *why;
    const struct bytes text = bytes_of(message, n);
    op->proxy->pools[loop_index(op->home)].n_forwarding--;
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
    enum err e = pool->n_forwarding < PROXY_FORWARDING_MAX ? OK : E_LIMIT;
    if (e == OK) e = make_request(relay, owned);
    if (e == E_CMD_SYNTAX) {
        const struct smp_failure why = {.error = FAILURE_TRANSPORT,
                                        .transport = TRANSPORT_LARGE_MSG};
        proxy_op_done(owned);
        proxy__complete(owned, &why);
        return;
    }
    if (e == OK) e = smp_client_request(relay->client, &owned->request);
    if (e == OK) {
        pool->n_forwarding++;
        return;
    }
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
    idmap_each(&pool->relays, free_relay, NULL);
    idmap_done(&pool->relays);
}
