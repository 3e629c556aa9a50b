/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One connection: TLS handshake, blocks in, blocks out, end.
 *
 * What is polled for follows from the state (wanted_events), and is level-triggered, so whoever
 * stops early for fairness is called again.
 *
 * Where the 16 KiB buffers are: a block is read into the set's scratch, and only what is begun and
 * not complete when the socket runs dry moves into c->in; a block is filled in the scratch, and
 * only what the socket does not take moves, encrypted, into c->out. OpenSSL's own buffers follow
 * the same rule (SSL_MODE_RELEASE_BUFFERS).
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
#include "net/listener.h"
#include "net/loop_priv.h"
#include "net/tls.h"

enum {
    /* Bounds the turn of a peer that cuts its blocks into tiny records: each costs a call. */
    READS_PER_TURN = 64,
    DISCARDS_MAX = 8, /* of 16 KiB, when a connection ends */
};

/* ---- poll ---- */

static bool is_reading(const struct conn *c) {
    return c->state == CONN_OPEN && !c->is_paused;
}

/* Only then must poll be asked for hang-ups: reading and writing find out by themselves. */
static bool is_waiting(const struct conn *c) {
    return (c->state == CONN_OPEN && c->is_paused) || c->state == CONN_FINISHING;
}

static int wanted_events(const struct conn *c) {
    int events = 0;
    if (c->state == CONN_HANDSHAKE || is_reading(c)) events |= UV_READABLE;
    if (is_waiting(c)) events |= UV_DISCONNECT;
    if (c->out != NULL) events |= UV_WRITABLE;
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
        (void)uv_poll_start(&c->poll, events, on_poll); /* fails only for a shared descriptor */
    } else {
        (void)uv_poll_stop(&c->poll);
    }
}

/* ---- counting ---- */

static void count(const struct conn *c, enum stat_id id) {
    stats_add(loop_stats(c->set->loop), id, 1);
}

static void count_accepted(const struct conn *c) {
    count(c, STAT_SOCKETS_ACCEPTED);
    if (c->counts != NULL) stats_counter_add(&c->counts->accepted, 1);
}

static void count_closed(const struct conn *c) {
    count(c, STAT_SOCKETS_CLOSED);
    if (c->counts != NULL) stats_counter_add(&c->counts->closed, 1);
}

static void tell_tls_error(const struct conn *c, const char *reason) {
    if (c->peer != NULL) count(c, STAT_TLS_ERRORS);
    if (c->opts->on_tls_error != NULL) c->opts->on_tls_error(c->opts->server, reason);
}

/* ---- failures ---- */

/* The connection cannot be used any more: not even for a close_notify. */
static void break_off(struct conn *c, const char *reason) {
    if (c->state == CONN_CLOSING) return;
    if (c->state == CONN_HANDSHAKE) tell_tls_error(c, reason);
    c->is_broken = true;
    conn_close(c);
}

/* That the peer's certificates are refused says less than why. */
static void note_problem(struct conn *c) {
    const long verdict = SSL_get_verify_result(c->ssl);
    c->tls_problem = verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                                          : ERR_reason_error_string(ERR_peek_error());
}

/* After a TLS call that did not succeed. It is in order when TLS waits for bytes; nothing else is,
 * as writing is never refused (conn_bio.c). */
static void check_failure(struct conn *c, int result) {
    const char *reason = "closed by the peer";
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN: /* the peer said goodbye; so may we, if TLS is up */
        if (c->state == CONN_HANDSHAKE) break;
        conn_close(c);
        return;
    case SSL_ERROR_SSL:
        note_problem(c);
        reason = c->tls_problem != NULL ? c->tls_problem : "unknown";
        if (c->state != CONN_HANDSHAKE) tell_tls_error(c, reason); /* else break_off() does */
        break;
    default:
        break; /* the socket failed, or ended without goodbye: blocks cannot be cut off unseen */
    }
    break_off(c, reason);
}

/* ---- reading ---- */

/* Does TLS hold a part of a record? Then OpenSSL keeps 16 KiB for it, and a deadline must run. */
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
    if (r != 1) check_failure(c, r);
    return r == 1;
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

static bool may_read_on(const struct conn *c, unsigned n_blocks) {
    return is_reading(c) && n_blocks < CONN_BLOCKS_PER_TURN &&
           (n_blocks == 0 || !turns_share_is_used(&c->set->turns));
}

/* Takes its share of blocks of one turn. */
static void read_blocks(struct conn *c) {
    unsigned n_blocks = 0;
    uint8_t *buf = c->in != NULL ? c->in : c->set->scratch;
    size_t have = c->in_len, got = 0;
    for (int i = 0; i < READS_PER_TURN && may_read_on(c, n_blocks); i++) {
        if (!read_some(c, buf + have, CONN_BLOCK_LEN - have, &got)) break;
        have += got;
        if (have < CONN_BLOCK_LEN) continue;
        hand_over(c, buf);
        buf = c->set->scratch;
        have = 0;
        n_blocks++;
    }
    keep_begun(c, buf, have);
    if (c->state != CONN_OPEN) return;
    /* What TLS has decrypted and we did not take yet belongs to a record that reaches into the next
     * block: less than a block, so that it can wait for the bytes from the socket that complete it.
     */
    update_block_deadline(c, have != 0 || is_inside_record(c->ssl));
    update_poll(c);
}

