/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* loop_priv.h -- what the other files of this folder need from a loop. */
#pragma once

#include "net/loop.h"

struct uv_loop_s;
struct conns;

/* Both borrowed; owner. */
struct uv_loop_s *loop__uv(struct loop *l);
struct conns *loop__conns(const struct loop *l); /* the connections and listeners of this loop */
