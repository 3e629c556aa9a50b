/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/ws_frames.h"

#include <assert.h>
#include <wslay/wslay.h>

#include "base/rd.h"

enum { CONTROL_BIT = 8, FINAL_BIT = 0x80, LEN_IN_TWO_BYTES = 126 };

/* ---- the head of a frame ---- */

static ssize_t give_byte(uint8_t *to, size_t room, int flags, void *reader) {
    struct ws_reader *r = reader;
    (void)room;
    (void)flags;
    if (!r->has_byte) return -1;
    r->has_byte = false;
    *to = r->byte;
    return 1;
}

static bool begin_head(struct ws_reader *r) {
    const struct wslay_frame_callbacks callbacks = {.recv_callback = give_byte};
    return wslay_frame_context_init(&r->head, &callbacks, r) == 0;
}

static void end_head(struct ws_reader *r) {
    if (r->head != NULL) wslay_frame_context_free(r->head);
    r->head = NULL;
}

static enum ws_step fail(struct ws_reader *r, enum ws_code code) {
    end_head(r);
    r->code = (uint16_t)code;
    return WS_FAILED;
}

static bool is_control(const struct ws_reader *r) {
    return (r->opcode & CONTROL_BIT) != 0;
}

/* What libwslay does not mind. 0, or the code that it ends with. */
static unsigned find_fault(const struct ws_reader *r, const struct wslay_frame_iocb *f) {
    if (f->rsv != 0 || f->mask == 0) return WS_PROTOCOL_ERROR;
    switch (f->opcode) {
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
        return 0; /* libwslay has seen to its length */
    case WSLAY_TEXT_FRAME:
        return WS_NOT_BINARY;
    case WSLAY_BINARY_FRAME:
    case WSLAY_CONTINUATION_FRAME:
        break;
    default:
        return WS_PROTOCOL_ERROR;
    }
    if (r->is_in_message != (f->opcode == WSLAY_CONTINUATION_FRAME)) return WS_PROTOCOL_ERROR;
    return f->payload_length <= (uint64_t)(WS_MESSAGE_LEN - r->n_message) ? 0 : WS_TOO_LONG;
}

static void begin_payload(struct ws_reader *r, const struct wslay_frame_iocb *f) {
    r->is_in_payload = true;
    r->opcode = f->opcode;
    r->is_last = f->fin != 0;
    r->n_left = (uint32_t)f->payload_length;
    r->n_done = 0;
    if (!is_control(r)) r->is_in_message = true;
}

/* ---- its payload ---- */

/* May be in its place. */
static void unmask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t mask[8]) {
    uint64_t m, word;
    size_t i = 0;
    memcpy(&m, mask, sizeof m);
    for (; n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, from + i, sizeof word);
        word ^= m;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < n; i++) to[i] = from[i] ^ mask[i % sizeof m];
}

static void take_payload(struct ws_reader *r, struct bytes *in, uint8_t *message) {
    const size_t n = in->n < r->n_left ? in->n : r->n_left;
    uint8_t mask[8];
    for (unsigned i = 0; i < sizeof mask; i++) mask[i] = r->mask[(r->n_done + i) % 4];
    unmask(is_control(r) ? r->control + r->n_done : message + r->n_message, in->p, n, mask);
    if (!is_control(r)) r->n_message = (uint16_t)(r->n_message + n);
    r->n_done += (uint32_t)n;
    r->n_left -= (uint32_t)n;
    *in = bytes_of(in->p + n, in->n - n);
}

static enum ws_step end_frame(struct ws_reader *r) {
    end_head(r);
    r->is_in_payload = false;
    if (is_control(r)) {
        r->n_control = (uint8_t)r->n_done;
        return r->opcode == WSLAY_PING ? WS_PING : r->opcode == WSLAY_PONG ? WS_PONG : WS_CLOSE;
    }
    if (!r->is_last) return WS_MORE;
    const bool is_block = r->n_message == WS_MESSAGE_LEN;
    r->is_in_message = false;
    r->n_message = 0;
    return is_block ? WS_MESSAGE : fail(r, WS_WRONG_LENGTH);
}

