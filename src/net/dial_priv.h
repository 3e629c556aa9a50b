/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* dial_priv.h -- what a loop needs to end the dials that are under way on it. */
#pragma once

#include "base/list.h"

void dial__end_all(struct list *dials); /* each is told E_CLOSED; owner */
