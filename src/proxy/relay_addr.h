/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* relay_addr.h -- from the address that a client names to the host that is connected to. Pure. */
#pragma once

#include "base/id.h"
#include "client/smp_client.h"

struct relay_addr_rules {
    bool prefer_onion;       /* host_mode */
    bool required;           /* the other kind of host will not do */
    const char *own_domains; /* separated by commas; "" for none */
};

/* As in PRXY; views. */
struct relay_name {
    struct bytes hosts; /* items of the list: short strings */
    struct bytes port, identity;
};

struct relay_addr {
    struct id key; /* the same for the same name */
    struct smp_target target;
    bool is_own; /* of the operator of this proxy, for statistics */
};

bool relay_name_is_own(const struct relay_name *name, const struct relay_addr_rules *rules);
/* E_HOST: no host of the kind that is required, or none that is one. E_SYNTAX: a port or an
 * identity that no server can have. */
MUST_USE enum err relay_addr_from(const struct relay_name *name,
                                  const struct relay_addr_rules *rules, struct relay_addr *ret);
