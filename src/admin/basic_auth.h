/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* basic_auth.h -- the password in an Authorization field (RFC 7617). Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum { BASIC_AUTH_MAX = 512 }; /* bytes of name, colon and password together */

/* *ret_n bytes of password into ret, which is secret; the name may be any. E_SYNTAX: it is of
 * another kind, or none; E_LIMIT: longer than any that we have. */
MUST_USE enum err basic_auth_password(struct bytes field, uint8_t ret[BASIC_AUTH_MAX],
                                      size_t *ret_n);
