/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* block_reason.h -- why a queue is blocked, as a person writes it and as the control port shows it.
 *
 * Written: `reason=spam` or `reason=content`, perhaps followed by `,notice=SECONDS`: for how long
 * apps show a notice to the recipient. Kept, sent and stored with the notice as an object of JSON,
 * which is accepted too: `,notice={"ttl":SECONDS}`. Pure; any thread. */
#pragma once

#include "base/wr.h"

/* The form that is kept. E_SYNTAX; E_LIMIT when ret has no room. */
MUST_USE enum err block_reason_parse(struct bytes text, struct wr *ret);
/* As the reference shows it: `BlockingInfo {reason = BRSpam, notice = Nothing}`. text is a form
 * that was kept; whatever else it has is not shown. */
void block_reason_show(struct bytes text, struct wr *w);
