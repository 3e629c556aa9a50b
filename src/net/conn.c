/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One connection: TLS handshake, blocks in, blocks out, end.
 *
 * OpenSSL reads and writes the socket itself; libuv only says when. What is polled for follows from
 * the state (wanted_events), and is level-triggered, so whoever stops early for fairness is called
 * again.
 *
 * Where the 16 KiB buffers are: a block is read into the set's scratch, and only what is begun and
 * not complete when the socket runs dry moves into c->in; a block is filled in the scratch, and
 * only what the socket does not take moves into c->out. OpenSSL's own buffers follow the same rule
 * (SSL_MODE_RELEASE_BUFFERS).
 *
 * Nothing is freed here while somebody may still be using it: whatever ends a connection marks it
 * (conn_close), and the end of the turn destroys it. */
#include "net/conn.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/admission.h"
#include "net/conn_priv.h"
#include "net/loop_priv.h"
#include "net/tls.h"

enum {
    /* A peer may cut its blocks into tiny records, each of which costs a call: these count as a
       full share too. */
    READS_PER_TURN = 64,
    DISCARDS_MAX = 8, /* of 16 KiB, when a connection ends */
};

/* ---- poll ---- */

static bool is_reading(const struct conn *c) {
    return c->state == CONN_OPEN && !c->is_paused;
}

static int wanted_events(const struct conn *c) {
    int events = 0;
    if (c->state == CONN_HANDSHAKE) return c->read_wants_write ? UV_WRITABLE : UV_READABLE;
    if (is_reading(c)) events |= c->read_wants_write ? UV_WRITABLE : UV_READABLE;
    if (c->is_write_blocked) events |= c->write_wants_read ? UV_READABLE : UV_WRITABLE;
    if (c->state == CONN_OPEN && c->is_paused)
        events |= UV_DISCONNECT; /* nothing else would tell */
    return events;
}

static void on_poll(uv_poll_t *h, int status, int events);

/* The only forward declaration: libuv wants the callback again each time the events change. */
static void update_poll(struct conn *c) {
    if (c->state == CONN_CLOSING) return;
    const int events = wanted_events(c);
    if (events == c->events) return;
    c->events = (uint8_t)events;
    if (events != 0) {
        (void)uv_poll_start(&c->poll, events,
                            on_poll); /* fails only when two handles share a descriptor */
    } else {
        (void)uv_poll_stop(&c->poll);
    }
}

/* ---- failures ---- */

static void count_tls_error(const struct conn *c) {
    if (c->opts->on_tls_error != NULL) c->opts->on_tls_error(c->opts->server);
}

/* The connection cannot be used any more: not even for a close_notify. */
static void break_off(struct conn *c) {
    if (c->state == CONN_CLOSING) return;
    if (c->state == CONN_HANDSHAKE) count_tls_error(c);
    c->is_broken = true;
    conn_close(c);
}

/* What became of a TLS call that did not succeed. */
enum hindrance { WANTS_READ, WANTS_WRITE, IS_OVER };

static enum hindrance ask_hindrance(struct conn *c, int result) {
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN: /* the peer said goodbye; so may we, if TLS is up */
        if (c->state == CONN_HANDSHAKE) break;
        conn_close(c);
        return IS_OVER;
    case SSL_ERROR_SSL:
        if (c->state != CONN_HANDSHAKE) count_tls_error(c); /* else break_off() does */
        break;
    default:
        break; /* the socket failed */
    }
    break_off(c);
    return IS_OVER;
}

/* ---- reading ---- */

/* Does TLS hold the beginning of a record? Then OpenSSL keeps a buffer of 16 KiB, and a deadline
 * must run. */
static bool is_inside_record(const SSL *ssl) {
    return SSL_has_pending(ssl) == 1 || SSL_rstate_string(ssl)[1] == 'B'; /* "RB": reading a body */
}

static void set_io_deadline(struct conn *c, int64_t in_ms) {
    c->io_deadline_ms = in_ms != 0 ? loop_now_ms(c->set->loop) + in_ms : 0;
    conns__update_timed(c);
}

