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

enum { ADDRESS_TEXT_MAX = 2048 }; /* bytes, with terminator: the longest password and hosts fit */

/* "smp://..." */
void address_write(const struct address *a, char ret[ADDRESS_TEXT_MAX]);
/* That alone, on a line. */
void address_print_bare(const struct address *a);
/* Prints what scripts look for: version, "Fingerprint: ...", "Server address: smp://...". */
void address_print(const struct address *a);
