/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The two parsers are called alike, but for how they end and how they tell errors: that is in
 * is_parsed(). */
#include "web/http_reader.h"

#include <stdlib.h>
#include <strings.h>

#include "base/attr.h"
#include "base/rd.h"
#include "web/accept.h"
#include "web/http_path.h"

enum { BAD = 400, TOO_LARGE = 413 };

static const char *const KEPT[N_HTTP_TEXTS] = {
    [HTTP_HOST] = "host",
    [HTTP_ACCEPT_LANGUAGE] = "accept-language",
    [HTTP_ACCEPT_ENCODING] = "accept-encoding",
    [HTTP_IF_NONE_MATCH] = "if-none-match",
    [HTTP_UPGRADE] = "upgrade",
    [HTTP_CONNECTION] = "connection",
    [HTTP_WS_KEY] = "sec-websocket-key",
    [HTTP_WS_VERSION] = "sec-websocket-version",
};

#ifdef WEB_LLHTTP
typedef llhttp_t parser;
#else
typedef http_parser parser;
#endif

/* ---- what the parser tells ---- */

static char *place_of(struct http_reader *r, int text) {
    return text < N_HTTP_LONG_TEXTS ? r->texts[text] : r->short_texts[text - N_HTTP_LONG_TEXTS];
}

static void keep(struct http_reader *r, int text, const char *at, size_t n) {
    const int max = text < N_HTTP_LONG_TEXTS ? HTTP_TEXT_MAX : HTTP_SHORT_MAX;
    const size_t room = (size_t)(max - r->n[text]);
    if (n > room) {
        r->is_long[text] = true;
        n = room;
    }
    memcpy(place_of(r, text) + r->n[text], at, n);
    r->n[text] = (uint16_t)(r->n[text] + n);
}

static bool is_field(const struct http_reader *r, const char *name) {
    return r->n_name == strlen(name) && strncasecmp(r->name, name, r->n_name) == 0;
}

static int on_url(parser *p, const char *at, size_t n) {
    keep(p->data, HTTP_TARGET, at, n);
    return 0;
}

static int on_field(parser *p, const char *at, size_t n) {
    struct http_reader *r = p->data;
    if (r->is_value) r->n_name = 0;
    r->is_value = false;
    const size_t room = HTTP_NAME_MAX - r->n_name;
    memcpy(r->name + r->n_name, at, n < room ? n : room);
    r->n_name = (uint16_t)(r->n_name + (n < room ? n : room));
    return 0;
}

/* Whatever begins like it: http-parser refuses that too, and llhttp does not. */
static bool is_coding(const struct http_reader *r) {
    static const char NAME[] = "transfer-encoding";
    return r->n_name >= sizeof NAME - 1 && strncasecmp(r->name, NAME, sizeof NAME - 1) == 0;
}

/* The name of the field is complete. */
static void begin_value(struct http_reader *r) {
    r->is_value = true;
    r->text = -1;
    for (int i = 0; i < N_HTTP_TEXTS; i++) {
        if (KEPT[i] != NULL && is_field(r, KEPT[i])) r->text = i;
    }
    if (r->text == HTTP_HOST && r->n_hosts < UINT8_MAX) r->n_hosts++;
    if (is_field(r, "content-length") && r->n_lengths < UINT8_MAX) r->n_lengths++;
    if (is_coding(r)) r->has_coding = true;
    /* Of a list that comes in several fields. */
    if (r->text > HTTP_HOST && r->n[r->text] != 0) keep(r, r->text, ",", 1);
}

/* A part of the value of Content-Length: which bytes are taken behind its digits is another matter
 * with each parser. */
static void take_length(struct http_reader *r, const char *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (at[i] >= '1' && at[i] <= '9') r->has_body = true;
        if ((at[i] < '0' || at[i] > '9') && at[i] != ' ') r->has_bad_length = true;
    }
}

static int on_value(parser *p, const char *at, size_t n) {
    struct http_reader *r = p->data;
    if (!r->is_value) begin_value(r);
    if (r->text >= 0) keep(r, r->text, at, n);
    if (is_field(r, "content-length")) take_length(r, at, n);
    return 0;
}

