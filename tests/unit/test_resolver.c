/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Names asked for at a resolver on loopback, which is scripted: the path says what it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "names/resolver.h"

enum {
    WAIT_S = 30,
    TIMEOUT_MS = 1500,
    PATIENT_MS = 60000, /* where nothing may end by the clock, on whatever machine */
    RESPONSE_MAX = 2000,
    TRANSFERS_MAX = 50,
    MANY = TRANSFERS_MAX * 3
};

#define RECORD                                                                                     \
    "{\"name\":\"a.test\",\"nickname\":\"A\",\"website\":\"\",\"location\":\"\","                  \
    "\"simplexContact\":[],\"simplexChannel\":[],\"eth\":null,\"btc\":null,\"xmr\":null,"          \
    "\"dot\":null,\"owner\":\"\",\"resolver\":\"\"}"

/* ---- the resolver ---- */

static struct {
    int fd;
    uint16_t port;
    _Atomic bool is_stopping;
    pthread_t thread;
    pthread_mutex_t mtx;
    char last[1024];             /* head of the last request */
    _Atomic unsigned n_accepted; /* connections */
} web;

static void say(int fd, const char *text) {
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_body(int fd, const char *status, size_t n, char c) {
    char head[128], *body = malloc(n + 1);
    assert_non_null(body);
    memset(body, c, n);
    body[n] = '\0';
    (void)snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, n);
    say(fd, head);
    say(fd, body);
    free(body);
}

static void say_record(int fd) {
    char head[128];
    (void)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                   sizeof RECORD - 1);
    say(fd, head);
    say(fd, RECORD);
}

static void endless_body(int fd) {
    say(fd, "HTTP/1.1 200 OK\r\n\r\n");
    for (unsigned i = 0; i < 100000; i++) {
        if (send(fd, "xxxxxxxxxxxxxxxx", 16, MSG_NOSIGNAL) <= 0) return;
    }
}

/* Silent until the client goes. */
static void hang(int fd) {
    char c;
    while (recv(fd, &c, 1, 0) > 0) {
    }
}

