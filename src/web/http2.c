/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http2.h"

#include <stdlib.h>

#include "net/loop.h"
#include "net/stream.h"
#include "web/http1.h"
#include "web/http2_session.h"

enum { IN_LEN = 1024, CHUNK_LEN = 16384, READS_PER_TURN = 16 };

struct http2 {
    struct stream *stream; /* owns this one, as its framing */
    struct web *web;       /* borrowed */
    struct http2_session *session;
    unsigned n_requests; /* when the limits were set last */
    bool is_busy;        /* there are streams */
    int64_t busy_ms;     /* since then */
    int64_t deadline_ms; /* of what is under way, or of being idle */
};

static int64_t now_ms(const struct http2 *h) {
    return loop_now_ms(stream_loop(h->stream));
}

/* ---- answers ---- */

static void answer(void *ctx, const struct web_ask *ask, struct web_answer *ret) {
    struct http2 *h = ctx;
    web_answer(h->web, ask, ret);
    web_count(h->stream, ret->status);
}

static void refuse(void *ctx, unsigned status, struct web_answer *ret) {
    struct http2 *h = ctx;
    web_refuse(h->web, status, true, ret);
    web_count(h->stream, status);
}

/* ---- time ---- */

static void set_deadline(struct http2 *h, int64_t at_ms) {
    h->deadline_ms = at_ms;
    stream_set_deadline(h->stream, at_ms);
}

/* Requests may add time to those before them, up to what one of them has at most. */
static void set_limits(struct http2 *h) {
    const bool is_busy = http2_session_n_streams(h->session) != 0;
    const unsigned n_requests = http2_session_n_requests(h->session);
    const bool is_news = n_requests != h->n_requests;
    h->n_requests = n_requests;
    if (is_busy && is_news) {
        const int64_t now = now_ms(h);
        if (!h->is_busy) h->busy_ms = h->deadline_ms = now;
        int64_t at = now + http_answer_ms(http2_session_n_left(h->session));
        if (at > h->busy_ms + HTTP_ANSWER_MS) at = h->busy_ms + HTTP_ANSWER_MS;
        if (at > h->deadline_ms) set_deadline(h, at);
    } else if (!is_busy && (h->is_busy || is_news)) {
        set_deadline(h, now_ms(h) + HTTP_IDLE_MS);
    }
    h->is_busy = is_busy;
    stream_limit(h->stream, http2_session_is_inside_head(h->session) ? HTTP_HEAD_MS : 0);
}

/* ---- reading and writing ---- */

static void on_readable(void *framed) {
    struct http2 *h = framed;
    uint8_t in[IN_LEN];
    bool is_dry = false;
    for (int i = 0; i < READS_PER_TURN && stream_is_reading(h->stream); i++) {
        size_t n = 0;
        if (stream_has_unsent(h->stream)) {
            stream_pause_read(h->stream);
            break;
        }
        is_dry = !stream_read(h->stream, in, sizeof in, &n);
        if (is_dry) break;
        if (!http2_session_take(h->session, bytes_of(in, n))) stream_pause_read(h->stream);
        if (stream_share_is_used(h->stream)) break;
    }
    /* What TLS holds of a record is not told by its socket. */
    if (!is_dry && stream_is_reading(h->stream)) stream_want_run(h->stream);
    set_limits(h);
    stream_want_write(h->stream);
}

static void on_writable(void *framed) {
    struct http2 *h = framed;
    uint8_t buf[CHUNK_LEN];
    size_t n;
    if (stream_is_finishing(h->stream)) http2_session_finish(h->session);
    while ((n = http2_session_give(h->session, buf, sizeof buf)) != 0) {
        if (!stream_write(h->stream, bytes_of(buf, n)) || stream_has_unsent(h->stream)) return;
        if (stream_may_write_on(h->stream)) continue;
        stream_want_write(h->stream);
        return;
    }
    /* While finishing nothing is read: what is left would wait for a window. */
    if (http2_session_is_over(h->session) || stream_is_finishing(h->stream)) {
        stream_close(h->stream);
        return;
    }
    set_limits(h);
    stream_resume_read(h->stream, 0);
}

/* ---- opening and ending ---- */

static void on_end(void *framed) {
    struct http2 *h = framed;
    http2_session_free(h->session);
    web_leave(h->web);
    free(h);
}

static const struct framing HTTP2 = {
    .on_readable = on_readable,
    .run = on_readable,
    .on_writable = on_writable,
    .on_end = on_end,
};

enum err http2_frame(struct stream *s, struct web *w) {
    struct http2 *h = calloc(1, sizeof *h);
    if (h == NULL) return E_NO_MEMORY;
    h->stream = s;
    h->web = w;
    const struct http2_answers answers = {answer, refuse, h};
    const enum err e = http2_session_new(&answers, &h->session);
    if (e != OK) {
        free(h);
        return e;
    }
    stream_set_framing(s, &HTTP2, h);
    set_deadline(h, now_ms(h) + HTTP_IDLE_MS);
    stream_limit(s, HTTP_HEAD_MS);
    stream_want_write(s); /* SETTINGS */
    return OK;
}
