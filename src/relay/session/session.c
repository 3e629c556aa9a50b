/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* session.c -- one client's session: handshake, blocks in, blocks out, end. Lives on the loop of
 * its connection.
 *
 * Back-pressure: while more than pending_bytes_max waits to be written, or more blocks are under
 * way than may be (job.h), the connection is not read; the peer's sends then block in its own
 * kernel. Nobody else waits. */
#include "relay/session/session.h"

#include <stdlib.h>

#include "crypto/cert.h"
#include "crypto/secret.h"
#include "relay/session/aside.h"
#include "relay/session/job.h"
#include "relay/session/gauges.h"
#include "relay/session/later.h"
#include "relay/session/ntf.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/subscription.h"

static struct relay *relay_of(const struct session *s) {
    return s->rl->relay;
}

/* ---- the table of sessions ---- */

struct session *session_find(struct relay_loop *rl, struct subscriber who) {
    ASSERT_ON_LOOP(rl->loop);
    if (who.slot >= rl->n_slots) return NULL;
    const struct session_slot *slot = &rl->slots[who.slot];
    return slot->generation == who.generation ? slot->session : NULL;
}

bool session_is(const struct session *s, struct subscriber who) {
    return subscriber_equal(s->self, who);
}

static enum err grow_slots(struct relay_loop *rl) {
    const uint32_t n = rl->n_slots != 0 ? rl->n_slots * 2 : 64;
    struct session_slot *slots = realloc(rl->slots, n * sizeof *slots);
    if (slots == NULL) return E_NO_MEMORY;
    for (uint32_t i = rl->n_slots; i < n; i++) slots[i] = (struct session_slot){.next_free = i + 1};
    rl->slots = slots;
    rl->n_slots = n;
    return OK;
}

static enum err take_slot(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct relay_loop *rl = s->rl;
    if (rl->first_free == rl->n_slots) {
        const enum err e = grow_slots(rl);
        if (e != OK) return e;
    }
    const uint32_t i = rl->first_free;
    rl->first_free = rl->slots[i].next_free;
    rl->slots[i].session = s;
    rl->slots[i].generation = ++rl->last_generation;
    s->self = (struct subscriber){.loop = rl->index, .slot = i, .generation = rl->last_generation};
    return OK;
}

static void give_slot_back(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct session_slot *slot = &s->rl->slots[s->self.slot];
    slot->session = NULL;
    slot->next_free = s->rl->first_free;
    s->rl->first_free = s->self.slot;
}

/* ---- what the outbox asks and tells ---- */

static enum pulled pull_msg(void *ctx, struct pull *p, bool is_answer) {
    return sub_pull(ctx, p, is_answer);
}

static void msg_sent(void *ctx, const struct pull *p) {
    sub_sent(ctx, p);
}

static void msg_unsent(void *ctx, const struct pull *p, bool is_answer, enum unsent why) {
    sub_unsent(ctx, p, is_answer, why);
}

static void unanswered(void *ctx, enum err why) {
    session_leave_unanswered(ctx, why);
}

void session_settle(struct session *s, const struct follow_up *f, bool is_lost) {
    ASSERT_ON_LOOP(s->rl->loop);
    for (unsigned i = 0; !is_lost && i < f->n_counts; i++) {
        session_count(s, (enum stat_id)f->counts[i]);
    }
    if (is_lost && f->subscribed != NULL && s->conn != NULL)
        sub_leave(s, sub_find(s, queue_rcv_id(f->subscribed)), f->subscribed);
}

static void settled(void *ctx, const struct follow_up *f, bool is_lost) {
    session_settle(ctx, f, is_lost);
}

static struct outbox_env outbox_env_of(struct session *s) {
    return (struct outbox_env){
        .params = &s->params,
        .store = relay_of(s)->o.store,
        .pull = pull_msg,
        .sent = msg_sent,
        .unsent = msg_unsent,
        .settled = settled,
        .unanswered = unanswered,
        .ctx = s,
    };
}

