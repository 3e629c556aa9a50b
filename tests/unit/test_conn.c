/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Connections that carry blocks: their peers, well-behaved or not, and what a session can do. */
#include "net_fixture.h"

#include <signal.h>
#include <sys/time.h>

static const struct client_opts PLAIN = {0};

/* ---- blocks ---- */

static void a_block_is_echoed(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    assert_int_equal(SSL_version(c.ssl), TLS1_3_VERSION);
    client_echo(&c, 7);
    client_echo(&c, 8);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void on_alarm(int number) {
    (void)number;
}

/* As libuv from 1.45 does with io_uring: calls on a socket with a time limit end with EINTR. */
static void interruptions_do_no_harm(void **state) {
    (void)state;
    struct server *s = usual_server();
    const struct sigaction interrupt = {.sa_handler = on_alarm}; /* without SA_RESTART */
    const struct itimerval often = {{0, 200}, {0, 200}};
    assert_int_equal(sigaction(SIGALRM, &interrupt, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (uint32_t k = 0; k < 20; k++) {
        struct client c;
        client_open(&c, s, &PLAIN);
        client_send(&c, k);
        client_expect(&c, k);
        client_close(&c);
    }
    server_close(s);
}

static int stop_interruptions(void **state) {
    const struct itimerval never = {{0, 0}, {0, 0}};
    return setitimer(ITIMER_REAL, &never, NULL) != 0 ? -1 : forget_servers(state);
}

static void a_thousand_blocks_without_waiting(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 1000; i++) client_send(&c, i);
    for (uint32_t i = 0; i < 1000; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
}

static void records_need_not_fit_blocks(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    enum { N = 12 };
    static const size_t PIECES[] = {1000, 10000, 16383, 1, 16384};
    static uint8_t blocks[N * CONN_BLOCK_LEN];
    for (uint32_t i = 0; i < N; i++) fill_pattern(blocks + i * CONN_BLOCK_LEN, i);
    for (size_t k = 0; k < ARRAY_LEN(PIECES); k++) {
        const uint32_t n = PIECES[k] == 1 ? 1 : N; /* 16384 records are enough */
        client_write(&c, blocks, n * CONN_BLOCK_LEN, PIECES[k]);
        for (uint32_t i = 0; i < n; i++) client_expect(&c, i);
    }
    client_close(&c);
    server_close(s);
}

static void many_connections_at_once(void **state) {
    (void)state;
    struct server *s = usual_server();
    enum { N = 40 };
    static struct client c[N];
    for (uint32_t i = 0; i < N; i++) client_open(&c[i], s, &PLAIN);
    for (uint32_t i = 0; i < N; i++) client_send(&c[i], i);
    for (uint32_t i = 0; i < N; i++) client_expect(&c[i], i);
    assert_int_equal(admission_connections(s->admission), N);
    for (uint32_t i = 0; i < N / 2; i++) client_close(&c[i]);
    wait_for(s, &s->n_closed, N / 2);
    server_close(s); /* closes the others */
    for (uint32_t i = N / 2; i < N; i++) {
        client_expect_end(&c[i]);
        client_close(&c[i]);
    }
}

/* ---- peers that do not behave ---- */

static void deadlines_end_connections_that_stand_still(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.tls_timeout_ms = 50, .block_timeout_ms = 50});
    struct client idle, half, record, header;
    client_open(&idle, s, &PLAIN);
    client_open(&half, s, &PLAIN);
    client_open(&record, s, &PLAIN);
    client_open(&header, s, &PLAIN);
    wait_for(s, &s->n_open, 4);
    static const uint8_t NOTHING[CONN_BLOCK_LEN];
    client_write(&half, NOTHING, CONN_BLOCK_LEN / 2, CONN_BLOCK_LEN);
    static const uint8_t BEGUN_RECORD[] = {23, 3, 3, 0x40, 0x11, 1, 2, 3};
    assert_int_equal(send(record.fd, BEGUN_RECORD, sizeof BEGUN_RECORD, 0), sizeof BEGUN_RECORD);
    assert_int_equal(send(header.fd, BEGUN_RECORD, 5, 0),
                     5); /* OpenSSL has a buffer for the rest */
    const int silent = connect_to(listener_port(s->listener), 0);
    const int half_hello = connect_to(listener_port(s->listener), 0);
    static const uint8_t BEGUN_HELLO[] = {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    assert_int_equal(send(half_hello, BEGUN_HELLO, sizeof BEGUN_HELLO, 0), sizeof BEGUN_HELLO);
    wait_for(s, &s->n_closed, 3);
    wait_for(s, &s->n_tls_errors, 2);
    uint8_t byte;
    assert_true(recv_some(silent, &byte, 1) <= 0);
    assert_true(recv_some(half_hello, &byte, 1) <= 0);
    client_expect_end(&half);
    client_expect_end(&record);
    client_expect_end(&header);
    client_send(&idle, 5); /* between blocks one may be silent for as long as one likes */
    client_expect(&idle, 5);
    (void)close(silent);
    (void)close(half_hello);
    client_close(&idle);
    client_close(&half);
    client_close(&record);
    client_close(&header);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 2);
}

static void a_session_may_set_a_deadline(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.has_session_deadline = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void reset(int fd) {
    const struct linger l = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    (void)close(fd);
}

static void what_is_not_tls_is_counted_and_closed(void **state) {
    (void)state;
    struct server *s = usual_server();
    static const struct {
        const char *p;
        size_t n;
    } TEXTS[] = {
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
         sizeof "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" - 1},
        {"CONNECT a:1 HTTP/1.0\r\n\r\n", sizeof "CONNECT a:1 HTTP/1.0\r\n\r\n" - 1},
        {"SSH-2.0-x\r\n", sizeof "SSH-2.0-x\r\n" - 1},
        {"\x16\x03\x01\x00\x09hello all", sizeof "\x16\x03\x01\x00\x09hello all" - 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
         sizeof "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" - 1},
    };
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        const int fd = connect_to(listener_port(s->listener), 0);
        assert_int_equal(send(fd, TEXTS[i].p, TEXTS[i].n, MSG_NOSIGNAL), TEXTS[i].n);
        uint8_t answer[64];
        while (recv_some(fd, answer, sizeof answer) > 0) {
        } /* perhaps an alert */
        (void)close(fd);
        wait_for(s, &s->n_tls_errors, ++n);
    }
    for (int i = 0; i < 50; i++) { /* half a message, or none, and gone */
        const int fd = connect_to(listener_port(s->listener), 0);
        if (i % 2 == 0) (void)send(fd, "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL);
        if (i % 3 == 0) {
            reset(fd);
        } else {
            (void)close(fd);
        }
    }
    struct client c;
    client_open(&c, s, &PLAIN);
    client_echo(&c, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_open, 1);
}

static void garbage_after_the_handshake_ends_the_connection(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    uint8_t record[5 + 40] = {23, 3, 3, 0, 40};
    assert_int_equal(send(c.fd, record, sizeof record, 0), sizeof record);
    wait_for(s, &s->n_closed, 1);
    client_expect_end(&c);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 1);
}

