/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* libcurl says which descriptors it waits for and until when (on_socket, on_timer); the loop tells
 * it what became of that (act). What has ended is picked up after each such call, never inside of a
 * callback of libcurl's. */
#include "names/transfer.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "fetch/handle.h"
#include "model/limits.h"
#include "net/watch.h"

enum { BODY_FIRST = 1024, PATH_MAX_LEN = 300 };

struct transfers {
    /* fixed after transfers_new() */
    struct loop *loop;               /* borrowed */
    const struct endpoint *endpoint; /* borrowed */
    size_t body_max;
    CURLM *multi;               /* owned */
    struct curl_slist *headers; /* owned */
    /* owner loop only */
    struct loop_timer timer;
    CURL *idle[RESOLVER_IDLE_MAX]; /* owned; set up, for the next transfer */
    unsigned n_idle;
    bool is_collecting;
};

/* A descriptor of libcurl's. */
struct socket {
    struct watch watch;
    struct transfers *of;
    curl_socket_t fd;
};

/* ---- one transfer ---- */

static bool make_room(struct transfer *t, size_t n) {
    if (n <= t->cap) return true;
    size_t cap = t->cap != 0 ? t->cap : BODY_FIRST;
    while (cap < n) cap *= 2;
    uint8_t *buf = realloc(t->buf, cap);
    if (buf == NULL) return false;
    t->buf = buf;
    t->cap = cap;
    return true;
}

static unsigned status_of(CURL *easy) {
    long status = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status > 0 && status < 1000 ? (unsigned)status : 0;
}

/* Of an error the status says all; its body is not read. Returning less than it was given ends the
 * transfer. */
static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    const size_t len = size * n; /* size is 1 */
    if (status_of(t->easy) >= 400) return 0;
    if (len > t->of->body_max - t->body.n) {
        t->result = TRANSFER_TOO_LARGE;
        return 0;
    }
    if (!make_room(t, t->body.n + len)) {
        t->result = TRANSFER_NO_MEMORY;
        return 0;
    }
    memcpy(t->buf + t->body.n, p, len);
    t->body = bytes_of(t->buf, t->body.n + len);
    return len;
}

static enum transfer_result result_of(CURLcode code, unsigned status) {
    if (status >= 400) return TRANSFER_OK;
    switch (code) {
    case CURLE_OK:
        return TRANSFER_OK;
    case CURLE_OPERATION_TIMEDOUT:
        return TRANSFER_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return TRANSFER_NO_MEMORY;
    default:
        return TRANSFER_FAILED;
    }
}

/* ---- handles ---- */

static bool set_auth(CURL *h, const struct endpoint *e) {
    switch (e->auth) {
    case ENDPOINT_OPEN:
        return true;
    case ENDPOINT_BEARER:
        return curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) == CURLE_OK &&
               curl_easy_setopt(h, CURLOPT_XOAUTH2_BEARER, e->secret) == CURLE_OK;
    case ENDPOINT_BASIC:
        return curl_easy_setopt(h, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
               curl_easy_setopt(h, CURLOPT_USERPWD, e->secret) == CURLE_OK;
    }
    return false;
}

/* A look-up that hangs is left to its thread: a loop does not wait for it. */
static void set_quick_exit(CURL *h) {
#if LIBCURL_VERSION_NUM >= 0x075700
    (void)curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
#else
    (void)h;
#endif
}

/* What is the same for all. */
static CURL *new_handle(const struct endpoint *e, struct curl_slist *headers) {
    CURL *h = fetch_handle_new();
    if (h == NULL) return NULL;
    set_quick_exit(h);
    const bool good =
        curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers) == CURLE_OK && set_auth(h, e);
    if (good) return h;
    curl_easy_cleanup(h);
    return NULL;
}

static CURL *take_handle(struct transfers *ts) {
    return ts->n_idle != 0 ? ts->idle[--ts->n_idle] : new_handle(ts->endpoint, ts->headers);
}