/* ---- answers at leisure ---- */

static void stop_leisure(struct relay_loop *rl) {
    rl->leisure_ticking = false;
    loop_timer_pause(&rl->leisure_timer);
}

static void end_leisure(void *ctx) {
    struct relay_loop *rl = ctx;
    stop_leisure(rl);
    store_hurry(rl->relay->o.store, rl->leisure_lsn, true);
}

/* ---- opening and closing ---- */

static struct relay_loop *loop_of(struct relay *r, const struct conn *c) {
    return &r->loops[loop_index(conn_loop(c))];
}

static void set_session_id(struct session *s, struct bytes id) {
    s->params.session[0] = (uint8_t)id.n;
    memcpy(s->params.session + 1, id.p, id.n);
}

/* What it waited for is on disk, or is not. */
static void go_on(struct fate_waiter *w, enum err fate) {
    (void)fate;
    struct session *s = CONTAINER_OF(w, struct session, disk);
    struct relay_loop *rl = s->rl;
    if (rl->leisure_ticking && store_fate(rl->relay->o.store, rl->leisure_lsn) != E_PENDING)
        stop_leisure(rl);
    conn_want_write(s->conn);
}

static void unmake(struct session *s) {
    secret_free(s->keys, sizeof *s->keys);
    free(s);
}

/* With a key; NULL: out of memory. */
static struct session *make(const struct env *env) {
    struct session *s = calloc(1, sizeof *s);
    struct session_keys *keys = secret_new(sizeof *keys);
    if (s == NULL || keys == NULL) {
        secret_free(keys, sizeof *keys);
        free(s);
        return NULL;
    }
    struct x25519_pair pair;
    x25519_pair_new(env, &pair);
    memcpy(keys->priv, pair.priv, sizeof keys->priv);
    memcpy(s->pub, pair.pub, sizeof s->pub);
    crypto_wipe(&pair, sizeof pair);
    s->keys = keys;
    return s;
}

static enum err on_open(struct conn *c, void *server, void **ret_session) {
    struct relay *r = server;
    const struct bytes id = conn_tls_unique(c);
    const bool legacy = !conn_has_alpn(c);
    if (id.n == 0 || id.n > SESSION_ID_MAX) return E_INTERNAL;
    if (legacy && r->o.settings.version_min > V_LEGACY) return E_VERSION;
    if (!store_admits(r->o.store)) {
        stats_add(loop_stats(conn_loop(c)), STAT_LIMIT_DATABASE, 1);
        return E_CLOSED;
    }
    struct session *s = make(r->o.env);
    if (s == NULL) return E_NO_MEMORY;
    s->conn = c;
    s->rl = loop_of(r, c);
    s->legacy = legacy;
    list_init(&s->in_loop);
    list_init(&s->asides);
    fate_waiter_init(&s->disk, go_on);
    list_init(&s->in_ends);
    list_init(&s->in_ntf);
    list_init(&s->in_slowed);
    list_init(&s->jobs);
    list_init(&s->in_retry);
    due_init(&s->due);
    idmap_init(&s->nsubs, r->map_seed);
    list_init(&s->proxied_waiting);
    list_init(&s->names_waiting);
    idmap_init(&s->subs, r->map_seed);
    outbox_init(&s->outbox);
    set_session_id(s, id);
    authz_session_init(&s->agreements, s->rl->authz_cache);
    const enum err e = take_slot(s);
    if (e != OK) {
        unmake(s);
        return e;
    }
    s->created_ms = s->received_ms = s->sent_ms = loop_now_ms(s->rl->loop);
    list_push_back(&s->rl->sessions, &s->in_loop);
    conn_set_deadline(c, s->created_ms + r->handshake_timeout_ms);
    conn_want_write(c);
    *ret_session = s;
    return OK;
}

