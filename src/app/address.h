/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* address.h -- what clients are given: fingerprint and server address. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "client/smp_uri.h"

struct address {
    struct bytes fingerprint; /* borrowed */
    const char *password;     /* NULL or "": none */
    const char *hosts;        /* comma separated */
    uint16_t port;            /* shown unless it is SMP_DEFAULT_PORT */
};

/* Prints what scripts look for: version, "Fingerprint: ...", "Server address: smp://...". */
void address_print(const struct address *a);
