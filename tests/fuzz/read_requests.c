/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Odd requests, and what is made of them with the parser that this build has: a line each, the same
 * for a seed and a number wherever it runs. tools/compare-parsers compares those of two builds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/wr.h"
#include "web/http_reader.h"

enum { REQUEST_MAX = 1024, FIELDS_MAX = 5, CHANGES_MAX = 3 };

/* What comes first is as it should be. */
static const char *const METHODS[] = {"GET",      "HEAD", "POST", "QUERY",
                                      "DESCRIBE", "PRI",  "get",  "GE"};
static const char *const TARGETS[] = {"/", "/a?b=%41", "/%2e%2e/x", "http://a/",
                                      "*", "a:1",      "//",        "/ "};
static const char *const VERSIONS[] = {"HTTP/1.1",  "HTTP/1.0", "HTTP/1.2", "HTTP/2.0",
                                       "HTTP/1.10", "HTT5/1.1", "HT/P/1.1", "RTSP/1.0",
                                       "ICE/1.0",   "http/1.1", "HTTP/1."};
static const char *const ENDS[] = {"\r\n", "\n", "\r", "\r\r\n"};
static const char *const FIELDS[] = {
    "Host: a",
    "Host: b",
    "Host:",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: +0",
    "Content-Length: 0, 0",
    "Content-Length:\t0\t",
    "Content-Length: 00",
    "Content-Length: 0 ",
    "Content-Length: 18446744073709551616",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: keep-alive",
    "Connection:\tClose\t",
    "Connection: x, close",
    "Connection: Upgrade",
    "Connection: Upgrade, close",
    "Proxy-Connection: close",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Sec-WebSocket-Version: 13",
    "Expect: 100-continue",
    "Trailer: x",
    "TE: trailers",
    "Accept-Language: fr",
    "If-None-Match: \"x\"",
    "X: a\xe9\xff",
    "X:",
    ": x",
    "X",
    " folded",
};
static const char ODD[] = "\0\t\n\r !\"#%,/05:;=?AaHz\x7f\x80\xff";

static uint64_t seed;

/* xorshift64*: the same everywhere. */
static unsigned below(size_t n) {
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (unsigned)((seed * UINT64_C(2685821657736338717) >> 33) % n);
}

static const char *one_of(const char *const *list, size_t n) {
    return list[below(n)];
}

#define ONE_OF(list) one_of(list, ARRAY_LEN(list))
/* The first of them, but for one in so many. */
#define FIRST_OF(list, rarely) one_of(list, below(rarely) != 0 ? 1 : ARRAY_LEN(list))

/* Half of them have some bytes changed, left out or put in. */
static void change(uint8_t *text, size_t *n) {
    for (unsigned left = below(2) * (1 + below(CHANGES_MAX)); left != 0 && *n > 1; left--) {
        const size_t at = below(*n - 1);
        const unsigned how = below(3);
        if (how == 0) {
            memmove(text + at, text + at + 1, --*n - at);
        } else {
            if (how == 1) memmove(text + at + 1, text + at, (*n)++ - at);
            text[at] = (uint8_t)ODD[below(sizeof ODD - 1)];
        }
    }
}

static struct bytes make(uint8_t text[REQUEST_MAX]) {
    struct wr w = wr_init(text, REQUEST_MAX - CHANGES_MAX);
    wr_str(&w, FIRST_OF(METHODS, 8));
    wr_str(&w, " ");
    wr_str(&w, FIRST_OF(TARGETS, 8));
    wr_str(&w, " ");
    wr_str(&w, FIRST_OF(VERSIONS, 8));
    wr_str(&w, FIRST_OF(ENDS, 100));
    if (below(8) != 0) wr_str(&w, "Host: a\r\n");
    for (unsigned left = below(FIELDS_MAX); left != 0; left--) {
        wr_str(&w, ONE_OF(FIELDS));
        wr_str(&w, FIRST_OF(ENDS, 100));
    }
    wr_str(&w, "\r\n");
    size_t n = w.at;
    change(text, &n);
    return bytes_of(text, n);
}

static void print(struct bytes b) {
    for (size_t i = 0; i < b.n; i++) {
        const uint8_t c = b.p[i];
        if (c > ' ' && c < 0x7f && c != '\\') {
            (void)putchar(c);
        } else {
            printf("\\%02x", c);
        }
    }
}

/* How it is answered, or what was read; then, behind a tab, the request. */
static void tell(struct bytes request) {
    static struct http_reader r;
    struct http_request q = {0};
    struct bytes in = request;
    http_reader_reset(&r);
    const enum http_step step = http_reader_take(&r, &in, &q);
    if (step == HTTP_REFUSED) {
        printf("%u", r.status);
    } else if (step == HTTP_MORE) {
        printf("more");
    } else {
        printf("read%s%s%s of=%zu", q.method == WEB_HEAD ? " head" : "", q.is_old ? " old" : "",
               q.keeps_alive ? " stays" : "", request.n - in.n);
        if (q.is_path_known) print(q.path);
        for (int i = 0; i < N_HTTP_TEXTS; i++) {
            printf(" ");
            print(q.text[i]);
        }
    }
    printf("\t");
    print(request);
    printf("\n");
}

int main(int argc, char **argv) {
    uint8_t text[REQUEST_MAX];
    if (argc != 3) {
        fprintf(stderr, "usage: read-requests SEED NUMBER\n");
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10) * 2 + 1; /* never 0 */
    for (unsigned long left = strtoul(argv[2], NULL, 10); left != 0; left--) tell(make(text));
    return ferror(stdout) || fflush(stdout) != 0;
}