/* ---- writing ---- */

/* Encrypts the block in the scratch: sent, or in c->out. False when the connection is over. */
static bool write_block(struct conn *c) {
    size_t n = 0;
    ERR_clear_error();
    const int r = SSL_write_ex(c->ssl, c->set->scratch, CONN_BLOCK_LEN, &n);
    if (r != 1) check_failure(c, r);
    return r == 1;
}

/* Asks the session for a block, into the scratch. */
static bool fill_block(struct conn *c) {
    if (c->opts->ops->fill(c->session, c->set->scratch)) return c->state != CONN_CLOSING;
    const struct conn_ops *ops = c->opts->ops;
    if (c->state == CONN_FINISHING && (ops->awaits == NULL || !ops->awaits(c->session)))
        conn_close(c);
    return false;
}

/* Gives its share of blocks of one turn; none while bytes of the last one are unsent. */
static void write_blocks(struct conn *c) {
    for (int i = 0; i < CONN_BLOCKS_PER_TURN; i++) {
        if (c->out != NULL || !fill_block(c) || !write_block(c)) return;
        if (loop_now_us(c->set->loop) >= c->set->write_end_us) break;
    }
    conn_want_write(c);
}

void conn__write(struct conn *c) {
    list_remove(&c->writing);
    if (conn__send_unsent(c)) {
        write_blocks(c);
    } else {
        break_off(c, "closed by the peer");
    }
    update_poll(c);
}

/* ---- opening ---- */

static void open_session(struct conn *c) {
    c->state = CONN_OPEN;
    c->unique_len = (uint8_t)tls_unique(c->ssl, c->unique);
    set_io_deadline(c, 0);
    void *session = c->session;
    const enum err e = c->opts->ops->on_open(c, c->opts->server, &session);
    if (e != OK) {
        conn_close(c);
        return;
    }
    c->session = session;
    c->has_session = true;
}

static void step_handshake(struct conn *c) {
    ERR_clear_error();
    const int r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        open_session(c);
    } else {
        check_failure(c, r);
    }
}

static void want_turn(struct conn *c) {
    turn_want(&c->set->turns, &c->turn, c->state == CONN_HANDSHAKE);
}

/* What was left over comes first. */
void conn__serve(struct turn *turn) {
    struct conn *c = CONTAINER_OF(turn, struct conn, turn);
    const bool is_readable = c->is_readable, wants_run = c->wants_run;
    c->is_readable = c->wants_run = false;
    if (c->state == CONN_HANDSHAKE) {
        step_handshake(c);
    } else {
        if (wants_run) c->opts->ops->run(c->session);
        if (is_readable && is_reading(c)) read_blocks(c);
    }
    update_poll(c);
}

static void want_read(struct conn *c) {
    c->is_readable = true;
    want_turn(c);
}

static void on_poll_handshake(struct conn *c, int events) {
    if ((events & UV_WRITABLE) != 0 && !conn__send_unsent(c)) {
        break_off(c, "closed by the peer");
        return;
    }
    if ((events & UV_READABLE) != 0) want_read(c);
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct conn *c = CONTAINER_OF(h, struct conn, poll);
    if (c->state == CONN_CLOSING) return;
    if (status < 0) {
        break_off(c, "socket error");
    } else if (c->state == CONN_HANDSHAKE) {
        on_poll_handshake(c, events);
    } else {
        if ((events & UV_WRITABLE) != 0 && c->out != NULL) conn__write(c);
        if ((events & UV_READABLE) != 0 && is_reading(c)) want_read(c);
        if ((events & UV_DISCONNECT) != 0 && is_waiting(c)) conn_close(c);
    }
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
static struct conn *new_conn(struct conns *set, int fd, SSL_CTX *tls) {
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->set = set;
    c->fd = fd;
    list_init(&c->all);
    list_init(&c->timed);
    list_init(&c->writing);
    turn_init(&c->turn);
    c->ssl = SSL_new(tls);
    if (c->ssl == NULL || !conn__set_bio(c)) {
        free_conn(c);
        return NULL;
    }
    return c;
}

static enum err open_conn(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                          struct conn **ret) {
    ASSERT_ON_LOOP(l);
    struct conn *c = new_conn(loop__conns(l), owned_fd, tls);
    const int r = c != NULL ? uv_poll_init(loop__uv(l), &c->poll, owned_fd) : 0;
    if (c == NULL || r != 0) {
        if (c != NULL) free_conn(c);
        (void)close(owned_fd);
        if (r == 0) return E_NO_MEMORY;
        errno = -r;
        return E_SYS;
    }
    c->opts = o;
    c->state = CONN_HANDSHAKE;
    conns__add(c);
    set_io_deadline(c, o->tls_timeout_ms);
    *ret = c;
    return OK;
}

enum err conn__accept(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                      struct admission_peer *owned_peer, struct socket_counts *counts) {
    struct conn *c;
    const enum err e = open_conn(l, owned_fd, tls, o, &c);
    if (e != OK) {
        const int saved = errno;
        admission_leave(o->admission, owned_peer);
        errno = saved;
        return e;
    }
    c->peer = owned_peer;
    c->counts = counts;
    count_accepted(c);
    SSL_set_accept_state(c->ssl);
    update_poll(c);
    return OK;
}

enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls, const struct conn_opts *o,
                       void *session, struct conn **ret) {
    struct conn *c;
    const enum err e = open_conn(l, owned_fd, tls, o, &c);
    if (e != OK) return e;
    c->session = session;
    c->has_session = true;
    SSL_set_connect_state(c->ssl);
    *ret = c;
    return OK;
}

