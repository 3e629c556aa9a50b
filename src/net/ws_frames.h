/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ws_frames.h -- frames of WebSocket (RFC 6455, section 5), a server's side: bytes of a client to
 * messages of one block each, and the heads of what is sent.
 *
 * Heads are read by libwslay. It takes a byte off its mask at a time, 17 us for a block, so that of
 * the payload it sees no more than the first four bytes, which tell the mask. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/wr.h"

enum {
    WS_MESSAGE_LEN = 16384,
    WS_CONTROL_MAX = 125, /* bytes of a control frame */
    WS_BLOCK_HEAD_LEN = 4 /* bytes before a message that is sent */
};

/* Why a connection ends: RFC 6455, section 7.4. */
enum ws_code {
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_NOT_BINARY = 1003,
    WS_WRONG_LENGTH = 1007,
    WS_TOO_OFTEN = 1008,
    WS_TOO_LONG = 1009,
    WS_NO_MEMORY = 1011
};

struct ws_reader {
    struct wslay_frame_context *head; /* owned; NULL unless the mask is still to come */
    uint32_t n_left, n_done;          /* bytes of the frame's payload: that come, that came */
    uint16_t n_message;               /* bytes of the message, of all its frames so far */
    uint16_t code;                    /* after WS_FAILED: enum ws_code */
    uint8_t opcode, n_control;
    bool is_last;       /* frame of its message */
    bool is_in_payload; /* of a frame */
    bool is_in_message; /* some of its frames are there */
    bool has_byte;      /* for head: byte is to be taken */
    uint8_t byte, mask[4];
    uint8_t control[WS_CONTROL_MAX]; /* payload of the control frame; n_control bytes when whole */
};

enum ws_step {
    WS_MORE,    /* all was taken */
    WS_MESSAGE, /* there is one, WS_MESSAGE_LEN bytes */
    WS_PING,    /* control has what is to be sent back, until more is taken */
    WS_PONG,
    WS_CLOSE, /* control has the code and the reason, if any */
    WS_FAILED /* code says why; nothing more is to be taken */
};

/* It is not moved from then on. ws_reader_done(). */
void ws_reader_init(struct ws_reader *r);
void ws_reader_done(struct ws_reader *r);
/* Takes what it needs of in, which is moved on. message: WS_MESSAGE_LEN bytes, the same, or a copy
 * of its first n_message bytes, until WS_MESSAGE. What ws_reader_expects() may be in its place
 * there already. */
enum ws_step ws_reader_take(struct ws_reader *r, struct bytes *in, uint8_t *message);
/* That many bytes of the message come next: to be read to message + n_message. 0: a head comes, or
 * something else. */
size_t ws_reader_expects(const struct ws_reader *r);
bool ws_reader_is_between(const struct ws_reader *r); /* it is in no message and no frame */

/* The code to answer a close frame with: that of its payload, or of what is wrong with it; 0: it
 * has none. */
unsigned ws_close_answer(struct bytes payload);

/* Of a whole message that is a block: WS_BLOCK_HEAD_LEN bytes, static. */
struct bytes ws_block_head(void);
void ws_pong_write(struct bytes payload, struct wr *w); /* up to WS_CONTROL_MAX bytes */
void ws_close_write(unsigned code, struct wr *w);       /* 0: none is told */
