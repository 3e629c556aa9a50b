/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One stream: TLS handshake, bytes in, bytes out, end.
 *
 * What is polled for follows from the state (wanted_events), and is level-triggered, so whoever
 * stops early for fairness is called again.
 *
 * No 16 KiB buffer belongs to an idle stream: what is begun is the framing's, what the socket does
 * not take is kept, encrypted, in s->out (stream_bio.s), and OpenSSL's own buffers follow the same
 * rule (SSL_MODE_RELEASE_BUFFERS).
 *
 * Nothing is freed here while somebody may still be using it: whatever ends a connection marks it
 * (stream_close), and the end of the turn destroys it. */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/admission.h"
#include "net/stream_priv.h"
#include "net/listener.h"
#include "net/loop_priv.h"
#include "net/tls.h"

enum { DISCARDS_MAX = 8 }; /* of 16 KiB, when a stream ends */

/* ---- poll ---- */

bool stream_is_reading(const struct stream *s) {
    return s->state == STREAM_OPEN && !s->is_paused && !s->is_at_end;
}

/* Only then must poll be asked for hang-ups: reading and writing find out by themselves. */
static bool is_waiting(const struct stream *s) {
    if (s->framing != NULL && s->framing->outlives_input) return false;
    return (s->state == STREAM_OPEN && s->is_paused) || s->state == STREAM_FINISHING;
}

static int wanted_events(const struct stream *s) {
    int events = 0;
    if (s->state == STREAM_HANDSHAKE || stream_is_reading(s)) events |= UV_READABLE;
    if (is_waiting(s)) events |= UV_DISCONNECT;
    if (s->out != NULL) events |= UV_WRITABLE;
    return events;
}

static void on_poll(uv_poll_t *h, int status, int events);

/* The only forward declaration: libuv wants the callback again each time the events change. */
static void update_poll(struct stream *s) {
    if (s->state == STREAM_CLOSING) return;
    const int events = wanted_events(s);
    if (events == s->events) return;
    s->events = (uint8_t)events;
    if (events != 0) {
        (void)uv_poll_start(&s->poll, events, on_poll); /* fails only for a shared descriptor */
    } else {
        (void)uv_poll_stop(&s->poll);
    }
}

/* ---- counting ---- */

static void count(const struct stream *s, enum stat_id id) {
    stats_add(loop_stats(s->set->loop), id, 1);
}

static void count_accepted(const struct stream *s) {
    count(s, STAT_SOCKETS_ACCEPTED);
    if (s->counts != NULL) stats_counter_add(&s->counts->accepted, 1);
}

static void count_closed(const struct stream *s) {
    count(s, STAT_SOCKETS_CLOSED);
    if (s->counts != NULL) stats_counter_add(&s->counts->closed, 1);
}

static void report_tls_error(const struct stream *s, const char *reason) {
    if (s->ssl == NULL && s->tls == NULL) return;
    if (s->peer != NULL) count(s, STAT_TLS_ERRORS);
    if (s->opts->on_tls_error != NULL) s->opts->on_tls_error(s->opts->server, reason);
}

/* ---- failures ---- */

/* The connection cannot be used any more: not even for a close_notify. */
static void break_off(struct stream *s, const char *reason) {
    if (s->state == STREAM_CLOSING) return;
    if (s->state == STREAM_HANDSHAKE) report_tls_error(s, reason);
    s->is_broken = true;
    stream_close(s);
}

/* That the peer's certificates are refused says less than why. */
static void keep_problem(struct stream *s) {
    const long verdict = SSL_get_verify_result(s->ssl);
    s->tls_problem = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                                          : ERR_reason_error_string(ERR_peek_error());
}

/* The peer has sent its last byte, and said so. */
static void end_input(struct stream *s) {
    s->is_at_end = true;
    if (!s->framing->outlives_input) stream_close(s);
}

