/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* limits.h -- everything that a peer can make the server hold, with its unit and the reason.
 *
 * What an operator may change is a setting (app/settings/options.c) whose default stands here; the
 * rest is fixed by the protocol or by the memory that we promise. */
#pragma once

/* clang-format off */
enum {
    /* ---- the protocol's own sizes (spec: wire, sections 1, 4 and 6) ---- */
    SMP_BLOCK_LEN = 16384,                /* bytes; every block in both directions */
    SMP_BLOCK_OVERHEAD = 19,             /* bytes: 2 pad length, 1 count, 16 tag */
    SMP_TRANSMISSION_MAX = 16363,         /* bytes: a block less SMP_BLOCK_OVERHEAD and the length */
    SMP_BATCH_MAX = 255,                  /* transmissions in a block: the count is one byte */
    SMP_MSG_PADDED_LEN = 16106,           /* bytes; padded content of MSG, same for all versions */

    /* ---- per queue ---- */
    DEFAULT_MESSAGE_QUOTA = 128,          /* messages; as the reference: apps count on it */
    RCV_KEYS_MAX = 32,                    /* recipient keys: each may cost a verification */

    /* ---- notifications and services ---- */
    NTFS_PER_NOTIFIER_MAX = 256,          /* pending ones, 48 bytes each; more: the oldest goes */
    SERVICES_MAX = 10000,                 /* records; each keeps its certificates, ~2 KB */
    DEFAULT_NTF_INTERVAL_MS = 1500,       /* milliseconds; as the reference */
    DEFAULT_NTF_TTL_HOURS = 24,           /* hours; as the reference */
    SERVICE_SCAN_QUEUES = 2000,           /* queues before other work gets its turn, ~0.2 ms */

    /* ---- storage ---- */
    MESSAGE_CACHE_BYTES = 33554432,       /* bytes of recent bodies kept in RAM beside the journal */

    /* ---- per session ---- */
    SESSION_SUBSCRIPTIONS_MAX = 1000000,  /* ~120 bytes each; large clients have 10^5 */
    DEFAULT_PENDING_BYTES = 262144,       /* bytes of waiting answers; above: not read any more */
    SESSION_JOBS_MAX = 16,                /* blocks whose queues are looked for, or that wait for those;
                                           * then it is not read any more */
    SESSION_JOBS_BYTES_MAX = 262144,      /* bytes of copies of these blocks */
    REFUSED_MAX = 10000,                  /* refused authorizations, then the session is slowed: apps
                                           * ask for each queue once, though all may be gone */
    REFUSED_FORGIVEN_MS = 10,             /* milliseconds for one of them: 100 a second cost 3 % of a
                                           * loop if they are Ed448 signatures */
    SESSION_PENDING_BASE = 96,            /* bytes counted for each answer besides its text */

    /* ---- proxy ---- */
    DEFAULT_PROXY_CONCURRENCY = 32,       /* proxy commands of a session under way; as the reference */
    PROXY_WAITING_MAX = 16,               /* more of them that wait, up to 16 KiB each; then the session
                                           * is not read (what one block brings is taken in full) */
    PROXY_RELAYS_MAX = 4096,              /* relays of one loop: connected, or failed not long ago */
    PROXY_CONNECTING_MAX = 512,           /* of these, being connected to: up to 8 sockets each */
    PROXY_FORWARDING_MAX = 8192,          /* commands under way on a loop: 128 MiB if no relay reads */
    PROXY_RELAY_REQUESTS_MAX = 4096,      /* of these, at one relay */
    PROXY_RELAY_UNSENT_MAX = 16777216,    /* bytes that one relay has yet to read */
    PROXY_PROOF_MAX = 12288,              /* bytes of a relay's certificates and signed key */
    DEFAULT_CONNECT_TIMEOUT_S = 25,       /* seconds to connect to a relay, handshakes included */
    DEFAULT_REQUEST_TIMEOUT_S = 20,       /* seconds for its answer; apps wait for 20 to 60 */
    DEFAULT_RETRY_AFTER_S = 30,           /* seconds for which a failure is answered from memory */
    DEFAULT_PROXY_PING_AFTER_S = 300,     /* seconds of a relay's silence */
    DEFAULT_PROXY_IDLE_S = 1800,          /* seconds without a command, then it is disconnected */

    /* ---- names ---- */
    DEFAULT_RESOLVER_TIMEOUT_MS = 3000,   /* milliseconds; as the reference */
    RESOLVER_TIMEOUT_MIN_MS = 100,
    RESOLVER_TIMEOUT_MAX_MS = 60000,
    DEFAULT_RESOLVER_RESPONSE_BYTES = 16000, /* bytes; what a block can carry on */
    RESOLVER_RESPONSE_MIN_BYTES = 1024,
    RESOLVER_RESPONSE_MAX_BYTES = 16000,
    DEFAULT_RESOLVER_CONCURRENCY = 1000,  /* names of a session being asked for; as the reference */
    RESOLVER_CONCURRENCY_MAX = 10000,
    RESOLVER_TRANSFERS_MAX = 128,         /* names of a loop at the resolver, ~30 KiB and a descriptor each */
    RESOLVER_WAITING_MAX = 20000,         /* names of a loop that wait for that, ~0.5 KiB each */
    RESOLVER_IDLE_MAX = 8,                /* handles of a loop kept for the next name, ~10 KiB each */

    /* ---- times ---- */
    DEFAULT_TLS_TIMEOUT_S = 60,           /* seconds; as the reference */
    DEFAULT_SMP_HANDSHAKE_TIMEOUT_S = 120, /* seconds; as the reference */
    BLOCK_TIMEOUT_S = 300,                /* seconds for one block: 16 KiB at 450 bit/s */
    STOP_GRACE_MS = 5000,                 /* milliseconds that slow clients, and what waits for the
                                           * disk, may hold up a stop */
    UNANSWERED_CLOSE_S = 15,              /* seconds from a SEND that is left unanswered to the end of
                                           * its connection: as apps wait for an answer */
    END_INTERVAL_MAX_MS = 15000,          /* milliseconds; END is due within 15 s */

    /* ---- expiry ---- */
    DEFAULT_MESSAGE_TTL_DAYS = 21,        /* days; as the reference */
    DEFAULT_EXPIRY_INTERVAL_S = 3600,     /* seconds between two passes; as the reference */
    EXPIRY_QUEUES_PER_STEP = 2000,        /* queues before other work gets its turn, ~0.2 ms */
    DEFAULT_INACTIVE_TTL_S = 21600,       /* seconds; as the reference */
    DEFAULT_INACTIVE_CHECK_S = 3600,      /* seconds; as the reference */

    /* ---- per address and in all ---- */
    DEFAULT_CONNECTIONS_PER_ADDRESS = 20000, /* enough for carrier NAT; and never more than half
                                              * of all places */
    DEFAULT_HANDSHAKES_PER_SECOND = 0,    /* handshakes; 0: no limit */
    DEFAULT_HANDSHAKES_PER_ADDRESS = 50,  /* in a second, ~1 ms each: one address takes 5 % of a core;
                                           * a thousand phones behind one NAT are back in 20 s */
    DEFAULT_HANDSHAKES_UNDERWAY = 200,    /* of one address, ~40 KiB each */
    DEFAULT_NEW_QUEUES_PER_MINUTE = 1000, /* queues of one address, ~300 bytes each on disk: a group
                                           * of some hundred members is joined at once */
    DEFAULT_NEW_QUEUES_IN_ALL = 10000     /* queues in a minute: 4 GB on disk in a day */
};
/* clang-format on */
