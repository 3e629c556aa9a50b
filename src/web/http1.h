/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http1.h -- HTTP/1.1 on a stream: one request at a time, read when the answer to the one before is
 * written. So what a browser has us hold is one small struct, however many requests it sends ahead.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct stream;
struct web;

enum {
    HTTP_IDLE_MS = 15000,   /* between two requests */
    HTTP_HEAD_MS = 10000,   /* from the first byte of a request to its last */
    HTTP_ANSWER_MS = 60000, /* an answer, at most */
    HTTP_REQUESTS_MAX = 100 /* of one connection */
};

/* How long an answer with a body of n bytes may take: 10 s, and a second for each KiB. */
int64_t http_answer_ms(size_t n);

/* w is borrowed as long as the connection lives; web_leave() at its end. E_NO_MEMORY. */
MUST_USE enum err http1_frame(struct stream *s, struct web *w);
