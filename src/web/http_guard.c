/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http_guard.h"

#include <stdbool.h>
#include <string.h>

enum { BAD = 400, URI_TOO_LONG = 414, HEADERS_TOO_LARGE = 431 };

/* "token" of RFC 9110, section 5.6.2. */
static bool is_token(uint8_t b) {
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
           (b != 0 && strchr("!#$%&'*+-.^_`|~", b) != NULL);
}

static unsigned go(struct http_guard *g, bool is_right, enum http_guard_state next) {
    g->state = next;
    return is_right ? 0 : BAD;
}

static unsigned take_field(struct http_guard *g, uint8_t byte) {
    if (byte == '\r') return go(g, true, GUARD_LAST_LF);
    if (++g->n_fields > HTTP_FIELDS_MAX) return HEADERS_TOO_LARGE;
    return go(g, is_token(byte), GUARD_NAME);
}

static unsigned take_value(struct http_guard *g, uint8_t byte) {
    if (byte == '\r') return go(g, true, GUARD_VALUE_LF);
    return byte == '\t' || (byte >= ' ' && byte != 0x7f) ? 0 : BAD;
}

static unsigned take_request(struct http_guard *g, uint8_t byte) {
    if (byte == '\r') return go(g, g->n_line > 1, GUARD_REQUEST_LF);
    return byte >= ' ' && byte < 0x7f ? 0 : BAD;
}

unsigned http_guard_take(struct http_guard *g, uint8_t byte) {
    if (g->state <= GUARD_REQUEST_LF) {
        /* The line without its end. */
        if (++g->n_line > HTTP_LINE_MAX + 2) return URI_TOO_LONG;
    } else if (++g->n_headers > HTTP_HEADERS_MAX) {
        return HEADERS_TOO_LARGE;
    }
    switch (g->state) {
    case GUARD_REQUEST:
        return take_request(g, byte);
    case GUARD_REQUEST_LF:
    case GUARD_VALUE_LF:
        return go(g, byte == '\n', GUARD_FIELD);
    case GUARD_FIELD:
        return take_field(g, byte);
    case GUARD_NAME:
        return byte == ':' ? go(g, true, GUARD_VALUE) : go(g, is_token(byte), GUARD_NAME);
    case GUARD_VALUE:
        return take_value(g, byte);
    case GUARD_LAST_LF:
        return go(g, byte == '\n', GUARD_DONE);
    case GUARD_DONE:
        break;
    }
    return BAD;
}
