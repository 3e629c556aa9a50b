/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http2_session.h -- HTTP/2 as bytes in and bytes out, by libnghttp2: GET and HEAD, no push, no
 * body of a request, no CONNECT.
 *
 * What a peer can have us do is bounded here, whatever the library would allow: streams at once,
 * bytes and fields of a head, requests, frames that ask for nothing, streams that are reset by
 * either side, bytes between two requests, and memory. Who goes beyond is sent GOAWAY
 * (ENHANCE_YOUR_CALM), and nothing more is read of him. Heads come one at a time, so that one
 * buffer holds what is kept of them.
 *
 * Pure but for memory; one thread. */
#pragma once

#include "base/err.h"
#include "web/web.h"

struct http2_session;

enum {
    HTTP2_STREAMS_MAX = 16,       /* at once */
    HTTP2_HEAD_MAX = 8192,        /* bytes of a header list, as RFC 9113 counts them */
    HTTP2_LIST_END = 16384,       /* bytes of one: then not even a refusal is due */
    HTTP2_BLOCK_MAX = 16384,      /* bytes of a head as it is sent, in all its frames */
    HTTP2_REQUESTS_MAX = 100,     /* of a connection */
    HTTP2_RESETS_MAX = 100,       /* streams reset by either side */
    HTTP2_IDLE_FRAMES_MAX = 1000, /* frames that begin no request */
    HTTP2_INPUT_MAX = 32 * 1024,  /* bytes that begin no request, after the last that did */
    HTTP2_MEMORY_MAX = 64 * 1024, /* bytes of a session, the library's included */
};

/* Who answers; as web_answer() and web_refuse(). */
struct http2_answers {
    void (*answer)(void *ctx, const struct web_ask *ask, struct web_answer *ret);
    void (*refuse)(void *ctx, unsigned status, struct web_answer *ret);
    void *ctx;
};

/* a is borrowed. *ret: http2_session_free(). E_NO_MEMORY. */
MUST_USE enum err http2_session_new(const struct http2_answers *a, struct http2_session **ret);
void http2_session_free(struct http2_session *s); /* NULL is a no-op */

/* What came. False: nothing more is to be read; what http2_session_give() has is still written. */
bool http2_session_take(struct http2_session *s, struct bytes in);
/* What is to be written: at most cap bytes into `to`. 0: nothing, for now. */
size_t http2_session_give(struct http2_session *s, uint8_t *to, size_t cap);
/* No more requests; those that there are are answered. */
void http2_session_finish(struct http2_session *s);

/* Nothing more will come of it: it may be freed and the connection closed. */
bool http2_session_is_over(const struct http2_session *s);
unsigned http2_session_n_streams(const struct http2_session *s); /* that are being answered */
unsigned http2_session_n_requests(const struct http2_session *s);
size_t http2_session_n_left(const struct http2_session *s); /* bytes of bodies not given yet */
/* Is a part of a head there (or of what begins a connection), and its rest not? */
bool http2_session_is_inside_head(const struct http2_session *s);
size_t http2_session_memory(const struct http2_session *s); /* bytes, now */