static void a_reset_ends_the_session(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 1);
    wait_for(s, &s->n_blocks, 1);
    reset(c.fd);
    c.fd = -1;
    wait_for(s, &s->n_closed, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

/* Waits until the server has stopped filling blocks, and returns how many it has filled. */
static unsigned wait_until_blocked(struct server *s) {
    unsigned before = UINT_MAX, now = peek(s, &s->n_filled);
    while (now != before || now == 0) {
        before = now;
        const struct timespec pause = {0, 100000000};
        (void)nanosleep(&pause, NULL);
        now = peek(s, &s->n_filled);
    }
    return now;
}

static void a_peer_that_does_not_read_stops_only_itself(void **state) {
    (void)state;
    enum { N_FLOOD = 1500 }; /* 24 MiB, more than the kernel takes */
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client slow, brisk;
    client_open(&slow, s, &small);
    assert_true(wait_until_blocked(s) < N_FLOOD / 2);
    client_open(&brisk, s, &PLAIN);
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&brisk, i);
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&slow, i);
    client_close(&slow);
    client_close(&brisk);
    server_close(s);
    assert_int_equal(s->n_filled, 2 * N_FLOOD);
}

/* A key update must be answered by TLS itself, while it cannot write. */
static void key_updates_while_writing_is_blocked(void **state) {
    (void)state;
    enum { N_FLOOD = 1000 };
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client c;
    client_open(&c, s, &small);
    (void)wait_until_blocked(s);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        client_send(&c, i);
        wait_for(s, &s->n_blocks, i + 1);
    }
    for (uint32_t i = 0; i < N_FLOOD; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void many_key_updates(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(SSL_key_update(c.ssl, i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED
                                                          : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        client_send(&c, i);
        client_expect(&c, i);
    }
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

/* ---- what a session can do ---- */

static void resume_last(struct server *s) {
    assert(s->last != NULL);
    s->pause_after = 0;
    conn_resume_read(s->last->conn);
}

static void reading_can_be_paused(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.pause_after = 2, .block_timeout_ms = 50});
    struct client c;
    client_open(&c, s, &PLAIN);
    static uint8_t blocks[5 * CONN_BLOCK_LEN];
    for (uint32_t i = 0; i < 5; i++) fill_pattern(blocks + i * CONN_BLOCK_LEN, i);
    /* The pause falls into the midst of a record, of which TLS has decrypted the rest. */
    client_write(&c, blocks, sizeof blocks, 10000);
    client_expect(&c, 0);
    client_expect(&c, 1);
    /* The begun third block must not time out: it is not the peer who is late. */
    const struct timespec pause = {1, 200000000};
    (void)nanosleep(&pause, NULL);
    assert_int_equal(peek(s, &s->n_blocks), 2);
    on_loop(s, resume_last);
    for (uint32_t i = 2; i < 5; i++) client_expect(&c, i);
    client_close(&c);
    server_close(s);
}

static void a_paused_connection_notices_the_end(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.pause_after = 1});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_echo(&c, 0);
    client_send(&c, 1);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    assert_int_equal(peek(s, &s->n_blocks), 1);
    server_close(s);
}

