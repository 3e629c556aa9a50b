/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_record.h -- a queue as a backend has kept it (text/record.h) becomes one that is loaded. */
#pragma once

#include "store/queue_table.h"
#include "store/text/record.h"

/* Holds a secret: to be wiped. */
struct queue_notifier queue_record_notifier(const struct record *r);
/* Adds the queue of a RECORD_CREATE; what it borrows is copied. *ret_queue is a reference of the
 * caller's. As queue_table_add(); E_NO_MEMORY; what keys or link refuse. */
MUST_USE enum err queue_record_add(struct queue_table *t, const struct record *r,
                                   struct queue_admission admission, struct queue **ret_queue);
