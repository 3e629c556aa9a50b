/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* init_beside.h -- what lies where `smp-server init` would make a new server: it refuses to hide
 * another identity or its queues, and says how to keep them. Nothing is changed. Main thread. */
#pragma once

#include "app/files/paths.h"

/* A part of an identity without settings. E_EXISTS. */
MUST_USE enum err init_beside_identity(const struct paths *paths, struct problem *ret_problem);
/* Queues and messages: they belong to the identity that they were made with. E_EXISTS, E_SYS. */
MUST_USE enum err init_beside_store(const struct paths *paths, struct problem *ret_problem);
