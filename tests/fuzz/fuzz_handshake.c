/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The content of a hello, by the parsers of both sides. What one accepts, its writer makes again;
 * only bytes after it may differ, which are ignored. */
#include "fuzz_view.h"

#include "wire/handshake.h"

static uint8_t again[UINT16_MAX * 4];

static void assert_begins_with(struct bytes content, const struct wr *w) {
    assert(wr_err(w) == OK);
    assert(w->at <= content.n && bytes_equal(bytes_of(content.p, w->at), wr_bytes(w)));
}

static void check_client(struct bytes content) {
    struct client_hello h;
    const enum err e = client_hello_parse(content, &h);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    assert_inside(h.identity, content);
    assert_inside(h.service.cert_chain, content);
    assert_inside(h.service.signed_key, content);
    assert(h.key.type == KEY_NONE || h.key.type == KEY_X25519);
    struct wr w = wr_init(again, sizeof again);
    client_hello_write(&h, &w);
    assert_begins_with(content, &w);
}

static void check_server(struct bytes content) {
    struct server_hello h;
    const enum err e = server_hello_parse(content, &h);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    assert_inside(h.session_id, content);
    assert_inside(h.cert_chain, content);
    assert_inside(h.signed_key, content);
    struct wr w = wr_init(again, sizeof again);
    server_hello_write(&h, &w);
    assert_begins_with(content, &w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_client(bytes_of(data, size));
    check_server(bytes_of(data, size));
    return 0;
}
