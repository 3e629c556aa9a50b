/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* nothing.h -- the backend that keeps nothing: what is in RAM is all there is. */
#pragma once

#include "store/store.h"

MUST_USE enum err nothing_open(const struct store_opts *o, struct store **ret); /* E_NO_MEMORY */
