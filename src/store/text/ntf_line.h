/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ntf_line.h -- a line of the notifications log, as text and as a struct.
 *
 * There is one form, "v1 ..", written since 6.1, byte for byte (docs/FORMATS.md, "Notifications
 * log"). A line is without its newline. Pure; any thread. */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "base/wr.h"

enum {
    NTF_LINE_NONCE_LEN = 24,
    NTF_LINE_META_MAX = 255, /* bytes: travels as a short string; 144 in practice (128 and a tag) */
    NTF_LINE_MAX = 512       /* bytes; any line fits */
};

struct ntf_line {
    struct id notifier_id, msg_id;
    int64_t ts_s; /* Unix seconds of the message; never negative */
    uint8_t nonce[NTF_LINE_NONCE_LEN];
    uint8_t n_meta;
    uint8_t meta[NTF_LINE_META_MAX]; /* encrypted for the notification server's client */
};

/* E_SYNTAX; ret is then undefined. Borrows nothing. */
MUST_USE enum err ntf_line_parse(struct bytes line, struct ntf_line *ret);
/* The line, without a newline. What does not fit is told by wr_err(); NTF_LINE_MAX bytes are
 * always enough. */
void ntf_line_write(const struct ntf_line *n, struct wr *w);
