/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* websocket.h -- blocks as messages of WebSocket (RFC 6455): a connection as any other (conn.h) to
 * its session, with its limits.
 *
 * A block is one binary message, sent in one frame and taken in any number of them. The peer's
 * close is answered, its pings are (the last one, if it does not read), and what it does wrong ends
 * the connection with the code for that. A server that finishes says so; a session that closes its
 * connection ends it as it ends others, without a word. Owner loop. */
#pragma once

#include "net/conn.h"

/* Takes s over from the framing that it has, whose on_end() is not called, once that has answered
 * the request: by then nothing may have come after it. o is borrowed as long as the connection
 * lives. smp is counted: whose certificate the session shows, if that of TLS is for browsers.
 * challenge: CONN_CHALLENGE_LEN bytes, copied, or empty. E_NO_MEMORY: s is as it was. */
MUST_USE enum err websocket_frame(struct stream *s, const struct conn_opts *o, SSL_CTX *smp,
                                  struct bytes challenge);
