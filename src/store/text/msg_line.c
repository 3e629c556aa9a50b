/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/msg_line.h"

#include <assert.h>

#include "store/text/field.h"

static void parse_body(struct rd *r, struct msg_line_scratch *scratch, struct msg_line *ret) {
    field__expect(r, "flags=");
    ret->notification = rd_bool(r);
    field__expect(r, " ");
    ret->body = bytes_of(scratch->body, field__read_data(r, scratch->body, MSG_LINE_BODY_MAX));
}

/* Flags came with the betas of 3.0, which still sealed. Without the exact length a line of 2.3 that
 * was torn in "flags=" would be one with a body of three bytes. */
static void parse_sealed(struct rd *r, struct msg_line_scratch *scratch, struct msg_line *ret) {
    ret->is_sealed = true;
    if (field__accept(r, "flags=")) {
        ret->notification = rd_bool(r);
        field__expect(r, " ");
    }
    ret->body = bytes_of(scratch->body, field__read_data(r, scratch->body, MSG_LINE_SEALED_LEN));
    if (ret->body.n != MSG_LINE_SEALED_LEN) rd_fail(r);
}

static void parse_message(struct rd *r, bool is_v3, struct msg_line_scratch *scratch,
                          struct msg_line *ret) {
    field__read_id(r, &ret->msg_id);
    field__expect(r, " ");
    ret->ts_s = field__read_number(r);
    field__expect(r, " ");
    ret->is_quota = is_v3 && field__accept(r, "quota");
    if (!is_v3) {
        parse_sealed(r, scratch, ret);
    } else if (!ret->is_quota) {
        parse_body(r, scratch, ret);
    }
}

enum err msg_line_parse(struct bytes line, struct msg_line_scratch *scratch, struct msg_line *ret) {
    struct rd r = rd_init(line);
    *ret = (struct msg_line){0};
    const bool is_v3 = field__accept(&r, "v3 ");
    field__read_id(&r, &ret->rcv_id);
    field__expect(&r, " ");
    parse_message(&r, is_v3, scratch, ret);
    return rd_end(&r);
}

enum err msg_line_parse_stored(struct bytes line, struct msg_line_scratch *scratch,
                               struct msg_line *ret) {
    struct rd r = rd_init(line);
    *ret = (struct msg_line){0};
    parse_message(&r, true, scratch, ret);
    return rd_end(&r);
}

void msg_line_write(const struct msg_line *m, struct wr *w) {
    assert(!m->is_sealed);
    wr_str(w, "v3 ");
    field__write_id(&m->rcv_id, w);
    wr_u8(w, ' ');
    field__write_id(&m->msg_id, w);
    wr_u8(w, ' ');
    field__write_number(m->ts_s, w);
    if (m->is_quota) {
        wr_str(w, " quota");
        return;
    }
    wr_str(w, " flags=");
    wr_bool(w, m->notification);
    wr_u8(w, ' ');
    field__write_data(m->body, w);
}