/* A field without a value may come without on_value(). */
static int on_complete(parser *p) {
    struct http_reader *r = p->data;
    if (!r->is_value && r->n_name != 0) begin_value(r);
    return 0;
}

#ifdef WEB_LLHTTP
static const llhttp_settings_t SETTINGS = {
#else
static const http_parser_settings SETTINGS = {
#endif
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_complete,
};

/* What the guard let through, of one head. */
static bool is_parsed(parser *p, struct bytes b) {
    if (b.n == 0) return true; /* which would mean the end */
#ifdef WEB_LLHTTP
    const llhttp_errno_t e = llhttp_execute(p, (const char *)b.p, b.n);
    return e == HPE_OK || e == HPE_PAUSED_UPGRADE;
#else
    (void)http_parser_execute(p, &SETTINGS, (const char *)b.p, b.n);
    return HTTP_PARSER_ERRNO(p) == HPE_OK;
#endif
}

void http_reader_reset(struct http_reader *r) {
    memset(r, 0, offsetof(struct http_reader, name));
#ifdef WEB_LLHTTP
    llhttp_init(&r->parser, HTTP_REQUEST, &SETTINGS);
#else
    http_parser_init(&r->parser, HTTP_REQUEST);
#endif
    r->parser.data = r;
    r->text = -1;
}

/* ---- the request ---- */

/* What the parsers do not mind. 0, or the status of the refusal. */
static unsigned find_fault(const struct http_reader *r) {
    if (r->has_coding || r->has_bad_length || r->n_lengths > 1) return BAD;
    if (r->n_hosts > 1 || (r->parser.http_minor == 1 && r->n_hosts != 1)) return BAD;
    if (r->is_long[HTTP_HOST]) return BAD;
    return r->has_body ? TOO_LARGE : 0;
}

/* The parsers have opinions of their own on tabs and on fields that are not of the standard. With
 * HTTP/1.0 it is simply not offered. */
static bool keeps_alive(const struct http_reader *r, struct bytes connection) {
    return r->parser.http_minor == 1 && !r->is_long[HTTP_CONNECTION] &&
           !accept_has_word(connection, "close");
}

static void fill_request(struct http_reader *r, struct http_request *ret) {
    *ret = (struct http_request){
        .method = r->parser.method == HTTP_GET ? WEB_GET : WEB_HEAD,
        .is_old = r->parser.http_minor == 0,
    };
    for (int i = 0; i < N_HTTP_TEXTS; i++) {
        if (!r->is_long[i]) ret->text[i] = bytes_of(place_of(r, i), r->n[i]);
    }
    ret->keeps_alive = keeps_alive(r, ret->text[HTTP_CONNECTION]);
    struct rd target = rd_init(ret->text[HTTP_TARGET]);
    const struct bytes path = rd_part(&target, '?');
    ret->query = rd_tail(&target);
    /* In its own place: it only becomes shorter. */
    ret->is_path_known =
        !r->is_long[HTTP_TARGET] && http_path_decode(path, r->texts[HTTP_TARGET], &ret->path) == OK;
}

enum http_step http_reader_take(struct http_reader *r, struct bytes *in,
                                struct http_request *ret_request) {
    size_t n = 0;
    if (in->n != 0) r->is_begun = true;
    while (n < in->n && r->status == 0 && r->guard.state != GUARD_DONE)
        r->status = http_guard_take(&r->guard, in->p[n++]);
    const struct bytes passed = bytes_of(in->p, r->status == 0 || n == 0 ? n : n - 1);
    *in = bytes_of(in->p + n, in->n - n);
    /* It comes before the byte that the guard refuses. */
    if (!is_parsed(&r->parser, passed)) r->status = BAD;
    if (r->status == 0 && r->guard.state != GUARD_DONE) return HTTP_MORE;
    if (r->status == 0) r->status = find_fault(r);
    if (r->status != 0) return HTTP_REFUSED;
    fill_request(r, ret_request);
    return HTTP_REQUEST_READ;
}
