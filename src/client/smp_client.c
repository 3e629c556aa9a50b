/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Whatever ends a client goes through fail(): it notes why, and then either the connection is
 * closed, whose on_close() comes at the end of the loop's turn, or, while there is none yet, the
 * end is now. end() is the one place that answers what is left and frees. */
#include "client/smp_client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/rd.h"
#include "crypto/cert.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "model/limits.h"
#include "net/loop.h"
#include "wire/block.h"
#include "wire/handshake.h"
#include "wire/transmission.h"

enum client_state {
    CLIENT_DIALING, /* no connection yet */
    CLIENT_TLS,
    CLIENT_HELLO,  /* the server's hello is awaited */
    CLIENT_ANSWER, /* ours is to be written */
    CLIENT_UP,
    CLIENT_ENDING /* on_close() is awaited */
};

/* In memory of secret.h. */
struct client_keys {
    struct x25519_pair pair; /* until the handshake is over */
    struct box_key shared;
    struct block_chain send_chain, receive_chain;
};

struct smp_client {
    struct loop *loop;                      /* borrowed */
    const struct smp_client_opts *o;        /* borrowed */
    const struct smp_client_events *events; /* borrowed */
    void *ctx;
    enum client_state state;
    uint8_t identity[SHA256_LEN];
    struct dial *dial; /* while DIALING */
    struct conn *conn; /* borrowed; after that */
    struct loop_timer tick;
    int64_t deadline_ms; /* of connecting */
    struct smp_failure why;
    struct smp_end end;
    /* of the session */
    struct wire_params params;
    uint16_t version_min, version_max;
    uint8_t *proof; /* owned: certificate chain, then signed key */
    size_t n_chain, n_proof;
    bool has_shared, is_encrypted;
    uint8_t session_key[X25519_LEN]; /* the server's */
    struct client_keys *keys;        /* owned, secret */
    /* requests */
    struct idmap by_corr_id;
    struct list pending; /* oldest first */
    struct list unsent;
    size_t unsent_bytes;
    int64_t received_ms, requested_ms;
    bool pinging;
    struct smp_request ping;
    uint8_t ping_text[128]; /* below V_AUTH_CMDS the session id is a part of it */
};

/* ---- the end ---- */

/* It is written, or will not be. */
static void drop_transmission(struct smp_client *c, struct smp_request *rq) {
    if (list_is_empty(&rq->unsent)) return;
    list_remove(&rq->unsent);
    c->unsent_bytes -= rq->n;
    if (!rq->is_borrowed) free(rq->transmission);
    rq->transmission = NULL;
}

static void answer(struct smp_client *c, struct smp_request *rq, const struct smp_failure *why,
                   uint8_t *message, size_t n) {
    (void)idmap_remove(&c->by_corr_id, &rq->node.id);
    list_remove(&rq->pending);
    drop_transmission(c, rq);
    rq->done(rq, why, message, n);
}

static void end(struct smp_client *c) {
    c->state = CLIENT_ENDING; /* whom done() calls back may see a client, but not an open one */
    if (c->why.error == FAILURE_NONE) c->why.error = FAILURE_NETWORK;
    loop_timer_stop(&c->tick);
    for (struct list *n; (n = list_first(&c->pending)) != NULL;) {
        answer(c, CONTAINER_OF(n, struct smp_request, pending), &c->why, NULL, 0);
    }
    c->events->on_down(c->ctx, &c->why);
    idmap_done(&c->by_corr_id);
    free(c->proof);
    secret_free(c->keys, sizeof *c->keys);
    crypto_wipe(c, sizeof *c);
    free(c);
}

static void fail(struct smp_client *c, const struct smp_failure *why) {
    if (c->state == CLIENT_ENDING) return;
    c->why = *why;
    if (c->state == CLIENT_DIALING) {
        dial_cancel(c->dial);
        end(c);
        return;
    }
    c->state = CLIENT_ENDING;
    conn_close(c->conn);
}

static void fail_by(struct smp_client *c, enum smp_failure_kind error) {
    const struct smp_failure why = {.error = error};
    fail(c, &why);
}

static enum err fail_handshake(struct smp_client *c, enum transport_error t) {
    const struct smp_failure why = {.error = FAILURE_TRANSPORT, .transport = t};
    fail(c, &why);
    return OK; /* fail() has closed */
}

static void fail_response(struct smp_client *c) {
    const struct smp_failure why = {.error = FAILURE_RESPONSE,
                                    .n_text = sizeof "BLOCK" - 1,
                                    .text = "BLOCK"};
    fail(c, &why);
}

