/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* fuzz_view.h -- what the fuzz targets of pure parsers share. */
#pragma once

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A view that a parser returned must lie within its input; an empty one may be anywhere. */
static inline void assert_inside(struct bytes view, struct bytes in) {
    if (view.n == 0) return;
    assert(view.p >= in.p && view.n <= in.n && (size_t)(view.p - in.p) <= in.n - view.n);
}
