/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/reply_view.h"

#include "base/rd.h"
#include "crypto/box.h"

/* ---- pieces of parameters ---- */

static void parse_id(struct rd *r, struct id *ret) {
    if (!id_from_bytes(rd_short(r), ret)) rd_fail(r);
}

static bool parse_maybe_id(struct rd *r, struct id *ret) {
    const bool has = rd_maybe(r);
    if (has) parse_id(r, ret);
    return has;
}

static void parse_x25519(struct rd *r, uint8_t ret[X25519_LEN]) {
    struct pubkey k;
    if (pubkey_from_spki(rd_short(r), &k) != OK || k.type != KEY_X25519) {
        rd_fail(r);
        return;
    }
    memcpy(ret, k.b, X25519_LEN);
}

static enum queue_mode parse_mode(struct rd *r) {
    if (!rd_maybe(r)) return MODE_UNKNOWN;
    const uint8_t c = rd_u8(r);
    if (c != 'M' && c != 'C') rd_fail(r);
    return c == 'M' ? MODE_MESSAGING : MODE_CONTACT;
}

/* ---- one parser per kind; the cursor stands after the tag ---- */

static void parse_ids(struct rd *r, uint16_t version, struct reply_view *ret) {
    struct reply_view_ids *ids = &ret->ids;
    rd_lit(r, ' ');
    parse_id(r, &ids->rcv_id);
    parse_id(r, &ids->snd_id);
    parse_x25519(r, ids->dh_key);
    if (!version_has(version, V_SND_AUTH_KEY)) return;
    if (!version_has(version, V_SHORT_LINKS)) {
        ids->mode = rd_bool(r) ? MODE_MESSAGING : MODE_CONTACT;
        return;
    }
    ids->mode = parse_mode(r);
    ids->has_link = parse_maybe_id(r, &ids->link_id);
    if (!version_has(version, V_SERVICE_CERTS)) return;
    ids->has_service = parse_maybe_id(r, &ids->service_id);
    if (!version_has(version, V_NEW_NTF_CREDS)) return;
    ids->has_notifier = parse_maybe_id(r, &ids->notifier_id);
    if (ids->has_notifier) parse_x25519(r, ids->ntf_dh_key);
}

static void parse_lnk(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    parse_id(r, &ret->lnk.snd_id);
    ret->lnk.fixed = rd_large(r);
    ret->lnk.user = rd_large(r);
}

static void parse_sok(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->sok.has_service = parse_maybe_id(r, &ret->sok.service_id);
}

static void parse_sum(struct rd *r, uint16_t version, struct reply_view *ret) {
    rd_lit(r, ' ');
    ret->sum.n = rd_i64(r);
    if (!version_has(version, V_RCV_SERVICE)) return;
    const struct bytes hash = rd_short(r);
    if (hash.n == IDS_HASH_LEN) {
        memcpy(ret->sum.hash, hash.p, IDS_HASH_LEN);
    } else {
        rd_fail(r);
    }
}

static void parse_msg(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    parse_id(r, &ret->msg.msg_id);
    ret->msg.box = rd_tail(r);
}

static void parse_nid(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    parse_id(r, &ret->nid.notifier_id);
    parse_x25519(r, ret->nid.dh_key);
}

static void parse_nmsg(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->nmsg.nonce = rd_take(r, BOX_NONCE_LEN);
    ret->nmsg.meta = rd_short(r);
}

/* The chain is kept in its encoding, as cert_chain_verify_key() takes it. */
static struct bytes parse_chain(struct rd *r) {
    const size_t from = r->at;
    const unsigned n = rd_list(r);
    for (unsigned i = 0; i < n && r->err == OK; i++) (void)rd_large(r);
    return bytes_of(r->in.p + from, r->at - from);
}

static void parse_pkey(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->pkey.session_id = rd_short(r);
    ret->pkey.version_min = rd_u16(r);
    ret->pkey.version_max = rd_u16(r);
    ret->pkey.cert_chain = parse_chain(r);
    ret->pkey.signed_key = rd_large(r);
}

static void parse_tail(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->tail = rd_tail(r);
}

static enum err code_of(struct bytes text) {
    for (unsigned e = OK + 1; e < N_ERRS; e++) {
        /* errors without a text of their own share that of E_INTERNAL, which comes first */
        if (bytes_equal(text, bytes_str(err_wire((enum err)e)))) return (enum err)e;
    }
    return N_ERRS;
}

static void parse_err(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->err.text = rd_tail(r);
    if (ret->err.text.n == 0) rd_fail(r);
    ret->err.code = code_of(ret->err.text);
}

static void parse_nothing(struct rd *r, uint16_t version, struct reply_view *ret) {
    (void)r;
    (void)version;
    (void)ret;
}

/* ---- the table ---- */

struct answer_row {
    const char *tag;
    void (*parse)(struct rd *r, uint16_t version, struct reply_view *ret);
};

static const struct answer_row ROWS[N_REPLIES] = {
#define X(tag, params) [REPLY_##tag] = {#tag, parse_##params},
    REPLY_LIST(X)
#undef X
};

enum err reply_parse(struct bytes text, uint16_t version, struct reply_view *ret) {
    *ret = (struct reply_view){0};
    struct rd r = rd_init(text);
    const struct bytes tag = rd_until(&r, ' ');
    for (unsigned i = 0; i < N_REPLIES; i++) {
        if (!bytes_equal(tag, bytes_str(ROWS[i].tag))) continue;
        ret->tag = (enum reply_tag)i;
        ROWS[i].parse(&r, version, ret);
        return rd_end(&r);
    }
    return E_SYNTAX;
}
