/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* gauges.c -- how much there is at the moment. Each loop keeps its own numbers as things come and
 * go, so that reading them stops nobody. */
#include "relay/relay_priv.h"

void gauge_add(struct relay_loop *rl, enum relay_gauge g, int n) {
    stats_counter_add(&rl->gauges[g], (uint64_t)n);
}

static bool serves(const struct session *s, enum service_role role) {
    const struct session_service *svc = s->service;
    return svc != NULL && svc->role == role && (svc->serves_all || svc->subscribed.n != 0);
}

void gauge_set(struct session *s, enum relay_gauge g, bool is) {
    if (is == s->is_counted[g]) return;
    s->is_counted[g] = is;
    gauge_add(s->rl, g, is ? 1 : -1);
}

void gauges_update_subs(struct session *s) {
    const bool serves_rcv = serves(s, SERVICE_MESSAGING), serves_ntf = serves(s, SERVICE_NOTIFIER);
    gauge_set(s, RELAY_GAUGE_SUB_SERVICES, serves_rcv);
    gauge_set(s, RELAY_GAUGE_SUB_CLIENTS, serves_rcv || s->n_own_subs != 0);
    gauge_set(s, RELAY_GAUGE_NTF_SERVICES, serves_ntf);
    gauge_set(s, RELAY_GAUGE_NTF_CLIENTS, serves_ntf || s->n_own_nsubs != 0);
}

static uint64_t sum(const struct relay *r, enum relay_gauge g) {
    uint64_t n = 0;
    for (unsigned i = 0; i < r->o.n_loops; i++)
        n += atomic_load_explicit(&r->loops[i].gauges[g], memory_order_relaxed);
    return n;
}

void relay_gauges(const struct relay *r, struct relay_gauges *ret) {
    *ret = (struct relay_gauges){
        .clients = sum(r, RELAY_GAUGE_CLIENTS),
        .subs = sum(r, RELAY_GAUGE_SUBS),
        .sub_clients = sum(r, RELAY_GAUGE_SUB_CLIENTS),
        .sub_services = sum(r, RELAY_GAUGE_SUB_SERVICES),
        .ntf_subs = sum(r, RELAY_GAUGE_NTF_SUBS),
        .ntf_clients = sum(r, RELAY_GAUGE_NTF_CLIENTS),
        .ntf_services = sum(r, RELAY_GAUGE_NTF_SERVICES),
        .delivered = sum(r, RELAY_GAUGE_DELIVERED),
        .delivered_clients = sum(r, RELAY_GAUGE_DELIVERED_CLIENTS),
    };
    const uint32_t now_s = (uint32_t)(env_mono_ms(r->o.env) / 1000);
    for (unsigned i = 0; i < r->o.n_loops; i++)
        ages_read(&r->loops[i].delivered_ages, now_s, &ret->delivered_ages);
}
