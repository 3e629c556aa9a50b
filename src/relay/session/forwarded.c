/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* forwarded.c -- the receiving end of private message routing: a command that a proxy forwards
 * (spec: wire, section 7).
 *
 * Both layers come off before the queues of a block are looked up (dispatch.c), so that what is
 * inside shares the look-up of its block and then runs like any other command: with the version and
 * the key of the client that made it, and with an answer that goes back through both layers. */
#include "relay/session/forwarded.h"

#include <stdlib.h>

#include "crypto/secret.h"
#include "relay/session/session.h"
#include "wire/forward.h"

struct forwarded {
    struct forwarded_command inner; /* what dispatch.c runs */
    struct box_key client_key;      /* secret */
    struct box_nonce nonce;         /* of the proxy's command */
    struct bytes corr_id;           /* the client's; views buf */
    struct bytes outer_corr_id;     /* the proxy's; views buf */
    uint8_t buf[];
};

const struct forwarded_command *forwarded_command(const struct forwarded *f) {
    return &f->inner;
}

/* The key of this session with the proxy: made for the first command that comes. */
static enum err need_proxy_key(struct session *s) {
    if (s->proxy_key != NULL) return OK;
    if (!s->has_client_key) return E_PROXY_NO_AUTH;
    uint8_t secret[X25519_LEN];
    if (x25519_dh(s->keys->priv, s->client_key, secret) != OK) return E_CRYPTO;
    struct box_key *k = secret_new(sizeof *k);
    if (k != NULL) *k = box_key_from_secret(secret);
    crypto_wipe(secret, sizeof secret);
    s->proxy_key = k;
    return k != NULL ? OK : E_NO_MEMORY;
}

static enum err take_client_key(struct forwarded *f, const struct session *s,
                                const struct pubkey *key) {
    uint8_t secret[X25519_LEN];
    if (x25519_dh(s->keys->priv, key->b, secret) != OK) return E_CRYPTO;
    f->client_key = box_key_from_secret(secret);
    crypto_wipe(secret, sizeof secret);
    return OK;
}

/* What is wrong from here on is told to the client, inside the layers. */
static void parse_inner(struct forwarded *f, struct bytes t) {
    struct forwarded_command *in = &f->inner;
    in->parse_err = transmission_parse(t, &in->params, &in->t);
    if (in->parse_err == OK) {
        in->parse_err = command_parse(&in->t, in->params.version, &in->cmd);
    }
    if (in->parse_err == OK && !command_row(in->cmd.tag)->may_be_forwarded)
        in->parse_err = E_CMD_PROHIBITED;
}

static enum err open_layers(struct session *s, struct forwarded *f, size_t n) {
    struct forward outer;
    struct bytes content, parts[SMP_BATCH_MAX];
    unsigned n_parts;
    enum err e = forward_open(s->proxy_key, &f->nonce, f->buf, n, &outer);
    if (e == OK) e = take_client_key(f, s, &outer.key);
    if (e == OK) e = forward_open_inner(&f->client_key, &outer, f->buf, &content);
    if (e != OK) return e;
    if (batch_split(content, parts, &n_parts) != OK || n_parts != 1) return E_BLOCK;
    f->corr_id = outer.corr_id;
    f->inner.params = s->params;
    f->inner.params.version = outer.version;
    parse_inner(f, parts[0]);
    return OK;
}

enum err forwarded_open(struct session *s, const struct transmission *t, struct bytes body,
                        struct forwarded **ret) {
    ASSERT_ON_LOOP(s->rl->loop);
    enum err e = need_proxy_key(s);
    if (e != OK) return e;
    struct forwarded *f = malloc(sizeof *f + body.n + t->corr_id.n);
    if (f == NULL) return E_NO_MEMORY;
    memset(f, 0, sizeof *f);
    struct wr w = wr_init(f->buf, body.n + t->corr_id.n);
    wr_bytes_raw(&w, body);
    wr_bytes_raw(&w, t->corr_id);
    f->outer_corr_id = bytes_of(f->buf + body.n, t->corr_id.n);
    f->nonce = box_nonce_from_corr_id(t->corr_id);
    e = open_layers(s, f, body.n);
    if (e != OK) {
        forwarded_free(f);
        return e;
    }
    *ret = f;
    return OK;
}

void forwarded_free(struct forwarded *f) {
    if (f == NULL) return;
    crypto_wipe(&f->client_key, sizeof f->client_key);
    free(f);
}

/* ---- answers ---- */

struct way_back forwarded_way_back(const struct forwarded *f, const struct session *s) {
    return (struct way_back){&f->client_key, s->proxy_key, &f->nonce, f->corr_id, f->outer_corr_id};
}

void forwarded_seal(const struct forwarded *f, const struct session *s, struct bytes transmission,
                    struct wr *w) {
    const struct way_back back = forwarded_way_back(f, s);
    if (way_back_seal(&back, &s->params, transmission, w)) session_count(s, STAT_P_MSG_FWDS_RECV);
}
