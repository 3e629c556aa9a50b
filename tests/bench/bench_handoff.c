/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* bench_handoff.c -- what ADR 1 compares: queue state under lock stripes, or a home loop for each
 * queue.
 *
 *   stripes   find a queue, write a message, acknowledge it: by one thread, and by two at once on
 * the same queues hops      a message to another loop and back, which a home loop costs each
 * command of another loop's client
 *
 * Prints processor time and wall time per operation. Usage: bench_handoff [operations] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/loop.h"
#include "store/nothing.h"
#include "store/messages.h"
#include "store/records.h"

enum { N_QUEUES = 10000, DEFAULT_OPS = 1000000 };

static double seconds(clockid_t clock) {
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what) {
    if (ok) return;
    (void)fprintf(stderr, "bench_handoff: %s failed\n", what);
    exit(1);
}

static struct id numbered_id(uint64_t n, uint8_t kind) {
    struct id id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[ID_LEN - 1] = kind;
    return id;
}

/* ---- stripes ---- */

static void make_queues(struct store *s) {
    const struct pubkey key = {.type = KEY_ED25519};
    struct keyset *keys;
    must(keyset_new(&key, 1, &keys) == OK, "memory");
    for (uint64_t i = 0; i < N_QUEUES; i++) {
        const struct queue_rec rec = {.rcv_id = numbered_id(i, 'r'),
                                      .snd_id = numbered_id(i, 's'),
                                      .rcv_keys = keys};
        struct queue *q;
        lsn_t lsn;
        must(store_queue_create(s, &rec, &q, &lsn) == OK, "create");
        queue_unref(q);
    }
    keyset_unref(keys);
}

static void one_operation(struct store *s, uint64_t n, struct message *m) {
    struct store_lookup l = {.kind = ID_SENDER, .id = numbered_id(n % N_QUEUES, 's')};
    struct msg_written written;
    struct msg_acked acked;
    must(store_load(s, &l, 1, NULL), "find");
    if (store_msg_write(s, l.ret_queue, message_ref(m), &written) == OK &&
        store_msg_ack(s, l.ret_queue, &m->id, PACE_AT_ONCE, &acked) != OK) {
        must(false, "acknowledge");
    }
    store_lookup_done(&l);
}

struct striped {
    struct store *store;
    uint64_t n_ops, seed;
    double cpu_s;
};

static void *run_striped(void *arg) {
    struct striped *w = arg;
    const struct id id = numbered_id(w->seed, 'm');
    struct message *m;
    must(message_new(&id, 0, false, bytes_str("body"), &m) == OK, "memory");
    const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    uint64_t x = w->seed * 0x9e3779b97f4a7c15U + 1;
    for (uint64_t i = 0; i < w->n_ops; i++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        one_operation(w->store, x >> 33, m);
    }
    w->cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID) - start;
    message_unref(m);
    return NULL;
}

static void bench_stripes(struct store *s, unsigned n_threads, uint64_t n_ops) {
    pthread_t threads[2];
    struct striped w[2];
    double cpu_s = 0;
    const double start = seconds(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < n_threads; i++) {
        w[i] = (struct striped){.store = s, .n_ops = n_ops, .seed = i + 1};
        must(pthread_create(&threads[i], NULL, run_striped, &w[i]) == 0, "thread");
    }
    for (unsigned i = 0; i < n_threads; i++) {
        (void)pthread_join(threads[i], NULL);
        cpu_s += w[i].cpu_s;
    }
    const double per_op = 1e6 / (double)(n_ops * n_threads);
    (void)printf("stripes, %u thread%s: %.3f us CPU, %.3f us wall per find + write + acknowledge\n",
                 n_threads, n_threads > 1 ? "s" : "", cpu_s * per_op,
                 (seconds(CLOCK_MONOTONIC) - start) * per_op);
}

/* ---- hops ---- */

struct ball {
    struct loop_msg msg; /* first */
    struct loop *loops[2];
    uint64_t n_left;
    pthread_mutex_t mtx;
    pthread_cond_t done;
};

static void bounce(struct loop_msg *msg) {
    struct ball *b = (struct ball *)msg;
    if (b->n_left > 0) {
        b->n_left--;
        loop_post(b->loops[b->n_left % 2], msg);
        return;
    }
    pthread_mutex_lock(&b->mtx);
    msg->run = NULL;
    pthread_cond_signal(&b->done);
    pthread_mutex_unlock(&b->mtx);
}

static void bench_hops(uint64_t n_ops) {
    struct ball b = {.msg = {.run = bounce}, .n_left = n_ops * 2};
    pthread_mutex_init(&b.mtx, NULL);
    pthread_cond_init(&b.done, NULL);
    for (unsigned i = 0; i < 2; i++) {
        must(loop_new(i, &ENV_SYSTEM, &b.loops[i]) == OK && loop_start(b.loops[i]) == OK, "loop");
    }
    const double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    loop_post(b.loops[0], &b.msg);
    pthread_mutex_lock(&b.mtx);
    while (b.msg.run != NULL) pthread_cond_wait(&b.done, &b.mtx);
    pthread_mutex_unlock(&b.mtx);
    const double per_op = 1e6 / (double)n_ops;
    (void)printf("hops: %.3f us CPU, %.3f us wall per message to another loop and back\n",
                 (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * per_op,
                 (seconds(CLOCK_MONOTONIC) - start) * per_op);
    for (unsigned i = 0; i < 2; i++) loop_stop(b.loops[i]);
    for (unsigned i = 0; i < 2; i++) loop_join(b.loops[i]);
    for (unsigned i = 0; i < 2; i++) loop_free(b.loops[i]);
}

int main(int argc, char **argv) {
    const uint64_t n_ops = argc > 1 ? strtoull(argv[1], NULL, 10) : DEFAULT_OPS;
    const struct store_opts o = {.env = &ENV_SYSTEM, .quota = 128};
    struct store *s;
    must(n_ops > 0 && nothing_open(&o, &s) == OK, "store");
    make_queues(s);
    bench_stripes(s, 1, n_ops);
    bench_stripes(s, 2, n_ops);
    store_close(s);
    bench_hops(n_ops / 10 + 1);
    return 0;
}
