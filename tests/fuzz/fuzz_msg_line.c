/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines of the messages log and of the notifications log: what is accepted in the present form has
 * one spelling, which is made again. */
#include "fuzz_view.h"

#include "store/text/msg_line.h"
#include "store/text/ntf_line.h"

static uint8_t out[MSG_LINE_MAX];

static void check_message(struct bytes line) {
    static struct msg_line_scratch scratch;
    struct msg_line m;
    const enum err e = msg_line_parse(line, &scratch, &m);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    if (m.is_sealed) {
        assert(!m.is_quota && m.body.n == MSG_LINE_SEALED_LEN);
        return;
    }
    assert(m.body.n <= MSG_LINE_BODY_MAX);
    struct wr w = wr_init(out, sizeof out);
    msg_line_write(&m, &w);
    assert(bytes_equal(wr_bytes(&w), line));
}

static void check_notification(struct bytes line) {
    struct ntf_line n;
    const enum err e = ntf_line_parse(line, &n);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    struct wr w = wr_init(out, NTF_LINE_MAX);
    ntf_line_write(&n, &w);
    assert(bytes_equal(wr_bytes(&w), line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_message(bytes_of(data, size));
    check_notification(bytes_of(data, size));
    return 0;
}