/* After a TLS call that did not succeed. It is in order when TLS waits for bytes; nothing else is,
 * as writing is never refused (stream_bio.s). */
static void check_failure(struct stream *s, int result) {
    const char *reason = "closed by the peer";
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN: /* the peer said goodbye; so may we, if TLS is up */
        if (s->state == STREAM_HANDSHAKE) break;
        end_input(s);
        return;
    case SSL_ERROR_SSL:
        keep_problem(s);
        reason = s->tls_problem != NULL ? s->tls_problem : "unknown";
        if (s->state != STREAM_HANDSHAKE) report_tls_error(s, reason); /* else break_off() does */
        break;
    default:
        break; /* the socket failed, or ended without goodbye: blocks cannot be cut off unseen */
    }
    break_off(s, reason);
}

/* ---- reading ---- */

static void set_io_deadline(struct stream *s, int64_t in_ms) {
    s->io_deadline_ms = in_ms != 0 ? loop_now_ms(s->set->loop) + in_ms : 0;
    streams__update_timed(s);
}

static bool read_plain(struct stream *s, uint8_t *to, size_t room, size_t *ret_n) {
    const ssize_t n = recv(s->fd, to, room, 0);
    if (n > 0) {
        *ret_n = (size_t)n;
        return true;
    }
    if (n == 0) {
        end_input(s);
    } else if (errno != EAGAIN && errno != EINTR) {
        break_off(s, "socket error");
    }
    return false;
}

bool stream_read(struct stream *s, uint8_t *to, size_t room, size_t *ret_n) {
    ASSERT_ON_LOOP(s->set->loop);
    if (s->ssl == NULL) return read_plain(s, to, room, ret_n);
    ERR_clear_error();
    const int r = SSL_read_ex(s->ssl, to, room, ret_n);
    if (r != 1) check_failure(s, r);
    return r == 1;
}

bool stream_is_at_end(const struct stream *s) {
    return s->is_at_end;
}

bool stream_is_inside_record(const struct stream *s) {
    return s->ssl != NULL && (SSL_has_pending(s->ssl) == 1 ||
                              SSL_rstate_string(s->ssl)[1] == 'B'); /* "RB": reading a body */
}

/* ---- writing ---- */

static bool write_all(struct stream *s, struct bytes b) {
    if (s->ssl == NULL) {
        if (stream__send(s, b.p, b.n)) return true;
        break_off(s, "socket error");
        return false;
    }
    size_t n = 0;
    ERR_clear_error();
    const int r = SSL_write_ex(s->ssl, b.p, b.n, &n);
    if (r != 1) check_failure(s, r);
    return r == 1;
}

bool stream_write(struct stream *s, struct bytes b) {
    ASSERT_ON_LOOP(s->set->loop);
    assert(s->out == NULL || s->has_head);
    s->has_head = false;
    return write_all(s, b);
}

bool stream_write_head(struct stream *s, struct bytes b) {
    ASSERT_ON_LOOP(s->set->loop);
    assert(s->out == NULL);
    s->has_head = true;
    return write_all(s, b);
}

bool stream_has_unsent(const struct stream *s) {
    return s->out != NULL;
}

static bool is_up(const struct stream *s) {
    return s->state == STREAM_OPEN || s->state == STREAM_FINISHING;
}

void stream__write(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    list_remove(&s->writing);
    if (!stream__send_unsent(s)) {
        break_off(s, "closed by the peer");
    } else if (s->out == NULL && is_up(s)) {
        s->framing->on_writable(s->framed);
    }
    update_poll(s);
}

/* ---- opening ---- */

/* Its handshake is no longer under way. */
static void settle(struct stream *s) {
    if (s->peer == NULL || s->is_settled) return;
    s->is_settled = true;
    admission_settle(s->opts->admission, s->peer);
}

