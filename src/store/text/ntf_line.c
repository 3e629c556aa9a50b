/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/ntf_line.h"

#include "store/text/field.h"

enum err ntf_line_parse(struct bytes line, struct ntf_line *ret) {
    struct rd r = rd_init(line);
    *ret = (struct ntf_line){0};
    field__expect(&r, "v1 ");
    field__read_id(&r, &ret->notifier_id);
    field__expect(&r, " ");
    field__read_id(&r, &ret->msg_id);
    field__expect(&r, " ");
    ret->ts_s = field__read_number(&r);
    field__expect(&r, " ");
    field__read_fixed(&r, ret->nonce, sizeof ret->nonce);
    field__expect(&r, " ");
    ret->n_meta = (uint8_t)field__read_data(&r, ret->meta, sizeof ret->meta);
    if (ret->n_meta == 0) rd_fail(&r);
    return rd_end(&r);
}

void ntf_line_write(const struct ntf_line *n, struct wr *w) {
    wr_str(w, "v1 ");
    field__write_id(&n->notifier_id, w);
    wr_u8(w, ' ');
    field__write_id(&n->msg_id, w);
    wr_u8(w, ' ');
    field__write_number(n->ts_s, w);
    wr_u8(w, ' ');
    field__write_data(bytes_of(n->nonce, sizeof n->nonce), w);
    wr_u8(w, ' ');
    field__write_data(bytes_of(n->meta, n->n_meta), w);
}