/* ---- clockwork ---- */

static void on_pong(struct smp_request *rq, const struct smp_failure *why, uint8_t *message,
                    size_t n) {
    (void)why; /* that something came was noted already; that nothing came, ends the client */
    (void)message;
    (void)n;
    CONTAINER_OF(rq, struct smp_client, ping)->pinging = false;
}

static void send_ping(struct smp_client *c) {
    struct wr w = wr_init(c->ping_text, sizeof c->ping_text);
    struct smp_request *rq = &c->ping;
    env_random(c->o->env, rq->node.id.b, ID_LEN);
    transmission_begin(&w, &c->params, id_bytes(&rq->node.id), (struct bytes){0});
    wr_str(&w, "PING");
    rq->n = wr_bytes(&w).n;
    assert(rq->n > 0); /* it always fits */
    rq->transmission = c->ping_text;
    rq->is_borrowed = true;
    rq->done = on_pong;
    const int64_t requested_ms = c->requested_ms;
    c->pinging = smp_client_request(c, rq) == OK;
    c->requested_ms = requested_ms; /* a ping does not keep a connection open */
}

/* Requests are in the order of their time limits. */
static void time_out_requests(struct smp_client *c, int64_t now) {
    static const struct smp_failure late = {.error = FAILURE_TIMEOUT};
    for (struct list *n; (n = list_first(&c->pending)) != NULL;) {
        struct smp_request *rq = CONTAINER_OF(n, struct smp_request, pending);
        if (now - rq->made_ms < c->o->request_timeout_ms) return;
        const bool is_dead = c->received_ms <= rq->made_ms;
        answer(c, rq, &late, NULL, 0);
        if (!is_dead) continue;
        fail(c, &late);
        return;
    }
}

static void on_tick(void *ctx) {
    struct smp_client *c = ctx;
    const int64_t now = loop_now_ms(c->loop);
    if (c->state != CLIENT_UP) {
        if (now < c->deadline_ms) return;
        c->end.is_late = true;
        fail_by(c, FAILURE_NETWORK);
        return;
    }
    time_out_requests(c, now);
    if (c->state != CLIENT_UP) return;
    const bool is_quiet = list_is_empty(&c->pending);
    if (is_quiet && c->o->idle_ms != 0 && now - c->requested_ms >= c->o->idle_ms) {
        fail_by(c, FAILURE_NETWORK);
    } else if (!c->pinging && c->o->ping_after_ms != 0 &&
               now - c->received_ms >= c->o->ping_after_ms) {
        send_ping(c);
    }
}

/* ---- handshake ---- */

static struct bytes second_of(struct bytes chain, unsigned *ret_n) {
    struct rd r = rd_init(chain);
    *ret_n = rd_list(&r);
    (void)rd_large(&r);
    return rd_large(&r);
}

static struct bytes leaf_of(struct bytes chain) {
    struct rd r = rd_init(chain);
    (void)rd_list(&r);
    return rd_large(&r);
}

/* Is the second certificate of 2 to 4 the one that the address names? */
static bool has_identity(struct smp_client *c, struct bytes chain) {
    unsigned n = 0;
    const struct bytes identity = second_of(chain, &n);
    return n >= 2 && n <= 4 && identity.n != 0 && crypto_sha256(identity, c->end.identity) == OK &&
           memcmp(c->end.identity, c->identity, sizeof c->identity) == 0;
}

static void begin_stage(struct smp_client *c, enum client_state state, enum smp_stage stage) {
    c->state = state;
    c->end.stage = stage;
    if (c->events->on_stage != NULL) c->events->on_stage(c->ctx, stage);
}

static enum err check_peer(struct smp_client *c) {
    uint8_t buf[SMP_BLOCK_LEN];
    struct bytes chain;
    const enum err e = conn_peer_chain(c->conn, buf, sizeof buf, &chain);
    if (e != OK) return e;
    return has_identity(c, chain) ? OK : E_IDENTITY;
}

/* TLS has checked that the chain is sound (tls_client_ctx_new()). */
static enum err on_open(struct conn *conn, void *server, void **ret_session) {
    (void)server;
    struct smp_client *c = *ret_session;
    const struct bytes id = conn_tls_unique(conn);
    if (c->state == CLIENT_ENDING) return E_CLOSED;
    c->conn = conn;
    if (id.n == 0 || id.n > SESSION_ID_MAX) return E_INTERNAL;
    c->end.error = check_peer(c);
    if (c->end.error != OK) return c->end.error;
    c->params.session[0] = (uint8_t)id.n;
    memcpy(c->params.session + 1, id.p, id.n);
    begin_stage(c, CLIENT_HELLO, SMP_STAGE_HELLO);
    return OK;
}

