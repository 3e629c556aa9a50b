/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "loop_rig.h"

#include "net/conn_priv.h"

struct loop_rig loop_rig;

/* ---- clock and randomness ---- */

static int64_t now_s(void *ctx) {
    (void)ctx;
    return RIG_EPOCH_S + loop_rig.now_ms / 1000;
}

static int64_t mono_us(void *ctx) {
    (void)ctx;
    return loop_rig.now_ms * 1000;
}

/* xorshift64 */
static void random_bytes(void *ctx, void *buf, size_t n) {
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        loop_rig.random ^= loop_rig.random << 13;
        loop_rig.random ^= loop_rig.random >> 7;
        loop_rig.random ^= loop_rig.random << 17;
        ((uint8_t *)buf)[i] = (uint8_t)(loop_rig.random >> 32);
    }
}

/* ---- timers: in place of the loop's (--wrap) ---- */

struct rig_timer {
    struct list in_rig;
    struct loop_timer *timer;
    int64_t due_ms, repeat_ms;
    void (*fn)(void *ctx);
    void *ctx;
};

enum err __wrap_loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t first_ms,
                                 uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx);
void __wrap_loop_timer_stop(struct loop_timer *t);
int64_t __wrap_loop_turn_ms(const struct loop *l);

void __wrap_loop_timer_stop(struct loop_timer *t) {
    struct rig_timer *rt = t->impl;
    if (rt == NULL) return;
    list_remove(&rt->in_rig);
    free(rt);
    t->impl = NULL;
}

enum err __wrap_loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t first_ms,
                                 uint64_t repeat_ms, void (*fn)(void *ctx), void *ctx) {
    (void)l;
    __wrap_loop_timer_stop(t);
    struct rig_timer *rt = malloc(sizeof *rt);
    assert_non_null(rt);
    *rt = (struct rig_timer){.timer = t,
                             .due_ms = loop_rig.now_ms + (int64_t)first_ms,
                             .repeat_ms = (int64_t)repeat_ms,
                             .fn = fn,
                             .ctx = ctx};
    list_push_back(&loop_rig.timers, &rt->in_rig);
    t->impl = rt;
    return OK;
}

int64_t __wrap_loop_turn_ms(const struct loop *l) {
    (void)l;
    return loop_rig.now_ms;
}

/* The first that is due until then; NULL: none. */
static struct rig_timer *first_due(int64_t until_ms) {
    struct rig_timer *first = NULL;
    for (struct list *l = loop_rig.timers.next; l != &loop_rig.timers; l = l->next) {
        struct rig_timer *rt = CONTAINER_OF(l, struct rig_timer, in_rig);
        if (rt->due_ms <= until_ms && (first == NULL || rt->due_ms < first->due_ms)) first = rt;
    }
    return first;
}

/* Twice: what runs may post to a loop that came before. */
void rig_run_posted(void) {
    for (unsigned i = 0; i < 2 * loop_rig.n_loops; i++)
        loop_join(loop_rig.loops[i % loop_rig.n_loops]);
}

void rig_pass_ms(int64_t ms) {
    const int64_t until_ms = loop_rig.now_ms + ms;
    for (struct rig_timer *rt; (rt = first_due(until_ms)) != NULL;) {
        loop_rig.now_ms = rt->due_ms;
        void (*fn)(void *ctx) = rt->fn;
        void *ctx = rt->ctx;
        if (rt->repeat_ms != 0) {
            rt->due_ms += rt->repeat_ms;
        } else {
            __wrap_loop_timer_stop(rt->timer);
        }
        fn(ctx);
        rig_run_posted();
    }
    loop_rig.now_ms = until_ms;
    rig_run_posted();
}

/* ---- connections: in place of net/conn ---- */

struct conn *rig_conn(struct loop *l) {
    struct conn *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->loop = l;
    c->unique = bytes_str("thirty-two bytes of TLS's unique");
    c->next = loop_rig.conns;
    loop_rig.conns = c;
    return c;
}

struct loop *conn_loop(const struct conn *c) {
    return c->loop;
}

void conn_want_write(struct conn *c) {
    c->wants_write = true;
}

void conn_want_run(struct conn *c) {
    c->wants_run = true;
}

bool conn_share_is_used(const struct conn *c) {
    return c->share_is_used;
}

void conn_pause_read(struct conn *c) {
    c->is_paused = true;
}

void conn_resume_read(struct conn *c) {
    c->is_paused = false;
}

void conn_set_deadline(struct conn *c, int64_t mono_ms) {
    c->deadline_ms = mono_ms;
}

void conn_finish(struct conn *c) {
    c->is_finishing = true;
}

void conn_close(struct conn *c) {
    c->is_closed = true;
}

struct bytes conn_tls_unique(const struct conn *c) {
    return c->unique;
}

bool conn_has_alpn(const struct conn *c) {
    (void)c;
    return true;
}

const char *conn_tls_problem(const struct conn *c) {
    (void)c;
    return "";
}

const struct server_cert *conn_cert(const struct conn *c) {
    (void)c;
    return loop_rig.cert;
}

enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap, struct bytes *ret) {
    if (c->chain.n == 0) return E_CERT;
    assert_true(c->chain.n <= cap);
    memcpy(buf, c->chain.p, c->chain.n);
    *ret = bytes_of(buf, c->chain.n);
    return OK;
}

struct bytes conn_challenge(const struct conn *c) {
    (void)c;
    return (struct bytes){0};
}

bool conn_take_new_queue(struct conn *c) {
    return !c->may_not_make_queues;
}

bool conn_take_new_service(struct conn *c) {
    return !c->may_not_make_queues;
}

struct admission_peer *conn_peer(const struct conn *c) {
    (void)c;
    return NULL;
}

bool conn_has_unsent(const struct conn *c) {
    (void)c;
    return false;
}

enum err conn_up(struct stream *s, const struct stream_opts *o) {
    (void)s;
    (void)o;
    return E_INTERNAL;
}

enum err conn_frame(struct stream *s, const struct conn_opts *o) {
    (void)s;
    (void)o;
    return E_INTERNAL;
}

enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                       void *session, struct conn **ret) {
    (void)l;
    (void)owned_fd;
    (void)tls;
    (void)o;
    (void)session;
    (void)ret;
    return E_INTERNAL;
}

void conn__begin(struct conn *c) {
    (void)c;
}

/* ---- set-up ---- */

void loop_rig_open(unsigned n_loops) {
    assert_true(n_loops <= RIG_LOOPS_MAX);
    loop_rig = (struct loop_rig){.now_ms = 1000, .random = 88172645463325252u, .n_loops = n_loops};
    loop_rig.env = (struct env){.now_s = now_s, .mono_us = mono_us, .random = random_bytes};
    list_init(&loop_rig.timers);
    for (unsigned i = 0; i < n_loops; i++)
        assert_int_equal(loop_new(i, &loop_rig.env, &loop_rig.loops[i]), OK);
}

void loop_rig_close(void) {
    assert_true(list_is_empty(&loop_rig.timers));
    for (unsigned i = 0; i < loop_rig.n_loops; i++) loop_free(loop_rig.loops[i]);
    for (struct conn *c; (c = loop_rig.conns) != NULL;) {
        loop_rig.conns = c->next;
        free(c);
    }
}
