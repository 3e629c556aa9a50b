/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* version.h -- names for SMP versions, and what both sides of a session need to know to encode. */
#pragma once

#include "base/bytes.h"

enum smp_version {
#define VERSION(name, number, what) V_##name = (number),
#include "wire/versions.def"
#undef VERSION
};

/* The newest version that a proxy tells clients a relay has, whatever it has: proxies and relays
 * are brought up to date before apps are, and the versions of apps must not tell them apart
 * (reference: Transport.hs, proxiedSMPRelayVersion). */
enum { PROXIED_VERSION_MAX = V_NEW_NTF_CREDS };

enum { SESSION_ID_MAX = 64 };

/* Parameters of one session; fixed after the handshake. */
struct wire_params {
    uint16_t version;
    uint8_t session[1 + SESSION_ID_MAX]; /* the identifier as a short string: length, bytes */
};

static inline bool version_has(uint16_t version, enum smp_version since) {
    return version >= (uint16_t)since;
}

static inline struct bytes wire_session(const struct wire_params *p) {
    return bytes_of(p->session, 1 + (size_t)p->session[0]);
}
