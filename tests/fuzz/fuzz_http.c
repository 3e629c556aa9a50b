/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Requests of browsers: whole and in pieces they are read alike, and what is read is inside the
 * reader. */
#include <string.h>

#include "fuzz_view.h"

#include "web/accept.h"
#include "crypto/crypto.h"
#include "web/http_reader.h"
#include "web/upgrade.h"

static bool is_inside(const struct http_reader *r, struct bytes b) {
    const uint8_t *begin = (const uint8_t *)r, *end = begin + sizeof *r;
    return b.n == 0 || (b.p >= begin && b.p + b.n <= end);
}

static void check_upgrade(const struct http_request *q) {
    struct upgrade u = {.n_challenge = 1};
    if (!upgrade_is_wanted(q)) return;
    const unsigned status = upgrade_check(q, &u);
    assert(status == 101 || status == 400 || status == 426);
    if (status != 101) return;
    assert(strlen(u.accept) == UPGRADE_ACCEPT_LEN);
    assert(u.n_challenge == 0 || u.n_challenge == UPGRADE_CHALLENGE_LEN);
}

static void check_request(const struct http_reader *r, const struct http_request *q) {
    assert(q->method != WEB_OTHER);
    assert(is_inside(r, q->query));
    for (unsigned i = 0; i < N_HTTP_TEXTS; i++) assert(is_inside(r, q->text[i]));
    (void)accept_language(q->text[HTTP_ACCEPT_LANGUAGE]);
    unsigned weights[N_WEB_CODINGS];
    accept_coding(q->text[HTTP_ACCEPT_ENCODING], weights);
    for (unsigned i = 0; i < N_WEB_CODINGS; i++) assert(weights[i] <= 1000);
    check_upgrade(q);
    (void)accept_has_tag(q->text[HTTP_IF_NONE_MATCH], bytes_str("0123456789abcdef"));
    if (!q->is_path_known) return;
    assert(is_inside(r, q->path) && q->path.n != 0 && q->path.p[0] == '/');
    assert(memchr(q->path.p, '\0', q->path.n) == NULL);
    assert(memmem(q->path.p, q->path.n, "/..", 3) == NULL);
}

static enum http_step read_all(struct http_reader *r, struct bytes in, size_t step, size_t *ret_n) {
    struct http_request q;
    enum http_step s = HTTP_MORE;
    size_t at = 0;
    http_reader_reset(r);
    while (s == HTTP_MORE && at < in.n) {
        const size_t n = in.n - at < step ? in.n - at : step;
        struct bytes part = bytes_of(in.p + at, n);
        s = http_reader_take(r, &part, &q);
        at += n - part.n;
    }
    if (s == HTTP_REQUEST_READ) check_request(r, &q);
    assert((s == HTTP_REFUSED) == (r->status != 0));
    *ret_n = at;
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http_reader whole, pieces;
    size_t n_whole = 0, n_pieces = 0;
    if (crypto_init() != OK) abort();
    const struct bytes in = bytes_of(data, size);
    const enum http_step a = read_all(&whole, in, size != 0 ? size : 1, &n_whole);
    const enum http_step b = read_all(&pieces, in, 1, &n_pieces);
    assert(a == b && whole.status == pieces.status);
    assert(a != HTTP_REQUEST_READ || n_whole == n_pieces);
    return 0;
}
