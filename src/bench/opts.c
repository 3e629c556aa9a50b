/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "bench/opts.h"

#include <assert.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/workload.h"

enum opt_kind { OPT_NUMBER, OPT_TEXT, OPT_SWITCH };

struct opt_row {
    const char *name, *metavar;
    enum opt_kind kind;
    int bit; /* of TAKES_ */
    size_t offset;
    double min, max;
    const char *help;
};

#define FIELD(f) offsetof(struct bench_opts, f)

/* clang-format off */
static const struct opt_row OPTIONS[] = {
    {"pairs", "N", OPT_NUMBER, TAKES_PAIRS, FIELD(pairs), 1, 1000000, "queues, each with a sender and a recipient"},
    {"connections", "N", OPT_NUMBER, TAKES_CONNECTIONS, FIELD(connections), 1, 100000, "connections (of each side, where there are two)"},
    {"queues", "N", OPT_NUMBER, TAKES_QUEUES, FIELD(queues), 0, 100000, "queues of each connection"},
    {"window", "N", OPT_NUMBER, TAKES_WINDOW, FIELD(window), 1, 1000, "how many of a pair or connection are under way at once"},
    {"messages", "N", OPT_NUMBER, TAKES_MESSAGES, FIELD(messages), 1, 100000, "messages in each queue; 128 is the usual quota"},
    {"size", "BYTES", OPT_NUMBER, TAKES_SIZE, FIELD(size), 0, 16384, "of a message; 0: the largest of the version"},
    {"rate", "N", OPT_NUMBER, TAKES_RATE, FIELD(rate), 0, 10000000, "operations a second in all; latencies count from when each was due. 0: as fast as they are answered"},
    {"count", "N", OPT_NUMBER, TAKES_COUNT, FIELD(count), 0, 1e12, "end after so many operations; 0: by time"},
    {"ack-delay", "MS", OPT_NUMBER, TAKES_ACK_DELAY, FIELD(ack_delay_ms), 0, 60000, "between a message and its ACK, as of recipients that are far away"},
    {"proxy", "ADDRESS", OPT_TEXT, TAKES_PROXY, FIELD(proxy), 0, 0, "messages are sent through this server"},
    {"seconds", "N", OPT_NUMBER, TAKES_SECONDS, FIELD(seconds), 0.1, 86400, "how long it is measured"},
    {"warm-up", "SECONDS", OPT_NUMBER, TAKES_SECONDS, FIELD(warm_up_s), 0, 3600, "before that"},
    {"version", "N", OPT_NUMBER, TAKES_COMMON, FIELD(version), 0, 65535, "of the protocol; 0: the newest of both"},
    {"threads", "N", OPT_NUMBER, TAKES_COMMON, FIELD(threads), 1, 64, "of the generator"},
    {"timeout", "SECONDS", OPT_NUMBER, TAKES_COMMON, FIELD(timeout_s), 0.1, 3600, "for a connection and for an answer"},
    {"pid", "PID", OPT_NUMBER, TAKES_COMMON, FIELD(pid), 0, 1 << 30, "of the server, if it is on this machine: tells what it costs"},
    {"metrics", "PORT", OPT_NUMBER, TAKES_COMMON, FIELD(metrics), 0, 65535, "of the server's [TRANSPORT] metrics, if it is on this machine: tells what it asks of the disk"},
    {"vs", "ADDRESS", OPT_TEXT, TAKES_COMMON, FIELD(vs), 0, 0, "compare with this server: both are run in turn"},
    {"vs-pid", "PID", OPT_NUMBER, TAKES_COMMON, FIELD(vs_pid), 0, 1 << 30, "of that server"},
    {"vs-metrics", "PORT", OPT_NUMBER, TAKES_COMMON, FIELD(vs_metrics), 0, 65535, "of that server"},
    {"rounds", "N", OPT_NUMBER, TAKES_COMMON, FIELD(rounds), 1, 1000, "turns of each, with --vs"},
    {"json", NULL, OPT_SWITCH, TAKES_ALL, FIELD(json), 0, 0, "print JSON in place of the table"},
};
/* clang-format on */

enum { N_OPTIONS = ARRAY_LEN(OPTIONS), FIRST = 256, HELP_COLUMN = 26 };

