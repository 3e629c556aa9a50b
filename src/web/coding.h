/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* coding.h -- the codings in which pages are kept. Any thread. */
#pragma once

#include "base/err.h"
#include "web/accept.h"

/* *ret is owned (free()), and empty when it would not be smaller. E_NO_MEMORY. */
MUST_USE enum err coding_make(enum web_coding coding, struct bytes plain, struct bytes *ret);
