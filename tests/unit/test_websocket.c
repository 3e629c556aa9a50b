/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Connections whose blocks are messages: what the framing adds to what test_conn.c shows of all.
 * The upgrade has been answered (tests/conformance/test_websocket.py sees to that). */
#include "net_fixture.h"

#include "net/websocket.h"
#include "net/ws_frames.h"

enum { FIN = 0x80, BINARY = 2, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10, FRAME_HEAD = 8 };

static const struct client_opts PLAIN = {0};
static const uint8_t CHALLENGE[CONN_CHALLENGE_LEN] = {1, 2, 3};

static enum err up(struct stream *s, const struct stream_opts *o) {
    const struct server *server = o->server;
    return websocket_frame(s, (const void *)o, server->tls, bytes_of(CHALLENGE, sizeof CHALLENGE));
}

static struct server *web_server(struct server template) {
    template.on_up = up;
    return server_open(&template);
}

/* Returns its length; masked with "abcd". */
static size_t put_frame(uint8_t *to, uint8_t first, const uint8_t *payload, size_t n) {
    struct wr w = wr_init(to, 14 + n);
    wr_u8(&w, first);
    if (n < 126) {
        wr_u8(&w, (uint8_t)(0x80 | n));
    } else {
        wr_u8(&w, 0x80 | 126);
        wr_u16(&w, (uint16_t)n);
    }
    wr_bytes_raw(&w, bytes_str("abcd"));
    for (size_t i = 0; i < n; i++) wr_u8(&w, payload[i] ^ (uint8_t) "abcd"[i % 4]);
    assert_int_equal(wr_err(&w), OK);
    return w.at;
}

static size_t put_block(uint8_t *to, uint32_t number) {
    uint8_t block[CONN_BLOCK_LEN];
    fill_pattern(block, number);
    return put_frame(to, FIN | BINARY, block, sizeof block);
}

static void send_frame(struct client *c, uint8_t first, const char *payload) {
    uint8_t frame[FRAME_HEAD + WS_CONTROL_MAX];
    const size_t n = put_frame(frame, first, (const uint8_t *)payload, strlen(payload));
    client_write(c, frame, n, n);
}

static void send_blocks(struct client *c, uint32_t n, size_t piece) {
    static uint8_t frames[1000 * (FRAME_HEAD + CONN_BLOCK_LEN)];
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) at += put_block(frames + at, i);
    client_write(c, frames, at, piece);
}

static void read_exactly(struct client *c, uint8_t *to, size_t n) {
    for (size_t at = 0; at < n;) {
        const int got = client_read(c, to + at, n - at);
        assert_true(got > 0);
        at += (size_t)got;
    }
}

static void expect_block(struct client *c, uint32_t number) {
    uint8_t head[WS_BLOCK_HEAD_LEN];
    read_exactly(c, head, sizeof head);
    assert_memory_equal(head, ws_block_head().p, sizeof head);
    client_expect(c, number);
}

static void expect_control(struct client *c, uint8_t opcode, const char *payload, size_t n) {
    uint8_t frame[2 + WS_CONTROL_MAX];
    read_exactly(c, frame, 2 + n);
    assert_int_equal(frame[0], FIN | opcode);
    assert_int_equal(frame[1], n);
    assert_memory_equal(frame + 2, payload, n);
}

static void expect_close(struct client *c, unsigned code) {
    const char payload[2] = {(char)(code >> 8), (char)code};
    expect_control(c, CLOSE, payload, sizeof payload);
    client_expect_end(c);
}

static void end(struct server *s, struct client *c) {
    client_close(c);
    wait_for(s, &s->n_closed, 1);
    server_close(s);
    assert_int_equal(s->n_tls_errors, 0);
    assert_int_equal(s->n_damaged, 0);
}

/* ---- blocks ---- */

