/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* HTTP/2 from bytes to bytes: a client that keeps the rules (libnghttp2's), and frames written by
 * hand that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/wr.h"
#include "web/http2_session.h"

enum { PIECE = 1000, BODY_LEN = 40000 };

static const char MAGIC[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static uint8_t body[BODY_LEN];

/* ---- who answers ---- */

static struct {
    unsigned n_asked, n_refused, status; /* the last status */
    char path[512], host[512], language[512];
    bool is_head, is_path_known;
} seen;

static void copy(char ret[512], struct bytes b) {
    assert_true(b.n < 512);
    (void)snprintf(ret, 512, "%.*s", (int)b.n, b.n != 0 ? (const char *)b.p : "");
}

/* "/big" is long, "/own" is in the answer's own place; others are empty. */
static void answer(void *ctx, const struct web_ask *ask, struct web_answer *ret) {
    (void)ctx;
    seen.n_asked++;
    seen.is_head = ask->is_head;
    seen.is_path_known = ask->is_path_known;
    copy(seen.path, ask->path);
    copy(seen.host, ask->host);
    copy(seen.language, ask->accept_language);
    assert_true(ask->is_secure);
    ret->status = seen.status = 200;
    ret->n_fields = 1;
    ret->fields[0] = (struct web_field){"content-type", "text/plain"};
    ret->site = NULL;
    ret->body = (struct bytes){0};
    if (strcmp(seen.path, "/big") == 0) ret->body = bytes_of(body, sizeof body);
    if (strcmp(seen.path, "/own") == 0) {
        memcpy(ret->own, "own", 3);
        ret->body = bytes_of(ret->own, 3);
    }
}

static void refuse(void *ctx, unsigned status, struct web_answer *ret) {
    (void)ctx;
    seen.n_refused++;
    ret->status = seen.status = status;
    ret->n_fields = 0;
    ret->site = NULL;
    ret->body = (struct bytes){0};
}

static struct http2_session *new_session(void) {
    static const struct http2_answers ANSWERS = {answer, refuse, NULL};
    struct http2_session *s = NULL;
    memset(&seen, 0, sizeof seen);
    assert_int_equal(http2_session_new(&ANSWERS, &s), OK);
    return s;
}

/* ---- a client that keeps the rules ---- */

struct client {
    nghttp2_session *ng;
    struct http2_session *server;
    unsigned n_open; /* streams */
    unsigned n_status[600];
    size_t n_body;
    uint32_t goaway, reset; /* the last codes; UINT32_MAX: none */
};

static int on_client_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                            size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags,
                            void *ctx) {
    (void)ng;
    (void)frame;
    (void)flags;
    (void)n_value;
    struct client *c = ctx;
    if (n_name == 7 && memcmp(name, ":status", 7) == 0)
        c->n_status[strtoul((const char *)value, NULL, 10) % 600]++;
    return 0;
}

static int on_client_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p,
                          size_t n, void *ctx) {
    (void)ng;
    (void)flags;
    (void)id;
    struct client *c = ctx;
    for (size_t i = 0; i < n && n != 3; i++) assert_int_equal(p[i], body[0]);
    c->n_body += n;
    return 0;
}

static int on_client_close(nghttp2_session *ng, int32_t id, uint32_t code, void *ctx) {
    (void)ng;
    (void)id;
    struct client *c = ctx;
    c->n_open--;
    if (code != 0) c->reset = code;
    return 0;
}

static int on_client_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx) {
    (void)ng;
    struct client *c = ctx;
    if (frame->hd.type == NGHTTP2_GOAWAY) c->goaway = frame->goaway.error_code;
    return 0;
}

