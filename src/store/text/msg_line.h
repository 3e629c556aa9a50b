/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* msg_line.h -- a line of the messages log, as text and as a struct.
 *
 * Reads all forms that the reference ever wrote and writes the one of 3.0 to 6.5, "v3 ..", byte for
 * byte (docs/FORMATS.md, "Messages log"). Lines of 2.x hold bodies that are already sealed for the
 * recipient: crypto_box with the dh secret of the queue and the message id as nonce, over the body
 * padded with its length; it is for the caller to open them. A line is without its newline. Pure;
 * any thread. */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "base/wr.h"

enum {
    MSG_LINE_BODY_MAX = 16088,   /* bytes: the largest message of any protocol version */
    MSG_LINE_SEALED_LEN = 16106, /* bytes: padded to that size with its length, and a tag */
    MSG_LINE_MAX = 22528         /* bytes; any line fits */
};

struct msg_line {
    struct id rcv_id, msg_id;
    int64_t ts_s;      /* Unix seconds, when the server received it; never negative */
    bool is_quota;     /* the marker of a full queue: no flags, no body */
    bool notification; /* flag T */
    bool is_sealed;    /* written by 2.x: body is a crypto_box to the recipient, see above */
    struct bytes body; /* decoded; borrowed, after parsing from the scratch; may be empty */
};

/* Where a parsed body is put; needs no preparation, is overwritten by each parse. */
struct msg_line_scratch {
    uint8_t body[MSG_LINE_SEALED_LEN];
};

/* E_SYNTAX; ret is then undefined. ret borrows from scratch. */
MUST_USE enum err msg_line_parse(struct bytes line, struct msg_line_scratch *scratch,
                                 struct msg_line *ret);
/* A line of the reference's journal: the same from the message id on, in the form of 3.0. rcv_id is
 * left empty. */
MUST_USE enum err msg_line_parse_stored(struct bytes line, struct msg_line_scratch *scratch,
                                        struct msg_line *ret);
/* The v3 line, without a newline. Must not be sealed. What does not fit is told by wr_err();
 * MSG_LINE_MAX bytes are always enough. */
void msg_line_write(const struct msg_line *m, struct wr *w);
