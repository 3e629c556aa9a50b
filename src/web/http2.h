/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http2.h -- HTTP/2 on a stream. The time limits are those of HTTP/1 (http1.h): what has begun has
 * to come, answers to be taken, and who asks for nothing does not stay, whatever frames he sends.
 * While the socket takes nothing, nothing is read. */
#pragma once

#include "base/err.h"

struct stream;
struct web;

/* w is borrowed as long as the connection lives; web_leave() at its end. E_NO_MEMORY. */
MUST_USE enum err http2_frame(struct stream *s, struct web *w);