static void open_client(struct client *c, bool keeps_windows) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *options = NULL;
    *c = (struct client){.server = new_session(), .goaway = UINT32_MAX, .reset = UINT32_MAX};
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&options), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_client_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_client_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_client_frame);
    if (keeps_windows) nghttp2_option_set_no_auto_window_update(options, 1);
    assert_int_equal(nghttp2_session_client_new2(&c->ng, callbacks, c, options), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(options);
    assert_int_equal(nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void close_client(struct client *c) {
    nghttp2_session_del(c->ng);
    http2_session_free(c->server);
}

/* What one has for the other, until neither has anything. */
static void exchange(struct client *c) {
    bool is_news = true;
    while (is_news) {
        uint8_t out[PIECE];
        const uint8_t *p = NULL;
        is_news = false;
        for (ssize_t n; (n = nghttp2_session_mem_send(c->ng, &p)) > 0; is_news = true) {
            for (ssize_t at = 0; at < n; at += PIECE) {
                const size_t len = (size_t)(n - at < PIECE ? n - at : PIECE);
                (void)http2_session_take(c->server, bytes_of(p + at, len));
            }
        }
        for (size_t n; (n = http2_session_give(c->server, out, sizeof out)) != 0; is_news = true)
            assert_int_equal(nghttp2_session_mem_recv(c->ng, out, n), (ssize_t)n);
        assert_true(http2_session_memory(c->server) <= HTTP2_MEMORY_MAX);
    }
}

static nghttp2_nv nv(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t no_more_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t cap,
                            uint32_t *ret_flags, nghttp2_data_source *source, void *ctx) {
    (void)ng;
    (void)id;
    (void)to;
    (void)cap;
    (void)ret_flags;
    (void)source;
    (void)ctx;
    return NGHTTP2_ERR_DEFERRED;
}

/* more: name, value, ..., NULL */
static int32_t request(struct client *c, const char *method, const char *path, bool has_body,
                       const char *const *more) {
    nghttp2_nv fields[100] = {nv(":method", method), nv(":scheme", "https"),
                              nv(":authority", "a.example"), nv(":path", path)};
    size_t n = 4;
    for (; more != NULL && more[0] != NULL; more += 2) fields[n++] = nv(more[0], more[1]);
    const nghttp2_data_provider data = {.read_callback = no_more_body};
    const int32_t id =
        nghttp2_submit_request(c->ng, NULL, fields, n, has_body ? &data : NULL, NULL);
    assert_true(id > 0);
    c->n_open++;
    return id;
}

/* The status of one request. */
static unsigned status_of(const char *method, const char *path, bool has_body,
                          const char *const *more) {
    struct client c;
    open_client(&c, false);
    (void)request(&c, method, path, has_body, more);
    exchange(&c);
    assert_int_equal(c.n_open, 0);
    assert_int_equal(http2_session_n_streams(c.server), 0);
    unsigned status = 0;
    for (unsigned i = 0; i < 600; i++) {
        if (c.n_status[i] != 0) status = i;
    }
    close_client(&c);
    return status;
}

static void test_requests(void **state) {
    (void)state;
    static const char *const FIELDS[] =
        {"accept-language", "fr", "accept-language", "ja;q=0.5", "cookie", "a=b", NULL};
    assert_int_equal(status_of("GET", "/%41/b?c=d", false, FIELDS), 200);
    assert_string_equal(seen.path, "/A/b");
    assert_string_equal(seen.host, "a.example");
    assert_string_equal(seen.language, "fr,ja;q=0.5");
    assert_false(seen.is_head);
    assert_int_equal(status_of("HEAD", "/", false, NULL), 200);
    assert_true(seen.is_head && seen.is_path_known);
    assert_int_equal(status_of("GET", "/../x", false, NULL), 200);
    assert_false(seen.is_path_known);
}

static void test_refusals(void **state) {
    (void)state;
    char path[5000], value[9000];
    static const char *const SAME[] = {"host", "a.example", NULL}, *const OTHER[] = {"host",
                                                                                     "b.example",
                                                                                     NULL};
    assert_int_equal(status_of("POST", "/", false, NULL), 405);
    assert_int_equal(status_of("POST", "/", true, NULL), 405);
    assert_int_equal(status_of("GET", "/", true, NULL), 413);
    assert_int_equal(status_of("GET", "/", false, SAME), 200);
    assert_int_equal(status_of("GET", "/", false, OTHER), 400);
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[4097] = '\0';
    assert_int_equal(status_of("GET", path, false, NULL), 414);
    path[1000] = '\0';
    assert_int_equal(status_of("GET", path, false, NULL), 200);
    assert_false(seen.is_path_known);
    memset(value, 'v', sizeof value);
    value[8500] = '\0';
    const char *const long_field[] = {"x", value, NULL};
    assert_int_equal(status_of("GET", "/", false, long_field), 431);
    const char *many[2 * 61 + 1] = {NULL};
    for (unsigned i = 0; i < 2 * 61; i += 2) {
        many[i] = "x";
        many[i + 1] = "y";
    }
    assert_int_equal(status_of("GET", "/", false, many), 431);
    many[2 * 60] = NULL;
    assert_int_equal(status_of("GET", "/", false, many), 200);
}

/* What HTTP/2 itself forbids is no request. */
static void test_malformed(void **state) {
    (void)state;
    static const char *const CASES[][3] = {
        {"connection", "close", NULL},
        {"transfer-encoding", "chunked", NULL},
        {"x", "a\nb", NULL},
        {"content-length", "5", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct client c;
        open_client(&c, false);
        (void)request(&c, "GET", "/", false, CASES[i]);
        exchange(&c);
        assert_int_equal(c.reset, NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(seen.n_asked + seen.n_refused, 0);
        close_client(&c);
    }
}

static void test_bodies(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    exchange(&c); /* it knows how many there may be at once */
    for (unsigned i = 0; i < 40; i++) (void)request(&c, "GET", "/big", false, NULL);
    (void)request(&c, "GET", "/own", false, NULL);
    exchange(&c);
    assert_int_equal(c.n_status[200], 41);
    assert_int_equal(c.n_body, 40 * BODY_LEN + 3);
    assert_int_equal(c.n_open, 0);
    assert_int_equal(c.goaway, UINT32_MAX);
    assert_int_equal(http2_session_n_left(c.server), 0);
    assert_false(http2_session_is_over(c.server));
    close_client(&c);
}

/* Who takes nothing more holds his streams and no memory beside. */
static void test_closed_windows(void **state) {
    (void)state;
    struct client c;
    open_client(&c, true);
    exchange(&c);
    for (unsigned i = 0; i < 30; i++) (void)request(&c, "GET", "/big", false, NULL);
    exchange(&c);
    assert_int_equal(c.n_body, 65535);
    assert_int_equal(http2_session_n_streams(c.server), HTTP2_STREAMS_MAX);
    assert_true(http2_session_n_left(c.server) > BODY_LEN);
    assert_true(http2_session_memory(c.server) < HTTP2_MEMORY_MAX * 3 / 4);
    close_client(&c);
}

/* Who does not wait to be told is refused what is too much, and may ask again. */
static void test_too_many_streams(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    for (unsigned i = 0; i < 40; i++) (void)request(&c, "GET", "/big", false, NULL);
    exchange(&c);
    assert_int_equal(c.n_status[200], HTTP2_STREAMS_MAX);
    assert_int_equal(c.reset, NGHTTP2_REFUSED_STREAM);
    assert_int_equal(c.goaway, UINT32_MAX);
    close_client(&c);
}

static void test_last_request(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    for (unsigned i = 0; i < HTTP2_REQUESTS_MAX + 20; i++) {
        if (nghttp2_session_check_request_allowed(c.ng) != 0)
            (void)request(&c, "GET", "/own", false, NULL);
        exchange(&c);
    }
    assert_int_equal(c.n_status[200], HTTP2_REQUESTS_MAX);
    assert_int_equal(c.goaway, NGHTTP2_NO_ERROR);
    assert_true(http2_session_is_over(c.server));
    close_client(&c);
}

static void test_finish(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    exchange(&c);
    (void)request(&c, "GET", "/big", false, NULL);
    http2_session_finish(c.server);
    http2_session_finish(c.server);
    exchange(&c);
    assert_int_equal(c.goaway, NGHTTP2_NO_ERROR);
    assert_true(http2_session_is_over(c.server));
    close_client(&c);
}

static void test_heads_that_wait(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    assert_true(http2_session_is_inside_head(c.server));
    exchange(&c);
    assert_false(http2_session_is_inside_head(c.server));
    close_client(&c);
}

/* ---- frames by hand ---- */

/* What a session that began in order answers to bytes that come again and again. */
struct raw {
    struct http2_session *s;
    unsigned n_taken; /* how often they were taken */
    uint32_t goaway;  /* code; UINT32_MAX: none */
    unsigned n_resets;
};

static void read_frames(struct raw *r, struct bytes in) {
    for (size_t at = 0; at + 9 <= in.n;) {
        const size_t n = (size_t)in.p[at] << 16 | (size_t)in.p[at + 1] << 8 | in.p[at + 2];
        const uint8_t type = in.p[at + 3];
        assert_true(at + 9 + n <= in.n);
        if (type == NGHTTP2_GOAWAY) r->goaway = in.p[at + 16];
        if (type == NGHTTP2_RST_STREAM) r->n_resets++;
        at += 9 + n;
    }
}

static void open_raw(struct raw *r) {
    *r = (struct raw){.s = new_session(), .goaway = UINT32_MAX};
    static const uint8_t SETTINGS[9] = {0, 0, 0, NGHTTP2_SETTINGS};
    assert_true(http2_session_take(r->s, bytes_of(MAGIC, sizeof MAGIC - 1)));
    assert_true(http2_session_take(r->s, bytes_of(SETTINGS, sizeof SETTINGS)));
}

/* Reads what there is to be read when is_read; else the peer does not. */
static void give_all(struct raw *r) {
    static uint8_t out[512 * 1024];
    size_t n = 0;
    for (size_t got; (got = http2_session_give(r->s, out + n, sizeof out - n)) != 0;) n += got;
    read_frames(r, bytes_of(out, n));
}

/* Sends the frame that make() writes until the session has had enough, in pieces as they are read
 * from a socket. */
static void flood(struct raw *r, void (*make)(struct wr *w, unsigned i), unsigned n, bool reads) {
    for (r->n_taken = 0; r->n_taken < n; r->n_taken++) {
        uint8_t buf[20000];
        struct wr w = wr_init(buf, sizeof buf);
        make(&w, r->n_taken);
        const struct bytes b = wr_bytes(&w);
        assert_int_equal(wr_err(&w), OK);
        for (size_t at = 0; at < b.n; at += 1024) {
            const size_t len = b.n - at < 1024 ? b.n - at : 1024;
            if (!http2_session_take(r->s, bytes_of(b.p + at, len))) {
                give_all(r);
                return;
            }
        }
        if (reads) give_all(r);
        if (http2_session_is_over(r->s)) return; /* and is closed */
        assert_true(http2_session_memory(r->s) <= HTTP2_MEMORY_MAX);
    }
    give_all(r);
}

static void frame(struct wr *w, uint8_t type, uint8_t flags, uint32_t stream,
                  struct bytes payload) {
    wr_u8(w, (uint8_t)(payload.n >> 16));
    wr_u16(w, (uint16_t)payload.n);
    wr_u8(w, type);
    wr_u8(w, flags);
    wr_u32(w, stream);
    wr_bytes_raw(w, payload);
}

/* :method GET, :scheme https, :path /, all out of the static table, and :authority "a". */
static const uint8_t HEAD[] = {0x82, 0x87, 0x84, 0x41, 0x01, 'a'};
static const uint8_t ZEROS[16384];

static void a_ping(struct wr *w, unsigned i) {
    (void)i;
    frame(w, NGHTTP2_PING, 0, 0, bytes_of(ZEROS, 8));
}

static void settings(struct wr *w, unsigned i) {
    (void)i;
    frame(w, NGHTTP2_SETTINGS, 0, 0, (struct bytes){0});
}

static void window(struct wr *w, unsigned i) {
    static const uint8_t ONE[4] = {0, 0, 0, 1};
    (void)i;
    frame(w, NGHTTP2_WINDOW_UPDATE, 0, 0, bytes_of(ONE, 4));
}

static void priority(struct wr *w, unsigned i) {
    frame(w, NGHTTP2_PRIORITY, 0, 2 * i + 1, bytes_of(ZEROS, 5));
}

static void unknown(struct wr *w, unsigned i) {
    (void)i;
    frame(w, 0x77, 0, 0, (struct bytes){0});
}

static void big_unknown(struct wr *w, unsigned i) {
    (void)i;
    frame(w, 0x77, 0, 0, bytes_of(ZEROS, sizeof ZEROS));
}

/* A request whose body never ends: once its stream is gone, what comes of it is nothing. */
static void empty_data(struct wr *w, unsigned i) {
    if (i == 0) frame(w, NGHTTP2_HEADERS, 4, 1, bytes_of(HEAD, sizeof HEAD));
    frame(w, NGHTTP2_DATA, 0, 1, (struct bytes){0});
}

static void rapid_reset(struct wr *w, unsigned i) {
    static const uint8_t CANCEL[4] = {0, 0, 0, NGHTTP2_CANCEL};
    frame(w, NGHTTP2_HEADERS, 5, 2 * i + 1, bytes_of(HEAD, sizeof HEAD));
    frame(w, NGHTTP2_RST_STREAM, 0, 2 * i + 1, bytes_of(CANCEL, 4));
}

/* The peer lets us do it: a window that is made too large, after the request. */
static void made_to_reset(struct wr *w, unsigned i) {
    static const uint8_t MOST[4] = {0x7f, 0xff, 0xff, 0xff};
    frame(w, NGHTTP2_HEADERS, 4, 2 * i + 1, bytes_of(HEAD, sizeof HEAD));
    frame(w, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, bytes_of(MOST, 4));
}

static void malformed_heads(struct wr *w, unsigned i) {
    frame(w, NGHTTP2_HEADERS, 5, 2 * i + 1, bytes_of(HEAD, 2)); /* without a path */
}

static void continuations(struct wr *w, unsigned i) {
    if (i == 0) frame(w, NGHTTP2_HEADERS, 1, 1, bytes_of(HEAD, sizeof HEAD));
    if (i != 0) frame(w, NGHTTP2_CONTINUATION, 0, 1, (struct bytes){0});
}

static void long_head(struct wr *w, unsigned i) {
    static uint8_t block[4000]; /* "x" with 3,900 bytes that are no end of a head */
    static const uint8_t FIELD[] = {0x00, 0x01, 'x', 0x7f, 0xbd, 0x1d};
    memset(block, 'y', sizeof block);
    memcpy(block, FIELD, sizeof FIELD);
    frame(w, i == 0 ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, i == 0 ? 1 : 0, 1,
          bytes_of(block, 6 + 127 + 0x3d + 0x1d * 128));
}

/* A field of 4,000 bytes in the table of heads, as large as it is before SETTINGS are known to the
 * peer, and a head that names it a thousand times. */
static void bomb(struct wr *w, unsigned i) {
    static uint8_t block[6000];
    struct wr b = wr_init(block, sizeof block);
    (void)i;
    wr_bytes_raw(&b, bytes_of(HEAD, sizeof HEAD));
    static const uint8_t FIELD[] = {0x40, 0x01, 'x', 0x7f, 0xa1, 0x1e}; /* 4,000 bytes */
    wr_bytes_raw(&b, bytes_of(FIELD, sizeof FIELD));
    for (unsigned n = 0; n < 127 + 0x21 + 0x1e * 128; n++) wr_u8(&b, 'y');
    for (unsigned n = 0; n < 1000; n++) wr_u8(&b, 0x80 | 62);
    frame(w, NGHTTP2_HEADERS, 5, 1, wr_bytes(&b));
}

static void test_floods(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*make)(struct wr *w, unsigned i);
        unsigned n_most; /* frames that are taken, at most */
        uint32_t goaway; /* the code; UINT32_MAX: any end */
    } CASES[] = {
        {"PING", a_ping, HTTP2_IDLE_FRAMES_MAX, NGHTTP2_ENHANCE_YOUR_CALM},
        {"SETTINGS", settings, HTTP2_IDLE_FRAMES_MAX, NGHTTP2_ENHANCE_YOUR_CALM},
        {"WINDOW_UPDATE", window, HTTP2_IDLE_FRAMES_MAX, NGHTTP2_ENHANCE_YOUR_CALM},
        {"PRIORITY", priority, HTTP2_IDLE_FRAMES_MAX, NGHTTP2_ENHANCE_YOUR_CALM},
        {"unknown", unknown, HTTP2_INPUT_MAX / 9 + 1, NGHTTP2_ENHANCE_YOUR_CALM},
        {"unknown, big", big_unknown, 4, NGHTTP2_ENHANCE_YOUR_CALM},
        {"DATA", empty_data, HTTP2_INPUT_MAX / 9 + 1, UINT32_MAX},
        {"rapid reset", rapid_reset, HTTP2_REQUESTS_MAX + 101, UINT32_MAX},
        {"made to reset", made_to_reset, HTTP2_REQUESTS_MAX + 101, UINT32_MAX},
        {"malformed", malformed_heads, HTTP2_REQUESTS_MAX + 101, UINT32_MAX},
        {"CONTINUATION", continuations, HTTP2_BLOCK_MAX / 9 + 1, UINT32_MAX},
        {"long head", long_head, HTTP2_BLOCK_MAX / 3900 + 1, NGHTTP2_ENHANCE_YOUR_CALM},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        for (int reads = 0; reads < 2; reads++) {
            struct raw r;
            open_raw(&r);
            flood(&r, CASES[i].make, 20000, reads != 0);
            if (r.n_taken > CASES[i].n_most || !http2_session_is_over(r.s))
                fail_msg("%s: %u were taken", CASES[i].name, r.n_taken);
            /* Whose acknowledgements pile up is cut off without a word by the library. */
            if (reads != 0 && CASES[i].goaway != UINT32_MAX && r.goaway != CASES[i].goaway)
                fail_msg("%s: GOAWAY with %u", CASES[i].name, r.goaway);
            http2_session_free(r.s);
        }
    }
}

static void test_bomb(void **state) {
    (void)state;
    struct raw r;
    open_raw(&r);
    flood(&r, bomb, 1, true);
    assert_int_equal(seen.n_asked + seen.n_refused, 0);
    assert_int_equal(r.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(http2_session_is_over(r.s));
    http2_session_free(r.s);
}

static void test_no_http2(void **state) {
    (void)state;
    static const char *const CASES[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\x16\x03\x01"};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct http2_session *s = new_session();
        assert_false(http2_session_take(s, bytes_str(CASES[i])));
        assert_true(http2_session_is_over(s));
        http2_session_free(s);
    }
}

/* Each byte of a client's, alone: as well as in one piece. */
static void test_pieces(void **state) {
    (void)state;
    struct raw r;
    uint8_t buf[64], out[1024];
    struct wr w = wr_init(buf, sizeof buf);
    open_raw(&r);
    frame(&w, NGHTTP2_HEADERS, 5, 1, bytes_of(HEAD, sizeof HEAD));
    const struct bytes b = wr_bytes(&w);
    for (size_t i = 0; i < b.n; i++) {
        assert_int_equal(seen.n_asked, 0);
        assert_true(http2_session_take(r.s, bytes_of(b.p + i, 1)));
        assert_int_equal(http2_session_is_inside_head(r.s), i >= 8 && i + 1 < b.n);
    }
    assert_int_equal(seen.n_asked, 1);
    assert_string_equal(seen.host, "a");
    size_t n = 0;
    while (http2_session_give(r.s, out + n, 1) != 0) n++;
    read_frames(&r, bytes_of(out, n));
    http2_session_free(r.s);
}

/* The library's memory is counted, and refused beyond the limit: then all ends. */
static void test_memory(void **state) {
    (void)state;
    struct client c;
    open_client(&c, false);
    exchange(&c);
    print_message("# idle: %zu bytes\n", http2_session_memory(c.server));
    assert_true(http2_session_memory(c.server) < HTTP2_MEMORY_MAX / 2);
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++) (void)request(&c, "GET", "/own", false, NULL);
    const uint8_t *p = NULL;
    for (ssize_t n; (n = nghttp2_session_mem_send(c.ng, &p)) > 0;)
        assert_true(http2_session_take(c.server, bytes_of(p, (size_t)n)));
    print_message("# 16 answers waiting: %zu bytes\n", http2_session_memory(c.server));
    assert_true(http2_session_memory(c.server) < HTTP2_MEMORY_MAX * 3 / 4);
    exchange(&c);
    assert_int_equal(c.n_status[200], HTTP2_STREAMS_MAX);
    close_client(&c);
}

static size_t resident_bytes(void) {
    size_t n_pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %zu", &n_pages), 1);
    assert_int_equal(fclose(f), 0);
    return n_pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The library takes 16 KB for frames that are never that long: they are no memory. */
static void test_resident(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* they put much around each piece */
#endif
    enum { N = 500, MOST = 16 * 1024 };
    static struct raw r[N];
    static const uint8_t BIG[] = {0x82, 0x87, 4, 4, '/', 'b', 'i', 'g', 1, 1, 'a'};
    size_t before = 0;
    for (unsigned i = 0; i < N; i++) {
        uint8_t buf[64];
        struct wr w = wr_init(buf, sizeof buf);
        if (i == N / 5) before = resident_bytes();
        open_raw(&r[i]);
        frame(&w, NGHTTP2_HEADERS, 5, 1, bytes_of(BIG, sizeof BIG));
        assert_true(http2_session_take(r[i].s, wr_bytes(&w)));
        give_all(&r[i]);
        assert_string_equal(seen.path, "/big");
        assert_int_equal(http2_session_n_streams(r[i].s), 0);
    }
    const size_t each = (resident_bytes() - before) / (N - N / 5);
    print_message("# resident: %zu bytes each\n", each);
    assert_true(each > 0 && each < MOST);
    for (unsigned i = 0; i < N; i++) http2_session_free(r[i].s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_closed_windows),
        cmocka_unit_test(test_too_many_streams),
        cmocka_unit_test(test_last_request),
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_heads_that_wait),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_no_http2),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_resident),
    };
    memset(body, 'b', sizeof body);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