static void a_thousand_blocks_without_waiting(void **state) {
    (void)state;
    struct server *s = web_server((struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_blocks(&c, 1000, 16384);
    for (uint32_t i = 0; i < 1000; i++) expect_block(&c, i);
    end(s, &c);
}

static void records_need_not_fit_frames(void **state) {
    (void)state;
    static const size_t PIECES[] = {1, 7, 8, 9, 1000, 16383, 16384};
    for (size_t k = 0; k < ARRAY_LEN(PIECES); k++) {
        struct server *s = web_server((struct server){0});
        struct client c;
        const uint32_t n = PIECES[k] == 1 ? 1 : 8;
        client_open(&c, s, &PLAIN);
        send_blocks(&c, n, PIECES[k]);
        for (uint32_t i = 0; i < n; i++) expect_block(&c, i);
        end(s, &c);
    }
}

/* More of them in a record than are read in a turn, and no more bytes from the socket. */
static void many_frames_in_a_record(void **state) {
    (void)state;
    struct server *s = web_server((struct server){0});
    struct client c;
    uint8_t block[CONN_BLOCK_LEN], frames[CONN_BLOCK_LEN];
    size_t at = 0;
    client_open(&c, s, &PLAIN);
    fill_pattern(block, 9);
    for (size_t i = 0; i < 1500; i++)
        at += put_frame(frames + at, i == 0 ? BINARY : 0, block + i, 1);
    client_write(&c, frames, at, at);
    at = 0;
    for (size_t i = 1500; i < CONN_BLOCK_LEN - 1; i += 100) {
        const size_t n = CONN_BLOCK_LEN - i < 100 ? CONN_BLOCK_LEN - i : 100;
        at += put_frame(frames + at, i + n == CONN_BLOCK_LEN ? FIN : 0, block + i, n);
        if (at < 16000) continue;
        client_write(&c, frames, at, at);
        at = 0;
    }
    client_write(&c, frames, at, at);
    expect_block(&c, 9);
    end(s, &c);
}

static void resume_last(struct server *s) {
    s->pause_after = 0;
    conn_resume_read(s->last->conn);
}

/* What TLS holds when reading goes on is not told of by the socket. */
static void reading_can_be_paused(void **state) {
    (void)state;
    struct server *s = web_server((struct server){.pause_after = 2, .block_timeout_ms = 50});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_blocks(&c, 5, 10000);
    expect_block(&c, 0);
    expect_block(&c, 1);
    const struct timespec pause = {1, 200000000};
    (void)nanosleep(&pause, NULL);
    assert_int_equal(peek(s, &s->n_blocks), 2);
    on_loop(s, resume_last);
    for (uint32_t i = 2; i < 5; i++) expect_block(&c, i);
    end(s, &c);
}

static void a_peer_that_does_not_read(void **state) {
    (void)state;
    enum { N_FLOOD = 1000 };
    struct server *s = web_server((struct server){.n_flood = N_FLOOD});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client c;
    client_open(&c, s, &small);
    send_frame(&c, FIN | PING, "first");
    send_frame(&c, FIN | PING, "last");
    uint8_t frame[FRAME_HEAD + CONN_BLOCK_LEN];
    client_write(&c, frame, put_block(frame, 1), sizeof frame);
    wait_for(s, &s->n_blocks, 1); /* it is read all the same */
    unsigned n_pongs = 0;
    for (uint32_t i = 0; i < N_FLOOD; i++) {
        uint8_t head[WS_BLOCK_HEAD_LEN];
        read_exactly(&c, head, 2);
        while (head[0] == (FIN | PONG)) { /* between two blocks */
            uint8_t payload[WS_CONTROL_MAX];
            read_exactly(&c, payload, head[1]);
            n_pongs++;
            read_exactly(&c, head, 2);
        }
        read_exactly(&c, head + 2, 2);
        assert_memory_equal(head, ws_block_head().p, sizeof head);
        client_expect(&c, i);
    }
    assert_in_range(n_pongs, 1, 2);
    end(s, &c);
}

/* ---- control frames, and ends ---- */

static void pings_are_answered(void **state) {
    (void)state;
    struct server *s = web_server((struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_frame(&c, FIN | PONG, "unasked");
    send_frame(&c, FIN | PING, "x");
    expect_control(&c, PONG, "x", 1);
    send_frame(&c, FIN | PING, "");
    expect_control(&c, PONG, "", 0);
    end(s, &c);
}

static void but_no_flood_of_them(void **state) {
    (void)state;
    static const uint8_t OPCODES[] = {PING, PONG};
    for (size_t k = 0; k < ARRAY_LEN(OPCODES); k++) {
        struct server *s = web_server((struct server){0});
        struct client c;
        client_open(&c, s, &PLAIN);
        uint8_t frames[30 * 6], byte[2];
        size_t at = 0;
        for (int i = 0; i < 30; i++)
            at += put_frame(frames + at, FIN | OPCODES[k], (const uint8_t *)"", 0);
        client_write(&c, frames, at, at);
        read_exactly(&c, byte, 2);
        while (byte[0] == (FIN | PONG)) read_exactly(&c, byte, 2);
        assert_int_equal(byte[0], FIN | CLOSE);
        read_exactly(&c, byte, 2);
        assert_int_equal(byte[0] << 8 | byte[1], WS_TOO_OFTEN);
        client_expect_end(&c);
        end(s, &c);
    }
}

static void wrong_frames_end_it(void **state) {
    (void)state;
    struct server *s = web_server((struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_frame(&c, FIN | TEXT, "x");
    expect_close(&c, WS_NOT_BINARY);
    end(s, &c);
}

/* Also when the peer does not read what comes before. */
static void wrong_frames_of_who_does_not_read(void **state) {
    (void)state;
    struct server *s = web_server((struct server){.n_flood = UINT_MAX, .tls_timeout_ms = 300});
    const struct client_opts small = {.receive_buffer = 65536};
    struct client c;
    client_open(&c, s, &small);
    wait_for(s, &s->n_filled, 8);
    send_frame(&c, FIN | TEXT, "x");
    wait_for(s, &s->n_closed, 1);
    end(s, &c);
}

static void a_close_is_answered(void **state) {
    (void)state;
    struct server *s = web_server((struct server){0});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_frame(&c, FIN | CLOSE,
               "\x03\xe8"
               "bye");
    expect_close(&c, 1000);
    end(s, &c);
}

static void finish_says_so(void **state) {
    (void)state;
    struct server *s = web_server((struct server){.finish_after = 3});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_blocks(&c, 3, 16384);
    for (uint32_t i = 0; i < 3; i++) expect_block(&c, i);
    expect_close(&c, WS_GOING_AWAY);
    end(s, &c);
}

static void the_session_may_close(void **state) {
    (void)state;
    struct server *s = web_server((struct server){.close_after = 1});
    struct client c;
    client_open(&c, s, &PLAIN);
    send_blocks(&c, 2, 16384);
    client_expect_end(&c);
    end(s, &c);
    s = web_server((struct server){.refuses_sessions = true});
    client_open(&c, s, &PLAIN);
    client_expect_end(&c);
    client_close(&c);
    server_close(s);
    assert_int_equal(s->n_open, 0);
}

/* A head, a payload, a message: none may be begun for long. */
static void what_is_begun_has_a_limit(void **state) {
    (void)state;
    static const size_t LENGTHS[] = {1, 5, 10, 1000};
    for (size_t k = 0; k <= ARRAY_LEN(LENGTHS); k++) {
        struct server *s = web_server((struct server){.block_timeout_ms = 50});
        struct client c;
        uint8_t frame[FRAME_HEAD + CONN_BLOCK_LEN];
        client_open(&c, s, &PLAIN);
        (void)put_block(frame, 1);
        if (k < ARRAY_LEN(LENGTHS)) {
            client_write(&c, frame, LENGTHS[k], LENGTHS[k]);
        } else {
            send_frame(&c, BINARY, "fragment");
        }
        wait_for(s, &s->n_closed, 1);
        client_expect_end(&c);
        end(s, &c);
    }
}

static void look(struct conn *c, struct server *s) {
    const struct bytes challenge = conn_challenge(c);
    assert(challenge.n == sizeof CHALLENGE && memcmp(challenge.p, CHALLENGE, challenge.n) == 0);
    assert(conn_cert(c) == tls_ctx_cert(s->tls));
}

static void a_session_may_ask(void **state) {
    (void)state;
    struct server *s = web_server((struct server){.inspect = look});
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    end(s, &c);
}

static void look_plain(struct conn *c, struct server *s) {
    assert(conn_challenge(c).n == 0);
    assert(conn_cert(c) == tls_ctx_cert(s->tls));
}

static void and_others_have_no_challenge(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.inspect = look_plain});
    struct client c;
    client_open(&c, s, &PLAIN);
    wait_for(s, &s->n_open, 1);
    end(s, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_thousand_blocks_without_waiting, forget_servers),
        cmocka_unit_test_teardown(records_need_not_fit_frames, forget_servers),
        cmocka_unit_test_teardown(many_frames_in_a_record, forget_servers),
        cmocka_unit_test_teardown(reading_can_be_paused, forget_servers),
        cmocka_unit_test_teardown(a_peer_that_does_not_read, forget_servers),
        cmocka_unit_test_teardown(pings_are_answered, forget_servers),
        cmocka_unit_test_teardown(but_no_flood_of_them, forget_servers),
        cmocka_unit_test_teardown(wrong_frames_end_it, forget_servers),
        cmocka_unit_test_teardown(wrong_frames_of_who_does_not_read, forget_servers),
        cmocka_unit_test_teardown(a_close_is_answered, forget_servers),
        cmocka_unit_test_teardown(finish_says_so, forget_servers),
        cmocka_unit_test_teardown(the_session_may_close, forget_servers),
        cmocka_unit_test_teardown(what_is_begun_has_a_limit, forget_servers),
        cmocka_unit_test_teardown(a_session_may_ask, forget_servers),
        cmocka_unit_test_teardown(and_others_have_no_challenge, forget_servers),
    };
    return cmocka_run_group_tests(tests, init_net, NULL);
}
