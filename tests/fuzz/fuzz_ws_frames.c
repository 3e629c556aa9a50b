/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Frames of a client over WebSocket: whole and byte by byte they are the same messages, pings and
 * ends, and nothing is written but to the message. What is sent is read by ourselves. */
#include <string.h>

#include "fuzz_view.h"

#include "net/ws_frames.h"

enum { STEPS_MAX = 4096, GUARD_LEN = 16 };

/* What was read, as far as it fits. */
struct reading {
    uint8_t steps[STEPS_MAX];
    size_t n;
    unsigned code;
    uint64_t sum; /* of messages and of payloads of control frames */
};

static void add_sum(struct reading *g, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) g->sum = g->sum * 31 + p[i];
}

static void note(struct reading *g, const struct ws_reader *r, enum ws_step step,
                 const uint8_t *message) {
    if (g->n < STEPS_MAX) g->steps[g->n++] = (uint8_t)step;
    if (step == WS_MESSAGE) {
        assert(ws_reader_is_between(r));
        add_sum(g, message, WS_MESSAGE_LEN);
    } else if (step == WS_FAILED) {
        assert(r->code >= WS_GOING_AWAY && r->code <= WS_NO_MEMORY);
        g->code = r->code;
    } else {
        assert(r->n_control <= WS_CONTROL_MAX);
        add_sum(g, r->control, r->n_control);
        const unsigned answer = ws_close_answer(bytes_of(r->control, r->n_control));
        assert(answer == 0 || (answer >= 1000 && answer < 5000));
    }
}

static void read_all(struct bytes in, size_t piece, struct reading *ret) {
    static uint8_t message[WS_MESSAGE_LEN + GUARD_LEN];
    struct ws_reader r;
    enum ws_step step = WS_MORE;
    memset(ret, 0, sizeof *ret);
    memset(message + WS_MESSAGE_LEN, 0xa5, GUARD_LEN);
    ws_reader_init(&r);
    while (in.n != 0 && step != WS_FAILED) {
        const size_t n = in.n < piece ? in.n : piece;
        struct bytes part = bytes_of(in.p, n);
        do {
            assert(ws_reader_expects(&r) + r.n_message <= WS_MESSAGE_LEN);
            step = ws_reader_take(&r, &part, message);
            assert_inside(part, bytes_of(in.p, n));
            assert(step != WS_MORE || part.n == 0);
            if (step != WS_MORE) note(ret, &r, step, message);
        } while (part.n != 0 && step != WS_FAILED);
        in = bytes_of(in.p + n, in.n - n);
    }
    ws_reader_done(&r);
    for (size_t i = 0; i < GUARD_LEN; i++) assert(message[WS_MESSAGE_LEN + i] == 0xa5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct reading whole, bytes, pieces;
    const struct bytes in = bytes_of(data, size);
    read_all(in, size != 0 ? size : 1, &whole);
    read_all(in, 1, &bytes);
    read_all(in, 5, &pieces);
    assert(memcmp(&whole, &bytes, sizeof whole) == 0);
    assert(memcmp(&whole, &pieces, sizeof whole) == 0);
    return 0;
}