/* A byte of the head, or one of the first four after it. */
static enum ws_step take_byte(struct ws_reader *r, struct bytes *in, uint8_t *message) {
    struct wslay_frame_iocb f;
    if (r->head == NULL && !begin_head(r)) return fail(r, WS_NO_MEMORY);
    r->byte = in->p[0];
    r->has_byte = true;
    const ssize_t n = wslay_frame_recv(r->head, &f);
    if (n < 0 && n != WSLAY_ERR_WANT_READ) return fail(r, WS_PROTOCOL_ERROR);
    const unsigned fault = n >= 0 && !r->is_in_payload ? find_fault(r, &f) : 0;
    if (fault != 0) return fail(r, fault);
    if (n >= 0 && !r->is_in_payload) begin_payload(r, &f);
    if (n == 1) {
        struct bytes one = bytes_of(in->p, 1);
        r->mask[r->n_done] = in->p[0] ^ f.data[0];
        take_payload(r, &one, message);
    }
    *in = bytes_of(in->p + 1, in->n - 1);
    if (r->is_in_payload && r->n_done == sizeof r->mask) end_head(r);
    return WS_MORE;
}

enum ws_step ws_reader_take(struct ws_reader *r, struct bytes *in, uint8_t *message) {
    enum ws_step step = WS_MORE;
    while (step == WS_MORE && in->n != 0) {
        if (r->is_in_payload && r->head == NULL) {
            take_payload(r, in, message);
        } else {
            step = take_byte(r, in, message);
        }
        if (step == WS_MORE && r->is_in_payload && r->n_left == 0) step = end_frame(r);
    }
    return step;
}

size_t ws_reader_expects(const struct ws_reader *r) {
    return r->is_in_payload && r->head == NULL && !is_control(r) ? r->n_left : 0;
}

bool ws_reader_is_between(const struct ws_reader *r) {
    return !r->is_in_message && !r->is_in_payload && r->head == NULL;
}

void ws_reader_init(struct ws_reader *r) {
    memset(r, 0, sizeof *r);
}

void ws_reader_done(struct ws_reader *r) {
    end_head(r);
}

/* ---- what is sent ---- */

/* Those that may be on the wire. */
static bool is_code(unsigned code) {
    return (code >= 1000 && code <= 1011 && (code < 1004 || code > 1006)) ||
           (code >= 3000 && code <= 4999);
}

unsigned ws_close_answer(struct bytes payload) {
    struct rd r = rd_init(payload);
    if (payload.n == 0) return 0;
    const unsigned code = rd_u16(&r);
    return rd_err(&r) == OK && is_code(code) ? code : WS_PROTOCOL_ERROR;
}

struct bytes ws_block_head(void) {
    static const uint8_t head[WS_BLOCK_HEAD_LEN] = {FINAL_BIT | WSLAY_BINARY_FRAME,
                                                    LEN_IN_TWO_BYTES, WS_MESSAGE_LEN >> 8,
                                                    WS_MESSAGE_LEN & 0xff};
    return bytes_of(head, sizeof head);
}

static void write_control(enum wslay_opcode opcode, struct bytes payload, struct wr *w) {
    assert(payload.n <= WS_CONTROL_MAX);
    wr_u8(w, (uint8_t)(FINAL_BIT | opcode));
    wr_short(w, payload);
}

void ws_pong_write(struct bytes payload, struct wr *w) {
    write_control(WSLAY_PONG, payload, w);
}

void ws_close_write(unsigned code, struct wr *w) {
    uint8_t payload[2];
    struct wr p = wr_init(payload, sizeof payload);
    if (code != 0) wr_u16(&p, (uint16_t)code);
    write_control(WSLAY_CONNECTION_CLOSE, wr_bytes(&p), w);
}
