/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a peer may cost before its handshake is done: its bytes stay in the kernel until a record of
 * TLS is whole, and TLS itself is not there before the first one is. So who connects and says
 * nothing, or half of something, costs a few hundred bytes here, and not a buffer of 16 KiB each
 * for a record and for a message. */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "net/stream_priv.h"

enum {
    RECORD_HEAD_LEN = 5, /* RFC 8446, section 5.1: type, version, length */
    RECORD_FIRST_TYPE = 20,
    RECORD_LAST_TYPE = 23,
    RECORD_BODY_MAX = 16384 + 2048, /* of TLS 1.2, which may be longer */
};

/* Poll says nothing before so much has come, or the end. */
static void wait_for(struct stream *s, int n) {
    s->waits_for_record = n > 1;
    (void)setsockopt(s->fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof n);
}

static bool has_ended(const struct stream *s) {
    struct pollfd p = {.fd = s->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1;
}

/* Of what is no record the rest is of no interest: TLS refuses it by its head. */
static int record_len(const uint8_t head[RECORD_HEAD_LEN]) {
    const int n = head[3] << 8 | head[4];
    const bool is_record = head[0] >= RECORD_FIRST_TYPE && head[0] <= RECORD_LAST_TYPE;
    return is_record && n <= RECORD_BODY_MAX ? RECORD_HEAD_LEN + n : RECORD_HEAD_LEN;
}

bool stream__has_record(struct stream *s) {
    uint8_t head[RECORD_HEAD_LEN];
    int there = 0;
    s->readable_len = RECORD_HEAD_LEN;
    const ssize_t n = recv(s->fd, head, sizeof head, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (n <= 0 || ioctl(s->fd, FIONREAD, &there) != 0) return true; /* TLS finds out why */
    const int wanted = n < RECORD_HEAD_LEN ? RECORD_HEAD_LEN : record_len(head);
    if (there < wanted && !has_ended(s)) {
        wait_for(s, wanted);
        return false;
    }
    if (s->waits_for_record) wait_for(s, 1);
    s->readable_len = (uint32_t)(there < wanted ? there : wanted);
    return true;
}
