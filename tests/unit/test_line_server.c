/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_line_server.c -- a server of lines on a loop, and clients with plain sockets. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/attr.h"
#include "net/line_server.h"
#include "net/loop.h"

enum { CHUNK_LEN = 30000, N_CHUNKS = 40, CONNS_MAX = 2 };

/* Echoes lines; "many" is answered with N_CHUNKS chunks, one whenever the one before is written. */
struct session {
    struct line_conn *c;
    unsigned n_left;
};

struct fixture {
    struct loop *loop;
    struct line_server *server;
    unsigned n_open, n_opened, n_full; /* owner loop, or after loop_join() */
};

static enum err on_open(struct line_conn *c, void *server, void **ret_session) {
    struct fixture *f = server;
    struct session *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->c = c;
    f->n_open++;
    f->n_opened++;
    *ret_session = s;
    line_conn_write(c, bytes_str("hello\n"));
    return OK;
}

static void on_drained(void *session) {
    static uint8_t chunk[CHUNK_LEN];
    struct session *s = session;
    assert_int_equal(line_conn_unsent(s->c), 0);
    if (s->n_left == 0) {
        line_conn_release(s->c);
        return;
    }
    s->n_left--;
    memset(chunk, '.', sizeof chunk);
    line_conn_write(s->c, bytes_of(chunk, sizeof chunk));
}

static void on_line(void *session, const struct line *line) {
    struct session *s = session;
    if (bytes_equal(line->text, bytes_str("many"))) {
        s->n_left = N_CHUNKS;
        line_conn_hold(s->c);
        return;
    }
    if (bytes_equal(line->text, bytes_str("quit"))) line_conn_finish(s->c);
    if (bytes_equal(line->text, bytes_str("stay"))) line_conn_set_claim(s->c, LINE_CLAIM_STAYS);
    if (bytes_equal(line->text, bytes_str("busy"))) line_conn_set_claim(s->c, LINE_CLAIM_BUSY);
    if (bytes_equal(line->text, bytes_str("spent"))) line_conn_set_claim(s->c, LINE_CLAIM_SPENT);
    line_conn_write(s->c, line->is_too_long ? bytes_str("too long") : line->text);
    line_conn_write(s->c, bytes_str("\n"));
}

static struct fixture *the_fixture;

static void on_close(void *session) {
    the_fixture->n_open--;
    free(session);
}

static void on_full(void *server) {
    ((struct fixture *)server)->n_full++;
}

static const struct line_ops OPS = {on_open, on_line, on_drained, on_close, on_full};

static void setup(struct fixture *f, int64_t idle_ms) {
    *f = (struct fixture){0};
    the_fixture = f;
    const struct line_server_opts o = {.ops = &OPS,
                                       .server = f,
                                       .conns_max = CONNS_MAX,
                                       .idle_ms = idle_ms};
    assert_int_equal(loop_new(0, &ENV_SYSTEM, &f->loop), OK);
    assert_int_equal(line_server_open(f->loop, &o, &f->server), OK);
    assert_int_equal(loop_start(f->loop), OK);
}

static void teardown(struct fixture *f) {
    loop_stop(f->loop);
    loop_join(f->loop);
    line_server_close(f->server);
    assert_int_equal(f->n_open, 0);
    loop_free(f->loop);
}