void session_free(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    const struct outbox_env env = outbox_env_of(s);
    outbox_done(&s->outbox, &env);
    due_done(&s->due);
    secret_free(s->proxy_key, sizeof *s->proxy_key);
    unmake(s);
}

static void on_close(void *session) {
    struct session *s = session;
    s->conn = NULL;
    authz_session_done(&s->agreements);
    list_remove(&s->in_loop);
    fate_forget(&s->disk);
    asides_done(s);
    list_remove(&s->in_ends);
    list_remove(&s->in_retry);
    give_slot_back(s);
    subs_done(s);
    ntf_done(s);
    service_done(s);
    proxied_done(s);
    names_done(s);
    gauge_set(s, GAUGE_CLIENTS, false);
    if (jobs_done(s)) session_free(s);
}

/* ---- handshake ---- */

/* To who asked for it when it came by WebSocket: it cannot see the session id of TLS, nor which
 * certificate that showed. Newer servers of the reference do it from a version on that upstream has
 * given to something else too; so it goes by what is offered, and by who asks. */
static enum err write_proof(const struct session *s, uint16_t version_max, struct wr *proof) {
    const struct bytes challenge = conn_challenge(s->conn);
    uint8_t text[CONN_CHALLENGE_LEN + SESSION_ID_MAX];
    struct wr w = wr_init(text, sizeof text);
    if (challenge.n == 0 || !version_has(version_max, V_WEB_PROOF)) return OK;
    wr_bytes_raw(&w, challenge);
    wr_bytes_raw(&w, bytes_of(s->params.session + 1, s->params.session[0]));
    return server_cert_sign(conn_cert(s->conn), wr_bytes(&w), proof);
}

static enum err write_hello(const struct session *s, uint8_t *block) {
    const struct relay *r = relay_of(s);
    uint8_t signed_key[256], proof_buf[ED448_SIG_LEN];
    struct wr proof = wr_init(proof_buf, sizeof proof_buf);
    const uint16_t version_max = s->legacy ? V_LEGACY : r->o.settings.version_max;
    struct wr key = wr_init(signed_key, sizeof signed_key);
    const struct server_cert *cert = conn_cert(s->conn); /* clients compare with what TLS showed */
    enum err e = server_cert_sign_session_key(cert, s->pub, &key);
    if (e == OK) e = write_proof(s, version_max, &proof);
    if (e != OK) return e;
    const struct server_hello hello = {
        .version_min = s->legacy ? V_LEGACY : r->o.settings.version_min,
        .version_max = version_max,
        .session_id = bytes_of(s->params.session + 1, s->params.session[0]),
        .cert_chain = server_cert_chain(cert),
        .signed_key = wr_bytes(&key),
        .proof = wr_bytes(&proof),
    };
    struct wr content = block_begin(block, false);
    server_hello_write(&hello, &content);
    return block_seal(block, &content, NULL);
}

static enum err start_encryption(struct session *s, const struct pubkey *client_key) {
    uint8_t secret[X25519_LEN];
    enum err e = x25519_dh(s->keys->priv, client_key->b, secret);
    if (e == OK) {
        const struct bytes id = bytes_of(s->params.session + 1, s->params.session[0]);
        e = block_chains_init(id, secret, &s->keys->send_chain, &s->keys->receive_chain);
    }
    crypto_wipe(secret, sizeof secret);
    s->encrypted = e == OK;
    return e;
}

