/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* transfer.h -- GET requests to the resolver from one loop: libcurl's multi interface, its
 * descriptors and timer watched by the loop.
 *
 * Owner loop only, but where said. No redirect is followed, no proxy of the environment is used,
 * certificates are verified against the system's store. */
#pragma once

#include "base/bytes.h"
#include "names/endpoint.h"
#include "net/loop.h"

struct transfers; /* of one loop */

enum transfer_result {
    TRANSFER_OK,        /* status and body */
    TRANSFER_TIMEOUT,   /* no answer in time */
    TRANSFER_FAILED,    /* no connection, a certificate that is not trusted, or it broke */
    TRANSFER_TOO_LARGE, /* the body is longer than was allowed */
    TRANSFER_NO_MEMORY
};

struct transfer {
    /* private */
    struct transfers *of; /* NULL: not under way */
    void *easy;           /* owned while it is under way */
    uint8_t *buf;         /* owned */
    size_t cap;
    /* result, valid in done() */
    enum transfer_result result;
    unsigned status;   /* of HTTP: with TRANSFER_OK; from 400 on there is no body */
    struct bytes body; /* views buf; gone when done() returns */
    /* set by the caller */
    void (*done)(struct transfer *t);
};

struct transfers_opts {
    const struct endpoint *endpoint; /* borrowed until transfers_free() */
    size_t body_max;                 /* bytes */
    unsigned sockets_max;            /* open at once, those that are kept included */
};
/* Any thread that holds the loop. E_NO_MEMORY. */
MUST_USE enum err transfers_new(struct loop *l, const struct transfers_opts *o,
                                struct transfers **ret);
/* Nothing may be under way: transfer_stop(). NULL is a no-op. */
void transfers_free(struct transfers *ts);
/* path: after the endpoint, URL-safe. done() comes later, once, and may start another. On an error,
 * E_NO_MEMORY, it does not come. */
MUST_USE enum err transfer_start(struct transfers *ts, const char *path, int64_t timeout_ms,
                                 struct transfer *t);

/* Ends it without done(). No-op when it is not under way; not from inside of done(). */
void transfer_stop(struct transfer *t);

/* Asks for path, and waits. Any thread, never a loop's. The error of libcurl in words, for an
 * operator, or NULL on TRANSFER_OK; *ret_status as above. */
const char *transfer_probe(const struct endpoint *endpoint, const char *path, int64_t timeout_ms,
                           enum transfer_result *ret, unsigned *ret_status);