/* The first byte of a block starts the deadline; what follows does not move it. */
static void update_block_deadline(struct conn *c, bool is_begun) {
    if (c->state != CONN_OPEN || is_begun == (c->io_deadline_ms != 0)) return;
    set_io_deadline(c, is_begun ? c->opts->block_timeout_ms : 0);
}

/* False when nothing was read: the socket is dry, or the connection over. */
static bool read_some(struct conn *c, uint8_t *to, size_t room, size_t *ret_n) {
    ERR_clear_error();
    const int r = SSL_read_ex(c->ssl, to, room, ret_n);
    c->read_wants_write = false;
    if (r == 1) return true;
    if (ask_hindrance(c, r) == WANTS_WRITE) c->read_wants_write = true;
    return false;
}

static void hand_over(struct conn *c, uint8_t *block) {
    if (c->opts->ops->on_block(c->session, block) != OK) conn_close(c);
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    update_block_deadline(c, false);
}

/* Keeps the have bytes of a begun block that are in the scratch. */
static void keep_begun(struct conn *c, const uint8_t *buf, size_t have) {
    if (c->state != CONN_OPEN) return;
    if (have != 0 && c->in == NULL) {
        c->in = malloc(CONN_BLOCK_LEN);
        if (c->in == NULL) {
            conn_close(c);
            return;
        }
        memcpy(c->in, buf, have);
    }
    c->in_len = (uint16_t)have;
}

void conn__read(struct conn *c) {
    list_remove(&c->reading);
    unsigned n_blocks = 0;
    bool is_dry = false;
    uint8_t *buf = c->in != NULL ? c->in : c->set->scratch;
    size_t have = c->in_len, got = 0;
    for (int i = 0; i < READS_PER_TURN && n_blocks < CONN_BLOCKS_PER_TURN && is_reading(c); i++) {
        is_dry = !read_some(c, buf + have, CONN_BLOCK_LEN - have, &got);
        if (is_dry) break;
        have += got;
        if (have < CONN_BLOCK_LEN) continue;
        hand_over(c, buf);
        buf = c->set->scratch;
        have = 0;
        n_blocks++;
    }
    keep_begun(c, buf, have);
    if (c->state != CONN_OPEN) return;
    update_block_deadline(c, have != 0 || (is_dry && is_inside_record(c->ssl)));
    if (!c->is_paused && SSL_pending(c->ssl) > 0) list_push_back(&c->set->to_read, &c->reading);
    update_poll(c);
}

/* ---- writing ---- */

static void keep_unwritten(struct conn *c) {
    c->is_write_blocked = true;
    if (c->out != NULL) return;
    c->out = malloc(CONN_BLOCK_LEN);
    if (c->out == NULL) {
        break_off(c); /* the record is cut: nothing can follow it */
        return;
    }
    memcpy(c->out, c->set->scratch, CONN_BLOCK_LEN);
}

/* Goes on with the block in c->out, or begins the one in the scratch. True when it is written;
 * false: blocked, or over. */
static bool write_block(struct conn *c) {
    const uint8_t *block = c->out != NULL ? c->out : c->set->scratch;
    c->write_wants_read = false;
    while (c->out_at < CONN_BLOCK_LEN) {
        size_t n = 0;
        ERR_clear_error();
        const int r = SSL_write_ex(c->ssl, block + c->out_at, CONN_BLOCK_LEN - c->out_at, &n);
        if (r == 1) {
            c->out_at = (uint16_t)(c->out_at + n);
            continue;
        }
        const enum hindrance h = ask_hindrance(c, r);
        if (h == IS_OVER) return false;
        c->write_wants_read = h == WANTS_READ;
        keep_unwritten(c);
        return false;
    }
    c->out_at = 0;
    c->is_write_blocked = false;
    free(c->out);
    c->out = NULL;
    return true;
}