static void finish_writes_what_is_left(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.finish_after = 3});
    struct client c;
    client_open(&c, s, &PLAIN);
    for (uint32_t i = 0; i < 3; i++) client_send(&c, i);
    for (uint32_t i = 0; i < 3; i++) client_expect(&c, i);
    client_expect_end(&c);
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_blocks, 3);
}

static void finish_waits_for_what_is_to_come(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.finish_after = 1, .is_held = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 7);
    wait_for(s, &s->n_blocks, 1);
    on_loop(s, session_release);
    client_expect(&c, 7);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
}

static void but_not_for_ever_nor_for_nobody(void **state) {
    (void)state;
    for (int leaves = 0; leaves < 2; leaves++) {
        struct server *s = server_open(&(
            struct server){.finish_after = 1, .is_held = true, .tls_timeout_ms = leaves ? 0 : 300});
        struct client c;
        client_open(&c, s, &PLAIN);
        client_send(&c, 7);
        wait_for(s, &s->n_blocks, 1);
        if (leaves) client_close(&c);
        wait_for(s, &s->n_closed, 1);
        if (!leaves) client_close(&c);
        server_close(s);
    }
}

static void finish_has_a_time_limit(void **state) {
    (void)state;
    struct server *s = server_open(
        &(struct server){.n_flood = UINT_MAX, .finish_after = 1, .tls_timeout_ms = 300});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0); /* and reads nothing */
    wait_for(s, &s->n_closed, 1);
    client_close(&c);
    server_close(s);
}

static void close_writes_nothing_more(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.close_after = 1});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_filled, 0);
}

