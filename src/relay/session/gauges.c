/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* gauges.c -- how much there is at the moment. Each loop keeps its own numbers, on its sheet of the
 * statistics, as things come and go, so that reading them stops nobody. */
#include "relay/session/gauges.h"

#include <assert.h>

#include "relay/session/service.h"

static bool serves(const struct session *s, enum service_role role) {
    const struct session_service *svc = s->service;
    return svc != NULL && svc->role == role && (svc->serves_all || svc->subscribed.n != 0);
}

void gauge_set(struct session *s, enum stat_gauge g, bool is) {
    ASSERT_ON_LOOP(s->rl->loop);
    assert(g >= GAUGE_CLIENTS && g < GAUGE_CLIENTS + 32);
    const uint32_t bit = UINT32_C(1) << (g - GAUGE_CLIENTS);
    if (is == ((s->is_counted & bit) != 0)) return;
    s->is_counted ^= bit;
    stats_gauge_add(s->rl->stats, g, is ? 1 : -1);
}

void gauges_update_subs(struct session *s) {
    const bool serves_rcv = serves(s, SERVICE_MESSAGING), serves_ntf = serves(s, SERVICE_NOTIFIER);
    gauge_set(s, GAUGE_SUB_SERVICES, serves_rcv);
    gauge_set(s, GAUGE_SUB_CLIENTS, serves_rcv || s->n_own_subs != 0);
    gauge_set(s, GAUGE_NTF_SUB_SERVICES, serves_ntf);
    gauge_set(s, GAUGE_NTF_SUB_CLIENTS, serves_ntf || s->n_own_nsubs != 0);
}

void relay_waiting_acks(const struct relay *r, struct ages_sum *ret) {
    const uint32_t now_s = (uint32_t)(env_mono_ms(r->o.env) / 1000);
    *ret = (struct ages_sum){0};
    for (unsigned i = 0; i < r->o.n_loops; i++) ages_read(&r->loops[i].delivered_ages, now_s, ret);
}
