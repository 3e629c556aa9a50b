/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* web_priv.h -- inside of struct web: for web.c and respond.c. */
#pragma once

#include <stdatomic.h>

#include "base/lock.h"
#include "web/web.h"

struct web {
    /* fixed after web_new() */
    struct web_opts o; /* texts owned */
    struct stream_opts stream;
    /* guarded by lock */
    struct lock lock;
    struct site *site;                /* owned; NULL: none */
    int64_t site_s;                   /* since when it is there */
    const struct conn_opts *smp_opts; /* borrowed; NULL: no WebSocket */
    SSL_CTX *smp;                     /* counted; NULL as smp_opts */
    /* atomic */
    _Atomic unsigned n_conns;
    _Atomic bool is_secure; /* relaxed: an answer may be late to know it */
};
