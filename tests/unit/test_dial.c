/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Dials of names with several addresses: which is taken, and when.
 *
 * The look-up is replaced: it finds what the test says. Addresses that hang are those of a listener
 * whose queue is full: the kernel then drops what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/attr.h"
#include "net/dial.h"
#include "net/loop.h"
#include "net/tls.h"

enum { FOUND_MAX = 8, FILLERS = 8, WAIT_S = 10 };

/* ---- the look-up ---- */

static struct {
    struct addrinfo ai[FOUND_MAX];
    struct sockaddr_storage at[FOUND_MAX];
    unsigned n;
} found;

static void find_address(const char *text, uint16_t port) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct addrinfo *ai = &found.ai[found.n];
    const bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (!is_v4) assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    memcpy(&found.at[found.n], is_v4 ? (void *)&v4 : (void *)&v6, is_v4 ? sizeof v4 : sizeof v6);
    *ai = (struct addrinfo){.ai_family = is_v4 ? AF_INET : AF_INET6,
                            .ai_addr = (struct sockaddr *)&found.at[found.n]};
    if (found.n > 0) found.ai[found.n - 1].ai_next = ai;
    found.n++;
}

/* ---- the stagger ---- */

enum { STAGGER_MS = 250, NEVER_MS = 3600 * 1000 };

/* On the loop while it runs. Attempts are staggered by what the test says; how often is counted. */
static struct {
    uint64_t ms;
    unsigned n;
} stagger;

int __real_uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t first_ms, uint64_t repeat_ms);
int __wrap_uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t first_ms, uint64_t repeat_ms);

int __wrap_uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t first_ms, uint64_t repeat_ms) {
    const bool is_stagger = first_ms == STAGGER_MS && repeat_ms == 0;
    if (is_stagger) stagger.n++;
    return __real_uv_timer_start(h, cb, is_stagger ? stagger.ms : first_ms, repeat_ms);
}

/* ---- the look-up, later ---- */

struct lookup {
    uv_timer_t timer;
    uv_getaddrinfo_t *req;
    uv_getaddrinfo_cb cb;
};

static void free_lookup(uv_handle_t *h) {
    free(CONTAINER_OF(h, struct lookup, timer));
}

static void answer_lookup(uv_timer_t *t) {
    struct lookup *k = CONTAINER_OF(t, struct lookup, timer);
    uv_close((uv_handle_t *)t, free_lookup);
    k->cb(k->req, found.n != 0 ? 0 : UV_EAI_NONAME, found.n != 0 ? found.ai : NULL);
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb, const char *node,
                   const char *service, const struct addrinfo *hints) {
    (void)node;
    (void)service;
    (void)hints;
    struct lookup *k = calloc(1, sizeof *k);
    *k = (struct lookup){.req = req, .cb = cb};
    memset(req, 0, sizeof *req);
    (void)uv_timer_init(loop, &k->timer);
    return uv_timer_start(&k->timer, answer_lookup, 0, 0);
}

void uv_freeaddrinfo(struct addrinfo *ai) {
    (void)ai;
}

int uv_cancel(uv_req_t *req) {
    (void)req;
    return UV_EBUSY;
}

/* ---- one dial ---- */

static struct {
    struct loop *loop;
    SSL_CTX *tls;
    struct dial_opts o;
    struct dial *dial;
    const char *host;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    enum err start, result;
    unsigned n_done, n_closed, n_started;
} t = {.mtx = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void count(unsigned *n) {
    pthread_mutex_lock(&t.mtx);
    ++*n;
    pthread_cond_broadcast(&t.cond);
    pthread_mutex_unlock(&t.mtx);
}

static void wait_for(const unsigned *n) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&t.mtx);
    while (*n == 0) {
        if (pthread_cond_timedwait(&t.cond, &t.mtx, &until) != 0) break;
    }
    const bool seen = *n > 0;
    pthread_mutex_unlock(&t.mtx);
    if (!seen) fail_msg("nothing happened in time");
}

static enum err on_open(struct conn *c, void *server, void **ret_session) {
    (void)c;
    (void)server;
    (void)ret_session;
    return OK;
}

static enum err on_block(void *session, uint8_t *block) {
    (void)session;
    (void)block;
    return OK;
}

static bool fill(void *session, uint8_t *block) {
    (void)session;
    (void)block;
    return false;
}

static void on_close(void *session) {
    assert_ptr_equal(session, &t);
    count(&t.n_closed);
}

static const struct conn_ops OPS = {.on_open = on_open,
                                    .on_block = on_block,
                                    .fill = fill,
                                    .on_close = on_close};
static const struct conn_opts CONN = {.ops = &OPS,
                                      .stream.tls_timeout_ms = 5000,
                                      .block_timeout_ms = 5000};

static void on_dialed(void *session, enum err e, struct conn *c) {
    assert_ptr_equal(session, &t);
    t.result = e;
    if (c != NULL) conn_close(c);
    count(&t.n_done);
}

static void start(struct loop_msg *m) {
    free(m);
    t.start = dial_start(t.loop, &t.o, t.host, 5223, on_dialed, &t, &t.dial);
    count(&t.n_started);
}

static void cancel(struct loop_msg *m) {
    free(m);
    dial_cancel(t.dial);
    count(&t.n_started);
}