static bool has_leaf_of_tls(const struct smp_client *c, struct bytes chain) {
    uint8_t buf[SMP_BLOCK_LEN];
    struct bytes of_tls;
    return conn_peer_chain(c->conn, buf, sizeof buf, &of_tls) == OK &&
           bytes_equal(leaf_of(chain), leaf_of(of_tls));
}

static enum err keep_proof(struct smp_client *c, const struct server_hello *hello) {
    c->n_chain = hello->cert_chain.n;
    c->n_proof = c->n_chain + hello->signed_key.n;
    if (c->n_proof == 0) return E_CERT;
    c->proof = malloc(c->n_proof);
    if (c->proof == NULL) return E_NO_MEMORY;
    memcpy(c->proof, hello->cert_chain.p, c->n_chain);
    memcpy(c->proof + c->n_chain, hello->signed_key.p, hello->signed_key.n);
    return OK;
}

/* The server's session key: agrees on what this session encrypts with. */
static enum err take_server_key(struct smp_client *c, const struct server_hello *hello) {
    struct pubkey key;
    if (!has_identity(c, hello->cert_chain) || !has_leaf_of_tls(c, hello->cert_chain))
        return E_CERT;
    enum err e =
        cert_chain_verify_key(hello->cert_chain, hello->signed_key, env_now_s(c->o->env), &key);
    if (e != OK) return e;
    if (key.type != KEY_X25519) return E_CERT;
    e = keep_proof(c, hello);
    if (e != OK) return e;
    memcpy(c->session_key, key.b, sizeof c->session_key);
    uint8_t secret[X25519_LEN];
    x25519_pair_new(c->o->env, &c->keys->pair);
    e = x25519_dh(c->keys->pair.priv, key.b, secret);
    if (e == OK) {
        c->keys->shared = box_key_from_secret(secret);
        c->has_shared = true;
        c->is_encrypted = !c->o->is_proxy && version_has(c->params.version, V_ENCRYPTED_BLOCK);
    }
    if (e == OK && c->is_encrypted) {
        const struct bytes id = bytes_of(c->params.session + 1, c->params.session[0]);
        e = block_chains_init(id, secret, &c->keys->receive_chain, &c->keys->send_chain);
    }
    crypto_wipe(secret, sizeof secret);
    return e;
}

/* min(theirs, ours), when that is within both ranges. */
static bool agree(struct smp_client *c, const struct server_hello *hello) {
    const uint16_t our_max = c->o->is_proxy
                                 ? handshake_proxy_max(hello->version_max, c->o->version_max)
                                 : c->o->version_max;
    const uint16_t our_min = c->o->version_min;
    c->version_max = hello->version_max < our_max ? hello->version_max : our_max;
    c->version_min = hello->version_min > our_min ? hello->version_min : our_min;
    c->params.version = c->version_max;
    return c->version_min <= c->version_max;
}

static enum err take_hello(struct smp_client *c, uint8_t *block) {
    struct bytes content;
    struct server_hello hello;
    if (block_open(block, NULL, &content) != OK || server_hello_parse(content, &hello) != OK)
        return fail_handshake(c, TRANSPORT_HS_PARSE);
    c->end.version_min = hello.version_min;
    c->end.version_max = hello.version_max;
    if (!bytes_equal(hello.session_id, conn_tls_unique(c->conn)))
        return fail_handshake(c, TRANSPORT_SESSION);
    if (!agree(c, &hello)) return fail_handshake(c, TRANSPORT_VERSION);
    if (version_has(hello.version_max, V_AUTH_CMDS)) {
        const enum err e = take_server_key(c, &hello);
        if (e == E_NO_MEMORY) return e;
        if (e != OK) return fail_handshake(c, TRANSPORT_HS_BAD_AUTH);
    }
    c->state = CLIENT_ANSWER;
    conn_want_write(c->conn);
    return OK;
}

