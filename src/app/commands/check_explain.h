/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* check_explain.h -- why a check of a server failed, and what to do, for the operator. Pure. */
#pragma once

#include "app/files/problem.h"
#include "client/smp_client.h"
#include "wire/reply_view.h"

/* What the texts speak of. */
struct check_place {
    const char *host;
    uint16_t port;
    bool via_socks, has_password;
    int64_t timeout_ms;
    uint16_t version_min, version_max; /* ours */
};

/* The end of a connection, before or after it was up. */
void check_explain_end(const struct check_place *at, const struct smp_failure *why,
                       const struct smp_end *end, struct problem *ret);
/* A request without an answer. */
void check_explain_failure(const struct check_place *at, const struct smp_failure *why,
                           struct problem *ret);
/* An answer that is not the one that was hoped for. is_new: to NEW. */
void check_explain_answer(const struct check_place *at, const struct reply_view *a, bool is_new,
                          struct problem *ret);
