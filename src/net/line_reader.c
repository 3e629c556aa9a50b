/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/line_reader.h"

enum { TELNET_SE = 240, TELNET_SB = 250, TELNET_WILL = 251, TELNET_DONT = 254, TELNET_IAC = 255 };

static void add(struct line_reader *r, uint8_t b) {
    if (b == '\r' || b == '\0' || r->is_too_long) return;
    if (r->n == sizeof r->buf) {
        r->is_too_long = true;
    } else {
        r->buf[r->n++] = b;
    }
}

/* What follows IAC. */
static enum line_state after_iac(struct line_reader *r, uint8_t b) {
    if (b == TELNET_IAC) add(r, b); /* the byte 255 itself */
    if (b == TELNET_SB) return LINE_SUB;
    return b >= TELNET_WILL && b <= TELNET_DONT ? LINE_OPTION : LINE_TEXT;
}

/* True at the end of a line. */
static bool step(struct line_reader *r, uint8_t b) {
    switch (r->state) {
    case LINE_TEXT:
        if (b == '\n') return true;
        if (b == TELNET_IAC) {
            r->state = LINE_IAC;
        } else {
            add(r, b);
        }
        break;
    case LINE_IAC:
        r->state = after_iac(r, b);
        break;
    case LINE_OPTION:
        r->state = LINE_TEXT;
        break;
    case LINE_SUB:
        if (b == TELNET_IAC) r->state = LINE_SUB_IAC;
        break;
    case LINE_SUB_IAC:
        r->state = b == TELNET_SE ? LINE_TEXT : LINE_SUB;
        break;
    }
    return false;
}

static struct line finish(struct line_reader *r) {
    const struct line line = {bytes_of(r->buf, r->is_too_long ? 0 : r->n), r->is_too_long};
    r->n = 0;
    r->is_too_long = false;
    return line;
}

bool line_reader_take(struct line_reader *r, struct bytes *in, struct line *ret) {
    while (in->n > 0) {
        const uint8_t b = *in->p;
        *in = bytes_of(in->p + 1, in->n - 1);
        if (!step(r, b)) continue;
        *ret = finish(r);
        return true;
    }
    return false;
}

bool line_reader_end(struct line_reader *r, struct line *ret) {
    if (r->n == 0 && !r->is_too_long) return false;
    *ret = finish(r);
    return true;
}