void conn__begin(struct conn *c) {
    if (c->state != CONN_HANDSHAKE) return;
    step_handshake(c);
    update_poll(c);
}

/* ---- ending ---- */

void conn__time_out(struct conn *c, int64_t now_ms) {
    /* While the session has paused reading, it is not the peer who keeps its block incomplete. */
    const bool is_own_pause = c->state == CONN_OPEN && c->is_paused;
    const bool io_counts = c->io_deadline_ms != 0 && !is_own_pause;
    const bool is_over = (io_counts && now_ms >= c->io_deadline_ms) ||
                         (c->deadline_ms != 0 && now_ms >= c->deadline_ms);
    if (!is_over || c->state == CONN_CLOSING) return;
    if (c->state == CONN_HANDSHAKE) tell_tls_error(c, "timeout");
    conn_close(c);
}

/* Our close_notify, if it can still be sent; the peer's is not waited for. */
static void say_goodbye(struct conn *c) {
    if (c->is_broken || c->out != NULL || !SSL_is_init_finished(c->ssl)) return;
    ERR_clear_error();
    (void)SSL_shutdown(c->ssl);
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
    list_remove(&c->writing);
    c->set->n--;
    say_goodbye(c);
    SSL_free(c->ssl); /* at once: free_conn() runs a turn later */
    c->ssl = NULL;
    uv_close((uv_handle_t *)&c->poll, on_poll_closed);
    discard_input(c);
    (void)shutdown(c->fd, SHUT_RDWR);
    (void)close(c->fd);
    if (c->peer == NULL) return;
    count_closed(c);
    admission_leave(c->opts->admission, c->peer);
}

void conn_close(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (c->state == CONN_CLOSING) return;
    c->state = CONN_CLOSING;
    (void)uv_poll_stop(&c->poll);
    list_remove(&c->writing);
    turn_drop(&c->set->turns, &c->turn);
    list_push_back(&c->set->closing, &c->writing);
}

void conn_finish(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (c->state == CONN_HANDSHAKE) conn_close(c);
    if (c->state != CONN_OPEN) return;
    c->state = CONN_FINISHING;
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
    /* With unsent bytes, the socket's event comes to the same. */
    if (c->state == CONN_CLOSING || c->out != NULL || !list_is_empty(&c->writing)) return;
    list_push_back(&c->set->to_write, &c->writing);
}

void conn_want_run(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (c->state == CONN_CLOSING) return;
    c->wants_run = true;
    want_turn(c);
}

bool conn_share_is_used(const struct conn *c) {
    return turns_share_is_used(&c->set->turns);
}

void conn_pause_read(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    c->is_paused = true;
    /* Poll is changed when the next event comes: most pauses end before that, and each change costs
     * two system calls. */
}

void conn_resume_read(struct conn *c) {
    ASSERT_ON_LOOP(c->set->loop);
    if (!c->is_paused) return;
    c->is_paused = false;
    if (c->state != CONN_OPEN) return;
    if (c->io_deadline_ms != 0) set_io_deadline(c, c->opts->block_timeout_ms);
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

const char *conn_tls_problem(const struct conn *c) {
    return c->tls_problem != NULL ? c->tls_problem : "";
}

bool conn_has_alpn(const struct conn *c) {
    return tls_has_alpn(c->ssl);
}

const struct server_cert *conn_cert(const struct conn *c) {
    return tls_server_cert(c->ssl);
}

enum err conn_peer_chain(const struct conn *c, uint8_t *buf, size_t cap, struct bytes *ret) {
    return tls_peer_chain(c->ssl, buf, cap, ret);
}

bool conn_take_new_queue(struct conn *c) {
    return admission_take_new_queue(c->opts->admission, c->peer);
}
