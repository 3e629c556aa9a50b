/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* opts.h -- the command line of smp-bench: one table of options, of which each workload takes some.
 *
 * A new option is one row of OPTIONS (opts.c), one field and one bit here. Main thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Which options a workload takes. */
enum {
    TAKES_COMMON = 1 << 0, /* all that talk to a server */
    TAKES_SECONDS = 1 << 1,
    TAKES_PAIRS = 1 << 2,
    TAKES_CONNECTIONS = 1 << 3,
    TAKES_QUEUES = 1 << 4,
    TAKES_WINDOW = 1 << 5,
    TAKES_MESSAGES = 1 << 6,
    TAKES_SIZE = 1 << 7,
    TAKES_RATE = 1 << 8,
    TAKES_COUNT = 1 << 9,
    TAKES_PROXY = 1 << 10,
    TAKES_ACK_DELAY = 1 << 11,
    TAKES_ALL = 1 << 12, /* every workload */
};

/* All numbers are within the bounds of the table. */
struct bench_opts {
    const char *address; /* NULL for workloads that need no server */
    const char *vs, *proxy;
    double pid, vs_pid, metrics, vs_metrics; /* 0: not known */
    double threads, seconds, warm_up_s, timeout_s, rounds;
    double pairs, connections, queues, window, messages, size, rate, count, version, ack_delay_ms;
    bool json;
};

struct workload;

/* What went wrong with the command line, or with the run. */
struct bench_problem {
    char text[512]; /* terminated, without newline */
};
enum err bench_problem_set(struct bench_problem *ret, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4); /* returns e */

/* argv[0] is the workload's name. *ret_help: help was asked for, nothing else matters. E_CONFIG. */
MUST_USE enum err opts_parse(const struct workload *w, int argc, char **argv,
                             struct bench_opts *ret, bool *ret_help, struct bench_problem *p);
void opts_print_help(const struct workload *w);