static void go_up(struct stream *s) {
    settle(s);
    s->state = STREAM_OPEN;
    set_io_deadline(s, 0);
    enum err e = s->framing == NULL ? s->opts->on_up(s, s->opts) : OK;
    assert(e != OK || s->framing != NULL);
    if (e == OK && s->framing->on_up != NULL) e = s->framing->on_up(s->framed);
    if (e != OK) stream_close(s);
}

static void step_handshake(struct stream *s) {
    ERR_clear_error();
    const int r = SSL_do_handshake(s->ssl);
    if (r == 1) {
        s->is_guarded = false;
        go_up(s);
    } else {
        check_failure(s, r);
    }
}

/* A client has begun to speak. */
static bool begin_tls(struct stream *s) {
    s->ssl = SSL_new(s->tls);
    SSL_CTX_free(s->tls);
    s->tls = NULL;
    if (s->ssl == NULL || !stream__set_bio(s)) return false;
    SSL_set_accept_state(s->ssl);
    return true;
}

/* Record by record, so that none is begun that is not there. */
static void step_guarded(struct stream *s) {
    while (s->state == STREAM_HANDSHAKE && s->is_guarded && stream__has_record(s)) {
        if (s->tls != NULL && !begin_tls(s)) {
            break_off(s, "out of memory");
        } else {
            step_handshake(s);
        }
    }
}

static void want_turn(struct stream *s) {
    turn_want(&s->set->turns, &s->turn, s->state == STREAM_HANDSHAKE);
}

/* What was left over comes first. */
void stream__serve(struct turn *turn) {
    struct stream *s = CONTAINER_OF(turn, struct stream, turn);
    const bool is_readable = s->is_readable, wants_run = s->wants_run;
    s->is_readable = s->wants_run = false;
    if (s->state == STREAM_HANDSHAKE) {
        if (s->is_guarded) {
            step_guarded(s);
        } else {
            step_handshake(s);
        }
    } else {
        if (wants_run) s->framing->run(s->framed);
        if (is_readable && stream_is_reading(s)) s->framing->on_readable(s->framed);
    }
    update_poll(s);
}

static void want_read(struct stream *s) {
    s->is_readable = true;
    want_turn(s);
}

static void on_poll_handshake(struct stream *s, int events) {
    if ((events & UV_WRITABLE) != 0 && !stream__send_unsent(s)) {
        break_off(s, "closed by the peer");
        return;
    }
    if ((events & UV_READABLE) != 0) want_read(s);
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct stream *s = CONTAINER_OF(h, struct stream, poll);
    if (s->state == STREAM_CLOSING) return;
    if (status < 0) {
        break_off(s, "socket error");
    } else if (s->state == STREAM_HANDSHAKE) {
        on_poll_handshake(s, events);
    } else {
        if ((events & UV_WRITABLE) != 0 && s->out != NULL) stream__write(s);
        if ((events & UV_READABLE) != 0 && stream_is_reading(s)) want_read(s);
        if ((events & UV_DISCONNECT) != 0 && is_waiting(s)) stream_close(s);
    }
    update_poll(s);
}

static void free_stream(struct stream *s) {
    SSL_free(s->ssl);
    SSL_CTX_free(s->tls);
    free(s->out);
    free(s);
}

static void on_poll_closed(uv_handle_t *h) {
    free_stream(CONTAINER_OF(h, struct stream, poll));
}

/* A stream without handle yet, so that free_stream() is enough to undo it; NULL when out of
 * memory. */
static struct stream *new_stream(struct streams *set, int fd, SSL_CTX *tls) {
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->set = set;
    s->fd = fd;
    list_init(&s->all);
    list_init(&s->timed);
    list_init(&s->writing);
    turn_init(&s->turn);
    if (tls == NULL) return s;
    s->ssl = SSL_new(tls);
    if (s->ssl == NULL || !stream__set_bio(s)) {
        free_stream(s);
        return NULL;
    }
    return s;
}