static enum err take_hello(struct session *s, uint8_t *block) {
    const struct relay *r = relay_of(s);
    struct bytes content;
    struct client_hello hello;
    enum err e = block_open(block, NULL, &content);
    if (e == OK) e = client_hello_parse(content, &hello);
    if (e != OK) return e;
    const struct bytes identity = bytes_of(server_cert_fingerprint(conn_cert(s->conn)), SHA256_LEN);
    if (!bytes_equal(hello.identity, identity)) return E_IDENTITY;
    const uint16_t min = s->legacy ? V_LEGACY : r->o.settings.version_min;
    const uint16_t max = s->legacy ? V_LEGACY : r->o.settings.version_max;
    e = handshake_agree(min, max, hello.version, &s->params.version);
    if (e != OK) return e;
    if (version_has(s->params.version, V_ENCRYPTED_BLOCK) && hello.key.type != KEY_NONE &&
        !hello.proxy_server) {
        e = start_encryption(s, &hello.key);
        if (e != OK) return e;
    }
    s->has_client_key = hello.key.type != KEY_NONE;
    memcpy(s->client_key, hello.key.b, sizeof s->client_key);
    conn_set_deadline(s->conn, 0);
    s->state = SESSION_RUNNING;
    gauge_set(s, GAUGE_CLIENTS, true);
    if (hello.has_service) service_open(s, &hello.service);
    return OK;
}

/* ---- blocks in ---- */

/* Too much to write, or too many blocks under way: read no further for now. */
void session_adjust_reading(struct session *s) {
    ASSERT_ON_LOOP(s->rl->loop);
    const size_t max = relay_of(s)->o.settings.pending_bytes_max;
    const bool pause = jobs_are_full(s) || s->n_proxied_waiting >= PROXY_WAITING_MAX ||
                       names_are_waiting(s) ||
                       s->outbox.pending_bytes + s->aside_bytes + due_bytes(&s->due) >
                           (s->reading_paused ? max / 2 : max);
    if (pause == s->reading_paused || s->conn == NULL) return;
    s->reading_paused = pause;
    if (pause) {
        conn_pause_read(s->conn);
    } else {
        conn_resume_read(s->conn);
    }
}

static enum err on_block(void *session, uint8_t *block) {
    struct session *s = session;
    const int64_t now_us = loop_now_us(s->rl->loop);
    s->received_ms = now_us / 1000;
    if (s->state != SESSION_RUNNING)
        return s->state == SESSION_HANDSHAKE ? take_hello(s, block) : E_SYNTAX;
    struct bytes content;
    enum err e = block_open(block, s->encrypted ? &s->keys->receive_chain : NULL, &content);
    if (e == OK) return jobs_take(s, content, now_us);
    dispatch_bad_block(s);
    return OK;
}

static void run(void *session) {
    jobs_run(session);
}

/* ---- blocks out ---- */

/* As large as the reference makes its batches of these. */
enum { ENDS_PER_BATCH = 255 };

static void count_end_batch(struct session *s) {
    if (s->n_ends != 0) stats_add(s->rl->stats, STAT_Q_SUB_END_B, s->n_ends / ENDS_PER_BATCH + 1);
    s->n_ends = 0;
}

/* Answers, and what is due, as much as fits into one block's content (count byte and
 * length-prefixed transmissions). False: nothing could be written; *ret_waits_for: packing. */
static bool pack_block(struct session *s, struct wr *content, lsn_t *ret_waits_for) {
    const struct outbox_env env = outbox_env_of(s);
    struct packing p = {.w = *content};
    uint8_t *count = wr_skip(&p.w, 1);
    due_pack_first(s, &p);
    const unsigned n_due = p.n;
    outbox_pack(&s->outbox, &env, &p);
    due_pack_rest(s, &p, p.n > n_due);
    *ret_waits_for = p.waits_for;
    if (p.n == 0) return false;
    *count = (uint8_t)p.n;
    *content = p.w;
    return true;
}

/* The answer to an ACK, behind which nothing waits, goes when the next change is synced. All of a
 * loop wait for the first of them. */