/* Asks the session for a block, into the scratch. */
static bool fill_block(struct conn *c) {
    if (c->opts->ops->fill(c->session, c->set->scratch)) return c->state != CONN_CLOSING;
    if (c->state == CONN_FINISHING) conn_close(c);
    return false;
}

void conn__write(struct conn *c) {
    list_remove(&c->writing);
    for (int i = 0; i < CONN_BLOCKS_PER_TURN; i++) {
        if (c->out == NULL && !fill_block(c)) break;
        if (!write_block(c)) break;
        if (i == CONN_BLOCKS_PER_TURN - 1)
            conn_want_write(c); /* its share of this turn is used up */
    }
    update_poll(c);
}

/* ---- opening ---- */

static void open_session(struct conn *c) {
    c->state = CONN_OPEN;
    c->unique_len = (uint8_t)tls_unique(c->ssl, c->unique);
    set_io_deadline(c, 0);
    void *session = NULL;
    const enum err e = c->opts->ops->on_open(c, c->opts->server, &session);
    if (e != OK) {
        conn_close(c);
        return;
    }
    c->session = session;
    c->has_session = true;
}

static void shake_hands(struct conn *c) {
    if (c->set->handshakes_left == 0) return; /* the event comes again in the next turn */
    c->set->handshakes_left--;
    ERR_clear_error();
    const int r = SSL_accept(c->ssl);
    c->read_wants_write = false;
    if (r == 1) {
        open_session(c);
    } else if (ask_hindrance(c, r) == WANTS_WRITE) {
        c->read_wants_write = true;
    }
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct conn *c = CONTAINER_OF(h, struct conn, poll);
    if (c->state == CONN_CLOSING) return;
    if (status < 0) {
        break_off(c);
        return;
    }
    if (c->state == CONN_HANDSHAKE) {
        shake_hands(c);
        update_poll(c);
        return;
    }
    const int to_write = c->write_wants_read ? UV_READABLE : UV_WRITABLE;
    const int to_read = c->read_wants_write ? UV_WRITABLE : UV_READABLE;
    if (c->is_write_blocked && (events & to_write) != 0) conn__write(c);
    if (is_reading(c) && (events & to_read) != 0) conn__read(c);
    if (c->is_paused && (events & UV_DISCONNECT) != 0) conn_close(c);
    update_poll(c);
}

static void free_conn(struct conn *c) {
    SSL_free(c->ssl);
    free(c->in);
    free(c->out);
    free(c);
}

static void on_poll_closed(uv_handle_t *h) {
    free_conn(CONTAINER_OF(h, struct conn, poll));
}

/* A connection without handle yet, so that free_conn() is enough to undo it; NULL when out of
 * memory. */
static struct conn *new_conn(int fd, SSL_CTX *tls) {
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    ERR_clear_error();
    c->ssl = SSL_new(tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1) {
        free_conn(c);
        return NULL;
    }
    c->fd = fd;
    list_init(&c->all);
    list_init(&c->timed);
    list_init(&c->reading);
    list_init(&c->writing);
    return c;
}

enum err conn__accept(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                      struct admission_peer *owned_peer) {
    ASSERT_ON_LOOP(l);
    struct conn *c = new_conn(owned_fd, tls);
    const int r = c != NULL ? uv_poll_init(loop__uv(l), &c->poll, owned_fd) : 0;
    if (c == NULL || r != 0) {
        if (c != NULL) free_conn(c);
        (void)close(owned_fd);
        admission_leave(o->admission, owned_peer);
        if (r == 0) return E_NO_MEMORY;
        errno = -r;
        return E_SYS;
    }
    c->opts = o;
    c->peer = owned_peer;
    c->state = CONN_HANDSHAKE;
    conns__add(loop__conns(l), c);
    set_io_deadline(c, o->tls_timeout_ms);
    update_poll(c);
    return OK;
}

/* ---- ending ---- */

