/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* init_ask.h -- the questions of `smp-server init` without -y. Main thread. */
#pragma once

#include "app/commands/init_plan.h"
#include "app/files/paths.h"

/* The texts of the answers. */
struct init_answers {
    char password[CONF_PASSWORD_MAX]; /* secret */
    char host[CONF_TEXT_MAX], source_code[CONF_TEXT_MAX], web_path[CONF_TEXT_MAX];
};
void init_answers_done(struct init_answers *a); /* wipes */

/* Asks, in the order and words of the reference; options that were given are what Enter stands for.
 * *a is changed to the answers and then borrows from *ret. E_CLOSED when there are no answers. */
MUST_USE enum err init_ask(const struct paths *paths, struct init_args *a, struct init_answers *ret,
                           struct problem *ret_problem);
