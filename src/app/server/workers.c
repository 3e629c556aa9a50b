/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/workers.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "model/limits.h"

enum {
    DRAIN_CHECK_MS = 20,
    DRAIN_SPARE_MS = 3000, /* beyond STOP_GRACE_MS: deadlines are checked once a second */
};

/* A loop and its ports. */
struct worker {
    /* fixed after start */
    struct workers *all;          /* borrowed */
    struct loop *loop;            /* owned */
    struct socket_counts *counts; /* owned; one for each socket of the server */
    /* owner loop only, once it runs */
    struct listener **listeners; /* owned; one for each socket of the server */
    struct loop_timer drain_timer;
    int64_t drain_deadline_ms;
    /* main thread, unless it is on its way to the loop */
    struct loop_msg ping;
    /* atomic */
    _Atomic bool is_pinged; /* release, acquire: while set, ping is the loop's */
};

struct workers {
    /* fixed after start */
    unsigned n, n_sockets;    /* n_sockets: addresses times ports */
    struct opening *openings; /* owned; of each socket */
    struct worker *workers;   /* owned */
    struct loop **loops;      /* borrowed from workers */
    /* posted by each worker that has no connection left */
    sem_t drained;
};

/* ---- made and freed ---- */

void workers_free(struct workers *ws) {
    if (ws == NULL) return;
    for (unsigned i = 0; ws->workers != NULL && i < ws->n; i++) {
        loop_free(ws->workers[i].loop);
        free(ws->workers[i].listeners);
        free(ws->workers[i].counts);
    }
    free(ws->workers);
    free(ws->loops);
    free(ws->openings);
    (void)sem_destroy(&ws->drained);
    free(ws);
}

static enum err init_worker(struct workers *ws, unsigned i, struct stats *stats) {
    struct worker *w = &ws->workers[i];
    w->all = ws;
    w->listeners = calloc(ws->n_sockets, sizeof(struct listener *));
    w->counts = calloc(ws->n_sockets, sizeof *w->counts);
    if (w->listeners == NULL || w->counts == NULL) return E_NO_MEMORY;
    const enum err e = loop_new(i, &ENV_SYSTEM, &w->loop);
    ws->loops[i] = w->loop;
    if (e == OK) loop_set_stats(w->loop, stats_sheet(stats, i));
    return e;
}

/* Names are looked up on libuv's threads, of which only half may do so at a time: with its 4, two
 * names that nobody answers for would hold up all others. Idle threads cost next to nothing. */
static const char LOOKUP_THREADS[] = "64";

enum err workers_new(const struct conf *c, unsigned n, struct stats *stats, struct workers **ret) {
    (void)setenv("UV_THREADPOOL_SIZE", LOOKUP_THREADS, 0); /* read when the first is needed */
    struct workers *ws = calloc(1, sizeof *ws);
    if (ws == NULL) return E_NO_MEMORY;
    (void)sem_init(&ws->drained, 0, 0);
    ws->n = n;
    ws->n_sockets = ports_count(c);
    ws->workers = calloc(n, sizeof *ws->workers);
    ws->loops = calloc(n, sizeof *ws->loops);
    ws->openings = calloc(ws->n_sockets, sizeof *ws->openings);
    const bool has_all = ws->workers != NULL && ws->loops != NULL && ws->openings != NULL;
    enum err e = has_all ? OK : E_NO_MEMORY;
    for (unsigned i = 0; i < ws->n_sockets && e == OK; i++) {
        const struct port_use u = ports_use(c, i);
        ws->openings[i] = (struct opening){u.addr.port, u.kind};
    }
    for (unsigned i = 0; i < n && e == OK; i++) e = init_worker(ws, i, stats);
    if (e != OK) {
        workers_free(ws);
        return e;
    }
    *ret = ws;
    return OK;
}

struct loop *const *workers_loops(const struct workers *ws) {
    return ws->loops;
}

/* ---- ports ---- */

unsigned workers_n_sockets(const struct workers *ws) {
    return ws->n_sockets;
}

const struct opening *workers_opening(const struct workers *ws, unsigned socket) {
    return &ws->openings[socket];
}

void workers_leave_out(struct workers *ws, unsigned socket) {
    ws->openings[socket].port = 0;
}

static void close_listener(struct worker *w, unsigned i) {
    listener_close(w->listeners[i]);
    w->listeners[i] = NULL;
}

static void close_listeners(struct worker *w) {
    for (unsigned i = 0; i < w->all->n_sockets; i++) close_listener(w, i);
}

void workers_close_ports(struct workers *ws) {
    for (unsigned i = 0; i < ws->n; i++) close_listeners(&ws->workers[i]);
}

/* Our own sockets share their port, so only a probe finds another server that shares it too. */
enum err workers_listen(struct workers *ws, unsigned socket, const struct port_use *u, SSL_CTX *tls,
                        const struct stream_opts *o) {
    enum err e = listener_probe(&u->addr);
    for (unsigned i = 0; i < ws->n && e == OK; i++) {
        struct worker *w = &ws->workers[i];
        e = listener_open(w->loop, &u->addr, tls, o, &w->listeners[socket]);
        if (e == OK) listener_set_counts(w->listeners[socket], &w->counts[socket]);
    }
    if (e == OK) return OK;
    const int number = errno;
    for (unsigned i = 0; i < ws->n; i++) close_listener(&ws->workers[i], socket);
    errno = number;
    return e;
}