void conn__time_out(struct conn *c, int64_t now_ms) {
    /* While the session has paused reading, it is not the peer who keeps its block incomplete. */
    const bool io_counts = c->io_deadline_ms != 0 && (c->state != CONN_OPEN || !c->is_paused);
    const bool is_over = (io_counts && now_ms >= c->io_deadline_ms) ||
                         (c->deadline_ms != 0 && now_ms >= c->deadline_ms);
    if (!is_over || c->state == CONN_CLOSING) return;
    if (c->state == CONN_HANDSHAKE) count_tls_error(c);
    conn_close(c);
}

/* Closing a socket with unread bytes resets it, and the peer may lose our last block or alert. What
 * is still under way cannot be helped: nobody lingers here. */
static void discard_input(const struct conn *c) {
    for (int i = 0; i < DISCARDS_MAX; i++) {
        if (recv(c->fd, c->set->scratch, CONN_BLOCK_LEN, 0) <= 0) return;
    }
}

void conn__destroy(struct conn *c) {
    assert(c->state == CONN_CLOSING);
    if (c->has_session) c->opts->ops->on_close(c->session);
    c->has_session = false;
    list_remove(&c->all);
    list_remove(&c->timed);
    list_remove(&c->reading);
    list_remove(&c->writing);
    c->set->n--;
    if (!c->is_broken && SSL_is_init_finished(c->ssl)) {
        ERR_clear_error();
        (void)SSL_shutdown(
            c->ssl); /* our close_notify, if the socket takes it; the peer's is not waited for */
    }
    SSL_free(c->ssl); /* at once: free_conn() runs a turn later */
    c->ssl = NULL;
    uv_close((uv_handle_t *)&c->poll, on_poll_closed);
    discard_input(c);
    (void)shutdown(c->fd, SHUT_RDWR);
    (void)close(c->fd);
    admission_leave(c->opts->admission, c->peer);
}

void conn_close(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (c->state == CONN_CLOSING) return;
    c->state = CONN_CLOSING;
    (void)uv_poll_stop(&c->poll);
    list_remove(&c->reading);
    list_remove(&c->writing);
    list_push_back(&c->set->closing, &c->writing);
}

void conn_finish(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (c->state == CONN_HANDSHAKE) conn_close(c);
    if (c->state != CONN_OPEN) return;
    c->state = CONN_FINISHING;
    list_remove(&c->reading);
    set_io_deadline(c, c->opts->tls_timeout_ms);
    conn_want_write(c);
    update_poll(c);
}

/* ---- for the session ---- */

struct loop *conn_loop(const struct conn *c) {
    return c->set->loop;
}

void conn_want_write(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    /* A blocked one asks fill() by itself when the socket takes more. */
    if (c->state == CONN_CLOSING || c->is_write_blocked || !list_is_empty(&c->writing)) return;
    list_push_back(&c->set->to_write, &c->writing);
}

void conn_pause_read(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    c->is_paused = true;
    list_remove(&c->reading);
    /* Poll is changed when the next event comes: most pauses end before that, and each change costs
     * two system calls. */
}

void conn_resume_read(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (!c->is_paused) return;
    c->is_paused = false;
    if (c->state != CONN_OPEN) return;
    if (c->io_deadline_ms != 0) set_io_deadline(c, c->opts->block_timeout_ms);
    if (SSL_pending(c->ssl) > 0 && list_is_empty(&c->reading)) {
        list_push_back(&c->set->to_read, &c->reading);
    }
    update_poll(c);
}

void conn_set_deadline(struct conn *c, int64_t mono_ms) {
    ASSERT_ON_LOOP(c->set->loop);
    c->deadline_ms = mono_ms;
    if (c->state != CONN_CLOSING) conns__update_timed(c);
}

struct bytes conn_tls_unique(const struct conn *c) {
    return bytes_of(c->unique, c->unique_len);
}

bool conn_has_alpn(const struct conn *c) {
    return tls_has_smp_alpn(c->ssl);
}

enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap, struct bytes *ret) {
    return tls_peer_chain(c->ssl, buf, cap, ret);
}

bool conn_take_new_queue(struct conn *c) {
    return admission_take_new_queue(c->opts->admission, c->peer);
}
