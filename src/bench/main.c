/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* smp-bench: load for an SMP server, ours or another, and what it makes of it. Exit status 0 when
 * all that was sent came back as it should, else 1. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/begin.h"
#include "bench/workload.h"
#include "client/smp_uri.h"
#include "crypto/crypto.h"
#include "wire/version.h"

static const struct workload *const WORKLOADS[] = {
    &WORKLOAD_RELAY,  &WORKLOAD_CONNECT, &WORKLOAD_IDLE,  &WORKLOAD_SUBSCRIBE,
    &WORKLOAD_CREATE, &WORKLOAD_BACKLOG, &WORKLOAD_MIXED, &WORKLOAD_CRYPTO,
};

static void print_help(FILE *out) {
    fprintf(out, "Usage: smp-bench WORKLOAD [ADDRESS] [OPTIONS]\n\n"
                 "Puts load on an SMP server, checks all that comes back, and measures.\n"
                 "ADDRESS is smp://..., as the server prints it when it starts.\n\nWorkloads:\n");
    for (size_t i = 0; i < ARRAY_LEN(WORKLOADS); i++) {
        fprintf(out, "  %-10s %s\n", WORKLOADS[i]->name, WORKLOADS[i]->summary);
    }
    fprintf(out, "\n`smp-bench WORKLOAD -h` shows the options of a workload.\n");
}

/* ---- where to ---- */

struct place {
    struct smp_uri server, proxy;
    struct goal goal;
};

static enum err parse_uri(const char *text, struct smp_uri *u, struct smp_target *ret,
                          struct bench_problem *p) {
    const char *why = "";
    if (smp_uri_parse(text, u, &why) != OK) {
        return bench_problem_set(p, E_CONFIG, "%s is not the address of a server: %s", text, why);
    }
    const char *host = smp_uri_host(u, false);
    if (host == NULL) return bench_problem_set(p, E_CONFIG, "%s has onion hosts only", text);
    *ret = (struct smp_target){.port = u->port};
    (void)snprintf(ret->host, sizeof ret->host, "%s", host);
    memcpy(ret->identity, u->identity, sizeof ret->identity);
    return OK;
}

static enum err place_init(struct place *l, const char *address, const char *proxy,
                           struct bench_problem *p) {
    enum err e = parse_uri(address, &l->server, &l->goal.server, p);
    l->goal.has_proxy = proxy != NULL;
    if (e == OK && proxy != NULL) e = parse_uri(proxy, &l->proxy, &l->goal.proxy, p);
    l->goal.password = l->server.password;
    l->goal.proxy_password = l->proxy.password;
    return e;
}

/* ---- runs ---- */

static enum err run_once(const struct workload *w, const struct bench_opts *o, const char *address,
                         struct watched watched, struct result *ret, struct bench_problem *p) {
    struct place place = {0};
    enum err e = place_init(&place, address, o->proxy, p);
    if (e == OK) e = crew_run(w, o, &place.goal, watched, ret, p);
    smp_uri_done(&place.server);
    smp_uri_done(&place.proxy);
    return e;
}

/* Another round of a server, added to *sum. */
static enum err run_round(const struct workload *w, const struct bench_opts *o, const char *address,
                          struct watched watched, struct result *sum, struct bench_problem *p) {
    struct result one;
    if (result_new(w, &one) != OK) return bench_problem_set(p, E_NO_MEMORY, "out of memory");
    const enum err e = run_once(w, o, address, watched, &one, p);
    result_add(sum, &one);
    result_done(&one);
    return e;
}

static enum err run_versus(const struct workload *w, const struct bench_opts *o,
                           struct result results[2], struct bench_problem *p) {
    const char *const addresses[] = {o->address, o->vs};
    const struct watched watched[] = {{(int)o->pid, (int)o->metrics},
                                      {(int)o->vs_pid, (int)o->vs_metrics}};
    for (int i = 0; i < (int)o->rounds; i++) {
        for (int s = 0; s < 2; s++) {
            const int which = i % 2 == 0 ? s : 1 - s; /* neither is always the first */
            const enum err e =
                run_round(w, o, addresses[which], watched[which], &results[which], p);
            if (e != OK) return e;
        }
    }
    return OK;
}

static void print(const struct bench_opts *o, const struct result results[2]) {
    if (o->vs != NULL) {
        (o->json ? result_print_versus_json : result_print_versus)(&results[0], &results[1],
                                                                   stdout);
    } else {
        (o->json ? result_print_json : result_print)(&results[0], stdout);
    }
}

static enum err run_server(const struct workload *w, const struct bench_opts *o,
                           struct bench_problem *p) {
    struct result results[2] = {{0}};
    enum err e = result_new(w, &results[0]);
    if (e == OK) e = result_new(w, &results[1]);
    if (e != OK) {
        (void)bench_problem_set(p, e, "out of memory");
    } else if (o->vs != NULL) {
        e = run_versus(w, o, results, p);
    } else {
        const struct watched watched = {(int)o->pid, (int)o->metrics};
        e = run_once(w, o, o->address, watched, &results[0], p);
    }
    if (results[1].stages != NULL) print(o, results);
    if (e == OK && (!result_is_clean(&results[0]) || !result_is_clean(&results[1]))) {
        e = bench_problem_set(p, E_CLOSED, "the server did not do what it should: see above");
    }
    result_done(&results[0]);
    result_done(&results[1]);
    return e;
}

/* Thousands of connections need as many descriptors. */
static void raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static enum err check_opts(const struct workload *w, const struct bench_opts *o,
                           struct bench_problem *p) {
    const double shared = (w->takes & TAKES_PAIRS) != 0 ? o->pairs : o->connections;
    if (o->threads > shared) {
        return bench_problem_set(p, E_CONFIG, "--threads %g are more than there is work for",
                                 o->threads);
    }
    if (o->size != 0 && o->size < STAMP_LEN) {
        return bench_problem_set(p, E_CONFIG,
                                 "--size must be at least %d: each message carries its number",
                                 STAMP_LEN);
    }
    return OK;
}

static int run(const struct workload *w, int argc, char **argv) {
    struct bench_problem problem = {0};
    struct bench_opts o;
    bool help = false;
    enum err e = opts_parse(w, argc, argv, &o, &help, &problem);
    if (e == OK && help) {
        opts_print_help(w);
        return 0;
    }
    if (e == OK && crypto_init() != OK) {
        e = bench_problem_set(&problem, E_CRYPTO, "OpenSSL 3 or libsodium does not work here");
    }
    raise_files();
    if (e == OK && w->run != NULL) {
        e = w->run(&o, &problem);
    } else if (e == OK) {
        e = check_opts(w, &o, &problem);
        if (e == OK) e = run_server(w, &o, &problem);
    }
    if (e == OK) return 0;
    fprintf(stderr, "Error: %s\n", problem.text);
    return 1;
}

int main(int argc, char **argv) {
    begin_process();
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_help(stdout);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(WORKLOADS); i++) {
        if (strcmp(word, WORKLOADS[i]->name) == 0) return run(WORKLOADS[i], argc - 1, argv + 1);
    }
    if (argc < 2) {
        print_help(stderr);
    } else {
        fprintf(stderr, "Error: unknown workload %s: see `smp-bench -h`\n", word);
    }
    return 1;
}