/* False: the connection ends. */
static bool answer(int fd, const char *name) {
    if (strcmp(name, "a.test") == 0) {
        say_record(fd);
    } else if (strcmp(name, "missing.test") == 0) {
        say_body(fd, "404 Not Found", 5000, 'x');
    } else if (strcmp(name, "bad.test") == 0) {
        say_body(fd, "400 Bad Request", 0, 'x');
    } else if (strcmp(name, "broken.test") == 0) {
        say_body(fd, "502 Bad Gateway", 5, 'x');
    } else if (strcmp(name, "moved.test") == 0) {
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /resolve/a.test\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(name, "empty.test") == 0) {
        say(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    } else if (strcmp(name, "largest.test") == 0) {
        say_body(fd, "200 OK", RESPONSE_MAX, ' ');
    } else if (strcmp(name, "large.test") == 0) {
        say_body(fd, "200 OK", RESPONSE_MAX + 1, ' ');
    } else if (strcmp(name, "slow.test") == 0) {
        (void)usleep(200000);
        say_record(fd);
    } else if (strcmp(name, "/health") == 0) {
        say_body(fd, "200 OK", 2, 'x');
    } else {
        if (strcmp(name, "endless.test") == 0) endless_body(fd);
        if (strcmp(name, "rubbish.test") == 0) say(fd, "\x16\x03\x01rubbish\r\n\r\n");
        if (strcmp(name, "half.test") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        if (strcmp(name, "silent.test") == 0) hang(fd);
        return false;
    }
    return true;
}

/* Up to the empty line; false when the client has gone. */
static bool read_head(int fd, char *head, size_t cap) {
    size_t n = 0;
    while (n < cap - 1 && recv(fd, head + n, 1, 0) == 1) {
        head[++n] = '\0';
        if (head[0] != 'G') return false; /* TLS, say */
        if (n >= 4 && strcmp(head + n - 4, "\r\n\r\n") == 0) return true;
    }
    return false;
}

static void *serve(void *arg) {
    const int fd = (int)(intptr_t)arg;
    char head[1024], name[300];
    while (read_head(fd, head, sizeof head)) {
        name[0] = '\0';
        if (sscanf(head, "GET /api/resolve/%299s", name) != 1)
            (void)sscanf(head, "GET /%*[a-z]%299s", name);
        pthread_mutex_lock(&web.mtx);
        memcpy(web.last, head, sizeof head);
        pthread_mutex_unlock(&web.mtx);
        if (!answer(fd, name)) break;
    }
    (void)close(fd);
    return NULL;
}

static void *accept_all(void *arg) {
    (void)arg;
    while (!atomic_load(&web.is_stopping)) {
        const int fd = accept(web.fd, NULL, NULL);
        pthread_t t;
        if (fd < 0) continue;
        pthread_mutex_lock(&web.mtx);
        web.n_accepted++;
        pthread_mutex_unlock(&web.mtx);
        if (pthread_create(&t, NULL, serve, (void *)(intptr_t)fd) == 0) {
            (void)pthread_detach(t);
        } else {
            (void)close(fd);
        }
    }
    return NULL;
}

static int open_web(void **state) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    (void)state;
    (void)pthread_mutex_init(&web.mtx, NULL);
    web.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(web.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(web.fd, 512), 0);
    assert_int_equal(getsockname(web.fd, (struct sockaddr *)&a, &n), 0);
    web.port = ntohs(a.sin_port);
    return pthread_create(&web.thread, NULL, accept_all, NULL);
}

static int close_web(void **state) {
    (void)state;
    atomic_store(&web.is_stopping, true);
    (void)shutdown(web.fd, SHUT_RDWR);
    (void)pthread_join(web.thread, NULL);
    (void)close(web.fd);
    return 0;
}

/* ---- the client's side ---- */

struct rig {
    struct loop *loop;
    struct resolver *resolver;
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    unsigned n_done, n_dropped, n_error[NAME_HTTP + 1], status;
    char record[sizeof RECORD + 100];
};

struct ask {
    struct loop_msg msg;
    struct resolver_request rq;
    struct rig *rig;
    char name[RESOLVER_NAME_MAX + 1];
};

static void open_rig(struct rig *rig, const char *url, const char *auth, int64_t timeout_ms) {
    struct endpoint e;
    const char *why = NULL;
    *rig = (struct rig){0};
    (void)pthread_mutex_init(&rig->mtx, NULL);
    (void)pthread_cond_init(&rig->changed, NULL);
    assert_int_equal(endpoint_set_url(&e, url, &why), OK);
    if (auth != NULL) assert_int_equal(endpoint_set_auth(&e, auth, &why), OK);
    assert_int_equal(loop_new(0, &ENV_SYSTEM, &rig->loop), OK);
    const struct resolver_opts o = {&rig->loop, 1, &e, {timeout_ms, RESPONSE_MAX}, TRANSFERS_MAX};
    assert_int_equal(resolver_new(&o, &rig->resolver), OK);
    assert_int_equal(loop_start(rig->loop), OK);
}

static void open_at_web(struct rig *rig, const char *auth, int64_t timeout_ms) {
    char url[64];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/api/", web.port);
    open_rig(rig, url, auth, timeout_ms);
}

static void close_rig(struct rig *rig) {
    loop_stop(rig->loop);
    loop_join(rig->loop);
    resolver_free(rig->resolver);
    loop_free(rig->loop);
}

static void on_done(struct resolver_request *rq) {
    struct ask *a = CONTAINER_OF(rq, struct ask, rq);
    struct rig *rig = a->rig;
    pthread_mutex_lock(&rig->mtx);
    rig->n_done++;
    rig->n_error[rq->failure.error]++;
    rig->status = rq->failure.status;
    if (rq->failure.error == NAME_OK) {
        assert_true(rq->record.n < sizeof rig->record);
        memcpy(rig->record, rq->record.p, rq->record.n);
        rig->record[rq->record.n] = '\0';
    }
    (void)pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->mtx);
    free(a);
}

static void on_drop(struct resolver_request *rq) {
    struct ask *a = CONTAINER_OF(rq, struct ask, rq);
    a->rig->n_dropped++; /* the loop was joined */
    free(a);
}

static void run_ask(struct loop_msg *msg) {
    struct ask *a = CONTAINER_OF(msg, struct ask, msg);
    resolver_ask(a->rig->resolver, a->rig->loop, bytes_str(a->name), &a->rq);
}

