/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http_guard.h -- which heads of HTTP/1 requests are let through to the parser, and where they end.
 *
 * Parsers are made for all clients there are, and forgive much, each of them something else. Here
 * nothing is forgiven that two programs could understand in two ways, or that no browser sends:
 * methods but GET and HEAD, targets that are no path, versions but 1.0 and 1.1, lines that do not
 * end with CR LF, folded lines, space around a field's name, control characters; and nothing is
 * longer than it has to be. Of the request line nothing is left for the parser to refuse. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_LINE_MAX = 4096,    /* bytes of the request line */
    HTTP_HEADERS_MAX = 8192, /* bytes of all fields */
    HTTP_FIELDS_MAX = 64,
};

enum http_guard_state {
    GUARD_METHOD,     /* in the request line */
    GUARD_TARGET,     /* after its first space */
    GUARD_VERSION,    /* after its second */
    GUARD_REQUEST_LF, /* after its CR */
    GUARD_FIELD,      /* where a field may begin */
    GUARD_NAME,       /* in its name */
    GUARD_VALUE,      /* after its colon */
    GUARD_VALUE_LF,   /* after the CR that ends it */
    GUARD_LAST_LF,    /* after the CR of the empty line */
    GUARD_DONE
};

struct http_guard {
    enum http_guard_state state;
    unsigned n_line, n_headers, n_fields;
    unsigned n_part;        /* bytes of the method, target or version */
    bool not_get, not_head; /* the method can not become that any more */
};

/* Looks at one more byte of a guard that began as zeros. 0, or the status of the refusal, after
 * which it is not to be asked any more. */
unsigned http_guard_take(struct http_guard *g, uint8_t byte);
