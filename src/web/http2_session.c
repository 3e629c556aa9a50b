/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http2_session.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rd.h"
#include "web/http_path.h"
#include "web/http_reader.h"

enum {
    FIELD_OVERHEAD = 32, /* of each field in a header list: RFC 9113, section 6.5.2 */
    ACKS_MAX = 64,       /* not written yet */
    NAMES_MAX = WEB_FIELDS_MAX + 1,
    MAPPED_MIN = 8192, /* bytes of a piece of memory that has pages of its own */
    DATA_MAX = 4000,   /* bytes of a body in a frame: with its head less than a page */
    BAD = 400,
    NOT_ALLOWED = 405,
    TOO_LARGE = 413,
    URI_TOO_LONG = 414,
    FIELDS_TOO_LARGE = 431
};

/* The request whose head is being read. */
struct head {
    int32_t stream_id;
    unsigned status; /* of a refusal that is certain; 0: none */
    enum web_method method;
    size_t n_list; /* bytes of the header list */
    unsigned n_fields;
    bool has_authority;
    bool is_long[N_HTTP_LONG_TEXTS]; /* did not fit, and is not there */
    uint16_t n[N_HTTP_LONG_TEXTS];
    char texts[N_HTTP_LONG_TEXTS][HTTP_TEXT_MAX];
};

/* An answer that is being sent. */
struct reply {
    int32_t stream_id; /* 0: this place is free */
    bool ends_early;   /* the request's body is not waited for */
    struct site *site; /* owned: what body is in; NULL: none */
    uint8_t *own;      /* owned: what body is in otherwise; NULL: none */
    struct bytes body; /* what is left of it */
};

struct http2_session {
    struct http2_answers answers;
    nghttp2_session *ng; /* owned */
    size_t n_memory;
    size_t n_input; /* bytes since the last request */
    size_t n_block; /* bytes since a head began whose end is not there */
    unsigned n_requests, n_resets, n_idle;
    bool is_inside_head, is_finishing, is_closing, is_broken;
    struct bytes out;  /* the library's, until it is asked for more */
    struct head *head; /* owned; NULL: none is being read */
    struct reply replies[HTTP2_STREAMS_MAX];
};

/* ---- memory ---- */

/* In front of each piece. */
union piece {
    size_t n;
    max_align_t align;
};

/* What the library takes for a frame is the longest that there can be, and ours are shorter: of a
 * piece with pages of its own only those are there that were written to. */
