/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "crypto/cert.h"
#include "net/loop.h"
#include "wire/forward.h"
#include "wire/transmission.h"

/* ---- the connection ---- */

static void on_client_up(void *ctx);

static const char *stage_text(enum smp_stage stage) {
    switch (stage) {
    case SMP_STAGE_DIAL:
        return "no connection";
    case SMP_STAGE_TLS:
        return "no TLS";
    case SMP_STAGE_HELLO:
        return "no SMP handshake";
    default:
        return "the connection was lost";
    }
}

static void fail_down(struct link *k) {
    const struct smp_end *end = smp_client_end(k->client);
    const char *why = end->is_late            ? "time is up"
                      : end->sys_error != 0   ? strerror(end->sys_error)
                      : end->tls[0] != '\0'   ? end->tls
                      : end->error != OK      ? err_meaning(end->error)
                      : end->version_max != 0 ? "no common version"
                                              : "no answer in time";
    worker_fail(k->w, "%s: %s", stage_text(end->stage), why);
}

static void on_client_down(void *ctx, const struct smp_failure *why) {
    (void)why;
    struct link *k = ctx;
    const bool was_meant = k->is_closing;
    if (!was_meant && !worker_is_ending(k->w)) fail_down(k);
    k->client = NULL;
    if (was_meant && k->on_down != NULL && !worker_is_ending(k->w)) k->on_down(k);
}

static void on_client_event(void *ctx, struct bytes entity, struct bytes message) {
    struct link *k = ctx;
    struct reply_view a;
    struct id id;
    if (worker_is_ending(k->w) || k->is_closing) return;
    if (reply_parse(message, smp_client_params(k->client)->version, &a) != OK) {
        worker_fail(k->w, "the server sent what cannot be read");
        return;
    }
    struct idnode *queue = id_from_bytes(entity, &id) ? idmap_find(&k->queues, &id) : NULL;
    if (a.tag != REPLY_MSG || queue == NULL) {
        worker_fail(k->w, "the server sent what nobody asked for (answer %d)", (int)a.tag);
        return;
    }
    k->on_msg(k, queue, &a, (uint8_t *)(uintptr_t)message.p); /* the block is writable */
}

static const struct smp_client_events EVENTS = {.on_up = on_client_up,
                                                .on_event = on_client_event,
                                                .on_down = on_client_down};

void link_init(struct link *k, struct worker *w, void *owner) {
    uint64_t seed[3];
    *k = (struct link){.w = w, .owner = owner};
    env_random(&ENV_SYSTEM, seed, sizeof seed);
    idmap_init(&k->queues, seed);
}

void link_done(struct link *k) {
    idmap_done(&k->queues);
    free(k->relay);
}

static void open_to(struct link *k, const struct smp_target *to) {
    assert(k->client == NULL);
    k->is_closing = false;
    k->start_ns = clock_ns();
    const enum err e = smp_client_open(k->w->loop, &k->w->client, &EVENTS, k, to, &k->client);
    if (e != OK) worker_fail(k->w, "no connection: %s", err_meaning(e));
}

void link_open(struct link *k) {
    open_to(k, &k->w->goal->server);
}

void link_open_proxied(struct link *k) {
    k->relay = calloc(1, sizeof *k->relay);
    if (k->relay == NULL) {
        worker_fail(k->w, "out of memory");
        return;
    }
    open_to(k, &k->w->goal->proxy);
}

void link_close(struct link *k) {
    k->is_closing = true;
    if (k->client != NULL) smp_client_close(k->client);
}

const struct wire_params *link_params(const struct link *k) {
    return k->relay != NULL ? &k->relay->params : smp_client_params(k->client);
}

const uint8_t *link_session_key(const struct link *k) {
    return k->relay != NULL ? k->relay->key : smp_client_session_key(k->client);
}

/* ---- commands ---- */

