/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* control.h -- a line of the control port: which command, and what follows it (spec: operations,
 * section 5). Pure; any thread. */
#pragma once

#include "admin/queue_name.h"
#include "base/wr.h"

enum control_role { ROLE_NONE, ROLE_USER, ROLE_ADMIN };

enum control_verb {
#define VERB(id, name, role, args, listed) VERB_##id,
#include "admin/verbs.def"
#undef VERB
    N_VERBS
};

enum { CONTROL_REASON_MAX = 64 }; /* bytes of a reason as it is kept */

struct control_command {
    enum control_verb verb;
    struct bytes password;   /* borrowed from the line; secret */
    struct queue_name queue; /* unless queue_err */
    enum err queue_err;      /* E_AUTH: it cannot be the id of a queue */
    size_t n_reason;
    char reason[CONTROL_REASON_MAX];
};

extern const char CONTROL_GREETING[];

/* Sets *ret and gives NULL, or gives what to answer after "error: ", with *ret untouched. An empty
 * line is neither: false in *ret_any. */
const char *control_parse(struct bytes line, struct control_command *ret, bool *ret_any);
enum control_role control_role_needed(enum control_verb v);
const char *control_role_name(enum control_role r); /* as in the answer to `auth`; static */
void control_help(struct wr *w);                    /* the answer to `help` */
const char *control_verb_name(enum control_verb v); /* static */