static union piece *make_piece(size_t n) {
    union piece *p = NULL;
    if (n < MAPPED_MIN) return malloc(sizeof *p + n);
    p = mmap(NULL, sizeof *p + n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static void free_piece(union piece *p) {
    if (p != NULL && p->n >= MAPPED_MIN) {
        (void)munmap(p, sizeof *p + p->n);
    } else {
        free(p);
    }
}

/* NULL: it is as it was. */
static union piece *move_piece(union piece *old, size_t n_old, size_t n) {
    union piece *p = make_piece(n);
    if (p == NULL) return NULL;
    if (old != NULL) memcpy(p + 1, old + 1, n_old < n ? n_old : n);
    free_piece(old);
    return p;
}

static void *resize(struct http2_session *s, union piece *old, size_t n) {
    const size_t n_old = old != NULL ? old->n : 0;
    if (n > HTTP2_MEMORY_MAX || s->n_memory - n_old + n > HTTP2_MEMORY_MAX) return NULL;
    union piece *p = move_piece(old, n_old, n);
    if (p == NULL) return NULL;
    p->n = n;
    s->n_memory = s->n_memory - n_old + n;
    return p + 1;
}

static void *take_memory(size_t n, void *ctx) {
    return resize(ctx, NULL, n);
}

static void *take_zeros(size_t n, size_t size, void *ctx) {
    if (size != 0 && n > HTTP2_MEMORY_MAX / size) return NULL;
    void *p = resize(ctx, NULL, n * size);
    if (p != NULL) memset(p, 0, n * size);
    return p;
}

static void give_memory(void *at, void *ctx) {
    struct http2_session *s = ctx;
    if (at == NULL) return;
    union piece *p = (union piece *)at - 1;
    s->n_memory -= p->n;
    free_piece(p);
}

static void *change_memory(void *at, size_t n, void *ctx) {
    return resize(ctx, at != NULL ? (union piece *)at - 1 : NULL, n);
}

/* ---- too much ---- */

static void calm(struct http2_session *s) {
    if (s->is_closing) return;
    s->is_closing = true;
    if (nghttp2_session_terminate_session(s->ng, NGHTTP2_ENHANCE_YOUR_CALM) != 0)
        s->is_broken = true;
}

static void count_reset(struct http2_session *s) {
    if (++s->n_resets > HTTP2_RESETS_MAX) calm(s);
}

/* ---- replies ---- */

static struct reply *find_reply(struct http2_session *s, int32_t stream_id) {
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++) {
        if (s->replies[i].stream_id == stream_id) return &s->replies[i];
    }
    return NULL;
}

static void drop_reply(struct http2_session *s, struct reply *r) {
    site_unref(r->site);
    give_memory(r->own, s);
    *r = (struct reply){0};
}

static ssize_t read_body(nghttp2_session *ng, int32_t stream_id, uint8_t *to, size_t cap,
                         uint32_t *ret_flags, nghttp2_data_source *source, void *ctx) {
    (void)ng;
    (void)source;
    struct reply *r = find_reply(ctx, stream_id);
    if (r == NULL) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = r->body.n < cap ? r->body.n : cap;
    if (n > DATA_MAX) n = DATA_MAX;
    if (n != 0) memcpy(to, r->body.p, n);
    r->body = bytes_of(r->body.p + n, r->body.n - n);
    if (r->body.n == 0) *ret_flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* The library copies names and values, and takes its bytes as not const. */
static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

static int submit(struct http2_session *s, int32_t stream_id, const struct web_answer *a) {
    nghttp2_nv fields[NAMES_MAX];
    char status[12];
    const nghttp2_data_provider body = {.read_callback = read_body};
    (void)snprintf(status, sizeof status, "%u", a->status);
    fields[0] = field(":status", status);
    for (unsigned i = 0; i < a->n_fields; i++)
        fields[i + 1] = field(a->fields[i].name, a->fields[i].value);
    return nghttp2_submit_response(s->ng, stream_id, fields, a->n_fields + 1,
                                   a->body.n != 0 ? &body : NULL);
}

/* Its place is not ours. */
static bool keep_own(struct http2_session *s, const struct web_answer *a, struct reply *r) {
    r->own = take_memory(a->body.n, s);
    if (r->own == NULL) return false;
    memcpy(r->own, a->body.p, a->body.n);
    r->body = bytes_of(r->own, a->body.n);
    return true;
}

static bool refuse_stream(struct http2_session *s, int32_t stream_id) {
    count_reset(s);
    return nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_REFUSED_STREAM) ==
           0;
}

/* Takes over what a has. */
static bool begin_reply(struct http2_session *s, int32_t stream_id, bool ends_early,
                        const struct web_answer *a) {
    struct reply *r = find_reply(s, 0);
    if (r == NULL) {
        site_unref(a->site);
        return refuse_stream(s, stream_id);
    }
    *r = (struct reply){.stream_id = stream_id,
                        .ends_early = ends_early,
                        .site = a->site,
                        .body = a->body};
    if (a->body.n != 0 && a->body.p == a->own && !keep_own(s, a, r)) return false;
    return submit(s, stream_id, a) == 0;
}

/* ---- heads ---- */

static const char *const KEPT[N_HTTP_LONG_TEXTS] = {
    [HTTP_TARGET] = ":path",
    [HTTP_HOST] = ":authority",
    [HTTP_ACCEPT_LANGUAGE] = "accept-language",
    [HTTP_ACCEPT_ENCODING] = "accept-encoding",
    [HTTP_IF_NONE_MATCH] = "if-none-match",
};

static void keep(struct head *h, enum http_text text, struct bytes b) {
    const size_t room = (size_t)(HTTP_TEXT_MAX - h->n[text]);
    if (b.n > room) {
        h->is_long[text] = true;
        return;
    }
    memcpy(h->texts[text] + h->n[text], b.p, b.n);
    h->n[text] = (uint16_t)(h->n[text] + b.n);
}

static struct bytes kept(const struct head *h, enum http_text text) {
    return h->is_long[text] ? (struct bytes){0} : bytes_of(h->texts[text], h->n[text]);
}

/* Of old clients and proxies; it has to be that of :authority, where both are. */
static void take_host(struct head *h, struct bytes value) {
    if (!h->has_authority) {
        keep(h, HTTP_HOST, value);
    } else if (!bytes_equal(kept(h, HTTP_HOST), value)) {
        h->status = BAD;
    }
}

static void take_method(struct head *h, struct bytes value) {
    h->method = bytes_equal(value, bytes_str("GET"))    ? WEB_GET
                : bytes_equal(value, bytes_str("HEAD")) ? WEB_HEAD
                                                        : WEB_OTHER;
}

static void take_field(struct head *h, struct bytes name, struct bytes value) {
    if (bytes_equal(name, bytes_str(":method"))) take_method(h, value);
    if (bytes_equal(name, bytes_str(":authority"))) h->has_authority = true;
    if (bytes_equal(name, bytes_str("host"))) take_host(h, value);
    if (bytes_equal(name, bytes_str(":path")) && value.n > HTTP_LINE_MAX && h->status == 0)
        h->status = URI_TOO_LONG;
    for (unsigned i = 0; i < N_HTTP_LONG_TEXTS; i++) {
        if (!bytes_equal(name, bytes_str(KEPT[i]))) continue;
        /* Of a list that comes in several fields. */
        if (h->n[i] != 0) keep(h, (enum http_text)i, bytes_str(","));
        keep(h, (enum http_text)i, value);
    }
}

static unsigned find_fault(const struct head *h, bool has_body) {
    const struct bytes target = kept(h, HTTP_TARGET);
    if (h->status != 0) return h->status;
    if (h->method == WEB_OTHER) return NOT_ALLOWED;
    if (h->is_long[HTTP_HOST]) return BAD;
    if (!h->is_long[HTTP_TARGET] && (target.n == 0 || target.p[0] != '/')) return BAD;
    return has_body ? TOO_LARGE : 0;
}

static void ask(struct http2_session *s, struct head *h, struct web_answer *ret) {
    struct rd target = rd_init(kept(h, HTTP_TARGET));
    const struct bytes path = rd_part(&target, '?');
    struct web_ask a = {
        .is_head = h->method == WEB_HEAD,
        .is_secure = true,
        .host = kept(h, HTTP_HOST),
        .accept_language = kept(h, HTTP_ACCEPT_LANGUAGE),
        .accept_encoding = kept(h, HTTP_ACCEPT_ENCODING),
        .if_none_match = kept(h, HTTP_IF_NONE_MATCH),
    };
    /* In its own place: it only becomes shorter. */
    a.is_path_known =
        !h->is_long[HTTP_TARGET] && http_path_decode(path, h->texts[HTTP_TARGET], &a.path) == OK;
    s->answers.answer(s->answers.ctx, &a, ret);
}

static void drop_head(struct http2_session *s) {
    give_memory(s->head, s);
    s->head = NULL;
}

/* A head is whole. */
static bool answer_head(struct http2_session *s, bool has_body) {
    struct web_answer a;
    struct head *h = s->head;
    const int32_t stream_id = h->stream_id;
    const unsigned status = find_fault(h, has_body);
    if (status == 0) {
        ask(s, h, &a);
    } else {
        s->answers.refuse(s->answers.ctx, status, &a);
    }
    drop_head(s);
    s->n_input = 0;
    if (s->n_requests == HTTP2_REQUESTS_MAX) http2_session_finish(s);
    return begin_reply(s, stream_id, has_body, &a);
}

/* ---- what the library tells ---- */

/* A frame comes. Of those that go on with a head, and of those of streams that are gone, the
 * library does not tell: of them the bytes are counted. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *ctx) {
    (void)ng;
    struct http2_session *s = ctx;
    if (hd->type == NGHTTP2_HEADERS) {
        s->is_inside_head = true;
        s->n_block = 0;
    } else if (++s->n_idle > HTTP2_IDLE_FRAMES_MAX) {
        calm(s);
    }
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx) {
    (void)ng;
    struct http2_session *s = ctx;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (s->n_requests == HTTP2_REQUESTS_MAX)
        return refuse_stream(s, frame->hd.stream_id) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    s->n_requests++;
    if (s->head == NULL) s->head = take_memory(sizeof *s->head, s);
    if (s->head == NULL) return NGHTTP2_ERR_CALLBACK_FAILURE;
    memset(s->head, 0, offsetof(struct head, texts));
    s->head->stream_id = frame->hd.stream_id;
    s->head->method = WEB_OTHER;
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags,
                     void *ctx) {
    (void)ng;
    (void)flags;
    struct http2_session *s = ctx;
    struct head *h = s->head;
    if (h == NULL || h->stream_id != frame->hd.stream_id) return 0; /* a trailer */
    h->n_list += n_name + n_value + FIELD_OVERHEAD;
    if (++h->n_fields > HTTP_FIELDS_MAX || h->n_list > HTTP2_HEAD_MAX) h->status = FIELDS_TOO_LARGE;
    if (h->n_list > HTTP2_LIST_END) { /* a short block can stand for a very long list */
        calm(s);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (h->status != FIELDS_TOO_LARGE)
        take_field(h, bytes_of(name, n_name), bytes_of(value, n_value));
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx) {
    (void)ng;
    struct http2_session *s = ctx;
    if (frame->hd.type == NGHTTP2_RST_STREAM) count_reset(s);
    if (frame->hd.type == NGHTTP2_SETTINGS || frame->hd.type == NGHTTP2_HEADERS)
        s->is_inside_head = false;
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (s->head == NULL || s->head->stream_id != frame->hd.stream_id || s->is_closing) return 0;
    const bool has_body = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0;
    return answer_head(s, has_body) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A frame that cannot be understood: its stream is reset, or all ends. */
static int on_bad_frame(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *ctx) {
    (void)ng;
    (void)why;
    struct http2_session *s = ctx;
    if (frame->hd.type == NGHTTP2_HEADERS) s->is_inside_head = false;
    count_reset(s);
    return 0;
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx) {
    struct http2_session *s = ctx;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    const struct reply *r = find_reply(s, frame->hd.stream_id);
    if (r == NULL || !r->ends_early) return 0;
    /* RFC 9113, section 8.1: the answer is whole, and the rest of the request of no interest. */
    return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                     NGHTTP2_NO_ERROR) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t why, void *ctx) {
    (void)ng;
    (void)why;
    struct http2_session *s = ctx;
    struct reply *r = find_reply(s, stream_id);
    if (r != NULL) drop_reply(s, r);
    if (s->head != NULL && s->head->stream_id == stream_id) drop_head(s);
    return 0;
}

/* ---- opening and ending ---- */

static nghttp2_session_callbacks *new_callbacks(void) {
    nghttp2_session_callbacks *c = NULL;
    if (nghttp2_session_callbacks_new(&c) != 0) return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_bad_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    return c;
}

static nghttp2_option *new_options(void) {
    nghttp2_option *o = NULL;
    if (nghttp2_option_new(&o) != 0) return NULL;
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_no_auto_window_update(o, 1); /* no body is ever taken */
    nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
    nghttp2_option_set_max_deflate_dynamic_table_size(o, 0);
    return o;
}

static bool open_session(struct http2_session *s) {
    nghttp2_mem memory = {s, take_memory, give_memory, take_zeros, change_memory};
    nghttp2_session_callbacks *callbacks = new_callbacks();
    nghttp2_option *options = new_options();
    const bool good = callbacks != NULL && options != NULL &&
                      nghttp2_session_server_new3(&s->ng, callbacks, s, options, &memory) == 0;
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    return good;
}

/* No table of heads, and no window for bodies, which are not taken. */
static bool submit_settings(struct http2_session *s) {
    static const nghttp2_settings_entry SETTINGS[] =
    { {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEAD_MAX},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0},
#if NGHTTP2_VERSION_NUM >= 0x013000
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
#endif
    };
    return nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, SETTINGS, ARRAY_LEN(SETTINGS)) == 0;
}