static void ask_beside(struct rig *rig, const char *name, unsigned n_others) {
    struct ask *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->msg.run = run_ask;
    a->rq.done = on_done;
    a->rq.drop = on_drop;
    a->rq.n_others = n_others;
    a->rig = rig;
    (void)snprintf(a->name, sizeof a->name, "%s", name);
    loop_post(rig->loop, &a->msg);
}

static void ask(struct rig *rig, const char *name) {
    ask_beside(rig, name, 0);
}

static void wait_for(struct rig *rig, unsigned n_done) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&rig->mtx);
    while (rig->n_done < n_done) {
        if (pthread_cond_timedwait(&rig->changed, &rig->mtx, &until) != 0) break;
    }
    pthread_mutex_unlock(&rig->mtx);
    assert_int_equal(rig->n_done, n_done);
}

/* ---- the tests ---- */

static void found(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, "basic user:pa:ss", PATIENT_MS);
    ask(&rig, "A.TEST");
    wait_for(&rig, 1);
    assert_int_equal(rig.n_error[NAME_OK], 1);
    assert_string_equal(rig.record, RECORD);
    pthread_mutex_lock(&web.mtx);
    assert_non_null(strstr(web.last, "GET /api/resolve/a.test HTTP/1.1\r\n"));
    assert_non_null(strstr(web.last, "Accept: application/json\r\n"));
    assert_non_null(strstr(web.last, "Authorization: Basic dXNlcjpwYTpzcw==\r\n"));
    pthread_mutex_unlock(&web.mtx);
    close_rig(&rig);
}

static void bearer(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, "Bearer s3cret", PATIENT_MS);
    ask(&rig, "a.test");
    wait_for(&rig, 1);
    pthread_mutex_lock(&web.mtx);
    assert_non_null(strstr(web.last, "Authorization: Bearer s3cret\r\n"));
    pthread_mutex_unlock(&web.mtx);
    close_rig(&rig);
}

static void connections_are_kept(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, PATIENT_MS);
    const unsigned before = web.n_accepted;
    for (unsigned i = 1; i <= 5; i++) {
        ask(&rig, i % 2 != 0 ? "a.test" : "bad.test");
        wait_for(&rig, i);
    }
    assert_int_equal(web.n_accepted - before, 1);
    assert_null(strstr(web.last, "Authorization"));
    close_rig(&rig);
}

static void failures(void **state) {
    static const struct {
        const char *name;
        enum name_error error;
        unsigned status;
    } ROWS[] = {
        {"missing.test", NAME_NOT_FOUND, 0}, {"bad.test", NAME_NOT_FOUND, 0},
        {"broken.test", NAME_HTTP, 502},     {"moved.test", NAME_INVALID, 0},
        {"empty.test", NAME_INVALID, 0},     {"largest.test", NAME_INVALID, 0},
        {"large.test", NAME_TOO_LARGE, 0},   {"endless.test", NAME_TOO_LARGE, 0},
        {"rubbish.test", NAME_TRANSPORT, 0}, {"half.test", NAME_TRANSPORT, 0},
        {"closes.test", NAME_TRANSPORT, 0},  {"silent.test", NAME_TIMEOUT, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct rig rig;
        open_at_web(&rig, NULL, ROWS[i].error == NAME_TIMEOUT ? TIMEOUT_MS : PATIENT_MS);
        ask(&rig, ROWS[i].name);
        wait_for(&rig, 1);
        if (rig.n_error[ROWS[i].error] != 1) fail_msg("%s", ROWS[i].name);
        assert_int_equal(rig.status, ROWS[i].status);
        ask(&rig, "a.test"); /* the next one is not harmed */
        wait_for(&rig, 2);
        assert_int_equal(rig.n_error[NAME_OK], 1);
        close_rig(&rig);
    }
}

static void nobody_listens(void **state) {
    struct rig rig;
    (void)state;
    open_rig(&rig, "http://127.0.0.1:1", NULL, PATIENT_MS);
    ask(&rig, "a.test");
    wait_for(&rig, 1);
    assert_int_equal(rig.n_error[NAME_TRANSPORT], 1);
    close_rig(&rig);
}

static void https_where_http_is_spoken(void **state) {
    struct rig rig;
    char url[64];
    (void)state;
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", web.port);
    open_rig(&rig, url, NULL, PATIENT_MS);
    ask(&rig, "a.test");
    wait_for(&rig, 1);
    assert_int_equal(rig.n_error[NAME_TRANSPORT], 1);
    close_rig(&rig);
}

static void more_than_may_be_under_way(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, TIMEOUT_MS);
    const unsigned before = web.n_accepted;
    for (unsigned i = 0; i < MANY; i++) ask(&rig, "slow.test");
    wait_for(&rig, MANY);
    assert_int_equal(rig.n_error[NAME_OK] + rig.n_error[NAME_TIMEOUT], MANY);
    assert_true(rig.n_error[NAME_OK] >= TRANSFERS_MAX);
    assert_true(web.n_accepted - before <= TRANSFERS_MAX);
    close_rig(&rig);
}

