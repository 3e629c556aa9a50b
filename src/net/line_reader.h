/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* line_reader.h -- bytes of a person's terminal (nc, telnet) into lines.
 *
 * A line ends with LF or CR LF. NUL, CR and telnet's own commands (RFC 854: IAC and what follows,
 * subnegotiations included) are left out. A line that is too long is passed over to its end and
 * reported once, so that its rest is never taken for another. Pure; any thread. */
#pragma once

#include "base/bytes.h"

enum { LINE_LEN_MAX = 2048 }; /* bytes; a short link URI with many hosts has a few hundred */

enum line_state { LINE_TEXT, LINE_IAC, LINE_OPTION, LINE_SUB, LINE_SUB_IAC };

/* Starts with zeroes. May hold a password: wipe it at the end. */
struct line_reader {
    size_t n; /* of the line so far */
    bool is_too_long;
    enum line_state state;
    uint8_t buf[LINE_LEN_MAX];
};

struct line {
    struct bytes text; /* borrowed from the reader until its next call; empty when too long */
    bool is_too_long;
};

/* Takes from *in until a line is complete; true: *ret is set, and *in is what follows it. False:
 * all of *in was taken. */
bool line_reader_take(struct line_reader *r, struct bytes *in, struct line *ret);
/* After the last byte: a last line without end, if there is one. */
bool line_reader_end(struct line_reader *r, struct line *ret);
