/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* bound.h -- the cryptography that no server can do without, measured on this machine: by the code
 * of src/crypto and libssl themselves, in CPU time of one thread. What a message, a subscription or
 * a connection costs at least is a sum of these; the rest of what a server takes is its own. Main
 * thread. */
#pragma once

#include "base/err.h"

/* What is added up. */
enum bound {
    BOUND_RELAY,       /* SEND, OK, MSG, ACK, OK with blocks encrypted inside TLS (version 11 on) */
    BOUND_RELAY_PLAIN, /* the same without that (versions 7 to 10) */
    BOUND_RELAY_SIGNED, /* ... and SEND signed in place of an authenticator (version 6) */
    BOUND_SUB,          /* one of many in full blocks */
    BOUND_CONNECT,      /* handshakes and a PING; certificate Ed25519, agreement X25519 */
    N_BOUNDS
};
const char *bound_name(enum bound b); /* static: "relay" */

enum { BOUND_OPS_MAX = 24 };

struct bound_op {
    const char *name, *text; /* static */
    double us;
    double counts[N_BOUNDS]; /* how many of it are in each */
};

struct bounds {
    struct bound_op ops[BOUND_OPS_MAX];
    unsigned n_ops;
    double us[N_BOUNDS];
};

/* Takes a few seconds. progress may be NULL. E_NO_MEMORY, E_CRYPTO. */
MUST_USE enum err bounds_measure(void (*progress)(double share), struct bounds *ret);
