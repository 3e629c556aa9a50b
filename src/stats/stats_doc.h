/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* stats_doc.h -- the tables of the statistics as docs/generated/statistics.md (`make docs`). Pure.
 */
#pragma once

#include "base/wr.h"

enum { STATS_DOC_MAX = 128 * 1024 }; /* bytes that are enough */

void stats_doc_print(struct wr *w);
