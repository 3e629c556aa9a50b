/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http1.h"

#include <stdlib.h>

#include "base/wr.h"
#include "net/loop.h"
#include "net/stream.h"
#include "web/upgrade.h"
#include "web/web.h"

enum { HTTP_SWITCHING = 101, HTTP_BAD_REQUEST = 400 };
enum {
    IN_LEN = 1024,
    HEAD_LEN = 2304, /* the longest head, with two paths in it */
    CHUNK_LEN = 16384,
    READS_PER_TURN = 16,
};

struct http1 {
    struct stream *stream; /* owns this one, as its framing */
    struct web *web;       /* borrowed */
    struct site *site;     /* owned: what body is in; NULL: none */
    struct bytes body;     /* what is left of it */
    unsigned n_requests;
    bool is_answering, is_last;
    bool is_upgrading;    /* the answer is that it is granted */
    uint16_t in_at, in_n; /* what was read and belongs to the next request */
    uint16_t head_n;      /* not written yet */
    struct upgrade upgrade;
    struct http_reader reader;
    uint8_t in[IN_LEN];
    uint8_t head[HEAD_LEN + WEB_CHALLENGE_MAX];
};
_Static_assert(sizeof(struct http1) <= 8192, "a browser must stay small");

static int64_t now_ms(const struct http1 *h) {
    return loop_now_ms(stream_loop(h->stream));
}

/* ---- answers ---- */

static const char *reason_of(unsigned status) {
    // clang-format off
    static const struct { unsigned status; const char *reason; } REASONS[] = {
        {101, "Switching Protocols"}, {200, "OK"}, {301, "Moved Permanently"}, {304, "Not Modified"}, {400, "Bad Request"},
        {404, "Not Found"}, {405, "Method Not Allowed"}, {413, "Content Too Large"},
        {414, "URI Too Long"}, {431, "Request Header Fields Too Large"},
        {426, "Upgrade Required"}, {500, "Internal Server Error"}, {505, "HTTP Version Not Supported"},
    };
    // clang-format on
    for (size_t i = 0; i < ARRAY_LEN(REASONS); i++) {
        if (REASONS[i].status == status) return REASONS[i].reason;
    }
    return "";
}

int64_t http_answer_ms(size_t n) {
    enum { BEGIN_MS = 10000 };
    const int64_t ms = BEGIN_MS + (int64_t)n * 1000 / 1024;
    return ms < HTTP_ANSWER_MS ? ms : HTTP_ANSWER_MS;
}

static void write_head(const struct web_answer *a, bool is_last, struct wr *w) {
    wr_str(w, "HTTP/1.1 ");
    wr_dec(w, a->status);
    wr_str(w, " ");
    wr_str(w, reason_of(a->status));
    for (unsigned i = 0; i < a->n_fields; i++) {
        wr_str(w, "\r\n");
        wr_str(w, a->fields[i].name);
        wr_str(w, ": ");
        wr_str(w, a->fields[i].value);
    }
    wr_str(w, is_last ? "\r\nconnection: close\r\n\r\n" : "\r\n\r\n");
}

/* Takes over what a has; the stream is not read until it is written. */
static void begin_answer(struct http1 *h, struct web_answer *a, bool is_last) {
    struct wr w = wr_init(h->head, sizeof h->head);
    h->is_last = is_last;
    write_head(a, is_last, &w);
    h->body = a->body;
    h->site = a->site;
    if (a->body.p == a->own) { /* its place is ours */
        wr_bytes_raw(&w, a->body);
        h->body = (struct bytes){0};
    }
    if (wr_err(&w) != OK) {
        stream_close(h->stream);
        return;
    }
    h->head_n = (uint16_t)w.at;
    h->is_answering = true;
    web_count(h->stream, a->status);
    stream_limit(h->stream, 0);
    stream_set_deadline(h->stream, now_ms(h) + http_answer_ms(h->body.n));
    stream_pause_read(h->stream);
    stream_want_write(h->stream);
}

static void refuse(struct http1 *h, unsigned status) {
    struct web_answer a;
    web_refuse(h->web, status, stream_tls(h->stream) != NULL, &a);
    begin_answer(h, &a, true);
}

/* Of who wants to go on in WebSocket, and where that may be. */
static bool answer_upgrade(struct http1 *h, const struct http_request *r) {
    if (!upgrade_is_wanted(r) || stream_tls(h->stream) == NULL || !web_has_smp(h->web))
        return false;
    /* Nothing may be sent ahead: frames could be taken for a request by who is in between. */
    const unsigned status = h->in_at == h->in_n ? upgrade_check(r, &h->upgrade) : HTTP_BAD_REQUEST;
    h->is_upgrading = status == HTTP_SWITCHING;
    if (!h->is_upgrading) {
        refuse(h, status);
        return true;
    }
    struct web_answer a = {
        .status = status,
        .n_fields = 3,
        .fields = {{"upgrade", "websocket"},
                   {"connection", "Upgrade"},
                   {"sec-websocket-accept", h->upgrade.accept}},
    };
    begin_answer(h, &a, false);
    return true;
}