static void those_that_wait_time_out(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, TIMEOUT_MS);
    for (unsigned i = 0; i < MANY; i++) ask(&rig, "silent.test");
    wait_for(&rig, MANY);
    assert_int_equal(rig.n_error[NAME_TIMEOUT], MANY);
    close_rig(&rig);
}

/* However slow the many are, those who ask for a few are asked for at once. */
static void few_go_before_many(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, PATIENT_MS);
    for (unsigned i = 0; i < MANY; i++) ask_beside(&rig, "silent.test", i);
    for (unsigned i = 1; i <= 5; i++) {
        ask_beside(&rig, "a.test", i % 2);
        wait_for(&rig, i);
    }
    assert_int_equal(rig.n_error[NAME_OK], 5);
    close_rig(&rig);
    assert_int_equal(rig.n_dropped, MANY);
}

/* One who asks for all gets them, in the end, and all time out who wait in vain, whatever their
 * turn. */
static void many_of_one(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, PATIENT_MS);
    for (unsigned i = 0; i < MANY; i++) ask_beside(&rig, "a.test", i);
    wait_for(&rig, MANY);
    assert_int_equal(rig.n_error[NAME_OK], MANY);
    close_rig(&rig);
    open_at_web(&rig, NULL, TIMEOUT_MS);
    for (unsigned i = 0; i < MANY; i++) ask_beside(&rig, "silent.test", i);
    wait_for(&rig, MANY);
    assert_int_equal(rig.n_error[NAME_TIMEOUT], MANY);
    close_rig(&rig);
}

static void the_end_drops_what_is_under_way(void **state) {
    struct rig rig;
    (void)state;
    open_at_web(&rig, NULL, TIMEOUT_MS);
    for (unsigned i = 0; i < MANY; i++) ask(&rig, "silent.test");
    ask(&rig, "a.test");
    close_rig(&rig);
    assert_int_equal(rig.n_done + rig.n_dropped, MANY + 1);
    assert_true(rig.n_dropped > 0);
}

static void probes(void **state) {
    struct endpoint e;
    const char *why = NULL;
    char url[64], text[1200];
    (void)state;
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/api", web.port);
    assert_int_equal(endpoint_set_url(&e, url, &why), OK);
    assert_null(resolver_probe(&e, TIMEOUT_MS, text, sizeof text));
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", web.port); /* closes without a word */
    assert_int_equal(endpoint_set_url(&e, url, &why), OK);
    why = resolver_probe(&e, TIMEOUT_MS, text, sizeof text);
    assert_non_null(why);
    assert_non_null(strstr(why, "/health: "));
    assert_int_equal(endpoint_set_url(&e, "http://127.0.0.1:1", &why), OK);
    assert_non_null(resolver_probe(&e, TIMEOUT_MS, text, sizeof text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found),
        cmocka_unit_test(bearer),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(failures),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(https_where_http_is_spoken),
        cmocka_unit_test(more_than_may_be_under_way),
        cmocka_unit_test(those_that_wait_time_out),
        cmocka_unit_test(few_go_before_many),
        cmocka_unit_test(many_of_one),
        cmocka_unit_test(the_end_drops_what_is_under_way),
        cmocka_unit_test(probes),
    };
    return cmocka_run_group_tests(tests, open_web, close_web);
}
