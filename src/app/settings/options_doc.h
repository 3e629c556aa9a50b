/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* options_doc.h -- the table of settings as docs/generated/options.md (`make docs`). */
#pragma once

#include "base/wr.h"

enum { OPTIONS_DOC_MAX = 128 * 1024 }; /* bytes that are enough */

void options_doc_print(struct wr *w);