/* Sockets of one address, on all loops, go to their port. */
static void add_socket(const struct workers *ws, unsigned socket, struct stats_gauges *ret) {
    unsigned i = 0;
    const uint16_t port = ws->openings[socket].port;
    if (port == 0) return;
    while (i < ret->n_ports && ret->port[i].port != port) i++;
    if (i == STATS_PORTS_MAX) return; /* CONF_PORTS_MAX is not more */
    struct stats_port *p = &ret->port[i];
    if (i == ret->n_ports) ret->n_ports++;
    p->port = port;
    for (unsigned w = 0; w < ws->n; w++) {
        const struct socket_counts *c = &ws->workers[w].counts[socket];
        /* In this order: what was closed had been accepted. */
        const uint64_t closed = atomic_load_explicit(&c->closed, memory_order_acquire);
        const uint64_t accepted = atomic_load_explicit(&c->accepted, memory_order_acquire);
        p->closed += closed;
        p->accepted += accepted;
        p->active += accepted - closed;
    }
}

void workers_add_sockets(const struct workers *ws, struct stats_gauges *ret) {
    for (unsigned i = 0; i < ws->n_sockets; i++) add_socket(ws, i, ret);
}

/* ---- what is posted to them ---- */

struct worker_msg {
    struct loop_msg base;
    struct worker *worker;
    struct doors doors; /* owned; of a change of certificates */
};

static MUST_USE enum err post(struct worker *w, void (*run)(struct loop_msg *),
                              const struct doors *doors) {
    struct worker_msg *m = calloc(1, sizeof *m);
    if (m == NULL) return E_NO_MEMORY;
    m->base.run = run;
    m->worker = w;
    if (doors != NULL) m->doors = doors_ref(doors);
    loop_post(w->loop, &m->base);
    return OK;
}

static void run_set_doors(struct loop_msg *base) {
    struct worker_msg *m = CONTAINER_OF(base, struct worker_msg, base);
    struct worker *w = m->worker;
    for (unsigned i = 0; i < w->all->n_sockets; i++) {
        SSL_CTX *tls = m->doors.of[w->all->openings[i].kind];
        if (w->listeners[i] != NULL && tls != NULL) listener_set_tls(w->listeners[i], tls);
    }
    doors_done(&m->doors);
    free(m);
}

enum err workers_set_doors(struct workers *ws, const struct doors *doors) {
    enum err e = OK;
    for (unsigned i = 0; i < ws->n && e == OK; i++) e = post(&ws->workers[i], run_set_doors, doors);
    return e;
}

static void run_ping(struct loop_msg *base) {
    struct worker *w = CONTAINER_OF(base, struct worker, ping);
    atomic_store_explicit(&w->is_pinged, false, memory_order_release);
}

bool workers_are_alive(struct workers *ws) {
    bool all = true;
    for (unsigned i = 0; i < ws->n; i++) {
        struct worker *w = &ws->workers[i];
        if (atomic_load_explicit(&w->is_pinged, memory_order_acquire)) {
            all = false;
            continue;
        }
        atomic_store_explicit(&w->is_pinged, true, memory_order_relaxed);
        w->ping = (struct loop_msg){NULL, run_ping};
        loop_post(w->loop, &w->ping);
    }
    return all;
}

/* ---- threads ---- */

enum err workers_start(struct workers *ws) {
    enum err e = OK;
    for (unsigned i = 0; i < ws->n && e == OK; i++) e = loop_start(ws->loops[i]);
    return e;
}

void workers_stop(struct workers *ws) {
    for (unsigned i = 0; i < ws->n; i++) loop_stop(ws->loops[i]);
}

/* Twice: for what one that was still running posted to one that had ended. */
void workers_join(struct workers *ws) {
    for (unsigned i = 0; i < 2 * ws->n; i++) loop_join(ws->loops[i % ws->n]);
}

static void check_drained(void *ctx) {
    struct worker *w = ctx;
    if (loop_n_conns(w->loop) != 0 && loop_now_ms(w->loop) < w->drain_deadline_ms) return;
    loop_timer_stop(&w->drain_timer);
    (void)sem_post(&w->all->drained);
}

static void run_drain(struct loop_msg *base) {
    struct worker_msg *m = CONTAINER_OF(base, struct worker_msg, base);
    struct worker *w = m->worker;
    free(m);
    close_listeners(w);
    loop_close_conns(w->loop, STOP_GRACE_MS);
    w->drain_deadline_ms = loop_now_ms(w->loop) + STOP_GRACE_MS + DRAIN_SPARE_MS / 2;
    if (loop_timer_start(w->loop, &w->drain_timer, 0, DRAIN_CHECK_MS, check_drained, w) != OK) {
        (void)sem_post(&w->all->drained);
    }
}

/* Waits until n workers have said that they have nothing left to do, but not for ever. */
static void wait_drained(struct workers *ws, unsigned n) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (STOP_GRACE_MS + DRAIN_SPARE_MS) / 1000;
    for (unsigned i = 0; i < n; i++) {
        int failed = -1;
        do failed = sem_clockwait(&ws->drained, CLOCK_MONOTONIC, &until);
        while (failed != 0 && errno == EINTR);
        if (failed != 0) {
            log_line(LOG_WARN, "stop", "loops_still_busy=%u", n - i);
            return;
        }
    }
}

void workers_drain(struct workers *ws) {
    unsigned n_posted = 0;
    for (unsigned i = 0; i < ws->n; i++) {
        if (post(&ws->workers[i], run_drain, NULL) == OK) n_posted++;
    }
    wait_drained(ws, n_posted);
}