static void wait_for_disk(struct session *s, lsn_t lsn) {
    ASSERT_ON_LOOP(s->rl->loop);
    struct relay_loop *rl = s->rl;
    struct store *store = rl->relay->o.store;
    const bool at_leisure = outbox_is_at_leisure(&s->outbox) && due_is_empty(&s->due);
    const unsigned ms = at_leisure ? store_leisure_ms(store) : 0;
    if (ms == 0) {
        store_hurry(store, lsn, false);
    } else if (!rl->leisure_ticking) {
        rl->leisure_ticking =
            loop_timer_start(rl->loop, &rl->leisure_timer, ms, ms, end_leisure, rl) == OK;
        if (!rl->leisure_ticking) store_hurry(store, lsn, false);
    }
    if (rl->leisure_lsn < lsn) rl->leisure_lsn = lsn;
}

static bool fill_running(struct session *s, uint8_t *block) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (outbox_is_empty(&s->outbox) && due_is_empty(&s->due)) return false;
    struct wr content = block_begin(block, s->encrypted);
    lsn_t lsn;
    bool has_block;
    do {
        has_block = pack_block(s, &content, &lsn);
    } while (!has_block && lsn != 0 && fate_ask(&s->rl->desk, lsn, &s->disk) != E_PENDING);
    session_adjust_reading(s);
    if (!has_block && lsn != 0) wait_for_disk(s, lsn);
    if (!has_block) return false;
    count_end_batch(s);
    s->sent_ms = loop_now_ms(s->rl->loop);
    if (block_seal(block, &content, s->encrypted ? &s->keys->send_chain : NULL) == OK) return true;
    conn_close(s->conn);
    return false;
}

static bool fill_plain(struct session *s, uint8_t *block,
                       enum err (*write)(const struct session *s, uint8_t *block)) {
    if (write(s, block) == OK) return true;
    conn_close(s->conn);
    return false;
}

static enum err write_refusal(const struct session *s, uint8_t *block) {
    struct wr content = block_begin(block, false);
    service_refused_write(s->refusal, &content);
    return block_seal(block, &content, NULL);
}

static enum err write_acceptance(const struct session *s, uint8_t *block) {
    struct wr content = block_begin(block, false);
    service_accepted_write(id_bytes(service_id(s->service->service)), &content);
    return block_seal(block, &content, NULL);
}

/* A service learns its id when its record is durable. */
static bool fill_acceptance(struct session *s, uint8_t *block) {
    const enum err fate = fate_ask(&s->rl->desk, s->service->lsn, &s->disk);
    if (fate != OK && fate != E_PENDING) conn_close(s->conn);
    if (fate != OK) return false;
    s->state = SESSION_RUNNING;
    return fill_plain(s, block, write_acceptance);
}

static bool fill(void *session, uint8_t *block) {
    struct session *s = session;
    switch (s->state) {
    case SESSION_HELLO:
        s->state = SESSION_HANDSHAKE;
        return fill_plain(s, block, write_hello);
    case SESSION_HANDSHAKE:
    case SESSION_OPENING:
        return false;
    case SESSION_ACCEPTED:
        return fill_acceptance(s, block);
    case SESSION_REFUSED:
        s->state = SESSION_HANDSHAKE; /* said once; the connection is finishing */
        return fill_plain(s, block, write_refusal);
    case SESSION_RUNNING:
        break;
    }
    return fill_running(s, block);
}

/* At a stop: does something wait for the store? */
static bool awaits(void *session) {
    const struct session *s = session;
    return s->state == SESSION_OPENING || s->state == SESSION_ACCEPTED ||
           !list_is_empty(&s->jobs) || !list_is_empty(&s->asides) || !outbox_is_empty(&s->outbox) ||
           due_awaits(&s->due);
}

const struct conn_ops SESSION_OPS = {
    .on_open = on_open,
    .on_block = on_block,
    .run = run,
    .fill = fill,
    .awaits = awaits,
    .on_close = on_close,
};

/* ---- adding to the outbox ---- */

static void added(struct session *s, enum err e) {
    ASSERT_ON_LOOP(s->rl->loop);
    if (s->conn == NULL) return;
    if (e != OK) {
        conn_close(s->conn);
    } else {
        conn_want_write(s->conn);
    }
}

