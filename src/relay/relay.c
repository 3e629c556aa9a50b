/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay.c -- start and stop of the relay, and its idle connections. */
#include "relay/relay.h"

#include <stdlib.h>

#include "relay/session/ntf.h"
#include "relay/session/session.h"
#include "relay/session/slowed.h"

/* ---- idle connections ---- */

static void close_inactive(void *ctx) {
    struct relay_loop *rl = ctx;
    const int64_t before_ms = loop_now_ms(rl->loop) - rl->relay->o.settings.inactive_ttl_s * 1000;
    for (struct list *l = rl->sessions.next; l != &rl->sessions; l = l->next) {
        const struct session *s = CONTAINER_OF(l, struct session, in_loop);
        if (!session_is_subscribed(s) && s->received_ms < before_ms && s->sent_ms < before_ms)
            conn_close(s->conn); /* later: the list stays as it is */
    }
}

/* ---- the disk ---- */

void relay_on_durable(struct relay *r) {
    fates_changed(&r->fates);
}

struct fates *relay_fates(struct relay *r) {
    return &r->fates;
}

/* ---- start and stop ---- */

static void on_tls_error(void *relay, const char *reason) {
    struct relay *r = relay;
    tls_log_line(&r->tls_log, reason);
}

/* The first rules, for all loops. */
static enum err begin_rules(struct relay *r, const struct relay_rules *from) {
    struct rules *rules = NULL;
    const enum err e = rules_new(from, &rules);
    if (e != OK) return e;
    for (unsigned i = 0; i < r->o.n_loops; i++) r->loops[i].rules = rules_ref(rules);
    rules_unref(rules);
    return OK;
}

static void wake_session(void *loop, struct subscriber who) {
    const struct session *s = session_find(loop, who);
    if (s != NULL) conn_want_write(s->conn);
}

static void init_loop(struct relay *r, unsigned index) {
    struct relay_loop *rl = &r->loops[index];
    rl->relay = r;
    rl->loop = r->o.loops[index];
    rl->index = (uint16_t)index;
    rl->last_generation = r->first_generation - 1;
    list_init(&rl->sessions);
    list_init(&rl->ntf_waiting);
    list_init(&rl->ends_waiting);
    list_init(&rl->slowed);
    list_init(&rl->retry_waiting);
    rl->pulls = (struct pull_home){r->o.store, rl->loop, wake_session, rl};
    fate_desk_open(&r->fates, rl->loop, &rl->desk);
}

enum err relay_new(const struct relay_opts *o, struct relay **ret) {
    struct relay *r = calloc(1, sizeof *r);
    if (r == NULL) return E_NO_MEMORY;
    r->o = *o;
    crypto_wipe(&r->o.rules, sizeof r->o.rules); /* rules.c has them */
    r->handshake_timeout_ms = relay_handshake_timeout_ms(&o->settings);
    tls_log_init(&r->tls_log, o->env, o->rules.log_tls_errors);
    fates_init(&r->fates, o->store);
    r->conn_opts = (struct conn_opts){
        .stream.on_up = conn_up,
        .stream.server = r,
        .stream.admission = o->admission,
        .stream.tls_timeout_ms = relay_tls_timeout_ms(&o->settings),
        .stream.on_tls_error = on_tls_error,
        .ops = &SESSION_OPS,
        .block_timeout_ms = (int64_t)BLOCK_TIMEOUT_S * 1000,
        .controls_per_s = WEBSOCKET_CONTROLS_PER_S,
    };
    env_random(o->env, r->map_seed, sizeof r->map_seed);
    env_random(o->env, &r->first_generation, sizeof r->first_generation);
    r->first_generation = (r->first_generation >> 1) + 1; /* 0 is nobody, and never comes again */
    r->loops = calloc(o->n_loops, sizeof *r->loops);
    enum err e = r->loops != NULL ? OK : E_NO_MEMORY;
    for (unsigned i = 0; i < o->n_loops && e == OK; i++) init_loop(r, i);
    if (e == OK) e = begin_rules(r, &o->rules);
    if (e != OK) {
        relay_free(r);
        return e;
    }
    *ret = r;
    return OK;
}

static enum err start_loop(struct relay *r, unsigned index) {
    struct relay_loop *rl = &r->loops[index];
    rl->stats = loop_stats(rl->loop);
    const enum err e = authz_cache_new(r->map_seed, &rl->authz_cache);
    if (e != OK) return e;
    if (!r->o.settings.disconnect_inactive) return OK;
    const uint64_t every_ms = (uint64_t)r->o.settings.inactive_check_s * 1000;
    return loop_timer_start(rl->loop, &rl->inactive_timer, every_ms, every_ms, close_inactive, rl);
}

enum err relay_start(struct relay *r) {
    for (unsigned i = 0; i < r->o.n_loops; i++) {
        const enum err e = start_loop(r, i);
        if (e != OK) return e;
    }
    return OK;
}

void relay_free(struct relay *r) {
    if (r == NULL) return;
    for (unsigned i = 0; r->loops != NULL && i < r->o.n_loops; i++) {
        loop_timer_stop(&r->loops[i].inactive_timer);
        loop_timer_stop(&r->loops[i].ends_timer);
        loop_timer_stop(&r->loops[i].retry_timer);
        loop_timer_stop(&r->loops[i].leisure_timer);
        ntf_stop(&r->loops[i]);
        slowed_stop(&r->loops[i]);
        fate_desk_close(&r->loops[i].desk);
        authz_cache_free(r->loops[i].authz_cache);
        free(r->loops[i].slots);
        rules_unref(r->loops[i].rules);
    }
    free(r->loops);
    fates_done(&r->fates);
    tls_log_done(&r->tls_log);
    free(r);
}

const struct conn_opts *relay_conn_opts(const struct relay *r) {
    return &r->conn_opts;
}
