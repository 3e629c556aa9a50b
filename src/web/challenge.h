/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* challenge.h -- the files by which a certificate authority sees that this machine is whose name it
 * has (RFC 8555, section 8.3): written by a client of it, read here when they are asked for.
 *
 * Small files of a directory, looked at once for each certificate: so they are read on the loop. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

/* At most cap bytes. E_NOT_FOUND: there is none of this name, it is no regular file, it is too
 * long, or a link. Any thread. */
MUST_USE enum err challenge_read(const char *dir, struct bytes name, uint8_t *to, size_t cap,
                                 size_t *ret_n);
