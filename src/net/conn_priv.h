/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conn_priv.h -- how dial.c makes a client's connection. */
#pragma once

#include "net/conn.h"

/* A client's connection over a connected socket, which is closed on error. session is what
 * conn_ops get from the start: on_open() is handed it as *ret_session, and on_close() comes however
 * the connection ends. E_NO_MEMORY, E_SYS (then there was no on_close()). */
MUST_USE enum err conn__connect(struct loop *l, int owned_fd, SSL_CTX *tls,
                                const struct conn_opts *o, void *session, struct conn **ret);
/* Begins with TLS, as the client speaks first; on_open() may come before this returns. */
void conn__begin(struct conn *c);
