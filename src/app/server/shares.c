/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/shares.h"

#include <sched.h>
#include <sys/resource.h>

#include "app/server/ports.h"
#include "model/limits.h"

enum {
    /* Descriptors that no client may use up. */
    STORAGE_DESCRIPTORS =
        48,                  /* of the journal up to 24, of compacting, saving, statistics, locks */
    LOOKUP_DESCRIPTORS = 64, /* names being looked up for the proxy, 32 at a time */
    LOOP_DESCRIPTORS = 8,    /* of each loop, with what it accepts and refuses */
    OPERATE_DESCRIPTORS = 40,   /* control port and metrics */
    DASHBOARD_DESCRIPTORS = 24, /* its browsers, the files that it looks at */
    MIN_CLIENTS = 32,
    OUTGOING_SHARE = 4,        /* one in so many of the rest is kept for other relays */
    RESOLVER_SHARE = 8,        /* and for the resolver, but no more than it uses */
    DESCRIPTORS_MAX = 1 << 24, /* more is never used, and limits may be infinite */
};

unsigned shares_n_loops(const struct conf *c) {
    cpu_set_t set;
    if (c->threads != 0) return (unsigned)c->threads;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

static unsigned clamp(rlim_t n) {
    return n < DESCRIPTORS_MAX ? (unsigned)n : DESCRIPTORS_MAX;
}

enum err shares_limit(pid_t pid, unsigned *ret) {
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) != 0) return E_SYS;
    *ret = clamp(limit.rlim_max);
    return OK;
}

enum err shares_raise_limit(unsigned *ret) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return E_SYS;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    *ret = clamp(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before);
    return OK;
}

static unsigned count_reserved(const struct conf *c, unsigned n_loops) {
    unsigned n = STORAGE_DESCRIPTORS + OPERATE_DESCRIPTORS;
    if (c->dashboard.port != 0) n += DASHBOARD_DESCRIPTORS;
    if (c->proxy_enable) n += LOOKUP_DESCRIPTORS;
    return n + n_loops * (LOOP_DESCRIPTORS + ports_count(c));
}

enum err shares_divide(const struct conf *c, unsigned n_loops, unsigned limit, struct shares *ret,
                       struct problem *ret_problem) {
    const unsigned reserved = count_reserved(c, n_loops);
    if (limit < reserved + MIN_CLIENTS) {
        return problem_set(ret_problem, E_LIMIT,
                           "only %u files may be open: raise the limit (LimitNOFILE of the "
                           "service, or ulimit -n) to at least %u",
                           limit, reserved + MIN_CLIENTS);
    }
    const unsigned left = limit - reserved;
    *ret = (struct shares){.outgoing = c->proxy_enable ? left / OUTGOING_SHARE : 0};
    if (c->names_enable) ret->transfers = left / RESOLVER_SHARE / n_loops + 1;
    if (ret->transfers > RESOLVER_TRANSFERS_MAX) ret->transfers = RESOLVER_TRANSFERS_MAX;
    ret->clients = left - ret->outgoing - ret->transfers * n_loops;
    return OK;
}
