/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/tally.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"

static const struct {
    const char *name, *meaning;
} LATENCIES[] = {
#define X(id, name, meaning) {name, meaning},
    LATENCY_LIST(X)
#undef X
};

const char *latency_name(enum latency l) {
    return LATENCIES[l].name;
}

const char *latency_meaning(enum latency l) {
    return LATENCIES[l].meaning;
}

void tally_refusal(struct tally *t, const char *name, uint64_t n) {
    unsigned i = 0;
    while (i < t->n_refusals && strcmp(t->refusals[i].name, name) != 0) i++;
    if (i == REFUSALS_MAX) i--;
    struct refusal *r = &t->refusals[i];
    if (i == t->n_refusals) {
        t->n_refusals++;
        r->n = 0;
        (void)snprintf(r->name, sizeof r->name, "%s", name);
    }
    r->n += n;
}

void tally_merge_checks(struct tally *t, const struct tally *other) {
    t->lost += other->lost;
    for (size_t i = 0; i < N_CHECKER_VERDICTS; i++) t->verdicts[i] += other->verdicts[i];
    for (size_t i = 0; i < other->n_refusals; i++) {
        tally_refusal(t, other->refusals[i].name, other->refusals[i].n);
    }
}

void tally_merge(struct tally *t, const struct tally *other) {
    t->ops += other->ops;
    for (size_t i = 0; i < N_LATENCIES; i++) {
        histogram_merge(&t->latencies[i], &other->latencies[i]);
    }
    tally_merge_checks(t, other);
}

bool tally_is_clean(const struct tally *t) {
    for (size_t i = CHECK_GOOD + 1; i < N_CHECKER_VERDICTS; i++) {
        if (t->verdicts[i] != 0) return false;
    }
    return t->lost == 0 && t->n_refusals == 0;
}
