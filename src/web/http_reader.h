/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http_reader.h -- bytes of HTTP/1 to requests, one at a time, by llhttp or http-parser; what those
 * get to see is http_guard.h's choice.
 *
 * Of a request only what is answered by is kept, in one small buffer. A body is never read: who
 * sends one is refused. */
#pragma once

#ifdef WEB_LLHTTP
#include <llhttp.h>
#else
#include <http_parser.h>
#endif

#include "base/bytes.h"
#include "web/http_guard.h"

/* What is kept of a request, each as views into the reader. */
enum http_text {
    HTTP_TARGET,
    HTTP_HOST,
    HTTP_ACCEPT_LANGUAGE,
    HTTP_ACCEPT_ENCODING,
    HTTP_IF_NONE_MATCH,
    N_HTTP_LONG_TEXTS, /* all that HTTP/2 has */
    HTTP_UPGRADE = N_HTTP_LONG_TEXTS,
    HTTP_CONNECTION,
    HTTP_WS_KEY, /* Sec-WebSocket- */
    HTTP_WS_VERSION,
    N_HTTP_TEXTS
};

enum { HTTP_TEXT_MAX = 512, HTTP_SHORT_MAX = 64, HTTP_NAME_MAX = 32 };

enum web_method { WEB_GET, WEB_HEAD, WEB_OTHER };

struct http_reader {
    struct http_guard guard;
#ifdef WEB_LLHTTP
    llhttp_t parser;
#else
    http_parser parser;
#endif
    unsigned status; /* of a refusal; 0: none */
    bool is_begun;   /* a byte of the request was there */
    uint16_t n_name; /* of the field that is being read; HTTP_NAME_MAX: it is of no interest */
    bool is_value;   /* its value has begun */
    int text;        /* enum http_text of its value; -1: it is not kept */
    uint8_t n_hosts, n_lengths;
    bool has_body, has_coding;  /* Content-Length that is not 0; Transfer-Encoding */
    bool has_bad_length;        /* Content-Length that is no number */
    bool is_long[N_HTTP_TEXTS]; /* did not fit, and is not there */
    uint16_t n[N_HTTP_TEXTS];
    char name[HTTP_NAME_MAX];
    char texts[N_HTTP_LONG_TEXTS][HTTP_TEXT_MAX];
    char short_texts[N_HTTP_TEXTS - N_HTTP_LONG_TEXTS][HTTP_SHORT_MAX];
};

struct http_request {
    enum web_method method;
    bool keeps_alive;
    bool is_old;        /* HTTP/1.0 */
    bool is_path_known; /* false: too long, or not to be decoded: nothing is there */
    struct bytes path;  /* decoded; borrowed from the reader, as all */
    struct bytes query; /* without its '?', as it came */
    struct bytes text[N_HTTP_TEXTS];
};

enum http_step {
    HTTP_MORE,
    HTTP_REQUEST_READ, /* *ret_request is filled in, until the reader is reset */
    HTTP_REFUSED       /* reader.status says why: to be answered, and closed */
};

void http_reader_reset(struct http_reader *r);
/* Takes what it needs of in, which is moved on. */
enum http_step http_reader_take(struct http_reader *r, struct bytes *in,
                                struct http_request *ret_request);
