/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* limits.h -- everything that a peer can make the server hold or wait for: the rows of limits.def
 * as constants and as data; and the sizes of the protocol. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
#define LIMIT(of, id, value, least, most, ...)                                                     \
    id = (value), id##_LEAST = (least), id##_MOST = (most),
#include "model/limits.def"
#undef LIMIT
};

/* For documents and tests. */
struct limit_row {
    const char *of, *id;
    int64_t value, least, most; /* least, most: 0, 0 for what is no setting */
    const char *unit, *setting, *metric, *what;
};
extern const struct limit_row LIMIT_ROWS[];
extern const size_t N_LIMIT_ROWS;

/* clang-format off */
enum {
    /* ---- the protocol's own sizes (spec: wire, sections 1, 4 and 6) ---- */
    SMP_BLOCK_LEN = 16384,                /* bytes; every block in both directions */
    SMP_BLOCK_OVERHEAD = 19,              /* bytes: 2 pad length, 1 count, 16 tag */
    SMP_TRANSMISSION_MAX = 16363,         /* bytes: a block less SMP_BLOCK_OVERHEAD and the length */
    SMP_BATCH_MAX = 255,                  /* transmissions in a block: the count is one byte */
    SMP_MSG_PADDED_LEN = 16106,           /* bytes; padded content of MSG, same for all versions */

    /* ---- how work is cut up, and reckoned ---- */
    SERVICE_SCAN_QUEUES = 2000,           /* queues before other work gets its turn, ~0.2 ms */
    EXPIRY_QUEUES_PER_STEP = 2000,        /* the same */
    SESSION_PENDING_BASE = 96,            /* bytes counted for each answer besides its text */
    HOLD_MAX_MS = 10000,                  /* milliseconds; for hold_ms */
    END_INTERVAL_MAX_MS = 15000           /* milliseconds; END is due within 15 s */
};
/* clang-format on */
