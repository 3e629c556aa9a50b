/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http_guard.h"

#include <stdbool.h>
#include <string.h>

enum {
    BAD = 400,
    NOT_ALLOWED = 405,
    URI_TOO_LONG = 414,
    HEADERS_TOO_LARGE = 431,
    NO_VERSION = 505
};

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

/* A part of the request line is at its end. */
static unsigned go_on(struct http_guard *g, enum http_guard_state next) {
    g->n_part = 0;
    g->state = next;
    return 0;
}

/* Refused as soon as it can be nothing else, so that no parser has to know it. */
static unsigned take_method(struct http_guard *g, uint8_t byte) {
    static const uint8_t GET[] = "GET ", HEAD[] = "HEAD ";
    if (byte != ' ' ? !is_token(byte) : g->n_part == 0) return BAD;
    g->not_get = g->not_get || byte != GET[g->n_part];
    g->not_head = g->not_head || byte != HEAD[g->n_part];
    if (g->not_get && g->not_head) return NOT_ALLOWED;
    g->n_part++;
    return byte == ' ' ? go_on(g, GUARD_TARGET) : 0;
}

static unsigned take_target(struct http_guard *g, uint8_t byte) {
    if (g->n_part++ == 0) return byte == '/' ? 0 : BAD;
    if (byte == ' ') return go_on(g, GUARD_VERSION);
    return byte > ' ' && byte < 0x7f ? 0 : BAD;
}

static unsigned take_version(struct http_guard *g, uint8_t byte) {
    static const uint8_t VERSION[] = "HTTP/1.1\r";
    const uint8_t wanted = VERSION[g->n_part++];
    if (wanted == '1') {
        if (byte < '0' || byte > '9') return BAD;
        const bool is_minor = g->n_part == sizeof VERSION - 2;
        return byte == '1' || (is_minor && byte == '0') ? 0 : NO_VERSION;
    }
    return go(g, byte == wanted, byte == '\r' ? GUARD_REQUEST_LF : GUARD_VERSION);
}

unsigned http_guard_take(struct http_guard *g, uint8_t byte) {
    if (g->state <= GUARD_REQUEST_LF) {
        /* The line without its end. */
        if (++g->n_line > HTTP_LINE_MAX + 2) return URI_TOO_LONG;
    } else if (++g->n_headers > HTTP_HEADERS_MAX) {
        return HEADERS_TOO_LARGE;
    }
    switch (g->state) {
    case GUARD_METHOD:
        return take_method(g, byte);
    case GUARD_TARGET:
        return take_target(g, byte);
    case GUARD_VERSION:
        return take_version(g, byte);
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
