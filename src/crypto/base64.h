/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* base64.h -- base64url with padding, the text form of ids, keys and fingerprints (spec: wire,
 * section 8). Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/wr.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* ret needs BASE64_LEN(b.n) + 1 bytes; terminated. */
void base64url_encode(struct bytes b, char *ret);
/* The same without a terminator. */
void base64url_write(struct bytes b, struct wr *w);
/* Accepts with and without padding, but only one spelling of each value. E_SYNTAX; E_LIMIT when
 * more than cap bytes would come out. On failure ret may have been written to. */
MUST_USE enum err base64url_decode(struct bytes text, uint8_t *ret, size_t cap, size_t *ret_n);
