/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* tally.h -- what is counted while a workload runs. One thread at a time; owns nothing. */
#pragma once

#include "bench/checker.h"
#include "bench/histogram.h"

/* clang-format off */
#define LATENCY_LIST(X) \
    X(CONNECT,  "connect", "TCP, TLS and SMP handshake") \
    X(NEW,      "new",     "NEW to IDS") \
    X(DEL,      "del",     "DEL to OK") \
    X(SUB,      "sub",     "SUB to its answer") \
    X(SEND,     "send",    "SEND to OK") \
    X(DELIVERY, "deliver", "SEND to MSG") \
    X(ACK,      "ack",     "ACK to its answer") \
    X(LATE,     "late",    "due to started: our own delay")
/* clang-format on */

enum latency {
#define X(id, name, meaning) LATENCY_##id,
    LATENCY_LIST(X)
#undef X
        N_LATENCIES
};
const char *latency_name(enum latency l);    /* static */
const char *latency_meaning(enum latency l); /* static */

enum { REFUSALS_MAX = 16, REFUSAL_NAME_MAX = 48 };

/* Answers that were errors: "SEND: QUOTA", and how often. */
struct refusal {
    char name[REFUSAL_NAME_MAX];
    uint64_t n;
};

struct tally {
    uint64_t ops;                            /* what the workload calls an operation */
    struct histogram latencies[N_LATENCIES]; /* nanoseconds */
    uint64_t verdicts[N_CHECKER_VERDICTS];   /* of messages */
    uint64_t lost;
    struct refusal refusals[REFUSALS_MAX];
    unsigned n_refusals;
};

/* What does not fit counts under the last name. */
void tally_refusal(struct tally *t, const char *name, uint64_t n);
void tally_merge(struct tally *t, const struct tally *other);
void tally_merge_checks(struct tally *t, const struct tally *other); /* not what was measured */
bool tally_is_clean(const struct tally *t); /* nothing lost, wrong or refused */