static void give_handle_back(struct transfers *ts, CURL *h) {
    if (ts->n_idle < RESOLVER_IDLE_MAX) {
        ts->idle[ts->n_idle++] = h;
    } else {
        curl_easy_cleanup(h);
    }
}

/* ---- the end of transfers ---- */

static void take_out(struct transfer *t) {
    struct transfers *ts = t->of;
    (void)curl_multi_remove_handle(ts->multi, t->easy);
    give_handle_back(ts, t->easy);
    t->easy = NULL;
    t->of = NULL;
}

static void finish(struct transfer *t, CURLcode code) {
    t->status = status_of(t->easy);
    const enum transfer_result r = result_of(code, t->status);
    if (r != TRANSFER_FAILED || t->result == TRANSFER_OK)
        t->result = r; /* else on_body() said it */
    if (t->status >= 400) t->body = (struct bytes){0};
    take_out(t);
    uint8_t *buf = t->buf;
    t->done(t); /* may free t */
    free(buf);
}

/* Not from inside itself: done() may start another transfer. */
static void collect(struct transfers *ts) {
    int left;
    if (ts->is_collecting) return;
    ts->is_collecting = true;
    for (CURLMsg *m; (m = curl_multi_info_read(ts->multi, &left)) != NULL;) {
        struct transfer *t = NULL;
        if (m->msg != CURLMSG_DONE) continue;
        const CURLcode code = m->data.result; /* m is gone with the handle */
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        finish(t, code);
    }
    ts->is_collecting = false;
}

/* ---- the loop's part ---- */

static void act(struct transfers *ts, curl_socket_t fd, int events) {
    int n_running;
    (void)curl_multi_socket_action(ts->multi, fd, events, &n_running);
    collect(ts);
}

static void on_ready(void *ctx, unsigned events) {
    const struct socket *s = ctx; /* may be gone when act() returns */
    act(s->of, s->fd,
        ((events & WATCH_READ) != 0 ? CURL_CSELECT_IN : 0) |
            ((events & WATCH_WRITE) != 0 ? CURL_CSELECT_OUT : 0));
}

static void on_timeout(void *ctx) {
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx) {
    struct transfers *ts = ctx;
    (void)multi;
    if (timeout_ms < 0) {
        loop_timer_stop(&ts->timer);
        return 0;
    }
    return loop_timer_start(ts->loop, &ts->timer, (uint64_t)timeout_ms, 0, on_timeout, ts) == OK
               ? 0
               : -1;
}

static void forget_socket(struct transfers *ts, struct socket *s) {
    if (s == NULL) return;
    (void)curl_multi_assign(ts->multi, s->fd, NULL);
    watch_stop(&s->watch);
    free(s);
}

static struct socket *new_socket(struct transfers *ts, curl_socket_t fd) {
    struct socket *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->of = ts;
    s->fd = fd;
    if (curl_multi_assign(ts->multi, fd, s) == CURLM_OK) return s;
    free(s);
    return NULL;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket) {
    struct transfers *ts = ctx;
    struct socket *s = socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        forget_socket(ts, s);
        return 0;
    }
    if (s == NULL) s = new_socket(ts, fd);
    if (s == NULL) return -1;
    const unsigned events = ((what & CURL_POLL_IN) != 0 ? WATCH_READ : 0U) |
                            ((what & CURL_POLL_OUT) != 0 ? WATCH_WRITE : 0U);
    return watch_start(ts->loop, &s->watch, fd, events, on_ready, s) == OK ? 0 : -1;
}

/* ---- public ---- */

