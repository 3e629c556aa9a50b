/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* queue_state.h -- where a queue of the reference's journal is read and written: a line of its file
 * queue_state.*.log (docs/FORMATS.md, "The reference's journal"). Pure; any thread. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum {
    QUEUE_STATE_NAME_MAX = 64, /* bytes of a journal's name, with terminator */
    QUEUE_STATE_LINE_MAX = 512 /* bytes; any line fits */
};

/* Of one file with messages; read and write are the same file until it is full. */
struct queue_state_pos {
    char name[QUEUE_STATE_NAME_MAX]; /* messages.<name>.log; base64url, so no path */
    uint64_t msg_pos, msg_count, byte_pos, byte_count;
};

struct queue_state {
    struct queue_state_pos write, read;
    bool can_write;
    uint64_t size; /* messages in the queue */
};

/* Is it one file? */
bool queue_state_is_one(const struct queue_state *s);
/* A line without its newline. E_SYNTAX, also when its numbers contradict each other, as in a line
 * that was cut short; ret is then undefined. */
MUST_USE enum err queue_state_parse(struct bytes line, struct queue_state *ret);