static enum err open_stream(struct loop *l, int owned_fd, SSL_CTX *tls, const struct stream_opts *o,
                            struct stream **ret) {
    ASSERT_ON_LOOP(l);
    struct stream *s = new_stream(loop__streams(l), owned_fd, tls);
    const int r = s != NULL ? uv_poll_init(loop__uv(l), &s->poll, owned_fd) : 0;
    if (s == NULL || r != 0) {
        if (s != NULL) free_stream(s);
        (void)close(owned_fd);
        if (r == 0) return E_NO_MEMORY;
        errno = -r;
        return E_SYS;
    }
    s->opts = o;
    s->state = STREAM_HANDSHAKE;
    streams__add(s);
    set_io_deadline(s, o->tls_timeout_ms);
    *ret = s;
    return OK;
}

enum err stream__accept(struct loop *l, int owned_fd, SSL_CTX *tls, const struct stream_opts *o,
                        struct admission_peer *owned_peer, struct socket_counts *counts) {
    struct stream *s;
    const enum err e = open_stream(l, owned_fd, NULL, o, &s);
    if (e != OK) {
        const int saved = errno;
        if (owned_peer != NULL) {
            admission_settle(o->admission, owned_peer);
            admission_leave(o->admission, owned_peer);
        }
        errno = saved;
        return e;
    }
    s->peer = owned_peer;
    s->counts = counts;
    if (owned_peer != NULL) count_accepted(s);
    if (tls != NULL) {
        tls_ctx_ref(tls);
        s->tls = tls;
        s->is_guarded = true;
    } else {
        go_up(s);
    }
    update_poll(s);
    return OK;
}

enum err stream__connect(struct loop *l, int owned_fd, SSL_CTX *tls, const struct stream_opts *o,
                         struct stream **ret) {
    struct stream *s;
    const enum err e = open_stream(l, owned_fd, tls, o, &s);
    if (e != OK) return e;
    SSL_set_connect_state(s->ssl);
    *ret = s;
    return OK;
}

void stream__begin(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    if (s->state != STREAM_HANDSHAKE) return;
    step_handshake(s);
    update_poll(s);
}

/* ---- ending ---- */

void stream__time_out(struct stream *s, int64_t now_ms) {
    ASSERT_ON_LOOP(s->set->loop);
    /* While reading is paused, it is not the peer who keeps us waiting. */
    const bool is_own_pause = s->state == STREAM_OPEN && s->is_paused;
    const bool io_counts = s->io_deadline_ms != 0 && !is_own_pause;
    const bool is_over = (io_counts && now_ms >= s->io_deadline_ms) ||
                         (s->deadline_ms != 0 && now_ms >= s->deadline_ms);
    if (!is_over || s->state == STREAM_CLOSING) return;
    if (s->state == STREAM_HANDSHAKE) report_tls_error(s, "timeout");
    stream_close(s);
}

/* Our close_notify, if it can still be sent; the peer's is not waited for. */
static void say_goodbye(struct stream *s) {
    if (s->ssl == NULL || s->is_broken || s->out != NULL || !SSL_is_init_finished(s->ssl)) return;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
}

/* Closing a socket with unread bytes resets it, and the peer may lose our last block or alert. What
 * is still under way cannot be helped: nobody lingers here. */
static void discard_input(const struct stream *s) {
    for (int i = 0; i < DISCARDS_MAX; i++) {
        if (recv(s->fd, s->set->scratch, STREAM_SCRATCH_LEN, 0) <= 0) return;
    }
}

void stream__destroy(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    assert(s->state == STREAM_CLOSING);
    if (s->framing != NULL) s->framing->on_end(s->framed);
    s->framing = NULL;
    list_remove(&s->all);
    list_remove(&s->timed);
    list_remove(&s->writing);
    s->set->n--;
    say_goodbye(s);
    SSL_free(s->ssl); /* at once: free_stream() runs a turn later */
    s->ssl = NULL;
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
    discard_input(s);
    (void)shutdown(s->fd, SHUT_RDWR);
    (void)close(s->fd);
    if (s->peer == NULL) return;
    count_closed(s);
    settle(s);
    admission_leave(s->opts->admission, s->peer);
}

