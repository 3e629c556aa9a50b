/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/control.h"

#include "admin/block_reason.h"
#include "base/attr.h"
#include "base/rd.h"

enum control_args { ARGS_NOTHING, ARGS_PASSWORD, ARGS_QUEUE, ARGS_QUEUE_REASON };
enum { HIDDEN, LISTED };

static const struct verb {
    const char *name;
    enum control_role role;
    enum control_args args;
    int listed;
} VERBS[N_VERBS] = {
#define VERB(id, name, role, args, listed) {name, ROLE_##role, ARGS_##args, listed},
#include "admin/verbs.def"
#undef VERB
};

const char CONTROL_GREETING[] = "SMP server control port\n'help' for supported commands\n";

/* Where the reference shows the words of its parser ("string", "endOfInput"), these say what to do.
 */
static const char BAD_COMMAND[] = "no such command: 'help' lists them";
static const char TOO_MUCH[] = "there are more words than the command takes";
static const char NO_PASSWORD[] = "the password is missing: auth PASSWORD";
static const char NO_QUEUE[] = "the queue is missing: its sender id, link id or short link";
static const char NO_REASON[] = "the reason is missing: reason=spam or reason=content";
static const char BAD_REASON[] =
    "the reason must be reason=spam or reason=content, maybe with ,notice=SECONDS";
static const char BAD_QUEUE[] = "bad queue id or link";

static const char *parse_queue(struct rd *r, struct control_command *c) {
    const struct bytes text = rd_part(r, ' ');
    if (text.n == 0) return NO_QUEUE;
    c->queue_err = queue_name_parse(text, &c->queue);
    return c->queue_err == OK || c->queue_err == E_AUTH ? NULL : BAD_QUEUE;
}

static const char *parse_reason(struct rd *r, struct control_command *c) {
    const struct bytes text = rd_tail(r);
    struct wr w = wr_init(c->reason, sizeof c->reason);
    if (text.n == 0) return NO_REASON;
    if (block_reason_parse(text, &w) != OK) return BAD_REASON;
    c->n_reason = wr_bytes(&w).n;
    return NULL;
}

static const char *parse_args(enum control_args args, struct rd *r, struct control_command *c) {
    const char *error = NULL;
    switch (args) {
    case ARGS_NOTHING:
        break;
    case ARGS_PASSWORD:
        c->password = rd_tail(r);
        if (c->password.n == 0) return NO_PASSWORD;
        break;
    case ARGS_QUEUE:
        error = parse_queue(r, c);
        break;
    case ARGS_QUEUE_REASON:
        error = parse_queue(r, c);
        if (error == NULL) error = parse_reason(r, c);
        break;
    }
    if (error != NULL) return error;
    return rd_left(r) > 0 ? TOO_MUCH : NULL;
}

const char *control_parse(struct bytes line, struct control_command *ret, bool *ret_any) {
    struct rd r = rd_init(line);
    const struct bytes name = rd_until(&r, ' ');
    const bool has_space = rd_left(&r) > 0;
    *ret_any = line.n > 0;
    if (line.n == 0) return NULL;
    for (int i = 0; i < N_VERBS; i++) {
        if (!bytes_equal(name, bytes_str(VERBS[i].name))) continue;
        struct control_command c = {.verb = (enum control_verb)i};
        if (has_space && VERBS[i].args == ARGS_NOTHING) return TOO_MUCH;
        if (has_space) rd_lit(&r, ' ');
        const char *error = parse_args(VERBS[i].args, &r, &c);
        if (error == NULL) *ret = c;
        return error;
    }
    return BAD_COMMAND;
}

enum control_role control_role_needed(enum control_verb v) {
    return VERBS[v].role;
}

const char *control_verb_name(enum control_verb v) {
    return VERBS[v].name;
}

const char *control_role_name(enum control_role r) {
    switch (r) {
    case ROLE_ADMIN:
        return "CPRAdmin";
    case ROLE_USER:
        return "CPRUser";
    case ROLE_NONE:
        break;
    }
    return "CPRNone";
}

void control_help(struct wr *w) {
    const char *before = "commands: ";
    for (int i = 0; i < N_VERBS; i++) {
        if (VERBS[i].listed == HIDDEN) continue;
        wr_str(w, before);
        wr_str(w, VERBS[i].name);
        before = ", ";
    }
    wr_str(w, "\n");
}
