/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* upgrade.h -- the request by which HTTP becomes WebSocket (RFC 6455, section 4.2), and what a
 * client of SMP says with it. No extension is agreed on, and no subprotocol. Pure; any thread. */
#pragma once

#include "web/http_reader.h"

enum { UPGRADE_ACCEPT_LEN = 28, UPGRADE_CHALLENGE_LEN = 32 };

struct upgrade {
    char accept[UPGRADE_ACCEPT_LEN + 1]; /* of the answer */
    uint8_t n_challenge;                 /* UPGRADE_CHALLENGE_LEN, or 0: there is none */
    uint8_t challenge[UPGRADE_CHALLENGE_LEN];
};

bool upgrade_is_wanted(const struct http_request *r);
/* 101 with *ret filled in, or the status of a refusal. */
unsigned upgrade_check(const struct http_request *r, struct upgrade *ret);