void stream_close(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    if (s->state == STREAM_CLOSING) return;
    s->state = STREAM_CLOSING;
    (void)uv_poll_stop(&s->poll);
    list_remove(&s->writing);
    turn_drop(&s->set->turns, &s->turn);
    list_push_back(&s->set->closing, &s->writing);
}

void stream_finish(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    if (s->state == STREAM_HANDSHAKE) stream_close(s);
    if (s->state != STREAM_OPEN) return;
    s->state = STREAM_FINISHING;
    set_io_deadline(s, s->opts->tls_timeout_ms);
    stream_want_write(s);
    update_poll(s);
}

/* ---- for the framing ---- */

struct loop *stream_loop(const struct stream *s) {
    return s->set->loop;
}

void stream_set_framing(struct stream *s, const struct framing *f, void *framed) {
    ASSERT_ON_LOOP(s->set->loop);
    s->framing = f;
    s->framed = framed;
}

void stream_want_write(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    /* With unsent bytes, the socket's event comes to the same. */
    if (s->state == STREAM_CLOSING || s->out != NULL || !list_is_empty(&s->writing)) return;
    list_push_back(&s->set->to_write, &s->writing);
}

void stream_want_run(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    if (s->state == STREAM_CLOSING) return;
    s->wants_run = true;
    want_turn(s);
}

bool stream_share_is_used(const struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    return turns_share_is_used(&s->set->turns);
}

bool stream_may_write_on(const struct stream *s) {
    return loop_now_us(s->set->loop) < s->set->write_end_us;
}

void stream_pause_read(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    s->is_paused = true;
    /* Poll is changed when the next event comes: most pauses end before that, and each change costs
     * two system calls. */
}

void stream_resume_read(struct stream *s, int64_t limit_ms) {
    ASSERT_ON_LOOP(s->set->loop);
    if (!s->is_paused) return;
    s->is_paused = false;
    if (s->state != STREAM_OPEN) return;
    if (s->io_deadline_ms != 0) set_io_deadline(s, limit_ms);
    update_poll(s);
}

void stream_limit(struct stream *s, int64_t in_ms) {
    ASSERT_ON_LOOP(s->set->loop);
    const bool is_set = s->io_deadline_ms != 0;
    if (s->state == STREAM_OPEN && is_set != (in_ms != 0)) set_io_deadline(s, in_ms);
}

void stream_set_deadline(struct stream *s, int64_t mono_ms) {
    ASSERT_ON_LOOP(s->set->loop);
    s->deadline_ms = mono_ms;
    if (s->state != STREAM_CLOSING) streams__update_timed(s);
}

bool stream_is_closing(const struct stream *s) {
    return s->state == STREAM_CLOSING;
}

bool stream_is_finishing(const struct stream *s) {
    return s->state == STREAM_FINISHING;
}

const SSL *stream_tls(const struct stream *s) {
    return s->ssl;
}

const char *stream_tls_problem(const struct stream *s) {
    return s->tls_problem != NULL ? s->tls_problem : "";
}

static bool is_within(const struct stream *s, enum admission_limit limit) {
    if (limit != LIMIT_NONE) count(s, LIMIT_STATS[limit]);
    return limit == LIMIT_NONE;
}

bool stream_take_new_queue(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    return is_within(s, admission_take_new_queue(s->opts->admission, s->peer));
}

bool stream_take_new_service(struct stream *s) {
    ASSERT_ON_LOOP(s->set->loop);
    return is_within(s, admission_take_new_service(s->opts->admission, s->peer));
}

struct admission_peer *stream_peer(const struct stream *s) {
    return s->peer;
}
