/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* caps.h -- the capabilities of a thread: what the kernel lets it do beyond its user.
 *
 * They belong to the calling thread, and those that it starts get the same; thread.h takes the one
 * for ports away from all that it starts. Sets are bits, CAPS_BIT(CAP_...). */
#pragma once

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define CAPS_BIT(number) (UINT64_C(1) << (number))
#define CAPS_PORTS       CAPS_BIT(10) /* CAP_NET_BIND_SERVICE: ports below 1024 */

uint64_t caps_have(void); /* those in force or that may be put in force; 0 when that is not known */
/* Gives up, for good, all that are not in `set`, also what programs started from here would get.
 * E_SYS with errno: a filter of system calls refuses even that; nothing has changed then. */
MUST_USE enum err caps_keep(uint64_t set);
