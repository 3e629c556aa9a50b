/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/auth_gate.h"

int64_t auth_gate_opens_ms(const struct auth_gate *g, int64_t now_ms) {
    if (g->n_wrong == 0) return now_ms;
    int64_t delay_ms = AUTH_DELAY_MIN_MS;
    for (unsigned i = 1; i < g->n_wrong && delay_ms < AUTH_DELAY_MAX_MS; i++) delay_ms *= 2;
    const int64_t opens_ms = g->wrong_ms + delay_ms;
    return opens_ms > now_ms ? opens_ms : now_ms;
}

void auth_gate_wrong(struct auth_gate *g, int64_t now_ms) {
    if (g->n_wrong > 0 && now_ms - g->wrong_ms > AUTH_QUIET_MS) g->n_wrong = 0;
    g->n_wrong++;
    g->wrong_ms = now_ms;
}

void auth_gate_right(struct auth_gate *g) {
    g->n_wrong = 0;
}