static int dial(const struct fixture *f) {
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons(line_server_port(f->server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything up to the end of the connection; its length. */
static size_t read_all(int fd, char *buf, size_t cap) {
    size_t n = 0;
    for (ssize_t got; n + 1 < cap && (got = recv(fd, buf + n, cap - n - 1, 0)) > 0;)
        n += (size_t)got;
    buf[n] = '\0';
    (void)close(fd);
    return n;
}

static void lines_are_answered_in_order(void **state) {
    (void)state;
    struct fixture f;
    char got[256];
    setup(&f, 60000);
    const int fd = dial(&f);
    say(fd, "one\r\ntwo\nquit\nnever\n");
    (void)read_all(fd, got, sizeof got);
    assert_string_equal(got, "hello\none\ntwo\nquit\n");
    teardown(&f);
}

static void lines_before_the_end_are_answered(void **state) {
    (void)state;
    struct fixture f;
    char got[256];
    setup(&f, 60000);
    const int fd = dial(&f);
    say(fd, "one\ntwo");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    (void)read_all(fd, got, sizeof got);
    assert_string_equal(got, "hello\none\ntwo\n");
    teardown(&f);
}

static void a_long_answer_comes_in_parts(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, 60000);
    const size_t cap = 2 * N_CHUNKS * CHUNK_LEN;
    char *got = malloc(cap);
    assert_non_null(got);
    const int fd = dial(&f);
    say(fd, "many\nafter\nquit\n");
    const size_t n = read_all(fd, got, cap);
    assert_int_equal(n, strlen("hello\n") + N_CHUNKS * CHUNK_LEN + strlen("after\nquit\n"));
    assert_string_equal(got + n - strlen("after\nquit\n"), "after\nquit\n");
    free(got);
    teardown(&f);
}

static int open_one(const struct fixture *f) {
    char got[6];
    const int fd = dial(f);
    assert_int_equal(recv(fd, got, sizeof got, MSG_WAITALL), sizeof got);
    return fd;
}

static void claim(int fd, const char *word) {
    char got[16];
    say(fd, word);
    assert_int_equal(recv(fd, got, strlen(word), MSG_WAITALL), (ssize_t)strlen(word));
}

/* While those that are there stay, or are busy. */
static void too_many_are_closed(void **state) {
    (void)state;
    struct fixture f;
    char got[64];
    setup(&f, 60000);
    const int stays = open_one(&f), busy = open_one(&f);
    claim(stays, "stay\n");
    claim(busy, "busy\n");
    assert_int_equal(read_all(dial(&f), got, sizeof got), 0);
    say(stays, "quit\n");
    assert_int_equal(read_all(stays, got, sizeof got), 5);
    const int again = dial(&f);
    say(again, "quit\n");
    assert_int_equal(read_all(again, got, sizeof got), strlen("hello\nquit\n"));
    (void)close(busy);
    teardown(&f);
    assert_int_equal(f.n_full, 1);
}

static void the_least_claim_gives_way(void **state) {
    (void)state;
    struct fixture f;
    char got[64];
    setup(&f, 60000);
    const int first = open_one(&f), second = open_one(&f);
    claim(second, "spent\n");
    const int third = open_one(&f); /* for the second, though the first is older */
    assert_int_equal(read_all(second, got, sizeof got), 0);
    const int fourth = open_one(&f); /* for the first */
    assert_int_equal(read_all(first, got, sizeof got), 0);
    claim(third, "stay\n");
    const int fifth = open_one(&f);
    assert_int_equal(read_all(fourth, got, sizeof got), 0);
    claim(third, "still there\n");
    (void)close(third);
    (void)close(fifth);
    teardown(&f);
    assert_int_equal(f.n_full, 3);
}

static void idle_ones_are_closed(void **state) {
    (void)state;
    struct fixture f;
    char got[64];
    setup(&f, 50);
    assert_int_equal(read_all(dial(&f), got, sizeof got), strlen("hello\n"));
    teardown(&f);
}

/* One that does not read what it asked for. */
static void a_stop_does_not_wait(void **state) {
    (void)state;
    struct fixture f;
    char got[6];
    setup(&f, 60000);
    const int fd = dial(&f);
    say(fd, "many\nmany\nmany\nmany\nmany\nmany\n");
    assert_int_equal(recv(fd, got, 6, MSG_WAITALL), 6);
    teardown(&f);
    (void)close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_answered_in_order),
        cmocka_unit_test(lines_before_the_end_are_answered),
        cmocka_unit_test(a_long_answer_comes_in_parts),
        cmocka_unit_test(too_many_are_closed),
        cmocka_unit_test(the_least_claim_gives_way),
        cmocka_unit_test(idle_ones_are_closed),
        cmocka_unit_test(a_stop_does_not_wait),
    };
    return cmocka_run_group_tests_name("line_server", tests, NULL, NULL);
}