static bool write_hello(struct smp_client *c, uint8_t *block) {
    const struct client_hello hello = {
        .version = c->params.version,
        .identity = bytes_of(c->identity, sizeof c->identity),
        .key = c->has_shared ? pubkey_from_x25519(c->keys->pair.pub)
                             : (struct pubkey){.type = KEY_NONE},
        .proxy_server = c->o->is_proxy,
    };
    struct wr content = block_begin(block, false);
    client_hello_write(&hello, &content);
    if (block_seal(block, &content, NULL) != OK) {
        fail_by(c, FAILURE_INTERNAL);
        return false;
    }
    crypto_wipe(&c->keys->pair, sizeof c->keys->pair);
    c->state = CLIENT_UP;
    c->end.stage = SMP_STAGE_UP;
    c->received_ms = c->requested_ms = loop_now_ms(c->loop);
    c->events->on_up(c->ctx);
    return true;
}

/* ---- blocks ---- */

/* False when the server breaks the protocol. */
static bool take_transmission(struct smp_client *c, uint8_t *block, struct bytes t) {
    struct transmission parts;
    struct id id;
    if (transmission_parse(t, &c->params, &parts) != OK) return false;
    if (parts.corr_id.n == 0) {
        if (c->events->on_event != NULL) c->events->on_event(c->ctx, parts.entity, parts.command);
        return true;
    }
    struct idnode *node =
        id_from_bytes(parts.corr_id, &id) ? idmap_find(&c->by_corr_id, &id) : NULL;
    if (node == NULL) return true; /* too late: it was answered for the server */
    static const struct smp_failure ok = {.error = FAILURE_NONE};
    uint8_t *message = block + (parts.command.n != 0 ? parts.command.p - block : 0);
    answer(c, CONTAINER_OF(node, struct smp_request, node), &ok, message, parts.command.n);
    return true;
}

static void take_block(struct smp_client *c, uint8_t *block) {
    struct bytes content, parts[SMP_BATCH_MAX];
    unsigned n = 0;
    if (block_open(block, c->is_encrypted ? &c->keys->receive_chain : NULL, &content) != OK ||
        batch_split(content, parts, &n) != OK) {
        fail_response(c);
        return;
    }
    for (unsigned i = 0; i < n && c->state == CLIENT_UP; i++) {
        if (take_transmission(c, block, parts[i])) continue;
        fail_response(c);
    }
}

static enum err on_block(void *session, uint8_t *block) {
    struct smp_client *c = session;
    c->received_ms = loop_now_ms(c->loop);
    switch (c->state) {
    case CLIENT_HELLO:
        return take_hello(c, block);
    case CLIENT_UP:
        take_block(c, block);
        return OK;
    case CLIENT_ANSWER: /* nothing was asked yet */
        return fail_handshake(c, TRANSPORT_HS_PARSE);
    default:
        return E_CLOSED;
    }
}

/* As many requests as fit. */
static bool write_requests(struct smp_client *c, uint8_t *block) {
    struct wr content = block_begin(block, c->is_encrypted);
    uint8_t *count = wr_skip(&content, 1);
    unsigned n = 0;
    for (struct list *l; n < SMP_BATCH_MAX && (l = list_first(&c->unsent)) != NULL; n++) {
        struct smp_request *rq = CONTAINER_OF(l, struct smp_request, unsent);
        struct wr attempt = content;
        wr_large(&attempt, bytes_of(rq->transmission, rq->n));
        if (wr_err(&attempt) != OK) break;
        content = attempt;
        drop_transmission(c, rq);
    }
    if (n == 0) return false;
    *count = (uint8_t)n;
    if (block_seal(block, &content, c->is_encrypted ? &c->keys->send_chain : NULL) == OK)
        return true;
    fail_by(c, FAILURE_INTERNAL);
    return false;
}

static bool fill(void *session, uint8_t *block) {
    struct smp_client *c = session;
    if (c->state == CLIENT_ANSWER) return write_hello(c, block);
    return c->state == CLIENT_UP && write_requests(c, block);
}

static void on_close(void *session) {
    struct smp_client *c = session;
    const bool by_server = c->state != CLIENT_ENDING;
    if (by_server && c->end.error == OK) c->end.error = E_CLOSED;
    if (c->conn != NULL) c->end.tls = conn_tls_problem(c->conn);
    end(c);
}

const struct conn_ops SMP_CLIENT_OPS = {.on_open = on_open,
                                        .on_block = on_block,
                                        .fill = fill,
                                        .on_close = on_close};

/* ---- opening and closing ---- */

