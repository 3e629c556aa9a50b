/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* listener_priv.h -- what a loop needs to close the listeners that were left open on it. */
#pragma once

#include <uv.h>

#include "base/list.h"
#include "net/listener.h"

struct listener {
    uv_poll_t poll;
    uv_timer_t retry;               /* active while accepting is paused */
    struct list link;               /* in streams.listeners */
    struct loop *loop;              /* borrowed */
    SSL_CTX *tls;                   /* owned: one reference */
    const struct stream_opts *opts; /* borrowed */
    struct socket_counts *counts;   /* borrowed; NULL: they are not counted here */
    int64_t next_log_ms;
    int fd; /* owned */
    uint16_t port;
    uint8_t n_handles; /* not closed yet */
};
