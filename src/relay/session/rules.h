/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* rules.h -- what may change while the relay runs: an immutable set that each loop takes over in
 * its own turn. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "relay/session/settings.h"

struct relay;
struct rules;

MUST_USE enum err rules_new(const struct relay_rules *from, struct rules **ret); /* E_NO_MEMORY */
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules *rules); /* NULL is a no-op */
bool rules_allow_new_queues(const struct rules *rules);
/* May the bearer make queues, and have commands forwarded? */
bool rules_fit_password(const struct rules *rules, bool has, struct bytes password);

/* From its next turn on each loop goes by these. Any thread, between relay_start() and the end of
 * the loops. E_NO_MEMORY: all stays as it was. */
MUST_USE enum err relay_set_rules(struct relay *r, const struct relay_rules *rules);
