/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* service.c -- sessions of service clients: who they are, what they may send, and how one session
 * serves all queues of its service (spec: wire, sections 3 and 4; behaviour, "Services").
 *
 * The store says which session serves a service; that session is sent what comes to any queue that
 * is associated with it. The session itself knows only the sum of what its client counts on, for
 * SOKS and ENDS. After SUBS or NSUBS it goes through all queues, a few at a time and no faster than
 * the client reads, for what had waited. Source: reference v7.0.0-beta.2, Server.hs
 * sharedSubscribeQueue, sharedSubscribeService. */
#include "relay/session/service.h"

#include <stdlib.h>

#include "base/rd.h"
#include "crypto/cert.h"
#include "relay/session/gauges.h"
#include "relay/session/ntf.h"
#include "relay/session/subscription.h"

static const struct relay_opts *opts_of(const struct session *s) {
    return &s->rl->relay->o;
}

/* ---- the handshake ---- */

/* The identity certificate is the second of a chain, or the only one (as of servers). */
static enum err hash_identity(struct bytes chain, uint8_t ret[SHA256_LEN]) {
    struct rd r = rd_init(chain);
    const unsigned n = rd_list(&r);
    struct bytes der = rd_large(&r);
    if (n > 1) der = rd_large(&r);
    return rd_err(&r) == OK ? crypto_sha256(der, ret) : rd_err(&r);
}

/* Is what the service presents its own: the chain of its TLS certificate, and a session key signed
 * by it? */
static enum err check_proof(const struct session *s, const struct client_service *hello,
                            struct session_service *ret) {
    uint8_t buf[SMP_BLOCK_LEN];
    struct bytes chain;
    enum err e = conn_peer_chain(s->conn, buf, sizeof buf, &chain);
    if (e == OK && !bytes_equal(chain, hello->cert_chain)) e = E_CERT;
    if (e == OK) {
        e = cert_chain_verify_key(hello->cert_chain, hello->signed_key, env_now_s(opts_of(s)->env),
                                  &ret->key);
    }
    if (e == OK && ret->key.type != KEY_ED25519) e = E_KEY;
    return e == OK ? hash_identity(chain, ret->cert_hash) : e;
}

/* The first contact of a service makes its record, at the pace at which its address may make
 * queues. */
static enum err find_record(struct session *s, const struct client_service *hello,
                            struct session_service *ret) {
    struct service_rec rec = {
        .role = ret->role,
        .cert_chain = hello->cert_chain,
        .created_at_s = env_now_s(opts_of(s)->env),
    };
    env_random(opts_of(s)->env, &rec.id, sizeof rec.id);
    memcpy(rec.cert_hash, ret->cert_hash, sizeof rec.cert_hash);
    struct store *store = opts_of(s)->store;
    const enum err e = store_service_open(store, &rec, false, &ret->service, &ret->lsn);
    if (e != E_NOT_FOUND) return e;
    if (!conn_take_new_queue(s->conn)) return E_QUOTA;
    return store_service_open(store, &rec, true, &ret->service, &ret->lsn);
}

enum err service_open(struct session *s, const struct client_service *hello,
                      enum transport_error *ret_refusal) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct session_service *svc = calloc(1, sizeof *svc);
    if (svc == NULL) return E_NO_MEMORY;
    svc->role = (enum service_role)hello->role;
    enum err e = check_proof(s, hello, svc);
    *ret_refusal = TRANSPORT_HS_BAD_AUTH;
    if (e == OK) {
        *ret_refusal = TRANSPORT_HS_BAD_SERVICE;
        e = opts_of(s)->settings.accept_services ? find_record(s, hello, svc) : E_SERVICE;
    }
    if (e != OK) {
        free(svc);
        return e;
    }
    s->service = svc;
    return OK;
}

void service_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->service == NULL) return;
    loop_timer_stop(&s->service->scan_timer);
    store_service_unsubscribe(opts_of(s)->store, s->service->service, s->self);
    free(s->service);
    s->service = NULL;
    gauges_update_subs(s);
}

/* ---- what it may send ---- */

struct service *service_of(const struct session *s, enum sub_party party) {
    const struct session_service *svc = s->service;
    if (svc == NULL) return NULL;
    if (party == SUB_NOTIFIER) return svc->role == SERVICE_NOTIFIER ? svc->service : NULL;
    const bool serves = svc->role == SERVICE_MESSAGING;
    return serves && version_has(s->params.version, V_RCV_SERVICE) ? svc->service : NULL;
}

bool service_may_send(const struct session *s, const struct command_row *row) {
    return s->service == NULL || command_fits_role(row, s->service->role);
}

static bool verify_signature(const struct request *rq, struct bytes signature) {
    const struct session *s = rq->session;
    return pubkey_verify(&s->service->key, signature, wire_session(&s->params), rq->t->signed_text);
}

bool service_signature_fits(const struct request *rq, const struct command_row *row) {
    const struct session_service *svc = rq->session->service;
    const struct transmission *t = rq->t;
    if (row->key == NEED_KEY_SERVICE) {
        return svc != NULL && !t->has_service_sig &&
               bytes_equal(t->entity, id_bytes(service_id(svc->service))) &&
               verify_signature(rq, t->auth);
    }
    if (!row->service_sig || svc == NULL) return !t->has_service_sig;
    return t->has_service_sig && verify_signature(rq, t->service_sig);
}

