/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/doors.h"

#include "net/tls_web.h"

enum err doors_make(SSL_CTX *smp, SSL_CTX *web, struct doors *ret) {
    SSL_CTX *shared = NULL;
    const enum err e = tls_shared_ctx_new(smp, web, &ENV_SYSTEM, &shared);
    if (e != OK) return e;
    /* Who comes to the port of browsers while there is no certificate is refused by the choice. */
    SSL_CTX *https = web != NULL ? web : shared;
    for (unsigned i = 0; i < 2; i++) tls_ctx_ref(smp); /* each has its own */
    tls_ctx_ref(https);
    *ret = (struct doors){{
        [PORT_SMP] = smp,
        [PORT_WEBSOCKETS] = smp,
        [PORT_SHARED] = shared,
        [PORT_HTTPS] = https,
    }};
    return OK;
}

struct doors doors_ref(const struct doors *d) {
    for (unsigned i = 0; i < N_PORT_KINDS; i++) {
        if (d->of[i] != NULL) tls_ctx_ref(d->of[i]);
    }
    return *d;
}

void doors_done(struct doors *d) {
    for (unsigned i = 0; i < N_PORT_KINDS; i++) tls_ctx_free(d->of[i]);
    *d = (struct doors){{NULL}};
}
