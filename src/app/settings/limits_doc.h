/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* limits_doc.h -- the table of limits as docs/generated/limits.md (`make docs`). */
#pragma once

#include "base/wr.h"

enum { LIMITS_DOC_MAX = 32 * 1024 }; /* bytes that are enough */

void limits_doc_print(struct wr *w);
