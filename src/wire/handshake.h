/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* handshake.h -- the three messages that open a session (spec: wire, section 3). Pure; any thread.
 *
 * Each travels in a plain padded block; bytes after what is known are ignored, so that later
 * versions can add fields. */
#pragma once

#include "base/rd.h"
#include "base/wr.h"
#include "crypto/key.h"
#include "wire/version.h"

struct server_hello {
    uint16_t version_min, version_max;
    struct bytes session_id;
    struct bytes cert_chain; /* SMP encoding; written when version_max >= 7 */
    struct bytes signed_key; /* DER; as above */
    struct bytes proof; /* of a server over WebSocket; written when it is not empty; never parsed */
};
void server_hello_write(const struct server_hello *h, struct wr *w);
/* For clients: the proxy, tests. E_SYNTAX. All views into content. */
MUST_USE enum err server_hello_parse(struct bytes content, struct server_hello *ret);

struct client_service {
    char role;               /* 'M' messaging, 'N' notifier, 'P' proxy */
    struct bytes cert_chain; /* SMP encoding */
    struct bytes signed_key; /* DER */
};

struct client_hello {
    uint16_t version;
    struct bytes identity; /* of the server that the client means to reach */
    struct pubkey key;     /* X25519, or KEY_NONE when the client sent none */
    bool proxy_server;
    bool has_service;
    struct client_service service;
};
void client_hello_write(const struct client_hello *h, struct wr *w);
/* E_SYNTAX. All views into content. */
MUST_USE enum err client_hello_parse(struct bytes content, struct client_hello *ret);

/* The agreed version: the client's, when the server's range has it. E_VERSION. */
MUST_USE enum err handshake_agree(uint16_t min, uint16_t max, uint16_t client_version,
                                  uint16_t *ret);

enum transport_error {
    TRANSPORT_BLOCK,
    TRANSPORT_VERSION,
    TRANSPORT_LARGE_MSG,
    TRANSPORT_SESSION,
    TRANSPORT_NO_AUTH,
    TRANSPORT_HS_PARSE,
    TRANSPORT_HS_IDENTITY,
    TRANSPORT_HS_BAD_AUTH,
    TRANSPORT_HS_BAD_SERVICE
};
/* The newest version that a proxy may agree with a relay that offers up to relay_max. Older relays
 * do not know that a proxy is calling: from V_ENCRYPTED_BLOCK on they would encrypt blocks, whose
 * room is too small for what is forwarded. */
uint16_t handshake_proxy_max(uint16_t relay_max, uint16_t our_max);

const char *transport_error_text(enum transport_error e); /* as on the wire; static */

/* Third message, only to services. */
void service_accepted_write(struct bytes service_id, struct wr *w);
void service_refused_write(enum transport_error e, struct wr *w);
