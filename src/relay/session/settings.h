/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* settings.h -- what the relay is told when it is made: what the operator chooses, and its
 * neighbours. */
#pragma once

#include "client/smp_uri.h"
#include "model/limits.h"
#include "store/store.h"

struct proxy;
struct resolver;
struct admission;
struct loop;

/* What may change while the relay runs. */
struct relay_rules {
    bool allow_new_queues;
    bool log_tls_errors;
    char create_password[SMP_PASSWORD_MAX]; /* "": none; secret */
};

/* What the operator chooses; each with its range in the table of settings. */
struct relay_settings {
    uint16_t version_min, version_max; /* SMP versions offered; within those of this build */
    bool accept_services;
    unsigned proxy_concurrency;    /* of one session: proxy commands under way */
    unsigned resolver_concurrency; /* of one session: names under way */
    unsigned pending_bytes_max;    /* per session */
    int64_t handshake_timeout_s;   /* of TLS, and again of SMP; 0: the two defaults of limits.def */
    bool expire_on_send;
    bool disconnect_inactive; /* without it idle connections are kept */
    int64_t inactive_ttl_s, inactive_check_s;
    int64_t ntf_interval_ms; /* notifications of this time go out together */
    int64_t end_interval_ms; /* END and DELD of this time too; 0: they go at once */
};

/* For the handshake of TLS, also of browsers. */
static inline int64_t relay_tls_timeout_ms(const struct relay_settings *s) {
    const int64_t chosen_s = s->handshake_timeout_s;
    return (chosen_s != 0 ? chosen_s : DEFAULT_TLS_TIMEOUT_S) * 1000;
}

/* For that of SMP. */
static inline int64_t relay_handshake_timeout_ms(const struct relay_settings *s) {
    const int64_t chosen_s = s->handshake_timeout_s;
    return (chosen_s != 0 ? chosen_s : DEFAULT_SMP_HANDSHAKE_TIMEOUT_S) * 1000;
}

struct relay_opts {
    const struct env *env;     /* borrowed */
    struct store *store;       /* borrowed */
    struct loop *const *loops; /* borrowed; sessions live on these */
    unsigned n_loops;
    struct admission *admission; /* borrowed */
    struct proxy *proxy;         /* borrowed; NULL: nothing is forwarded to other relays */
    struct resolver *resolver;   /* borrowed; NULL: names are not resolved */
    int64_t message_ttl_s;       /* 0: never expire */
    struct relay_rules rules;    /* to begin with */
    struct relay_settings settings;
};

enum { RELAY_VERSION_MIN = 6, RELAY_VERSION_MAX = 20 }; /* SMP versions that this build speaks */
