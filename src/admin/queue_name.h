/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_name.h -- how a person names a queue: its sender id or link id in base64url, or the short
 * link that leads to it.
 *
 *   simplex:/i#<link id>/<link key>?h=<hosts>&p=<port>&c=<fingerprint>     one-time invitation
 *   simplex:/a#<link key>?h=...          contact address; c, g, r: channel, group, relay
 *   https://<host>/a#<link key>          the same in a form for browsers
 *
 * The link id of a contact address is derived from its key. Pure; any thread. */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "crypto/crypto.h"

struct queue_name {
    bool is_link; /* id is a link id; else a sender id or a link id */
    struct id id;
    bool has_server; /* the link names its server */
    uint8_t server[SHA256_LEN];
};

/* E_SYNTAX; E_AUTH: base64url, but of a length that no id has; E_CRYPTO. */
MUST_USE enum err queue_name_parse(struct bytes text, struct queue_name *ret);
