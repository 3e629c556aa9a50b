/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The content of a block, as any client may send it: split, parsed, its commands parsed.
 *
 * The first byte chooses the version, 6 to 19; the rest is the content. The session is "s", which
 * version 6 sends. */
#include "fuzz_view.h"

#include "base/wr.h"
#include "model/limits.h"
#include "wire/command.h"
#include "wire/transmission.h"

enum { FIRST_VERSION = 6, N_VERSIONS = 14 };

/* The parts put together again are the transmission. */
static void check_transmission(const struct transmission *t, const struct wire_params *p,
                               struct bytes text) {
    static uint8_t buf[UINT16_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    wr_short(&w, t->auth);
    if (p->version >= 16 && t->auth.n != 0) {
        wr_maybe(&w, t->has_service_sig);
        if (t->has_service_sig) wr_short(&w, t->service_sig);
    }
    if (p->version < 7) wr_bytes_raw(&w, wire_session(p));
    const size_t signed_from = w.at;
    wr_short(&w, t->corr_id);
    wr_short(&w, t->entity);
    wr_bytes_raw(&w, t->command);
    assert(bytes_equal(wr_bytes(&w), text));
    assert(bytes_equal(t->signed_text, bytes_of(text.p + signed_from, text.n - signed_from)));
}

static void check_rkey(const struct command *c, struct bytes text) {
    static struct pubkey keys[255];
    static uint8_t buf[SMP_BLOCK_LEN];
    assert(c->rkey.n >= 1 && c->rkey.n <= 255);
    assert_inside(c->rkey.items, text);
    command_rkey(c, keys);
    struct wr w = wr_init(buf, sizeof buf);
    for (unsigned i = 0; i < c->rkey.n; i++) {
        assert(pubkey_can_authorize(&keys[i]));
        wr_u8(&w, (uint8_t)pubkey_spki_len(keys[i].type));
        pubkey_write_spki(&keys[i], &w);
    }
    assert(bytes_equal(wr_bytes(&w), c->rkey.items));
}

static void check_new(const struct cmd_new *c, struct bytes text) {
    assert(pubkey_can_authorize(&c->rcv_auth_key) && c->rcv_dh_key.type == KEY_X25519);
    assert(c->has_basic_auth || c->basic_auth.n == 0);
    assert(c->has_mode || !c->data.present);
    assert(!c->has_notifier ||
           (pubkey_can_authorize(&c->ntf_key) && c->ntf_dh_key.type == KEY_X25519));
    assert_inside(c->basic_auth, text);
    assert_inside(c->data.link_id, text);
    assert_inside(c->data.snd_id, text);
    assert_inside(c->data.fixed, text);
    assert_inside(c->data.user, text);
}

static void check_prxy(const struct command *c, struct bytes text) {
    assert_inside(c->prxy.hosts, text);
    assert_inside(c->prxy.port, text);
    assert_inside(c->prxy.identity, text);
    assert_inside(c->prxy.basic_auth, text);
}

static void check_command(const struct command *c, struct bytes text) {
    assert(c->tag < N_COMMANDS);
    const struct bytes tag = bytes_str(command_row(c->tag)->tag);
    assert(text.n >= tag.n && bytes_equal(bytes_of(text.p, tag.n), tag));
    assert(text.n == tag.n || text.p[tag.n] == ' ');
    switch ((int)c->tag) {
    case CMD_NEW:
        check_new(&c->new_queue, text);
        return;
    case CMD_KEY:
    case CMD_SKEY:
    case CMD_LKEY:
        assert(pubkey_can_authorize(&c->key));
        return;
    case CMD_RKEY:
        check_rkey(c, text);
        return;
    case CMD_LSET:
        assert_inside(c->lset.link_id, text);
        assert_inside(c->lset.fixed, text);
        assert_inside(c->lset.user, text);
        return;
    case CMD_NKEY:
        assert(pubkey_can_authorize(&c->nkey.key) && c->nkey.dh_key.type == KEY_X25519);
        return;
    case CMD_ACK:
        assert_inside(c->ack.msg_id, text);
        return;
    case CMD_SEND:
        assert_inside(c->send.body, text);
        return;
    case CMD_SUBS:
    case CMD_NSUBS:
        assert(c->subs.ids_hash.n == 16 || c->subs.ids_hash.n == 0);
        assert_inside(c->subs.ids_hash, text);
        return;
    case CMD_PRXY:
        check_prxy(c, text);
        return;
    case CMD_PFWD:
        assert(c->pfwd.key.type == KEY_X25519);
        assert_inside(c->pfwd.body, text);
        return;
    case CMD_RFWD:
        assert_inside(c->rfwd.body, text);
        return;
    default:
        return;
    }
}

static void check_one(struct bytes text, const struct wire_params *p) {
    struct transmission t;
    const enum err e = transmission_parse(text, p, &t);
    assert(e == OK || e == E_BLOCK || (e == E_SESSION && p->version < 7));
    assert_inside(t.corr_id, text);
    if (e != OK) return;
    check_transmission(&t, p, text);
    struct command c;
    const enum err ce = command_parse(&t, p->version, &c);
    assert(ce == OK || ce == E_CMD_UNKNOWN || ce == E_CMD_SYNTAX || ce == E_CMD_NO_AUTH ||
           ce == E_CMD_HAS_AUTH || ce == E_CMD_NO_ENTITY);
    if (ce == OK) check_command(&c, t.command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const struct wire_params p = {.version = (uint16_t)(FIRST_VERSION + data[0] % N_VERSIONS),
                                  .session = {1, 's'}};
    const struct bytes content = bytes_of(data + 1, size - 1);
    struct bytes texts[SMP_BATCH_MAX];
    unsigned n = 0;
    if (batch_split(content, texts, &n) == OK) {
        assert(n >= 1 && n <= SMP_BATCH_MAX && n == content.p[0]);
        size_t total = 1;
        for (unsigned i = 0; i < n; i++) {
            assert_inside(texts[i], content);
            total += 2 + texts[i].n;
            check_one(texts[i], &p);
        }
        assert(total == content.n);
    }
    check_one(content, &p); /* so that a transmission is reached without a batch around it */
    return 0;
}