static void answer(struct http1 *h, const struct http_request *r) {
    struct web_answer a;
    if (answer_upgrade(h, r)) return;
    const struct web_ask ask = {
        .is_head = r->method == WEB_HEAD,
        .is_secure = stream_tls(h->stream) != NULL,
        .is_path_known = r->is_path_known,
        .path = r->path,
        .host = r->text[HTTP_HOST],
        .accept_language = r->text[HTTP_ACCEPT_LANGUAGE],
        .accept_encoding = r->text[HTTP_ACCEPT_ENCODING],
        .if_none_match = r->text[HTTP_IF_NONE_MATCH],
    };
    web_answer(h->web, &ask, &a);
    h->n_requests++;
    begin_answer(h, &a, !r->keeps_alive || h->n_requests == HTTP_REQUESTS_MAX);
}

/* ---- reading ---- */

/* What was read, until it is used up or there is a request. */
static void take_bytes(struct http1 *h) {
    struct http_request request;
    struct bytes in = bytes_of(h->in + h->in_at, (size_t)(h->in_n - h->in_at));
    const enum http_step step = http_reader_take(&h->reader, &in, &request);
    h->in_at = (uint16_t)(h->in_n - in.n);
    if (step == HTTP_MORE) {
        if (h->reader.is_begun) stream_limit(h->stream, HTTP_HEAD_MS);
    } else if (step == HTTP_REQUEST_READ) {
        answer(h, &request);
    } else {
        refuse(h, h->reader.status);
    }
}

static void on_readable(void *framed) {
    struct http1 *h = framed;
    bool is_dry = false;
    for (int i = 0; i < READS_PER_TURN && stream_is_reading(h->stream); i++) {
        size_t n = 0;
        is_dry = !stream_read(h->stream, h->in, sizeof h->in, &n);
        if (is_dry) break;
        h->in_at = 0;
        h->in_n = (uint16_t)n;
        take_bytes(h);
        if (stream_share_is_used(h->stream)) break;
    }
    /* What TLS holds of a record is not told by its socket. */
    if (!is_dry && stream_is_reading(h->stream)) stream_want_run(h->stream);
    /* The rest of a request does not come any more. */
    if (stream_is_at_end(h->stream) && !h->is_answering) stream_close(h->stream);
}

/* The next request, as far as it is there. */
static void run(void *framed) {
    struct http1 *h = framed;
    if (!h->is_answering && h->in_at < h->in_n) take_bytes(h);
    if (!h->is_answering) on_readable(h);
}

/* ---- writing ---- */

static struct bytes next_chunk(struct http1 *h, uint8_t *buf) {
    size_t n = h->head_n;
    memcpy(buf, h->head, n);
    h->head_n = 0;
    const size_t n_body = h->body.n < CHUNK_LEN - n ? h->body.n : CHUNK_LEN - n;
    if (n_body != 0) memcpy(buf + n, h->body.p, n_body);
    h->body = bytes_of(h->body.p + n_body, h->body.n - n_body);
    return bytes_of(buf, n + n_body);
}

static void leave(struct http1 *h) {
    web_leave(h->web);
    free(h);
}

static void become_websocket(struct http1 *h) {
    const struct bytes challenge = bytes_of(h->upgrade.challenge, h->upgrade.n_challenge);
    if (web_upgrade(h->web, h->stream, challenge) == OK) {
        leave(h);
    } else {
        stream_close(h->stream);
    }
}

static void end_answer(struct http1 *h) {
    h->is_answering = false;
    site_unref(h->site);
    h->site = NULL;
    const bool is_over = stream_is_at_end(h->stream) && h->in_at == h->in_n;
    if (h->is_last || is_over || stream_is_finishing(h->stream)) {
        stream_close(h->stream);
        return;
    }
    if (h->is_upgrading) {
        become_websocket(h);
        return;
    }
    http_reader_reset(&h->reader);
    stream_set_deadline(h->stream, now_ms(h) + HTTP_IDLE_MS);
    stream_resume_read(h->stream, 0);
    stream_want_run(h->stream);
}

static void on_writable(void *framed) {
    struct http1 *h = framed;
    uint8_t buf[CHUNK_LEN];
    while (h->head_n != 0 || h->body.n != 0) {
        if (!stream_write(h->stream, next_chunk(h, buf)) || stream_has_unsent(h->stream)) return;
        if (stream_may_write_on(h->stream)) continue;
        stream_want_write(h->stream);
        return;
    }
    if (h->is_answering) {
        end_answer(h);
    } else if (stream_is_finishing(h->stream)) {
        stream_close(h->stream);
    }
}

/* ---- opening and ending ---- */

static void on_end(void *framed) {
    struct http1 *h = framed;
    site_unref(h->site);
    leave(h);
}

static const struct framing HTTP1 = {
    .on_readable = on_readable,
    .run = run,
    .on_writable = on_writable,
    .on_end = on_end,
    .outlives_input = true,
};

enum err http1_frame(struct stream *s, struct web *w) {
    struct http1 *h = malloc(sizeof *h);
    if (h == NULL) return E_NO_MEMORY;
    h->stream = s;
    h->web = w;
    h->site = NULL;
    h->body = (struct bytes){0};
    h->n_requests = 0;
    h->is_answering = h->is_last = h->is_upgrading = false;
    h->in_at = h->in_n = h->head_n = 0;
    http_reader_reset(&h->reader);
    stream_set_framing(s, &HTTP1, h);
    stream_set_deadline(s, now_ms(h) + HTTP_IDLE_MS);
    return OK;
}
