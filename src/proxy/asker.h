/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* asker.h -- for whom the proxy works: a session, and the address behind it; so that nobody uses up
 * what is there for all.
 *
 * Counted: the session has a reference, each of its operations, and each attempt to connect that
 * began for it. So it may outlive the session. Any thread. */
#pragma once

#include "net/admission.h"

struct proxy_asker;

/* With one reference, the session's. Holds peer. admission and peer are NULL where addresses are
 * not counted; E_NO_MEMORY. */
MUST_USE enum err proxy_asker_new(struct admission *admission, struct admission_peer *peer,
                                  struct proxy_asker **ret);
struct proxy_asker *proxy_asker_ref(struct proxy_asker *a); /* NULL is a no-op, as below */
void proxy_asker_unref(struct proxy_asker *a);
/* The session has ended: nobody waits for what was asked. Gives back its reference. */
void proxy_asker_leave(struct proxy_asker *owned);
bool proxy_asker_is_gone(const struct proxy_asker *a);

/* Of what may be under way for this session and address. LIMIT_NONE: it is taken, and is to be
 * given back. */
enum admission_limit proxy_asker_take(struct proxy_asker *a, enum admission_share share);
void proxy_asker_give(struct proxy_asker *a, enum admission_share share);
