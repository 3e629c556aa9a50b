/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A browser's end of HTTP/2: whatever it sends, in pieces of any length, what it makes us hold, ask
 * and write is bounded, and a session that has had enough ends. */
#include <stdio.h>
#include <string.h>

#include "fuzz_view.h"

#include "web/http2_session.h"

enum { BODY_LEN = 70000, OUTPUT_MAX = 64 * 1024 * 1024 };

static uint8_t body[BODY_LEN];
static unsigned n_answers;

static void answer(void *ctx, const struct web_ask *ask, struct web_answer *ret) {
    (void)ctx;
    n_answers++;
    assert(!ask->is_path_known || (ask->path.n != 0 && ask->path.p[0] == '/'));
    assert(ask->host.n + ask->accept_language.n + ask->accept_encoding.n < 4096);
    ret->status = 200;
    ret->n_fields = 1;
    ret->fields[0] = (struct web_field){"content-type", "text/plain"};
    ret->site = NULL;
    ret->body = ask->is_head ? (struct bytes){0} : bytes_of(body, sizeof body);
    if (!ask->is_path_known || ask->path.n % 2 == 0) return;
    memset(ret->own, 'o', sizeof ret->own);
    ret->body = bytes_of(ret->own, sizeof ret->own);
}

static void refuse(void *ctx, unsigned status, struct web_answer *ret) {
    (void)ctx;
    n_answers++;
    assert(status >= 400 && status < 600);
    ret->status = status;
    ret->n_fields = 0;
    ret->site = NULL;
    ret->body = (struct bytes){0};
}

/* All that is there; false: a part of it, as a peer that does not read. */
static size_t give(struct http2_session *s, bool all) {
    uint8_t out[4096];
    size_t sum = 0, n;
    do {
        n = http2_session_give(s, out, sizeof out);
        assert(n <= sizeof out);
        sum += n;
    } while (all && n != 0 && sum < OUTPUT_MAX);
    assert(sum < OUTPUT_MAX);
    return sum;
}

static void check(const struct http2_session *s) {
    assert(http2_session_memory(s) <= HTTP2_MEMORY_MAX);
    assert(http2_session_n_streams(s) <= HTTP2_STREAMS_MAX);
    assert(http2_session_n_requests(s) <= HTTP2_REQUESTS_MAX);
    assert(http2_session_n_left(s) <= HTTP2_STREAMS_MAX * sizeof body);
    assert(n_answers <= http2_session_n_requests(s));
}

/* The first byte: how long the pieces are, whether all is read, whether what every connection
 * begins with is put before the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char BEGIN[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const struct http2_answers ANSWERS = {answer, refuse, NULL};
    struct http2_session *s = NULL;
    if (size == 0) return 0;
    const size_t piece = (data[0] & 0x3fU) + 1U;
    const bool reads = (data[0] & 0x40U) == 0;
    n_answers = 0;
    if (http2_session_new(&ANSWERS, &s) != OK) return 0;
    bool goes_on = true;
    if ((data[0] & 0x80U) == 0) goes_on = http2_session_take(s, bytes_of(BEGIN, sizeof BEGIN - 1));
    for (size_t at = 1; at < size && goes_on; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        goes_on = http2_session_take(s, bytes_of(data + at, n));
        (void)give(s, reads);
        check(s);
    }
    (void)give(s, true);
    check(s);
    assert(goes_on || http2_session_is_over(s));
    http2_session_finish(s);
    (void)give(s, true);
    http2_session_free(s);
    return 0;
}
