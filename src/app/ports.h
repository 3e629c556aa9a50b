/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* ports.h -- where the server listens: each address of `bind` with each port, and what to tell the
 * operator when one cannot be had. Main thread. */
#pragma once

#include "app/conf.h"
#include "net/listener.h"

unsigned ports_count(const struct conf *c);
struct listener_addr ports_get(const struct conf *c, unsigned i); /* borrows from c */

/* Describes why a could not be opened, from e and errno; returns e. */
enum err ports_explain(const struct listener_addr *a, enum err e, const char *ini_path,
                       struct problem *ret_problem);