static void on_dialed(void *session, enum err e, struct conn *conn) {
    struct smp_client *c = session;
    assert(c->state == CLIENT_DIALING);
    c->dial = NULL;
    if (e != OK) {
        c->end.error = e;
        c->end.sys_error = e == E_SYS ? errno : 0;
        c->why.error = e == E_HOST ? FAILURE_HOST : FAILURE_NETWORK;
        end(c);
        return;
    }
    c->conn = conn;
    begin_stage(c, CLIENT_TLS, SMP_STAGE_TLS);
}

/* Often enough that a time limit is kept within an eighth. */
static uint64_t tick_ms(const struct smp_client_opts *o) {
    const int64_t least = o->connect_timeout_ms < o->request_timeout_ms ? o->connect_timeout_ms
                                                                        : o->request_timeout_ms;
    return least / 8 > 1000 ? 1000 : least / 8 < 20 ? 20 : (uint64_t)(least / 8);
}

/* NULL: out of memory. */
static struct smp_client *make(void) {
    struct smp_client *c = calloc(1, sizeof *c);
    struct client_keys *keys = secret_new(sizeof *keys);
    if (c == NULL || keys == NULL) {
        secret_free(keys, sizeof *keys);
        free(c);
        return NULL;
    }
    c->keys = keys;
    return c;
}

enum err smp_client_open(struct loop *l, const struct smp_client_opts *o,
                         const struct smp_client_events *events, void *ctx,
                         const struct smp_target *to, struct smp_client **ret) {
    ASSERT_ON_LOOP(l);
    struct smp_client *c = make();
    if (c == NULL) return E_NO_MEMORY;
    uint64_t seed[3];
    env_random(o->env, seed, sizeof seed);
    idmap_init(&c->by_corr_id, seed);
    list_init(&c->pending);
    list_init(&c->unsent);
    c->loop = l;
    c->o = o;
    c->events = events;
    c->ctx = ctx;
    memcpy(c->identity, to->identity, sizeof c->identity);
    c->end.tls = "";
    c->deadline_ms = loop_now_ms(l) + o->connect_timeout_ms;
    const uint64_t every_ms = tick_ms(o);
    enum err e = loop_timer_start(l, &c->tick, every_ms, every_ms, on_tick, c);
    if (e == OK) e = dial_start(l, o->dial, to->host, to->port, on_dialed, c, &c->dial);
    if (e != OK) {
        loop_timer_stop(&c->tick);
        secret_free(c->keys, sizeof *c->keys);
        free(c);
        return e;
    }
    *ret = c;
    return OK;
}

void smp_client_on_looked_up(struct smp_client *c, void (*fn)(void *ctx), void *ctx) {
    dial_on_looked_up(c->dial, fn, ctx);
}

void smp_client_close(struct smp_client *c) {
    fail_by(c, FAILURE_NETWORK);
}

/* ---- requests ---- */

enum err smp_client_request(struct smp_client *c, struct smp_request *rq) {
    ASSERT_ON_LOOP(c->loop);
    assert(c->state == CLIENT_UP);
    if (c->by_corr_id.n_entries >= c->o->requests_max ||
        rq->n > c->o->unsent_max - c->unsent_bytes) {
        return E_LIMIT;
    }
    const enum err e = idmap_insert(&c->by_corr_id, &rq->node);
    if (e != OK) return e;
    rq->made_ms = c->requested_ms = loop_now_ms(c->loop);
    list_init(&rq->pending);
    list_init(&rq->unsent);
    list_push_back(&c->pending, &rq->pending);
    list_push_back(&c->unsent, &rq->unsent);
    c->unsent_bytes += rq->n;
    conn_want_write(c->conn);
    return OK;
}

bool smp_client_is_up(const struct smp_client *c) {
    return c->state == CLIENT_UP;
}

const struct wire_params *smp_client_params(const struct smp_client *c) {
    return &c->params;
}

void smp_client_versions(const struct smp_client *c, uint16_t *ret_min, uint16_t *ret_max) {
    *ret_min = c->version_min;
    *ret_max = c->version_max;
}

struct bytes smp_client_chain(const struct smp_client *c) {
    return bytes_of(c->proof, c->n_chain);
}

struct bytes smp_client_signed_key(const struct smp_client *c) {
    return bytes_of(c->proof + c->n_chain, c->n_proof - c->n_chain);
}

const struct box_key *smp_client_shared_key(const struct smp_client *c) {
    return c->has_shared ? &c->keys->shared : NULL;
}

const uint8_t *smp_client_session_key(const struct smp_client *c) {
    return c->has_shared ? c->session_key : NULL;
}

const struct smp_end *smp_client_end(const struct smp_client *c) {
    return &c->end;
}
