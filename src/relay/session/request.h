/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* request.h -- one command while it is run, and who runs it (dispatch.c). Owner loop only. */
#pragma once

#include "relay/session/answer.h"
#include "relay/session/forwarded.h"
#include "relay/session/session.h"
#include "store/records.h"
#include "wire/command.h"

/* One command while it is run. Everything borrowed from its job. */
struct request {
    struct session *session;
    const struct wire_params *params; /* the session's, or of a forwarded command */
    struct forwarded *fwd;            /* NULL unless forwarded: then the answer goes its way. A
                                       * handler that answers later takes it: STEAL() */
    const struct transmission *t;
    const struct command *cmd;
    struct reply_to to;
    struct queue *queue;           /* NULL for commands without one */
    const struct queue_view *view; /* NULL as above; what its row of commands.def wants */
    struct queue *deliver_after;   /* counted; set by SUB when a message follows the answers */
    bool is_new_sub;               /* of a SUB: there was no subscription in this session */
};

void dispatch_bad_block(struct session *s); /* ERR BLOCK for a block that cannot be opened */

typedef struct answer cmd_fn(struct request *rq);
/* cmd_<fn> of each row of commands.def: a row whose handler is missing does not link. They are
 * called only for verified requests. */
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    cmd_fn cmd_##fn;
#include "wire/commands.def"
#undef CMD