static void an_error_of_the_session_closes(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.refuses_blocks = true});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_send(&c, 0);
    client_expect_end(&c);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    struct server *closed = server_open(&(struct server){.refuses_sessions = true});
    client_open(&c, closed, &PLAIN);
    client_expect_end(&c);
    client_close(&c);
    server_close(closed);
    assert_int_equal(closed->n_open, 0);
}

static void take_queues(struct conn *c, struct server *s) {
    (void)s;
    assert(conn_take_new_queue(c));
    assert(!conn_take_new_queue(c));
}

static void limits_are_those_of_the_admission(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.limits = {.connections_per_address = 1,
                                                               .new_queues_per_minute = 1,
                                                               .limit_localhost = true},
                                                    .inspect = take_queues});
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    const int fd = connect_to(listener_port(s->listener), 0);
    uint8_t byte;
    assert_true(recv_some(fd, &byte, 1) <= 0);
    (void)close(fd);
    client_close(&c);
    wait_for(s, &s->n_closed, 1);
    s->inspect = NULL; /* read by the loop only when somebody connects */
    client_open(&c, s, &PLAIN);
    client_echo(&c, 1);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
}

static void close_all(struct server *s) {
    loop_close_conns(s->loop, 5000);
}

static void an_orderly_stop_finishes_all(void **state) {
    (void)state;
    enum { N_FLOOD = 300 };
    struct server *s = server_open(&(struct server){.n_flood = N_FLOOD});
    struct client c[3];
    for (int i = 0; i < 3; i++) client_open(&c[i], s, &PLAIN);
    const int silent = connect_to(listener_port(s->listener), 0);
    wait_for(s, &s->n_open, 3);
    on_loop(s, close_all);
    for (int i = 0; i < 3; i++) {
        for (uint32_t k = 0; k < N_FLOOD; k++) client_expect(&c[i], k);
        client_expect_end(&c[i]);
        client_close(&c[i]);
    }
    wait_for(s, &s->n_closed, 3);
    (void)close(silent);
    server_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_block_is_echoed, forget_servers),
        cmocka_unit_test_teardown(interruptions_do_no_harm, stop_interruptions),
        cmocka_unit_test_teardown(a_thousand_blocks_without_waiting, forget_servers),
        cmocka_unit_test_teardown(records_need_not_fit_blocks, forget_servers),
        cmocka_unit_test_teardown(many_connections_at_once, forget_servers),
        cmocka_unit_test_teardown(deadlines_end_connections_that_stand_still, forget_servers),
        cmocka_unit_test_teardown(a_session_may_set_a_deadline, forget_servers),
        cmocka_unit_test_teardown(what_is_not_tls_is_counted_and_closed, forget_servers),
        cmocka_unit_test_teardown(garbage_after_the_handshake_ends_the_connection, forget_servers),
        cmocka_unit_test_teardown(a_reset_ends_the_session, forget_servers),
        cmocka_unit_test_teardown(a_peer_that_does_not_read_stops_only_itself, forget_servers),
        cmocka_unit_test_teardown(key_updates_while_writing_is_blocked, forget_servers),
        cmocka_unit_test_teardown(many_key_updates, forget_servers),
        cmocka_unit_test_teardown(reading_can_be_paused, forget_servers),
        cmocka_unit_test_teardown(a_paused_connection_notices_the_end, forget_servers),
        cmocka_unit_test_teardown(finish_writes_what_is_left, forget_servers),
        cmocka_unit_test_teardown(finish_waits_for_what_is_to_come, forget_servers),
        cmocka_unit_test_teardown(but_not_for_ever_nor_for_nobody, forget_servers),
        cmocka_unit_test_teardown(finish_has_a_time_limit, forget_servers),
        cmocka_unit_test_teardown(close_writes_nothing_more, forget_servers),
        cmocka_unit_test_teardown(an_error_of_the_session_closes, forget_servers),
        cmocka_unit_test_teardown(limits_are_those_of_the_admission, forget_servers),
        cmocka_unit_test_teardown(an_orderly_stop_finishes_all, forget_servers),
    };
    return cmocka_run_group_tests(tests, init_net, NULL);
}
