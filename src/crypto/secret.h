/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* secret.h -- memory for keys that are kept: never in swap, in no core file, and wiped when it is
 * given back.
 *
 * Small ones share blocks of 64 KiB that lie between two pages nobody may touch; so a session's
 * keys cost as much as anywhere else. What is larger has such pages of its own, which are not
 * locked: the limit would be used up by one. Where the limit of locked memory is used up, keys are
 * kept nevertheless, and secret_locking() tells. Private keys of OpenSSL's own, those of
 * certificates and of key exchanges, are in a heap of OpenSSL's of the same kind (secret_begin());
 * the keys of TLS sessions are not, for nobody can tell it where. Any thread but for
 * secret_begin(). */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Before any other thread, and before any key: raises the limit of locked memory so far as it can
 * be, and makes OpenSSL's heap, for so many connections at the most: one that is used up ends
 * handshakes. Without (tools, tests) OpenSSL keeps keys where it keeps all else. */
void secret_begin(size_t n_connections);
/* Of what there was to be locked so far: nothing, some of it, all. */
enum secret_locking { SECRETS_UNLOCKED, SECRETS_PARTLY_LOCKED, SECRETS_LOCKED };
enum secret_locking secret_locking(void);

/* n zeros, for any type; NULL: out of memory. */
MUST_USE void *secret_new(size_t n);
/* Wipes all n; NULL is a no-op. */
void secret_free(void *owned, size_t n);
