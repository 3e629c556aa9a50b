/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* http_path.h -- the path of a request, decoded. Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* `%` is decoded once; then the path may hold no control character, no backslash, no empty segment
 * but at its end, and none that begins with a dot but `.well-known` as the first. to: at least
 * path.n bytes, may be where path is. E_SYNTAX. */
MUST_USE enum err http_path_decode(struct bytes path, char *to, struct bytes *ret);
