/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* bench_service.c -- a service with many queues: the memory of an association, and what it costs to
 * subscribe to all at once and to find what waits.
 *
 * Usage: bench_service [queues]. Exit status 1 above the limits: 100 bytes an association, one
 * second of processor time for subscribing and looking through all queues. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "crypto/crypto.h"
#include "store/nothing.h"
#include "store/records.h"
#include "store/subscribe.h"

enum { DEFAULT_QUEUES = 1000000, MAX_BYTES = 100, SCAN_STEP = 2000 };

static double cpu_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Bytes that the allocator has given out. */
static double allocated(void) {
    const struct mallinfo2 m = mallinfo2();
    return (double)m.uordblks + (double)m.hblkhd;
}

static void must(bool ok, const char *what) {
    if (ok) return;
    (void)fprintf(stderr, "bench_service: %s failed\n", what);
    exit(1);
}

static void make_queues(struct store *s, struct queue **queues, uint64_t n) {
    const struct pubkey key = {.type = KEY_ED25519};
    struct keyset *keys;
    must(keyset_new(&key, 1, &keys) == OK, "memory");
    for (uint64_t i = 0; i < n; i++) {
        struct queue_rec rec = {.rcv_keys = keys};
        memcpy(rec.rcv_id.b, &i, sizeof i);
        memcpy(rec.snd_id.b, &i, sizeof i);
        lsn_t lsn;
        must(store_queue_create(s, &rec, &queues[i], &lsn) == OK, "create");
    }
    keyset_unref(keys);
}

static void associate(struct store *s, struct queue **queues, uint64_t n, struct service *svc) {
    const struct sub_request r = {.party = SUB_RECIPIENT, .sub = {.generation = 1}, .service = svc};
    for (uint64_t i = 0; i < n; i++) {
        struct sub_moved moved;
        must(store_subscribe(s, queues[i], &r, &moved) == OK && moved.associated, "associate");
    }
}

/* What SUBS does: take over, then look for what waits. */
static double subscribe_all(struct store *s, struct service *svc, uint64_t n) {
    const double begun = cpu_s();
    struct subscriber prev;
    struct ids_sum sum;
    const struct subscriber sub = {.generation = 2};
    must(store_service_subscribe(s, svc, SUB_RECIPIENT, sub, &prev, &sum) == OK &&
             (uint64_t)sum.n == n,
         "count");
    struct store_scan scan = {.service = svc, .party = SUB_RECIPIENT, .max_queues = SCAN_STEP};
    do {
        must(store_service_scan(s, &scan, NULL) && scan.ret_found == NULL, "scan");
    } while (scan.ret_more);
    return cpu_s() - begun;
}

int main(int argc, char **argv) {
    const uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : DEFAULT_QUEUES;
    const struct store_opts o = {.env = &ENV_SYSTEM, .quota = 128};
    struct store_service_open first = {.rec.role = SERVICE_MESSAGING, .may_create = true};
    struct store *s;
    must(n > 0 && crypto_init() == OK, "start");
    must(nothing_open(&o, &s) == OK, "store");
    struct queue **queues = calloc(n, sizeof(struct queue *));
    must(queues != NULL, "memory");
    must(store_service_open(s, &first, NULL) && first.ret_err == OK, "service");
    struct service *svc = first.ret_service;
    make_queues(s, queues, n);
    const double before = allocated();
    associate(s, queues, n, svc);
    const double bytes = (allocated() - before) / (double)n;
    const double seconds = subscribe_all(s, svc, n);
    (void)printf("%llu queues of one service: %.0f bytes each, %.3f s of CPU to subscribe to all\n",
                 (unsigned long long)n, bytes, seconds);
    for (uint64_t i = 0; i < n; i++) queue_unref(queues[i]);
    free(queues);
    store_close(s);
    return bytes <= MAX_BYTES && seconds < 1.0 ? 0 : 1;
}
