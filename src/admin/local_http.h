/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* local_http.h -- what the operator's servers of HTTP have in common: an address of this machine
 * alone, and answers by libmicrohttpd. Any thread. */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

/* A socket that listens, which is the caller's: libmicrohttpd 1.0 loses the errno of its own. host:
 * numeric, without brackets. E_HOST: it is not a loopback address; E_SYS with errno. */
MUST_USE enum err local_listen(const char *host, uint16_t port, int *ret_fd, bool *ret_is_ipv6);

/* Does a Host field name this machine as one of its users would: a loopback address or localhost,
 * with any port, as it may come through a tunnel? What does not may be a name of somebody else's
 * that was made to lead here. */
bool local_is_host(struct bytes field);

/* text is static. NULL: no memory. */
struct MHD_Response *local_plain(const char *text);
/* Takes over r, which may be NULL. */
enum MHD_Result local_respond(struct MHD_Connection *c, unsigned status, struct MHD_Response *r);
/* To all but GET and HEAD. */
enum MHD_Result local_refuse_method(struct MHD_Connection *c);
bool local_is_method_known(const char *method);
