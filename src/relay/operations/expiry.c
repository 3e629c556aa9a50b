/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "relay/operations/expiry.h"

#include "base/log.h"
#include "model/limits.h"

/* What of the store expires, in the order of enum expiring. */
static const struct expiry_kind {
    bool (*step)(struct store *s, struct store_cursor *c, int64_t before_ts_s, unsigned max_queues,
                 unsigned *ret_expired);
    enum stat_id counted;
    const char *expired, *stopped; /* words of the log */
} KINDS[N_EXPIRING] = {
    [EXPIRING_MESSAGES] = {store_expire_step, STAT_MSG_EXPIRED, "messages-expired",
                           "expiry-stopped"},
    [EXPIRING_NTFS] = {store_ntf_expire_step, STAT_MSG_NTF_EXPIRED, "notifications-expired",
                       "notification-expiry-stopped"},
};

static int64_t ttl_s(const struct expiry *x) {
    const struct relay_opts *o = &x->rl->relay->o;
    return x->kind == EXPIRING_MESSAGES ? o->message_ttl_s : o->ntf_ttl_s;
}

static enum err schedule(struct expiry *x, uint64_t ms, void (*fn)(void *ctx)) {
    return loop_timer_start(x->rl->loop, &x->timer, ms, 0, fn, x);
}

static void step(void *ctx);

static void begin(void *ctx) {
    struct expiry *x = ctx;
    x->cursor = (struct store_cursor){0};
    x->n = 0;
    step(x);
}

static void step(void *ctx) {
    struct expiry *x = ctx;
    const struct relay_opts *o = &x->rl->relay->o;
    const struct expiry_kind *k = &KINDS[x->kind];
    unsigned n = 0;
    const int64_t before = env_now_s(o->env) - ttl_s(x);
    const bool more = k->step(o->store, &x->cursor, before, EXPIRY_QUEUES_PER_STEP, &n);
    x->n += n;
    stats_add(x->rl->stats, k->counted, n);
    if (!more && x->n > 0) log_line(LOG_INFO, k->expired, "count=%llu", (unsigned long long)x->n);
    const enum err e = more ? schedule(x, 0, step)
                            : schedule(x, (uint64_t)o->settings.expiry_interval_s * 1000, begin);
    if (e != OK) log_line(LOG_ERROR, k->stopped, "error=%s", err_name(e));
}

enum err expiry_start(struct relay_loop *rl) {
    const struct relay_settings *set = &rl->relay->o.settings;
    const bool waits[N_EXPIRING] = {[EXPIRING_MESSAGES] = !set->expire_on_start};
    enum err e = OK;
    for (unsigned i = 0; i < N_EXPIRING && e == OK; i++) {
        struct expiry *x = &rl->expiry[i];
        x->rl = rl;
        x->kind = (enum expiring)i;
        if (ttl_s(x) == 0) continue;
        e = schedule(x, waits[i] ? (uint64_t)set->expiry_interval_s * 1000 : 0, begin);
    }
    return e;
}

void expiry_stop(struct relay_loop *rl) {
    for (unsigned i = 0; i < N_EXPIRING; i++) loop_timer_stop(&rl->expiry[i].timer);
}
