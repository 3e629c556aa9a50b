/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Frames of WebSocket as bytes, each case whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/attr.h"
#include "net/ws_frames.h"

enum { BUF_LEN = 4 * WS_MESSAGE_LEN, FIN = 0x80, MASKED = 0x80 };

static uint8_t buf[BUF_LEN];

static void fill(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(i * 7 + i / 251);
}

/* A frame with the first byte, of n bytes of the pattern from at on. */
static void put(struct wr *w, uint8_t first, size_t at, size_t n, bool has_mask) {
    static uint8_t pattern[2 * WS_MESSAGE_LEN];
    static const uint8_t mask[4] = {0x12, 0x9a, 0xff, 0x01};
    const uint8_t bit = has_mask ? MASKED : 0;
    fill(pattern, sizeof pattern);
    wr_u8(w, first);
    if (n < 126) {
        wr_u8(w, (uint8_t)(bit | n));
    } else {
        wr_u8(w, bit | 126);
        wr_u16(w, (uint16_t)n);
    }
    if (has_mask) wr_bytes_raw(w, bytes_of(mask, sizeof mask));
    for (size_t i = 0; i < n; i++)
        wr_u8(w, has_mask ? pattern[at + i] ^ mask[i % 4] : pattern[at + i]);
}

/* The steps that are not WS_MORE, one letter each: m essage, p ing, o: pong, c lose; or the code
 * at the end. The message has to be the pattern. */
struct seen {
    char steps[16];
    unsigned n, code;
    uint8_t control[WS_CONTROL_MAX];
    unsigned n_control;
};

static void note(struct seen *s, const struct ws_reader *r, enum ws_step step, const uint8_t *m) {
    static const char LETTERS[] =
        {[WS_MESSAGE] = 'm', [WS_PING] = 'p', [WS_PONG] = 'o', [WS_CLOSE] = 'c', [WS_FAILED] = 'x'};
    static uint8_t pattern[WS_MESSAGE_LEN];
    fill(pattern, sizeof pattern);
    if (step == WS_MESSAGE) assert_memory_equal(m, pattern, sizeof pattern);
    if (step == WS_FAILED) s->code = r->code;
    assert_true(s->n < sizeof s->steps - 1);
    s->steps[s->n++] = LETTERS[step];
    if (step == WS_MESSAGE || step == WS_FAILED) return;
    s->n_control = r->n_control;
    memcpy(s->control, r->control, r->n_control);
}

/* In pieces of so many bytes; those that are expected come to their place. */
static void read_all(struct bytes in, size_t piece, struct seen *ret) {
    static uint8_t message[WS_MESSAGE_LEN];
    struct ws_reader r;
    enum ws_step step = WS_MORE;
    memset(ret, 0, sizeof *ret);
    ws_reader_init(&r);
    while (in.n != 0 && step != WS_FAILED) {
        const size_t expected = ws_reader_expects(&r);
        size_t n = in.n < piece ? in.n : piece;
        struct bytes part = bytes_of(in.p, n);
        if (expected != 0) {
            if (n > expected) n = expected;
            assert_true(r.n_message + n <= sizeof message);
            memcpy(message + r.n_message, in.p, n);
            part = bytes_of(message + r.n_message, n);
        }
        in = bytes_of(in.p + n, in.n - n);
        do {
            step = ws_reader_take(&r, &part, message);
            if (step != WS_MORE) note(ret, &r, step, message);
        } while (part.n != 0 && step != WS_FAILED);
    }
    ws_reader_done(&r);
}

static void check(const struct wr *w, const char *steps, unsigned code, const char *what) {
    static const size_t PIECES[] = {1, 3, 8, 1000, BUF_LEN};
    struct seen s;
    assert_int_equal(wr_err(w), OK);
    for (size_t i = 0; i < ARRAY_LEN(PIECES); i++) {
        read_all(wr_bytes(w), PIECES[i], &s);
        if (strcmp(s.steps, steps) != 0 || s.code != code)
            fail_msg("%s, by %zu: \"%s\" %u", what, PIECES[i], s.steps, s.code);
    }
}

static struct wr begin(void) {
    return wr_init(buf, sizeof buf);
}

