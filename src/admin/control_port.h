/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control_port.h -- the operator's port: a server of text lines on the loopback addresses (spec:
 * operations, section 5).
 *
 * It has a loop, and so a thread, of its own: whatever a command does, no client waits. What lasts
 * longer holds only its session: changes until the store has made them durable, lists of clients by
 * parts (relay/operations/inspect.h), `save` on one more thread.
 *
 * Start: control_port_new() after relay_start(), control_port_start() when the relay's loops run.
 * Stop: control_port_stop() before they stop, control_port_free() after they were joined and before
 * relay and store are freed. */
#pragma once

#include "base/env.h"
#include "base/wr.h"
#include "client/smp_uri.h"

struct control_port;
struct relay;
struct store;
struct stats;
struct stats_gauges;
struct stats_sheet;

/* What the program knows and this layer does not. Any thread. */
struct control_source {
    void *ctx;                                           /* borrowed */
    void (*gauges)(void *ctx, struct stats_gauges *ret); /* must not block */
    /* Writes what is in memory only. May block; one call at a time. On an error ret_text says why,
     * for the operator. */
    enum err (*save)(void *ctx, char *ret_text, size_t cap);
};

struct control_port_opts {
    const struct env *env;     /* borrowed */
    struct relay *relay;       /* borrowed */
    struct store *store;       /* borrowed */
    struct stats *stats;       /* borrowed */
    struct stats_sheet *sheet; /* borrowed: one that no other thread has */
    struct control_source source;
    const uint8_t *identity; /* SHA256_LEN bytes: the server's fingerprint; copied */
    unsigned loop_index;     /* of the port's own loop: one that no other has */
    uint16_t port;           /* 0: the kernel chooses */
};

/* Listens, and answers nobody before control_port_start(). E_SYS with errno, E_NO_MEMORY. */
MUST_USE enum err control_port_new(const struct control_port_opts *o, struct control_port **ret);
MUST_USE enum err control_port_start(struct control_port *cp); /* E_SYS */
void control_port_stop(struct control_port *cp);               /* NULL is a no-op, as below */
void control_port_free(struct control_port *cp);
uint16_t control_port_number(const struct control_port *cp); /* any thread */

/* What may change while it runs. */
struct control_settings {
    char admin_password[SMP_PASSWORD_MAX]; /* secret; "": nobody has this role */
    char user_password[SMP_PASSWORD_MAX];  /* likewise */
    int64_t daily_block_quota;             /* 0: no limit; -1: nothing may be blocked */
};
/* For what comes from now on. Any thread; before control_port_start(), and again on reload. */
void control_port_set(struct control_port *cp, const struct control_settings *s);