static void post(void (*run)(struct loop_msg *m)) {
    struct loop_msg *m = calloc(1, sizeof *m);
    m->run = run;
    loop_post(t.loop, m);
    wait_for(&t.n_started);
    t.n_started = 0;
}

static int set_up(void **state) {
    (void)state;
    found.n = 0;
    stagger.n = 0;
    stagger.ms = STAGGER_MS;
    t.n_done = t.n_closed = t.n_started = 0;
    t.host = "relay.example";
    assert_int_equal(tls_client_ctx_new(&ENV_SYSTEM, &t.tls), OK);
    t.o = (struct dial_opts){.tls = t.tls, .conn = &CONN, .allow_private = true};
    assert_int_equal(loop_new(0, &ENV_SYSTEM, &t.loop), OK);
    assert_int_equal(loop_start(t.loop), OK);
    return 0;
}

static void end_loop(void) {
    if (t.loop == NULL) return;
    loop_stop(t.loop);
    loop_join(t.loop);
    loop_free(t.loop);
    t.loop = NULL;
}

static int tear_down(void **state) {
    (void)state;
    end_loop();
    tls_ctx_free(t.tls);
    return 0;
}

/* ---- listeners ---- */

static int listen_on(const char *address, int backlog, uint16_t *io_port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*io_port)};
    socklen_t len = sizeof at;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *io_port = ntohs(at.sin_port);
    return fd;
}

/* A listener that answers nobody any more: fds[0], and what fills its queue. */
static uint16_t hanging(int fds[1 + FILLERS]) {
    uint16_t port = 0;
    fds[0] = listen_on("127.0.0.1", 0, &port);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 1; i <= FILLERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&at, sizeof at);
    }
    return port;
}

static void close_all(const int fds[1 + FILLERS]) {
    for (int i = 0; i <= FILLERS; i++) (void)close(fds[i]);
}

static uint16_t refusing(void) {
    uint16_t port = 0;
    (void)close(listen_on("127.0.0.1", 1, &port));
    return port;
}

/* ---- tests ---- */

static void test_next_after_refusal(void **state) {
    (void)state;
    uint16_t port = 0;
    const int fd = listen_on("127.0.0.1", 5, &port);
    find_address("::1", refusing());
    find_address("127.0.0.1", refusing());
    find_address("127.0.0.1", port);
    stagger.ms = NEVER_MS; /* nobody waits for it after a refusal */
    post(start);
    wait_for(&t.n_done);
    assert_int_equal(t.result, OK);
    wait_for(&t.n_closed);
    (void)close(fd);
}

static void test_next_after_stagger(void **state) {
    (void)state;
    int fds[1 + FILLERS];
    uint16_t port = 0;
    const uint16_t dead = hanging(fds);
    const int fd = listen_on("127.0.0.1", 5, &port);
    find_address("127.0.0.1", dead);
    find_address("127.0.0.1", dead);
    find_address("127.0.0.1", port);
    stagger.ms = 1;
    post(start);
    wait_for(&t.n_done);
    assert_int_equal(t.result, OK);
    assert_int_equal(stagger.n, 2); /* one after each that hangs */
    wait_for(&t.n_closed);
    (void)close(fd);
    close_all(fds);
}

static void test_nobody(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) find_address(i % 2 == 0 ? "127.0.0.1" : "::1", refusing());
    post(start);
    wait_for(&t.n_done);
    assert_int_equal(t.result, E_SYS);
    end_loop();
    assert_int_equal(t.n_closed, 0);
}

static void test_no_such_name(void **state) {
    (void)state;
    post(start);
    wait_for(&t.n_done);
    assert_int_equal(t.result, E_NOT_FOUND);
}

static void test_private_addresses(void **state) {
    (void)state;
    uint16_t port = 0;
    const int fd = listen_on("127.0.0.1", 5, &port);
    t.o.allow_private = false;
    find_address("127.0.0.1", port);
    find_address("::1", port);
    find_address("::ffff:127.0.0.1", port);
    post(start);
    wait_for(&t.n_done);
    assert_int_equal(t.result, E_HOST);
    assert_int_equal(t.n_closed, 0);
    (void)close(fd);
}

static void test_hosts_refused_at_once(void **state) {
    (void)state;
    static const char *const HOSTS[] = {"x.onion", "X.ONION.", "", "a b", "127.1"};
    for (size_t i = 0; i < ARRAY_LEN(HOSTS); i++) {
        t.host = HOSTS[i];
        post(start);
        assert_int_equal(t.start, E_HOST);
    }
    assert_int_equal(t.n_done, 0);
}

static void test_cancel(void **state) {
    (void)state;
    int fds[1 + FILLERS];
    find_address("127.0.0.1", hanging(fds));
    find_address("127.0.0.1", refusing());
    post(start);
    (void)usleep(20000);
    post(cancel);
    end_loop();
    assert_int_equal(t.n_done + t.n_closed, 0);
    close_all(fds);
}

static void test_end_of_loop(void **state) {
    (void)state;
    int fds[1 + FILLERS];
    const uint16_t dead = hanging(fds);
    for (int i = 0; i < FOUND_MAX; i++) find_address("127.0.0.1", dead);
    post(start);
    (void)usleep(20000);
    end_loop();
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.result, E_CLOSED);
    close_all(fds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_next_after_refusal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_next_after_stagger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_such_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_private_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hosts_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_of_loop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
