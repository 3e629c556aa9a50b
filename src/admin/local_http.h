/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* local_http.h -- what the operator's servers of HTTP have in common: an address of this machine
 * alone, and answers by libmicrohttpd. Any thread. */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "stats/stats.h"

/* A socket that listens, which is the caller's: libmicrohttpd 1.0 loses the errno of its own. host:
 * numeric, without brackets. E_HOST: it is not a loopback address; E_SYS with errno. */
MUST_USE enum err local_listen(const char *host, uint16_t port, int *ret_fd, bool *ret_is_ipv6);

/* Does a Host field name this machine as one of its users would: a loopback address or localhost,
 * with any port, as it may come through a tunnel? What does not may be a name of somebody else's
 * that was made to lead here. */
bool local_is_host(struct bytes field);

/* Who is connected. libmicrohttpd lets in twice max, so that one more than max finds a place while
 * the oldest that is not known gives way to it. In libmicrohttpd's thread. */
struct local_guests {
    struct list all;           /* the oldest first */
    unsigned n, max;           /* n: without those that give way */
    struct stats_sheet *sheet; /* borrowed; may be NULL. Counts in it, as: */
    enum stat_id stat;
};

struct local_guest {
    struct list in_all;
    int fd; /* libmicrohttpd's */
    bool is_known, gives_way;
};

void local_guests_init(struct local_guests *g, unsigned max, struct stats_sheet *sheet,
                       enum stat_id stat);
void local_guest_came(struct local_guests *g, struct local_guest *it, struct MHD_Connection *c);
void local_guest_left(struct local_guests *g, struct local_guest *it);

/* text is static. NULL: no memory. */
struct MHD_Response *local_plain(const char *text);
/* Takes over r, which may be NULL. */
enum MHD_Result local_respond(struct MHD_Connection *c, unsigned status, struct MHD_Response *r);
/* To all but GET and HEAD. */
enum MHD_Result local_refuse_method(struct MHD_Connection *c);
bool local_is_method_known(const char *method);