enum err http2_session_new(const struct http2_answers *a, struct http2_session **ret) {
    struct http2_session *s = calloc(1, sizeof *s);
    if (s == NULL) return E_NO_MEMORY;
    s->answers = *a;
    s->n_memory = sizeof *s;
    s->is_inside_head = true; /* what begins a connection is waited for as long */
    if (!open_session(s) || !submit_settings(s)) {
        http2_session_free(s);
        return E_NO_MEMORY;
    }
    *ret = s;
    return OK;
}

void http2_session_free(struct http2_session *s) {
    if (s == NULL) return;
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++) drop_reply(s, &s->replies[i]);
    drop_head(s);
    nghttp2_session_del(s->ng);
    assert(s->n_memory == sizeof *s);
    free(s);
}

/* ---- bytes ---- */

bool http2_session_take(struct http2_session *s, struct bytes in) {
    if (s->is_broken || s->is_closing) return false;
    s->n_input += in.n;
    const ssize_t n = nghttp2_session_mem_recv(s->ng, in.p, in.n);
    if (n < 0)
        s->is_broken = true; /* or out of memory; the library has said GOAWAY where it could */
    if (s->is_inside_head) s->n_block += in.n;
    if (s->n_input > HTTP2_INPUT_MAX || (s->is_inside_head && s->n_block > HTTP2_BLOCK_MAX))
        calm(s);
    return !s->is_broken && !s->is_closing;
}