static void messages(void **state) {
    (void)state;
    struct wr w = begin();
    put(&w, FIN | 2, 0, WS_MESSAGE_LEN, true);
    put(&w, FIN | 2, 0, WS_MESSAGE_LEN, true);
    check(&w, "mm", 0, "whole");
    w = begin();
    put(&w, 2, 0, 1, true);
    put(&w, 0, 1, 0, true);
    put(&w, FIN | 9, 5, 3, true);
    put(&w, 0, 1, 5000, true);
    put(&w, FIN | 10, 0, 125, true);
    put(&w, FIN | 0, 5001, WS_MESSAGE_LEN - 5001, true);
    put(&w, FIN | 8, 0, 0, true);
    check(&w, "pomc", 0, "in fragments");
}

/* Each part of a message is none, and nothing is wrong with it yet. */
static void prefixes(void **state) {
    (void)state;
    struct wr w = begin();
    struct seen s;
    put(&w, 2, 0, 130, true);
    put(&w, FIN | 0, 130, WS_MESSAGE_LEN - 130, true);
    for (size_t n = 0; n < w.at; n += n < 160 ? 1 : 997) {
        read_all(bytes_of(buf, n), n, &s);
        assert_string_equal(s.steps, "");
    }
    check(&w, "m", 0, "all of it");
}

static void controls(void **state) {
    (void)state;
    struct seen s;
    for (size_t n = 0; n <= WS_CONTROL_MAX; n++) {
        struct wr w = begin();
        put(&w, FIN | 9, 0, n, true);
        check(&w, "p", 0, "ping");
        read_all(wr_bytes(&w), 2, &s);
        uint8_t pattern[WS_CONTROL_MAX];
        fill(pattern, sizeof pattern);
        assert_int_equal(s.n_control, n);
        assert_memory_equal(s.control, pattern, n);
    }
}

static void faults(void **state) {
    (void)state;
    static const struct {
        uint8_t first;
        size_t n;
        bool has_mask;
        unsigned code;
    } CASES[] = {
        {FIN | 2, 1, false, WS_PROTOCOL_ERROR},
        {FIN | 2, 0, false, WS_PROTOCOL_ERROR},
        {FIN | 9, 3, false, WS_PROTOCOL_ERROR},
        {FIN | 1, 3, true, WS_NOT_BINARY},
        {1, 0, true, WS_NOT_BINARY},
        {FIN | 0, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 0x40 | 2, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 0x10 | 9, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 3, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 15, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 9, 126, true, WS_PROTOCOL_ERROR},
        {9, 3, true, WS_PROTOCOL_ERROR},
        {FIN | 2, 0, true, WS_WRONG_LENGTH},
        {FIN | 2, 3, true, WS_WRONG_LENGTH},
        {FIN | 2, WS_MESSAGE_LEN - 1, true, WS_WRONG_LENGTH},
        {FIN | 2, WS_MESSAGE_LEN + 1, true, WS_TOO_LONG},
        {2, 65535, true, WS_TOO_LONG},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct wr w = begin();
        put(&w, CASES[i].first, 0, CASES[i].n < 20000 ? CASES[i].n : 20000, CASES[i].has_mask);
        if (CASES[i].n == 65535) memset(buf + 2, 0xff, 2);
        char what[64];
        (void)snprintf(what, sizeof what, "case %zu", i);
        check(&w, "x", CASES[i].code, what);
    }
    /* Lengths of eight bytes: never needed here. */
    static const uint8_t LONG[] = {FIN | 2, MASKED | 127, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5};
    for (unsigned i = 0; i < 3; i++) {
        struct wr w = begin();
        wr_bytes_raw(&w, bytes_of(LONG, sizeof LONG));
        buf[2] = i == 1 ? 0x80 : 0; /* negative */
        buf[4] = i == 2 ? 0 : 1;    /* too small for this form */
        check(&w, "x", i == 0 ? WS_TOO_LONG : WS_PROTOCOL_ERROR, "eight bytes of length");
    }
}

