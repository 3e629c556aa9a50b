/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/db/db_store_priv.h"

#include "base/log.h"

void db_outage_init(struct db_outage *o, const char *what, const char *shown) {
    *o = (struct db_outage){.what = what, .shown = shown};
    lock_init(&o->mtx, LOCK_DB_OUTAGE);
}

void db_outage_done(struct db_outage *o) {
    lock_done(&o->mtx);
}

void db_outage_note(struct db_outage *o, int64_t since_ms, const char *why) {
    lock_take(&o->mtx);
    const bool begins = !o->is_told;
    o->is_told = true;
    if (begins) atomic_store_explicit(&o->since_ms, since_ms + 1, memory_order_relaxed);
    lock_give(&o->mtx);
    if (!begins) return;
    log_line(LOG_ERROR, "database-lost",
             "%s=\"wait; tried again until it is back\" database=\"%s\" reason=\"%s\"", o->what,
             o->shown, why);
}

void db_outage_over(struct db_outage *o, const struct env *env) {
    lock_take(&o->mtx);
    const bool was = o->is_told;
    const int64_t since = atomic_load_explicit(&o->since_ms, memory_order_relaxed);
    o->is_told = false;
    atomic_store_explicit(&o->since_ms, 0, memory_order_relaxed);
    lock_give(&o->mtx);
    if (!was) return;
    log_line(LOG_INFO, "database-back", "%s=\"go on\" after_ms=%lld", o->what,
             (long long)(env_mono_ms(env) + 1 - since));
}

bool db_outage_lasts(const struct db_outage *o, const struct env *env, unsigned ms) {
    const int64_t since = atomic_load_explicit(&o->since_ms, memory_order_relaxed);
    return since != 0 && env_mono_ms(env) + 1 - since >= (int64_t)ms;
}
