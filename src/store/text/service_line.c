/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/service_line.h"

#include "base/day.h"
#include "base/rd.h"

/* A chain as the log has it: base64url of each certificate, commas between them. */
static enum err chain_text(struct bytes chain, struct wr *w) {
    struct rd r = rd_init(chain);
    const unsigned n = rd_list(&r);
    for (unsigned i = 0; i < n && rd_err(&r) == OK; i++) {
        if (i != 0) wr_u8(w, ',');
        base64url_write(rd_large(&r), w);
    }
    return rd_err(&r) != OK ? rd_err(&r) : wr_err(w);
}

enum err service_line_write(const struct service_rec *rec, struct service_text *t,
                            struct bytes *ret) {
    struct wr cert = wr_init(t->cert, sizeof t->cert);
    const enum err e = chain_text(rec->cert_chain, &cert);
    if (e != OK) return e;
    base64url_encode(bytes_of(rec->cert_hash, SHA256_LEN), t->hash);
    const struct record r = {
        .tag = RECORD_NEW_SERVICE,
        .has_service = true,
        .service_id = rec->id,
        .role = (char)rec->role,
        .cert = wr_bytes(&cert),
        .cert_hash = bytes_str(t->hash),
        .created_at_s = rec->created_at_s / DAY_S * DAY_S,
    };
    struct wr line = wr_init(t->line, sizeof t->line);
    record_write(&r, &line);
    *ret = wr_bytes(&line);
    return wr_err(&line);
}
