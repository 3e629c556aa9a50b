/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* limits.h -- everything that a peer can make the server hold, with its unit and the reason.
 *
 * What an operator may change is a setting (app/options.c) whose default stands here; the rest is
 * fixed by the protocol or by the memory that we promise. */
#pragma once

/* clang-format off */
enum {
    /* ---- the protocol's own sizes (spec: wire, sections 1, 4 and 6) ---- */
    SMP_BLOCK_LEN = 16384,                /* bytes; every block in both directions */
    SMP_BLOCK_OVERHEAD = 19,             /* bytes: 2 pad length, 1 count, 16 tag */
    SMP_BATCH_MAX = 255,                  /* transmissions in a block: the count is one byte */
    SMP_MSG_PADDED_LEN = 16106,           /* bytes; padded content of MSG, same for all versions */

    /* ---- per queue ---- */
    DEFAULT_MESSAGE_QUOTA = 128,          /* messages; as the reference: apps count on it */
    RCV_KEYS_MAX = 32,                    /* recipient keys: each may cost a verification */

    /* ---- storage ---- */
    MESSAGE_CACHE_BYTES = 33554432,       /* bytes of recent bodies kept in RAM beside the journal */

    /* ---- per session ---- */
    SESSION_SUBSCRIPTIONS_MAX = 1000000,  /* ~120 bytes each; large clients have 10^5 */
    DEFAULT_PENDING_BYTES = 262144,       /* bytes of waiting answers; above: not read any more */
    SESSION_PENDING_BASE = 96,            /* bytes counted for each answer besides its text */

    /* ---- times ---- */
    DEFAULT_TLS_TIMEOUT_S = 60,           /* seconds; as the reference */
    DEFAULT_SMP_HANDSHAKE_TIMEOUT_S = 120, /* seconds; as the reference */
    BLOCK_TIMEOUT_S = 300,                /* seconds for one block: 16 KiB at 450 bit/s */
    CLOSE_GRACE_MS = 3000,                /* milliseconds for clients to take their last answers */
    END_INTERVAL_MAX_MS = 15000,          /* milliseconds; END is due within 15 s */

    /* ---- expiry ---- */
    DEFAULT_MESSAGE_TTL_DAYS = 21,        /* days; as the reference */
    DEFAULT_EXPIRY_INTERVAL_S = 3600,     /* seconds between two passes; as the reference */
    EXPIRY_QUEUES_PER_STEP = 2000,        /* queues before other work gets its turn, ~0.2 ms */
    DEFAULT_INACTIVE_TTL_S = 21600,       /* seconds; as the reference */
    DEFAULT_INACTIVE_CHECK_S = 3600,      /* seconds; as the reference */

    /* ---- per address and in all ---- */
    DEFAULT_CONNECTIONS_PER_ADDRESS = 20000, /* enough for carrier NAT and for Tor, whose clients
                                              * share an address; too few to take all descriptors */
    DEFAULT_HANDSHAKES_PER_SECOND = 0,    /* handshakes; 0: no limit */
    DEFAULT_NEW_QUEUES_PER_MINUTE = 0     /* queues; 0: no limit */
};
/* clang-format on */