void session_add_answer(struct session *s, const struct out_text *t) {
    if (store_is_held(relay_of(s)->o.store, t->lsn)) {
        if (aside_add(s, t) != OK && s->conn != NULL) conn_close(s->conn);
    } else {
        added(s, outbox_add_text(&s->outbox, t));
    }
}

void session_add_text(struct session *s, struct bytes transmission) {
    session_add_answer(s, &(struct out_text){.transmission = transmission});
}

void session_leave_unanswered(struct session *s, enum err why) {
    ASSERT_ON_LOOP(s->rl->loop);
    const bool at_once = why == E_CLOSED;
    if (s->conn == NULL || (s->has_unanswered && !at_once)) return;
    s->has_unanswered = true;
    conn_set_deadline(s->conn, loop_now_ms(s->rl->loop) +
                                   (at_once ? 0 : (int64_t)UNANSWERED_CLOSE_S * 1000));
}

/* ---- ends of subscriptions ---- */

static void send_ends(void *ctx) {
    struct relay_loop *rl = ctx;
    rl->ends_ticking = false;
    for (struct list *l; (l = list_first(&rl->ends_waiting)) != NULL;) {
        list_remove(l);
        conn_want_write(CONTAINER_OF(l, struct session, in_ends)->conn);
    }
}

/* What waits in the outbox is written with the next answer, or at the loop's next tick; at once
 * when there cannot be one. */
static bool may_wait(struct session *s) {
    struct relay_loop *rl = s->rl;
    const uint64_t ms = (uint64_t)rl->relay->o.settings.end_interval_ms;
    if (ms == 0) return false;
    if (!rl->ends_ticking)
        rl->ends_ticking = loop_timer_start(rl->loop, &rl->ends_timer, ms, 0, send_ends, rl) == OK;
    return rl->ends_ticking;
}

/* What others end is not paced by what the client reads. One that reads nothing, and has as much
 * again waiting as it may have itself, is disconnected: so it learns of all ends. */
static bool end_fits(const struct session *s) {
    const size_t max = s->rl->relay->o.settings.pending_bytes_max;
    if (s->outbox.pending_bytes <= 2 * max || s->conn == NULL || !conn_has_unsent(s->conn))
        return true;
    session_count(s, STAT_LIMIT_PENDING);
    return false;
}

void session_add_end(struct session *s, struct bytes transmission) {
    ASSERT_ON_LOOP(s->rl->loop);
    session_count(s, STAT_Q_SUB_END);
    s->n_ends++;
    enum err e = end_fits(s) ? OK : E_LIMIT;
    if (e == OK) e = outbox_add_text(&s->outbox, &(struct out_text){.transmission = transmission});
    if (e != OK || s->conn == NULL || !may_wait(s)) {
        added(s, e);
    } else if (list_is_empty(&s->in_ends)) {
        list_push_back(&s->rl->ends_waiting, &s->in_ends);
    }
}

bool session_is_subscribed(const struct session *s) {
    return s->n_subscribed != 0 || s->nsubs.n_entries != 0 ||
           (s->service != NULL && s->service->subscribed.n != 0);
}

void session_add_msg(struct session *s, struct bytes corr_id, struct queue *q, lsn_t lsn) {
    added(s, outbox_add_msg(&s->outbox, corr_id, q, lsn));
}

void session_add_ahead(struct session *s, struct queue *q) {
    added(s, outbox_add_ahead(&s->outbox, q));
}

void session_add_due(struct session *s, enum due_kind kind, const struct id *id, bool alone) {
    added(s, due_add(s, kind, id, alone));
}

void session_add_link(struct session *s, const struct reply_to *to, const struct id *snd_id,
                      struct link_data *link, lsn_t lsn) {
    added(s, outbox_add_link(&s->outbox, to, snd_id, link, lsn));
}
