/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* loop_priv.h -- what the other files of this folder need from a loop. */
#pragma once

#include "net/loop.h"

struct uv_loop_s;
struct streams;

/* Both borrowed; owner. */
struct uv_loop_s *loop__uv(struct loop *l);
struct streams *loop__streams(
    const struct loop *l); /* the connections and listeners of this loop */
