/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines of the reference's journal: states of queues, which never contradict themselves, name no
 * path, and count no more than there can be; and messages without their queue. */
#include "fuzz_view.h"

#include <string.h>

#include "store/text/msg_line.h"
#include "store/text/queue_state.h"

static void check_pos(const struct queue_state_pos *p) {
    assert(p->name[0] != '\0' && memchr(p->name, '\0', sizeof p->name) != NULL);
    assert(strpbrk(p->name, "/. ") == NULL);
    assert(p->msg_pos <= p->msg_count && p->byte_pos <= p->byte_count);
    assert(p->byte_count < INT64_MAX && p->msg_count < INT64_MAX);
}

static void check_state(struct bytes line) {
    struct queue_state s;
    const enum err e = queue_state_parse(line, &s);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    check_pos(&s.read);
    check_pos(&s.write);
    const uint64_t unread = s.read.msg_count - s.read.msg_pos;
    assert(s.size == (queue_state_is_one(&s) ? unread : unread + s.write.msg_count));
}

static void check_message(struct bytes line) {
    static struct msg_line_scratch scratch;
    static uint8_t out[MSG_LINE_MAX];
    struct msg_line m;
    const enum err e = msg_line_parse_stored(line, &scratch, &m);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    struct wr w = wr_init(out, sizeof out);
    msg_line_write(&m, &w);
    const struct bytes text = wr_bytes(&w);
    assert(text.n >= line.n && bytes_equal(bytes_of(text.p + text.n - line.n, line.n), line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_state(bytes_of(data, size));
    check_message(bytes_of(data, size));
    return 0;
}
