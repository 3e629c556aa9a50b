/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* doors.h -- what each kind of port shows in TLS to those who come: the server's certificate, that
 * for browsers, or one of the two. Any thread; counted. */
#pragma once

#include "app/server/ports.h"

typedef struct ssl_ctx_st SSL_CTX;

struct doors {
    SSL_CTX *of[N_PORT_KINDS]; /* owned: one reference each; NULL: without TLS */
};

/* web: NULL where there is no certificate for browsers. Both are counted. *ret is written on OK
 * alone: doors_done(). E_NO_MEMORY, E_CRYPTO. */
MUST_USE enum err doors_make(SSL_CTX *smp, SSL_CTX *web, struct doors *ret);
struct doors doors_ref(const struct doors *d);
void doors_done(struct doors *d); /* leaves it empty; so zeros may be ended too */