/* ---- what its client counts on ---- */

void service_gained(struct session *s, const struct id *id, bool associated) {
    ASSERT_ON_LOOP(s->rl->loop);
    /* A queue that was the service's before counts only if it makes the session the one that
     * serves. */
    struct ids_sum *sum = &s->service->subscribed;
    if (associated || sum->n == 0) ids_sum_add(sum, id);
    gauges_update_subs(s);
}

void service_lost(struct session *s, const struct id *id) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->service == NULL) return;
    ids_sum_remove(&s->service->subscribed, id);
    gauges_update_subs(s);
}

void service_take_news(struct session *s, const struct news *n) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct session_service *svc = s->service;
    if (svc == NULL || svc->service != n->service ||
        store_service_is_subscribed(opts_of(s)->store, svc->service, s->self)) {
        return; /* it serves again */
    }
    const struct reply_to to = {.entity = id_bytes(service_id(svc->service))};
    struct wr w = wr_init(s->rl->scratch, sizeof s->rl->scratch);
    reply_ends(&w, &s->params, &to, &svc->subscribed);
    session_add_end(s, wr_bytes(&w));
    svc->subscribed = (struct ids_sum){0};
    svc->serves_all = false;
    loop_timer_stop(&svc->scan_timer);
    svc->is_scanning = false;
    subs_drop_served(s);
    ntf_drop_served(s);
    gauges_update_subs(s);
}

/* ---- what had waited ---- */

/* Queues found by one step. */
struct found {
    struct found *next;
    struct queue *queue; /* counted */
};
struct finds {
    struct found *first;
    bool out_of_memory;
};

static void collect(struct queue *q, void *ctx) {
    struct finds *finds = ctx;
    struct found *f = malloc(sizeof *f);
    if (f == NULL) {
        finds->out_of_memory = true;
        return;
    }
    *f = (struct found){finds->first, queue_ref(q)};
    finds->first = f;
}

static void add_found(struct session *s, enum sub_party party, struct queue *q) {
    struct queue_view v;
    if (party == SUB_RECIPIENT) {
        (void)sub_due(s, q, DUE_BEHIND);
    } else if (store_queue_view(opts_of(s)->store, q, WANT_RECORD, &v) == OK) {
        if (v.has_notifier) ntf_due(s, q, &v.ntf_id);
        queue_view_done(&v);
    }
}

static void scan_end(struct session *s, enum sub_party party) {
    s->service->is_scanning = false;
    if (party == SUB_RECIPIENT && version_has(s->params.version, V_RCV_SERVICE))
        session_add_due(s, DUE_ALLS, NULL, true);
}

static void scan_step(void *ctx) {
    struct session *s = ctx;
    struct session_service *svc = s->service;
    const enum sub_party party = svc->role == SERVICE_NOTIFIER ? SUB_NOTIFIER : SUB_RECIPIENT;
    struct finds finds = {0};
    const bool more = store_service_scan(opts_of(s)->store, svc->service, party, &svc->scan_cursor,
                                         SERVICE_SCAN_QUEUES, collect, &finds);
    for (struct found *f; (f = finds.first) != NULL;) {
        finds.first = f->next;
        add_found(s, party, f->queue);
        queue_unref(f->queue);
        free(f);
    }
    if (finds.out_of_memory) {
        conn_close(s->conn); /* the client must not take for delivered what was left out */
    } else if (more) {
        session_add_due(s, DUE_SCAN, NULL, false);
    } else {
        scan_end(s, party);
    }
}

void service_scan(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct session_service *svc = s->service;
    if (svc == NULL || !svc->is_scanning) return;
    if (loop_timer_start(s->rl->loop, &svc->scan_timer, 0, 0, scan_step, s) != OK)
        conn_close(s->conn); /* as above */
}

/* ---- SUBS and NSUBS ---- */

static enum err serve(struct session *s, enum sub_party party) {
    struct session_service *svc = s->service;
    struct store *store = opts_of(s)->store;
    if (svc->serves_all && store_service_is_subscribed(store, svc->service, s->self)) return OK;
    struct news served = {.kind = NEWS_SERVED, .service = svc->service};
    const enum err e =
        store_service_subscribe(store, svc->service, party, s->self, &served.to, &svc->subscribed);
    if (e != OK) return e;
    svc->scan_cursor = (struct store_cursor){0};
    if (!svc->is_scanning) session_add_due(s, DUE_SCAN, NULL, false);
    svc->is_scanning = true;
    svc->serves_all = true;
    gauges_update_subs(s);
    if (!session_is(s, served.to)) news_send(s->rl, &served);
    return OK;
}

struct answer service_subscribe(const struct request *rq, enum sub_party party) {
    struct session *s = rq->session;
    const enum err e = service_of(s, party) != NULL ? serve(s, party) : E_CMD_PROHIBITED;
    if (e != OK) return answer_err(e);
    struct wr w = answer_begin(rq);
    reply_soks(&w, rq->params, &rq->to, &s->service->subscribed);
    return answer_text(&w, 0);
}
