/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What any server may say to our clients. The first byte chooses the version, 6 to 20; the rest is
 * the text of a transmission's command. */
#include "fuzz_view.h"

#include "wire/reply_view.h"

enum { FIRST_VERSION = 6, N_VERSIONS = 15 };

static void check_views(const struct reply_view *a, struct bytes text) {
    switch ((int)a->tag) {
    case REPLY_LNK:
        assert_inside(a->lnk.fixed, text);
        assert_inside(a->lnk.user, text);
        return;
    case REPLY_MSG:
        assert_inside(a->msg.box, text);
        return;
    case REPLY_NMSG:
        assert(a->nmsg.nonce.n == 24);
        assert_inside(a->nmsg.nonce, text);
        assert_inside(a->nmsg.meta, text);
        return;
    case REPLY_PKEY:
        assert_inside(a->pkey.session_id, text);
        assert_inside(a->pkey.cert_chain, text);
        assert_inside(a->pkey.signed_key, text);
        assert(a->pkey.cert_chain.n >= 3 && a->pkey.cert_chain.p[0] >= 1);
        return;
    case REPLY_RRES:
    case REPLY_PRES:
    case REPLY_INFO:
        assert_inside(a->tail, text);
        return;
    case REPLY_ERR:
        assert_inside(a->err.text, text);
        assert(a->err.text.n != 0 && a->err.code != OK && a->err.code <= N_ERRS);
        return;
    default:
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const uint16_t version = (uint16_t)(FIRST_VERSION + data[0] % N_VERSIONS);
    const struct bytes text = bytes_of(data + 1, size - 1);
    struct reply_view a;
    const enum err e = reply_parse(text, version, &a);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return 0;
    assert(a.tag < N_REPLIES);
    check_views(&a, text);
    return 0;
}