size_t http2_session_give(struct http2_session *s, uint8_t *to, size_t cap) {
    size_t n = 0;
    while (n < cap && !s->is_broken) {
        if (s->out.n == 0) {
            const uint8_t *p = NULL;
            const ssize_t got = nghttp2_session_mem_send(s->ng, &p);
            if (got < 0) s->is_broken = true;
            if (got <= 0) break;
            s->out = bytes_of(p, (size_t)got);
        }
        const size_t part = s->out.n < cap - n ? s->out.n : cap - n;
        memcpy(to + n, s->out.p, part);
        s->out = bytes_of(s->out.p + part, s->out.n - part);
        n += part;
    }
    return n;
}

void http2_session_finish(struct http2_session *s) {
    if (s->is_finishing || s->is_closing || s->is_broken) return;
    s->is_finishing = true;
    const int32_t last = nghttp2_session_get_last_proc_stream_id(s->ng);
    if (nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        s->is_broken = true;
}

bool http2_session_is_over(const struct http2_session *s) {
    return s->is_broken || (s->out.n == 0 && nghttp2_session_want_read(s->ng) == 0 &&
                            nghttp2_session_want_write(s->ng) == 0);
}

unsigned http2_session_n_streams(const struct http2_session *s) {
    unsigned n = 0;
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++) n += s->replies[i].stream_id != 0 ? 1 : 0;
    return n;
}

unsigned http2_session_n_requests(const struct http2_session *s) {
    return s->n_requests;
}

size_t http2_session_n_left(const struct http2_session *s) {
    size_t n = 0;
    for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++) n += s->replies[i].body.n;
    return n;
}

bool http2_session_is_inside_head(const struct http2_session *s) {
    return s->is_inside_head;
}

size_t http2_session_memory(const struct http2_session *s) {
    return s->n_memory;
}
