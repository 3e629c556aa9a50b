/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* endpoint.h -- where the resolver is, and what it is shown: two settings, checked and taken apart
 * (spec: names, "Settings").
 *
 * Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

enum { ENDPOINT_URL_MAX = 1024, ENDPOINT_SECRET_MAX = 512 }; /* bytes, terminator included */

enum endpoint_auth { ENDPOINT_OPEN, ENDPOINT_BEARER, ENDPOINT_BASIC };

struct endpoint {
    char url[ENDPOINT_URL_MAX]; /* http or https, without slashes at its end */
    bool is_private;            /* nobody on the way can read what is sent there */
    enum endpoint_auth auth;
    char secret[ENDPOINT_SECRET_MAX]; /* secret: the token, or user:password */
};

/* An absolute http or https URL with a host, without user, password, query or fragment. E_SYNTAX:
 * *ret_why is what is wrong with it, static. */
MUST_USE enum err endpoint_set_url(struct endpoint *e, const char *url, const char **ret_why);
/* After the URL: "bearer TOKEN" or "basic USER:PASSWORD", the scheme in any case; over http only to
 * this host. Errors as above. */
MUST_USE enum err endpoint_set_auth(struct endpoint *e, const char *auth, const char **ret_why);
void endpoint_wipe(struct endpoint *e);
