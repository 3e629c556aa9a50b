/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "net/loop_priv.h"

_Static_assert((int)WATCH_READ == (int)UV_READABLE && (int)WATCH_WRITE == (int)UV_WRITABLE,
               "handed to libuv as they are");

struct watched {
    uv_poll_t poll;
    struct loop *loop; /* borrowed */
    void (*fn)(void *ctx, unsigned events);
    void *ctx;
};

static void free_watched(uv_handle_t *h) {
    free(CONTAINER_OF(h, struct watched, poll));
}

static void on_ready(uv_poll_t *h, int status, int events) {
    struct watched *d = CONTAINER_OF(h, struct watched, poll);
    d->fn(d->ctx, status < 0 ? WATCH_READ | WATCH_WRITE : (unsigned)events);
}

static enum err open_watched(struct loop *l, int fd, struct watched **ret) {
    struct watched *d = calloc(1, sizeof *d);
    if (d == NULL) return E_NO_MEMORY;
    const int r = uv_poll_init(loop__uv(l), &d->poll, fd);
    if (r != 0) {
        free(d);
        errno = -r;
        return E_SYS;
    }
    d->loop = l;
    *ret = d;
    return OK;
}

enum err watch_start(struct loop *l, struct watch *w, int fd, unsigned events,
                     void (*fn)(void *ctx, unsigned events), void *ctx) {
    ASSERT_ON_LOOP(l);
    struct watched *d = w->impl;
    if (d == NULL) {
        const enum err e = open_watched(l, fd, &d);
        if (e != OK) return e;
        w->impl = d;
    }
    assert(d->loop == l);
    d->fn = fn;
    d->ctx = ctx;
    const int r = uv_poll_start(&d->poll, (int)events, on_ready);
    if (r == 0) return OK;
    watch_stop(w);
    errno = -r;
    return E_SYS;
}

void watch_stop(struct watch *w) {
    struct watched *d = w->impl;
    if (d == NULL) return;
    ASSERT_ON_LOOP(d->loop);
    w->impl = NULL;
    uv_close((uv_handle_t *)&d->poll, free_watched);
}