static bool set_up_multi(struct transfers *ts, unsigned sockets_max) {
    return curl_multi_setopt(ts->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)sockets_max) ==
               CURLM_OK &&
           curl_multi_setopt(ts->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(ts->multi, CURLMOPT_SOCKETDATA, ts) == CURLM_OK &&
           curl_multi_setopt(ts->multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(ts->multi, CURLMOPT_TIMERDATA, ts) == CURLM_OK &&
           curl_multi_setopt(ts->multi, CURLMOPT_MAXCONNECTS, (long)sockets_max) == CURLM_OK;
}

static struct curl_slist *new_headers(void) {
    return curl_slist_append(NULL, "Accept: application/json");
}

enum err transfers_new(struct loop *l, const struct transfers_opts *o, struct transfers **ret) {
    struct transfers *ts = calloc(1, sizeof *ts);
    if (ts == NULL) return E_NO_MEMORY;
    fetch_init();
    ts->loop = l;
    ts->endpoint = o->endpoint;
    ts->body_max = o->body_max;
    ts->multi = curl_multi_init();
    ts->headers = new_headers();
    if (ts->multi == NULL || ts->headers == NULL || !set_up_multi(ts, o->sockets_max)) {
        transfers_free(ts);
        return E_NO_MEMORY;
    }
    *ret = ts;
    return OK;
}

void transfers_free(struct transfers *ts) {
    if (ts == NULL) return;
    for (unsigned i = 0; i < ts->n_idle; i++) curl_easy_cleanup(ts->idle[i]);
    loop_timer_stop(&ts->timer);
    if (ts->multi != NULL) (void)curl_multi_cleanup(ts->multi);
    loop_timer_stop(&ts->timer); /* the clean-up may have started it */
    curl_slist_free_all(ts->headers);
    free(ts);
}

static bool set_up(struct transfers *ts, const char *path, int64_t timeout_ms, struct transfer *t) {
    char url[ENDPOINT_URL_MAX + PATH_MAX_LEN];
    const int n = snprintf(url, sizeof url, "%s%s", ts->endpoint->url, path);
    return n > 0 && (size_t)n < sizeof url &&
           curl_easy_setopt(t->easy, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t) == CURLE_OK;
}

enum err transfer_start(struct transfers *ts, const char *path, int64_t timeout_ms,
                        struct transfer *t) {
    ASSERT_ON_LOOP(ts->loop);
    t->of = ts;
    t->easy = take_handle(ts);
    t->buf = NULL;
    t->cap = 0;
    t->result = TRANSFER_OK;
    t->body = (struct bytes){0};
    if (t->easy == NULL) return E_NO_MEMORY;
    if (set_up(ts, path, timeout_ms, t) && curl_multi_add_handle(ts->multi, t->easy) == CURLM_OK)
        return OK;
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
    t->of = NULL;
    return E_NO_MEMORY;
}

void transfer_stop(struct transfer *t) {
    if (t->of == NULL) return;
    take_out(t);
    free(t->buf);
    t->buf = NULL;
}

/* ---- waiting for one ---- */

static size_t drop_body(char *p, size_t size, size_t n, void *ctx) {
    (void)p;
    (void)ctx;
    return size * n;
}

const char *transfer_probe(const struct endpoint *endpoint, const char *path, int64_t timeout_ms,
                           enum transfer_result *ret, unsigned *ret_status) {
    char url[ENDPOINT_URL_MAX + PATH_MAX_LEN];
    CURLcode code = CURLE_OUT_OF_MEMORY;
    fetch_init();
    struct curl_slist *headers = new_headers();
    CURL *h = headers != NULL ? new_handle(endpoint, headers) : NULL;
    *ret_status = 0;
    (void)snprintf(url, sizeof url, "%s%s", endpoint->url, path);
    if (h != NULL && curl_easy_setopt(h, CURLOPT_URL, url) == CURLE_OK &&
        curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)timeout_ms) == CURLE_OK &&
        curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, drop_body) == CURLE_OK) {
        code = curl_easy_perform(h);
        *ret_status = status_of(h);
    }
    curl_easy_cleanup(h);
    curl_slist_free_all(headers);
    *ret = result_of(code, *ret_status);
    return *ret == TRANSFER_OK ? NULL : curl_easy_strerror(code);
}
