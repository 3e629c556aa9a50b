/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* bench_journal [DIR [N]] -- what the journal costs a message: N messages (200000) of 16 KB are
 * stored and deleted in DIR (.), by two threads that keep a thousand messages each. Prints messages
 * per second and CPU time of the whole process per message, with all writing, syncing, erasing and
 * compaction in it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "store/disk/journal.h"

enum { N_THREADS = 2, N_KEPT = 1000, BODY_LEN = 16000, MAX_BEHIND = 256 };

struct entry {
    struct id id;
    struct journal_loc loc;
    bool live;
};

struct load {
    struct commit *commit;
    struct journal *journal;
    unsigned long n;
    pthread_mutex_t mtx;
    struct entry kept[N_KEPT]; /* guarded by mtx */
    unsigned number;
};

static struct load loads[N_THREADS];

static struct id make_id(unsigned thread, uint64_t n) {
    struct id id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[20] = (uint8_t)thread;
    return id;
}

static enum err recovered(void *ctx, const struct journal_msg *m) {
    (void)ctx;
    (void)m;
    return E_NOT_FOUND;
}

static bool has_queue(void *ctx, const struct id *queue) {
    (void)ctx;
    (void)queue;
    return false;
}

static struct entry *entry_of(struct load *l, const struct id *id) {
    uint64_t n;
    memcpy(&n, id->b, sizeof n);
    struct entry *e = &l->kept[n % N_KEPT];
    return e->live && id_equal(&e->id, id) ? e : NULL;
}

static bool same_loc(struct journal_loc a, struct journal_loc b) {
    return a.segment == b.segment && a.offset_8 == b.offset_8;
}

static void relocate(void *ctx, const struct journal_msg *m, struct bytes body) {
    (void)ctx;
    struct load *l = &loads[m->msg.b[20]];
    pthread_mutex_lock(&l->mtx);
    const struct entry *e = entry_of(l, &m->msg);
    lsn_t lsn;
    if (e != NULL && same_loc(e->loc, m->loc) && commit_begin(l->commit, &lsn) == OK) {
        (void)!journal_copy(l->journal, m, body);
        commit_end(l->commit);
    }
    pthread_mutex_unlock(&l->mtx);
}

static bool moved(void *ctx, const struct journal_msg *m, struct journal_loc from) {
    (void)ctx;
    struct load *l = &loads[m->msg.b[20]];
    pthread_mutex_lock(&l->mtx);
    struct entry *e = entry_of(l, &m->msg);
    const bool yes = e != NULL && same_loc(e->loc, from);
    if (yes) e->loc = m->loc;
    pthread_mutex_unlock(&l->mtx);
    return yes;
}

static void lost(void *ctx, const struct id *queue, const struct id *msg) {
    (void)ctx;
    (void)queue;
    (void)msg;
    (void)fputs("bench_journal: the disk failed or is full\n", stderr);
    exit(1);
}

static void step(struct load *l, uint64_t n, const uint8_t *body, lsn_t *ret_lsn) {
    const struct id queue = make_id(l->number, n % 100), id = make_id(l->number, n);
    struct message *m;
    if (message_new(&id, 0, false, bytes_of(body, BODY_LEN), &m) != OK) abort();
    struct entry *e = &l->kept[n % N_KEPT];
    pthread_mutex_lock(&l->mtx);
    if (commit_begin(l->commit, ret_lsn) != OK) exit(1);
    if (e->live && journal_delete(l->journal, &queue, &e->id, e->loc, BODY_LEN, *ret_lsn) != OK)
        exit(1);
    e->id = id;
    if (journal_append(l->journal, &queue, m, &e->loc) != OK) exit(1);
    e->live = true;
    commit_end(l->commit);
    pthread_mutex_unlock(&l->mtx);
    message_unref(m);
}

static void *run(void *arg) {
    struct load *l = arg;
    static const uint8_t body[BODY_LEN] = {1};
    for (uint64_t n = 0; n < l->n; n++) {
        lsn_t lsn;
        step(l, n, body, &lsn);
        while (commit_durable_lsn(l->commit) + MAX_BEHIND < lsn)
            usleep(100); /* as waiting sessions would */
    }
    return NULL;
}

static double seconds(struct timespec t) {
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void) {
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void measure(struct commit *commit, struct journal *j, unsigned long n) {
    pthread_t threads[N_THREADS];
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    const double cpu = cpu_seconds();
    for (unsigned i = 0; i < N_THREADS; i++) {
        loads[i].commit = commit;
        loads[i].journal = j;
        loads[i].n = n / N_THREADS;
        loads[i].number = i;
        (void)pthread_mutex_init(&loads[i].mtx, NULL);
        if (pthread_create(&threads[i], NULL, run, &loads[i]) != 0) abort();
    }
    for (unsigned i = 0; i < N_THREADS; i++) (void)pthread_join(threads[i], NULL);
    if (commit_flush(commit) != OK) exit(1);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    const double s = seconds(to) - seconds(from), c = cpu_seconds() - cpu;
    const struct journal_stats stats = journal_stats(j);
    printf("messages=%lu seconds=%.2f messages_per_s=%.0f cpu_us_per_message=%.2f disk_mib=%.0f "
           "live_mib=%.0f\n",
           n, s, (double)n / s, c * 1e6 / (double)n, (double)stats.disk_bytes / 1048576,
           (double)stats.live_bytes / 1048576);
}

int main(int argc, char **argv) {
    char dir[512];
    (void)snprintf(dir, sizeof dir, "%s/bench-journal", argc > 1 ? argv[1] : ".");
    const unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 200000;
    struct commit *commit;
    struct journal *j;
    struct journal_problem problem;
    const struct commit_opts co = {.env = &ENV_SYSTEM};
    if (commit_new(&co, &commit) != OK) return 1;
    const struct journal_opts jo = {.env = &ENV_SYSTEM,
                                    .vfs = &VFS_SYSTEM,
                                    .dir = dir,
                                    .commit = commit,
                                    .owner = {recovered, has_queue, relocate, moved, lost, NULL}};
    if (journal_open(&jo, &j, &problem) != OK || commit_start(commit) != OK ||
        journal_start(j) != OK) {
        (void)fprintf(stderr, "bench_journal: cannot open %s: %s\n", dir, problem.text);
        return 1;
    }
    measure(commit, j, n);
    journal_stop(j);
    const enum err e = commit_stop(commit);
    journal_close(j);
    commit_free(commit);
    return e == OK ? 0 : 1;
}
