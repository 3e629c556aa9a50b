/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "model/limits.h"

#include "base/attr.h"

const struct limit_row LIMIT_ROWS[] = {
#define LIMIT(of, id, ...) {#of, #id, __VA_ARGS__},
#include "model/limits.def"
#undef LIMIT
};
const size_t N_LIMIT_ROWS = ARRAY_LEN(LIMIT_ROWS);