bool call_begin(struct call *c, struct link *k, size_t n, struct bytes entity, struct smp_auth auth,
                struct draft *ret) {
    assert(!c->is_under_way && k->client != NULL);
    uint8_t *buf = malloc(n);
    if (buf == NULL) {
        worker_fail(k->w, "out of memory");
        return false;
    }
    c->link = k;
    c->start_ns = clock_ns();
    env_random(&ENV_SYSTEM, c->rq.node.id.b, ID_LEN);
    ret->w = wr_init(buf, n);
    ret->head = (struct smp_head){.params = c->is_forwarded ? &k->relay->params
                                                            : smp_client_params(k->client),
                                  .corr_id = c->rq.node.id,
                                  .entity = entity,
                                  .auth = auth};
    return true;
}

bool call_is_refused(const struct call *c, const struct reply_view *a) {
    char name[REFUSAL_NAME_MAX];
    if (a->tag != REPLY_ERR) return false;
    (void)snprintf(name, sizeof name, "%s: %.*s", c->what, (int)a->err.text.n,
                   (const char *)a->err.text.p);
    tally_refusal(&c->link->w->tally, name, 1);
    return true;
}

bool call_expects(const struct call *c, const struct reply_view *a, enum reply_tag tag) {
    struct worker *w = c->link->w;
    if (a->tag == tag) return true;
    if (a->tag == REPLY_ERR) {
        worker_fail(w, "the server refused %s: %.*s", c->what, (int)a->err.text.n,
                    (const char *)a->err.text.p);
    } else {
        worker_fail(w, "unexpected answer to %s (answer %d)", c->what, (int)a->tag);
    }
    return false;
}

/* The answer inside a PRES, opened in place. */
static bool open_forwarded(const struct call *c, struct bytes body, uint8_t *text,
                           struct reply_view *ret, uint8_t **ret_text) {
    struct bytes content, parts[SMP_BATCH_MAX];
    struct transmission t;
    unsigned n = 0;
    const struct wire_params *p = &c->link->relay->params;
    uint8_t *start = text + (body.n != 0 ? body.p - text : 0);
    if (forward_open_pres(&c->forward_key, id_bytes(&c->rq.node.id), start, body.n, &content) !=
            OK ||
        batch_split(content, parts, &n) != OK || n != 1 ||
        transmission_parse(parts[0], p, &t) != OK ||
        reply_parse(t.command, p->version, ret) != OK) {
        return false;
    }
    *ret_text = start;
    return true;
}

static void on_done(struct smp_request *rq, const struct smp_failure *why, uint8_t *message,
                    size_t n) {
    struct call *c = CONTAINER_OF(rq, struct call, rq);
    struct link *k = c->link;
    struct reply_view a;
    if (worker_is_ending(k->w) || k->is_closing) return;
    if (why->error == FAILURE_TIMEOUT) {
        worker_fail(k->w, "no answer to %s within %g s", c->what, k->w->o->timeout_s);
    }
    if (why->error != FAILURE_NONE) return; /* on_client_down() tells the rest */
    bool is_good =
        reply_parse(bytes_of(message, n), smp_client_params(k->client)->version, &a) == OK;
    if (is_good && c->is_forwarded && a.tag == REPLY_PRES) {
        is_good = open_forwarded(c, a.tail, message, &a, &message);
    }
    if (!is_good) {
        worker_fail(k->w, "the answer to %s cannot be read", c->what);
        return;
    }
    c->is_under_way = false;
    worker_step(k->w);
    c->answered(c, &a, message);
}