static void sequences(void **state) {
    (void)state;
    struct wr w = begin();
    put(&w, 2, 0, 3, true);
    put(&w, FIN | 2, 3, WS_MESSAGE_LEN - 3, true);
    check(&w, "x", WS_PROTOCOL_ERROR, "begun twice");
    w = begin();
    put(&w, 2, 0, WS_MESSAGE_LEN, true);
    put(&w, FIN | 0, 0, 1, true);
    check(&w, "x", WS_TOO_LONG, "a byte too much");
    w = begin();
    put(&w, 2, 0, WS_MESSAGE_LEN, true);
    put(&w, FIN | 0, 0, 0, true);
    put(&w, FIN | 0, 0, 0, true);
    check(&w, "mx", WS_PROTOCOL_ERROR, "a continuation of nothing");
    w = begin();
    put(&w, 2, 0, 100, true);
    put(&w, FIN | 0, 100, 100, true);
    check(&w, "x", WS_WRONG_LENGTH, "short in all");
}

static void close_codes(void **state) {
    (void)state;
    static const struct {
        uint8_t payload[3];
        size_t n;
        unsigned answer;
    } CASES[] = {
        {{0}, 0, 0},
        {{3}, 1, WS_PROTOCOL_ERROR},
        {{3, 0xe8}, 2, 1000},
        {{3, 0xf3, 'x'}, 3, 1011},
        {{3, 0xe7}, 2, WS_PROTOCOL_ERROR},
        {{3, 0xed}, 2, WS_PROTOCOL_ERROR}, /* 1005 */
        {{3, 0xee}, 2, WS_PROTOCOL_ERROR},
        {{3, 0xf4}, 2, WS_PROTOCOL_ERROR}, /* 1012 */
        {{0x0b, 0xb8}, 2, 3000},
        {{0x13, 0x87}, 2, 4999},
        {{0x13, 0x88}, 2, WS_PROTOCOL_ERROR},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        assert_int_equal(ws_close_answer(bytes_of(CASES[i].payload, CASES[i].n)), CASES[i].answer);
}

/* ---- what is sent, as libwslay reads it ---- */

static ssize_t give_all(uint8_t *to, size_t room, int flags, void *ctx) {
    struct bytes *in = ctx;
    (void)flags;
    const size_t n = in->n < room ? in->n : room;
    if (n == 0) return -1;
    memcpy(to, in->p, n);
    *in = bytes_of(in->p + n, in->n - n);
    return (ssize_t)n;
}

static void expect_frame(const struct wr *w, unsigned opcode, uint64_t n) {
    const struct wslay_frame_callbacks callbacks = {.recv_callback = give_all};
    struct bytes in = wr_bytes(w);
    struct wslay_frame_context *c = NULL;
    struct wslay_frame_iocb f;
    assert_int_equal(wslay_frame_context_init(&c, &callbacks, &in), 0);
    assert_true(wslay_frame_recv(c, &f) >= 0);
    assert_true(f.fin == 1 && f.rsv == 0 && f.mask == 0);
    assert_int_equal(f.opcode, opcode);
    assert_int_equal(f.payload_length, n);
    wslay_frame_context_free(c);
}

static void what_is_sent(void **state) {
    (void)state;
    struct wr w = begin();
    assert_int_equal(ws_block_head().n, WS_BLOCK_HEAD_LEN);
    wr_bytes_raw(&w, ws_block_head());
    memset(wr_skip(&w, WS_MESSAGE_LEN), 'x', WS_MESSAGE_LEN);
    expect_frame(&w, WSLAY_BINARY_FRAME, WS_MESSAGE_LEN);
    w = begin();
    ws_pong_write(bytes_str("abc"), &w);
    expect_frame(&w, WSLAY_PONG, 3);
    assert_memory_equal(buf + 2, "abc", 3);
    w = begin();
    ws_close_write(1001, &w);
    expect_frame(&w, WSLAY_CONNECTION_CLOSE, 2);
    assert_memory_equal(buf + 2, "\x03\xe9", 2);
    w = begin();
    ws_close_write(0, &w);
    expect_frame(&w, WSLAY_CONNECTION_CLOSE, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),     cmocka_unit_test(prefixes),  cmocka_unit_test(controls),
        cmocka_unit_test(faults),       cmocka_unit_test(sequences), cmocka_unit_test(close_codes),
        cmocka_unit_test(what_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
