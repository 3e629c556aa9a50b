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

/* The service's third message: its id, or why it is refused; then the connection ends. */
static void refuse_service(struct session *s, enum transport_error why) {
    s->refusal = why;
    s->state = SESSION_REFUSED;
    conn_finish(s->conn);
    conn_want_write(s->conn);
}

static void accept_service(struct session *s, struct session_service *owned) {
    s->service = owned;
    s->state = SESSION_ACCEPTED;
    conn_want_write(s->conn);
}

/* While the store is asked for the record; the session may be gone when it answers. */
struct opening {
    struct loop_msg msg;
    struct store_waiter waiter;
    struct relay_loop *rl; /* borrowed */
    struct subscriber who;
    struct session_service *service; /* owned */
    struct store_service_open open;  /* its chain is that below */
    uint8_t chain[];
};

static void opening_free(struct opening *o) {
    if (o->open.ret_service != NULL)
        store_service_close(o->rl->relay->o.store, o->open.ret_service);
    free(o->service);
    free(o);
}

static void ask_for_record(struct opening *o);

/* The first contact of a service makes its record, as often as its address may. */
static void take_record(struct opening *o) {
    struct session *s = session_find(o->rl, o->who);
    enum err e = o->open.ret_err;
    if (s == NULL) {
        opening_free(o);
        return;
    }
    if (e == E_NOT_FOUND && !o->open.may_create && conn_take_new_service(s->conn)) {
        o->open.may_create = true;
        ask_for_record(o);
        return;
    }
    if (e == OK) {
        o->service->service = STEAL(o->open.ret_service);
        o->service->lsn = o->open.ret_lsn;
        accept_service(s, STEAL(o->service));
    } else {
        refuse_service(s, TRANSPORT_HS_BAD_SERVICE);
    }
    opening_free(o);
}

static void record_came(struct loop_msg *msg) {
    take_record(CONTAINER_OF(msg, struct opening, msg));
}

/* On any thread. */
static void record_ready(struct store_waiter *w) {
    struct opening *o = CONTAINER_OF(w, struct opening, waiter);
    loop_post(o->rl->loop, &o->msg);
}

static void ask_for_record(struct opening *o) {
    if (store_service_open(o->rl->relay->o.store, &o->open, &o->waiter)) take_record(o);
}

/* NULL: out of memory. */
static struct opening *opening_new(struct session *s, struct session_service *owned,
                                   struct bytes chain) {
    struct opening *o = malloc(sizeof *o + chain.n);
    if (o == NULL) return NULL;
    *o = (struct opening){
        .msg = {.run = record_came},
        .waiter = {record_ready},
        .rl = s->rl,
        .who = s->self,
        .service = owned,
        .open.rec = {.role = owned->role,
                     .cert_chain = bytes_of(o->chain, chain.n),
                     .created_at_s = env_now_s(opts_of(s)->env)},
    };
    memcpy(o->chain, chain.p, chain.n);
    env_random(opts_of(s)->env, &o->open.rec.id, sizeof o->open.rec.id);
    memcpy(o->open.rec.cert_hash, owned->cert_hash, sizeof owned->cert_hash);
    return o;
}

/* Who the client says it is, if it can show that. OK: *ret is the caller's. */
static enum err identify(struct session *s, const struct client_service *hello,
                         struct session_service **ret) {
    struct session_service *svc = calloc(1, sizeof *svc);
    if (svc == NULL) return E_NO_MEMORY;
    svc->role = (enum service_role)hello->role;
    const enum err e = check_proof(s, hello, svc);
    if (e != OK) {
        free(svc);
        return e;
    }
    *ret = svc;
    return OK;
}

void service_open(struct session *s, const struct client_service *hello) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct session_service *svc;
    if (identify(s, hello, &svc) != OK) {
        refuse_service(s, TRANSPORT_HS_BAD_AUTH);
        return;
    }
    struct opening *o =
        opts_of(s)->settings.accept_services ? opening_new(s, svc, hello->cert_chain) : NULL;
    if (o == NULL) {
        free(svc);
        refuse_service(s, TRANSPORT_HS_BAD_SERVICE);
        return;
    }
    s->state = SESSION_OPENING;
    ask_for_record(o);
}

void service_done(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->service == NULL) return;
    loop_timer_stop(&s->service->scan_timer);
    store_service_unsubscribe(opts_of(s)->store, s->service->service, s->self);
    store_service_close(opts_of(s)->store, s->service->service);
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

/* While the store goes through some of the queues; the session may be gone when it answers. */
struct scanning {
    struct loop_msg msg;
    struct store_waiter waiter;
    struct relay_loop *rl; /* borrowed */
    struct subscriber who;
    struct store_scan scan;
};

static void add_found(struct session *s, const struct store_scan *scan) {
    for (const struct store_found *f = scan->ret_found; f != NULL; f = f->next) {
        if (scan->party == SUB_RECIPIENT) {
            (void)sub_due(s, f->queue, DUE_BEHIND);
        } else {
            ntf_due(s, f->queue, &f->notifier_id);
        }
    }
}

static void scan_end(struct session *s, enum sub_party party) {
    s->service->is_scanning = false;
    if (party == SUB_RECIPIENT && version_has(s->params.version, V_RCV_SERVICE))
        session_add_due(s, DUE_ALLS, NULL, true);
}

/* Unless the session has ceased to serve since. */
static void take_scan(struct session *s, const struct store_scan *scan) {
    struct session_service *svc = s->service;
    svc->is_asked = false;
    if (!svc->is_scanning) return;
    if (!svc->begins_anew) svc->scan_cursor = scan->cursor;
    const bool more = scan->ret_more || svc->begins_anew;
    svc->begins_anew = false;
    add_found(s, scan);
    if (scan->ret_err != OK) {
        conn_close(s->conn); /* the client must not take for delivered what was left out */
    } else if (more) {
        session_add_due(s, DUE_SCAN, NULL, false);
    } else {
        scan_end(s, scan->party);
    }
}

static void scanned(struct scanning *sc) {
    struct session *s = session_find(sc->rl, sc->who);
    if (s != NULL) take_scan(s, &sc->scan);
    store_scan_done(&sc->scan);
    free(sc);
}

static void scan_came(struct loop_msg *msg) {
    scanned(CONTAINER_OF(msg, struct scanning, msg));
}

/* On any thread. */
static void scan_ready(struct store_waiter *w) {
    struct scanning *sc = CONTAINER_OF(w, struct scanning, waiter);
    loop_post(sc->rl->loop, &sc->msg);
}

static void scan_step(void *ctx) {
    struct session *s = ctx;
    struct session_service *svc = s->service;
    if (svc->is_asked) return; /* its answer goes on */
    struct scanning *sc = malloc(sizeof *sc);
    if (sc == NULL) {
        conn_close(s->conn); /* as above */
        return;
    }
    *sc = (struct scanning){
        .msg = {.run = scan_came},
        .waiter = {scan_ready},
        .rl = s->rl,
        .who = s->self,
        .scan = {.service = svc->service,
                 .party = svc->role == SERVICE_NOTIFIER ? SUB_NOTIFIER : SUB_RECIPIENT,
                 .cursor = svc->scan_cursor,
                 .max_queues = SERVICE_SCAN_QUEUES},
    };
    svc->is_asked = true;
    if (store_service_scan(opts_of(s)->store, &sc->scan, &sc->waiter)) scanned(sc);
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
    svc->begins_anew = svc->is_asked;
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