/* Puts both layers around a command: it is boxed for the server, and a PFWD for the proxy. */
static bool forward(struct call *c, const struct draft *d, struct draft *ret) {
    const struct link_relay *r = c->link->relay;
    uint8_t secret[X25519_LEN], inner[FWD_ENCRYPTED_LEN];
    struct wr w = wr_init(inner, sizeof inner);
    struct x25519_pair keys;
    x25519_pair_new(&ENV_SYSTEM, &keys);
    if (x25519_dh(keys.priv, r->key, secret) != OK) return false;
    c->forward_key = box_key_from_secret(secret);
    if (forward_seal_command(&c->forward_key, id_bytes(&c->rq.node.id), wr_bytes(&d->w), &w) != OK)
        return false;
    uint8_t *buf = malloc(SMP_BLOCK_LEN);
    if (buf == NULL) return false;
    ret->w = wr_init(buf, SMP_BLOCK_LEN);
    ret->head = (struct smp_head){
        .params = smp_client_params(c->link->client),
        .corr_id = c->rq.node.id,
        .entity = bytes_of(r->params.session + 1, r->params.session[0]),
    };
    smp_command_pfwd(&ret->w, &ret->head, r->params.version, keys.pub, wr_bytes(&w));
    return true;
}

void call_send(struct call *c, const struct draft *d) {
    struct worker *w = c->link->w;
    struct draft outer = *d;
    bool is_made = wr_err(&d->w) == OK;
    if (is_made && c->is_forwarded) {
        is_made = forward(c, d, &outer);
        free(d->w.p);
        if (!is_made) outer.w.p = NULL;
    }
    c->rq.transmission = outer.w.p;
    c->rq.n = outer.w.at;
    c->rq.done = on_done;
    if (is_made && wr_err(&outer.w) == OK && smp_client_request(c->link->client, &c->rq) == OK) {
        c->is_under_way = true;
        return;
    }
    free(outer.w.p);
    worker_fail(w, "%s cannot be written", c->what);
}

/* ---- a server behind a proxy ---- */

static enum err take_pkey(struct link *k, const struct reply_view *a) {
    struct pubkey key;
    const struct bytes session = a->pkey.session_id;
    const struct smp_client_opts *o = &k->w->client;
    const enum err e =
        cert_chain_verify_key(a->pkey.cert_chain, a->pkey.signed_key, env_now_s(&ENV_SYSTEM), &key);
    if (e != OK) return e;
    if (key.type != KEY_X25519 || session.n > SESSION_ID_MAX) return E_CERT;
    struct wire_params *p = &k->relay->params;
    p->version = a->pkey.version_max < o->version_max ? a->pkey.version_max : o->version_max;
    if (p->version < a->pkey.version_min || p->version < o->version_min) return E_VERSION;
    p->session[0] = (uint8_t)session.n;
    memcpy(p->session + 1, session.p, session.n);
    memcpy(k->relay->key, key.b, sizeof k->relay->key);
    return OK;
}

static void on_pkey(struct call *c, const struct reply_view *a, uint8_t *text) {
    (void)text;
    struct link *k = c->link;
    if (!call_expects(c, a, REPLY_PKEY)) return;
    const enum err e = take_pkey(k, a);
    if (e == OK) {
        k->on_up(k);
    } else {
        worker_fail(k->w, "no session with the server behind the proxy: %s", err_meaning(e));
    }
}

static void ask_proxy(struct link *k) {
    const struct goal *g = k->w->goal;
    struct call *c = &k->relay->prxy;
    struct draft d;
    c->what = "PRXY";
    c->answered = on_pkey;
    if (!call_begin(c, k, SMP_SHORT_COMMAND_MAX, (struct bytes){0}, (struct smp_auth){0}, &d))
        return;
    const struct smp_relay relay = {
        .host = g->server.host,
        .port = g->server.port,
        .identity = bytes_of(g->server.identity, sizeof g->server.identity),
        .basic_auth = bytes_str(g->proxy_password),
    };
    smp_command_prxy(&d.w, &d.head, &relay);
    call_send(c, &d);
}

static void on_client_up(void *ctx) {
    struct link *k = ctx;
    if (k->relay != NULL) {
        ask_proxy(k);
    } else {
        worker_step(k->w);
        k->on_up(k);
    }
}
