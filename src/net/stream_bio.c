/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What TLS reads from and writes to: the connection's socket, behind a BIO that always takes what
 * it is given.
 *
 * What the socket does not take is kept, encrypted, in s->out. So TLS never stands in the middle of
 * a record: a record that waits in OpenSSL (as with SSL_set_fd) makes it fail with "bad length"
 * when the peer asks for a key update meanwhile, and costs 33 KiB, for the record and for the block
 * that must be offered again, instead of at most 16. New blocks are made only when s->out is empty;
 * what may come on top are answers of TLS itself, and for these there is a limit. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/stream_priv.h"

enum {
    /* One block, and its head, in the smallest records that a client may ask for (RFC 6066), and
       some hundred answers to key updates. */
    UNSENT_MAX_BYTES = 32768,
    /* A dead peer is noticed after 60 + 4 * 15 s. Not shorter: each probe wakes the radio of a
       telephone. */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_PROBES = 4,
    /* Unsent bytes in the kernel above which a socket takes no more: four blocks. Without it, a
     * peer that does not read makes the kernel hold megabytes. */
    KERNEL_UNSENT_MAX_BYTES = 65536,
};

static bool set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

bool stream__set_socket_options(int fd) {
    return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
           set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES) &&
           set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, KERNEL_UNSENT_MAX_BYTES);
}

static bool is_transient(int error) {
    return error == EAGAIN || error == EINTR; /* on Linux EWOULDBLOCK is EAGAIN */
}

/* False when the connection cannot go on. */
static bool keep_unsent(struct stream *s, const char *p, size_t n) {
    if (n > UNSENT_MAX_BYTES - s->out_len) return false;
    uint8_t *out = realloc(s->out, s->out_len + n);
    if (out == NULL) return false;
    memcpy(out + s->out_len, p, n);
    s->out = out;
    s->out_len += (uint32_t)n;
    return true;
}

bool stream__send(struct stream *s, const void *p, size_t n) {
    ssize_t sent = 0;
    /* With a packet for its first bytes alone, a message would cost two. */
    const int flags = s->has_head ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
    if (s->out == NULL) sent = send(s->fd, p, n, flags);
    if (sent < 0 && !is_transient(errno)) return false;
    if (sent < 0) sent = 0;
    return (size_t)sent == n || keep_unsent(s, (const char *)p + sent, n - (size_t)sent);
}

static int on_write(BIO *b, const char *p, int n) {
    if (n <= 0) return n;
    return stream__send(BIO_get_data(b), p, (size_t)n) ? n : -1;
}

static int on_read(BIO *b, char *p, int n) {
    struct stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0) return n;
    if (s->is_guarded && s->readable_len == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    const size_t room =
        s->is_guarded && s->readable_len < (uint32_t)n ? s->readable_len : (size_t)n;
    const ssize_t got = recv(s->fd, p, room, 0);
    if (got < 0 && is_transient(errno)) BIO_set_retry_read(b);
    if (got > 0 && s->is_guarded) s->readable_len -= (uint32_t)got;
    return (int)got;
}

static long on_ctrl(BIO *b, int cmd, long number, void *p) {
    (void)b;
    (void)number;
    (void)p;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0; /* there is nothing to flush, and nothing else to ask */
}

BIO_METHOD *stream__bio_method_new(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "connection");
    if (m == NULL) return NULL;
    (void)BIO_meth_set_write(m, on_write);
    (void)BIO_meth_set_read(m, on_read);
    (void)BIO_meth_set_ctrl(m, on_ctrl);
    return m;
}

bool stream__set_bio(struct stream *s) {
    BIO *b = BIO_new(s->set->bio_method);
    if (b == NULL) return false;
    BIO_set_data(b, s);
    BIO_set_init(b, 1);
    SSL_set_bio(s->ssl, b, b); /* takes b over */
    return true;
}

bool stream__send_unsent(struct stream *s) {
    if (s->out == NULL) return true;
    const ssize_t sent = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);
    if (sent < 0) return is_transient(errno);
    s->out_at += (uint32_t)sent;
    if (s->out_at < s->out_len) return true;
    free(s->out);
    s->out = NULL;
    s->out_at = s->out_len = 0;
    return true;
}