enum err bench_problem_set(struct bench_problem *ret, enum err e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(ret->text, sizeof ret->text, fmt, ap);
    va_end(ap);
    return e;
}

static bool is_taken(const struct workload *w, const struct opt_row *o) {
    return o->bit == TAKES_ALL || (w->takes & o->bit) != 0;
}

static double *number_of(const struct opt_row *o, struct bench_opts *opts) {
    return (double *)(void *)((char *)opts + o->offset);
}

/* ---- help ---- */

void opts_print_help(const struct workload *w) {
    struct bench_opts defaults = w->defaults;
    const bool needs_server = (w->takes & TAKES_COMMON) != 0;
    printf("Usage: smp-bench %s%s [OPTIONS]\n\n  %s\n\nOptions:\n", w->name,
           needs_server ? " ADDRESS" : "", w->summary);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct opt_row *o = &OPTIONS[i];
        char left[64];
        if (!is_taken(w, o)) continue;
        (void)snprintf(left, sizeof left, "  --%s%s%s", o->name, o->metavar != NULL ? " " : "",
                       o->metavar != NULL ? o->metavar : "");
        printf("%-*s%s", HELP_COLUMN, left, o->help);
        if (o->kind == OPT_NUMBER) printf(" (default %.12g)", *number_of(o, &defaults));
        printf("\n");
    }
    printf("%-*sShow this help text\n", HELP_COLUMN, "  -h,--help");
}

/* ---- parsing ---- */

static enum err store_number(const struct opt_row *o, const char *text, struct bench_opts *opts,
                             struct bench_problem *p) {
    char *end = NULL;
    const double v = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(v) || v < o->min || v > o->max) {
        return bench_problem_set(p, E_CONFIG,
                                 "--%s must be a number from %.12g to %.12g, not \"%s\"", o->name,
                                 o->min, o->max, text);
    }
    *number_of(o, opts) = v;
    return OK;
}

static enum err store(const struct opt_row *o, const char *text, struct bench_opts *opts,
                      struct bench_problem *p) {
    void *field = (char *)opts + o->offset;
    if (o->kind == OPT_NUMBER) return store_number(o, text, opts, p);
    if (o->kind == OPT_TEXT) {
        *(const char **)field = text;
    } else {
        *(bool *)field = true;
    }
    return OK;
}

static enum err take_address(const struct workload *w, int argc, char **argv,
                             struct bench_opts *ret, struct bench_problem *p) {
    const bool needs_server = (w->takes & TAKES_COMMON) != 0;
    if (needs_server && optind < argc) ret->address = argv[optind++];
    if (needs_server && ret->address == NULL) {
        return bench_problem_set(p, E_CONFIG,
                                 "which server? `smp-bench %s smp://...` (the server prints its "
                                 "address when it starts)",
                                 w->name);
    }
    if (optind < argc) {
        return bench_problem_set(p, E_CONFIG, "`smp-bench %s` takes no argument \"%s\"", w->name,
                                 argv[optind]);
    }
    return OK;
}

enum err opts_parse(const struct workload *w, int argc, char **argv, struct bench_opts *ret,
                    bool *ret_help, struct bench_problem *p) {
    struct option names[N_OPTIONS + 2] = {{0}};
    size_t n = 0;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (!is_taken(w, &OPTIONS[i])) continue;
        const bool has_value = OPTIONS[i].metavar != NULL;
        names[n++] = (struct option){OPTIONS[i].name, has_value ? required_argument : no_argument,
                                     NULL, FIRST + (int)i};
    }
    names[n] = (struct option){"help", no_argument, NULL, 'h'};
    *ret = w->defaults;
    opterr = 0;
    optind = 0; /* glibc: start anew */
    for (int found; (found = getopt_long(argc, argv, ":h", names, NULL)) != -1;) {
        if (found == 'h') {
            *ret_help = true;
            return OK;
        }
        if (found < FIRST) {
            return bench_problem_set(p, E_CONFIG,
                                     "option %s is unknown or lacks its value: see `smp-bench %s "
                                     "-h`",
                                     argv[optind - 1], w->name);
        }
        const enum err e = store(&OPTIONS[found - FIRST], optarg, ret, p);
        if (e != OK) return e;
    }
    return take_address(w, argc, argv, ret, p);
}
