/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/rd.h"
#include "crypto/base64.h"
#include "model/limits.h"
#include "model/ntf_meta.h"

/* Answers carry no authorization: an empty short string, which also says that there is no service
 * signature. */
static void begin(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    wr_u8(w, 0);
    if (!version_has(p->version, V_AUTH_CMDS)) wr_bytes_raw(w, wire_session(p));
    wr_short(w, to->corr_id);
    wr_short(w, to->entity);
}

static void write_text(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                       const char *text) {
    begin(w, p, to);
    wr_str(w, text);
}

static void write_maybe_id(struct wr *w, const struct id *id) {
    wr_maybe(w, id != NULL);
    if (id != NULL) wr_short(w, id_bytes(id));
}

static void write_x25519(struct wr *w, const uint8_t pub[X25519_LEN]) {
    const struct pubkey k = pubkey_from_x25519(pub);
    wr_u8(w, (uint8_t)pubkey_spki_len(KEY_X25519));
    pubkey_write_spki(&k, w);
}

void reply_ok(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    write_text(w, p, to, "OK");
}

void reply_err(struct wr *w, const struct wire_params *p, const struct reply_to *to, enum err e) {
    write_text(w, p, to, "ERR ");
    wr_str(w, err_wire(e));
}

void reply_blocked(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                   const struct block_info *info) {
    if (!version_has(p->version, V_BLOCKED_ENTITY)) {
        reply_err(w, p, to, E_AUTH);
        return;
    }
    struct rd text = rd_init(bytes_of(info->text, info->n));
    const bool all = version_has(p->version, V_CLIENT_NOTICES);
    write_text(w, p, to, "ERR BLOCKED ");
    wr_bytes_raw(w, all ? rd_tail(&text) : rd_until(&text, ',')); /* reason[,notice={...}] */
}

/* ---- private message routing ---- */

/* NETWORK has details in newer references, which do not send them yet (Protocol.hs, instance
 * Encoding BrokerErrorType). */
static void write_broker_err(struct wr *w, const struct smp_failure *f) {
    const struct bytes text = bytes_of(f->text, f->n_text);
    switch (f->error) {
    case FAILURE_RESPONSE:
        wr_str(w, "RESPONSE ");
        wr_short(w, text);
        break;
    case FAILURE_UNEXPECTED:
        wr_str(w, "UNEXPECTED ");
        wr_short(w, text);
        break;
    case FAILURE_TRANSPORT:
        wr_str(w, "TRANSPORT ");
        wr_str(w, transport_error_text(f->transport));
        break;
    case FAILURE_TIMEOUT:
        wr_str(w, "TIMEOUT");
        break;
    case FAILURE_HOST:
        wr_str(w, "HOST");
        break;
    default:
        wr_str(w, "NETWORK");
        break;
    }
}

void reply_proxy_err(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                     const struct smp_failure *f) {
    switch (f->error) {
    case FAILURE_CRYPTO:
        reply_err(w, p, to, E_CRYPTO);
        return;
    case FAILURE_NONE:
    case FAILURE_INTERNAL:
        reply_err(w, p, to, E_INTERNAL);
        return;
    case FAILURE_BASIC_AUTH:
        write_text(w, p, to, "ERR PROXY BASIC_AUTH");
        return;
    case FAILURE_NO_SESSION:
        write_text(w, p, to, "ERR PROXY NO_SESSION");
        return;
    case FAILURE_PROTOCOL:
        write_text(w, p, to, "ERR PROXY PROTOCOL ");
        wr_bytes_raw(w, bytes_of(f->text, f->n_text));
        return;
    default:
        write_text(w, p, to, "ERR PROXY BROKER ");
        write_broker_err(w, f);
        return;
    }
}

/* ---- names ---- */

void reply_name_err(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                    const struct name_failure *f) {
    switch (f->error) {
    case NAME_OK:
    case NAME_NOT_FOUND:
        write_text(w, p, to, "ERR NAME NOT_FOUND");
        break;
    case NAME_TIMEOUT:
        write_text(w, p, to, "ERR NAME RESOLVER timeout");
        break;
    case NAME_TRANSPORT:
        write_text(w, p, to, "ERR NAME RESOLVER transport failure");
        break;
    case NAME_TOO_LARGE:
        write_text(w, p, to, "ERR NAME RESOLVER response too large");
        break;
    case NAME_INVALID:
        write_text(w, p, to, "ERR NAME RESOLVER invalid response");
        break;
    case NAME_HTTP:
        write_text(w, p, to, "ERR NAME RESOLVER HTTP ");
        wr_dec(w, f->status);
        break;
    }
}

void reply_rname(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                 struct bytes record) {
    write_text(w, p, to, "RNAME ");
    wr_bytes_raw(w, record);
}

/* ---- relays ---- */

void reply_pkey(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_pkey *k) {
    write_text(w, p, to, "PKEY ");
    wr_short(w, k->session_id);
    wr_u16(w, k->version_min);
    wr_u16(w, k->version_max);
    wr_bytes_raw(w, k->cert_chain);
    wr_large(w, k->signed_key);
}

void reply_pres(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                struct bytes body) {
    write_text(w, p, to, "PRES ");
    wr_bytes_raw(w, body);
}

void reply_rres_begin(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    write_text(w, p, to, "RRES ");
}

void reply_pong(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    write_text(w, p, to, "PONG");
}

void reply_end(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    write_text(w, p, to, "END");
}

void reply_deld(struct wr *w, const struct wire_params *p, const struct reply_to *to) {
    write_text(w, p, to, version_has(p->version, V_DELETED_EVENT) ? "DELD" : "END");
}

void reply_sok(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *service_id) {
    if (!version_has(p->version, V_SERVICE_CERTS)) {
        reply_ok(w, p, to);
        return;
    }
    write_text(w, p, to, "SOK ");
    write_maybe_id(w, service_id);
}

void reply_ids(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct reply_ids *ids) {
    write_text(w, p, to, "IDS ");
    wr_short(w, id_bytes(&ids->rcv_id));
    wr_short(w, id_bytes(&ids->snd_id));
    write_x25519(w, ids->dh_key);
    if (!version_has(p->version, V_SND_AUTH_KEY)) return;
    if (!version_has(p->version, V_SHORT_LINKS)) {
        wr_bool(w, ids->mode == MODE_MESSAGING);
        return;
    }
    wr_maybe(w, ids->mode != MODE_UNKNOWN);
    if (ids->mode != MODE_UNKNOWN) wr_u8(w, ids->mode == MODE_MESSAGING ? 'M' : 'C');
    write_maybe_id(w, ids->link_id);
    if (!version_has(p->version, V_SERVICE_CERTS)) return;
    write_maybe_id(w, ids->service_id);
    if (!version_has(p->version, V_NEW_NTF_CREDS)) return;
    write_maybe_id(w, ids->notifier_id);
    if (ids->notifier_id != NULL) write_x25519(w, ids->ntf_dh_key);
}

void reply_lnk(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *snd_id, const struct link_data *link) {
    write_text(w, p, to, "LNK ");
    wr_short(w, id_bytes(snd_id));
    wr_large(w, link_data_fixed(link));
    wr_large(w, link_data_user(link));
}

/* ---- notifications and services ---- */

void reply_nid(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct id *notifier_id, const uint8_t dh_key[X25519_LEN]) {
    write_text(w, p, to, "NID ");
    wr_short(w, id_bytes(notifier_id));
    write_x25519(w, dh_key);
}

static const char NMSG_TAG[] = "NMSG ";

void reply_nmsg(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_ntf *n) {
    uint8_t meta[NTF_META_LEN];
    ntf_seal_meta(n->dh_secret, n->nonce, n->msg_id, n->ts_s, meta);
    write_text(w, p, to, NMSG_TAG);
    wr_bytes_raw(w, bytes_of(n->nonce, BOX_NONCE_LEN));
    wr_short(w, bytes_of(meta, sizeof meta));
}

/* Session, correlation id and entity. */
static size_t head_len(const struct wire_params *p, const struct reply_to *to) {
    const size_t session = version_has(p->version, V_AUTH_CMDS) ? 0 : wire_session(p).n;
    return 1 + session + 1 + to->corr_id.n + 1 + to->entity.n;
}

size_t reply_nmsg_len(const struct wire_params *p, const struct reply_to *to) {
    return head_len(p, to) + sizeof NMSG_TAG - 1 + BOX_NONCE_LEN + 1 + NTF_META_LEN;
}

static void write_sum(struct wr *w, const struct wire_params *p, const struct ids_sum *sum) {
    wr_i64(w, sum->n);
    if (version_has(p->version, V_RCV_SERVICE)) wr_short(w, bytes_of(sum->hash, IDS_HASH_LEN));
}

void reply_soks(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct ids_sum *sum) {
    write_text(w, p, to, "SOKS ");
    write_sum(w, p, sum);
}

void reply_ends(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct ids_sum *sum) {
    write_text(w, p, to, "ENDS ");
    write_sum(w, p, sum);
}

void reply_alls(struct wr *w, const struct wire_params *p) {
    const struct reply_to nobody = {0};
    write_text(w, p, &nobody, "ALLS");
}

/* ---- INFO ---- */

/* Ids are in the plain base64 alphabet here, unlike everywhere else (reference: Server.hs,
 * getQueueInfo; Protocol.hs, toMsgInfo). 24 bytes need no padding. */
static void write_id_text(struct wr *w, const char *key, const struct id *id) {
    char text[BASE64_LEN(ID_LEN) + 1];
    base64url_encode(id_bytes(id), text);
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '-') *c = '+';
        if (*c == '_') *c = '/';
    }
    wr_str(w, key);
    wr_str(w, text);
    wr_str(w, "\"");
}

static void write_sub(struct wr *w, const struct reply_info *info) {
    static const char *const NAMES[] = {
        [SUB_STATE_IDLE] = "noSub",
        [SUB_STATE_PENDING] = "subPending",
        [SUB_STATE_PROHIBITED] = "prohibitSub",
    };
    wr_str(w, ",\"qiSub\":{\"qSubThread\":\"");
    wr_str(w, NAMES[info->sub]);
    wr_str(w, "\"");
    if (info->delivered != NULL) write_id_text(w, ",\"qDelivered\":\"", info->delivered);
    wr_str(w, "}");
}

static void write_head(struct wr *w, const struct msg_head *m) {
    struct tm utc;
    char ts[sizeof "-2147481748-01-01T00:00:00Z"];
    const time_t t = (time_t)m->ts_s;
    if (gmtime_r(&t, &utc) == NULL || strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
        w->err = E_LIMIT; /* a year that does not fit: cannot come from a clock */
        return;
    }
    write_id_text(w, ",\"qiMsg\":{\"msgId\":\"", &m->id);
    wr_str(w, ",\"msgTs\":\"");
    wr_str(w, ts);
    wr_str(w, m->is_quota ? "\",\"msgType\":\"quota\"}" : "\",\"msgType\":\"message\"}");
}

void reply_info(struct wr *w, const struct wire_params *p, const struct reply_to *to,
                const struct reply_info *info) {
    write_text(w, p, to, "INFO ");
    wr_str(w, info->secured ? "{\"qiSnd\":true" : "{\"qiSnd\":false");
    wr_str(w, info->has_notifier ? ",\"qiNtf\":true" : ",\"qiNtf\":false");
    if (info->sub != SUB_STATE_NONE) write_sub(w, info);
    char size[sizeof ",\"qiSize\":4294967295"];
    (void)snprintf(size, sizeof size, ",\"qiSize\":%u", info->size);
    wr_str(w, size);
    if (info->head != NULL) write_head(w, info->head);
    wr_str(w, "}");
}

/* ---- MSG ---- */

static const char MSG_TAG[] = "MSG ";

static void write_msg_content(struct wr *w, const struct message *m) {
    if (m->is_quota) {
        wr_str(w, "QUOTA ");
        wr_i64(w, m->ts_s);
        return;
    }
    wr_i64(w, m->ts_s);
    wr_bool(w, m->notification);
    wr_str(w, " ");
    wr_bytes_raw(w, message_body(m));
}

void reply_msg(struct wr *w, const struct wire_params *p, const struct reply_to *to,
               const struct message *m, const struct box_key *queue_key) {
    write_text(w, p, to, MSG_TAG);
    wr_short(w, id_bytes(&m->id));
    uint8_t *box = wr_skip(w, BOX_TAG_LEN + SMP_MSG_PADDED_LEN);
    if (box == NULL) return;
    struct wr padded = wr_init(box + BOX_TAG_LEN, SMP_MSG_PADDED_LEN);
    const size_t mark = wr_mark_u16(&padded);
    write_msg_content(&padded, m);
    wr_close_u16(&padded, mark);
    if (wr_err(&padded) != OK) {
        w->err = wr_err(&padded);
        return;
    }
    memset(padded.p + padded.at, '#', wr_left(&padded));
    const struct box_nonce nonce = box_nonce_from_corr_id(id_bytes(&m->id));
    box_seal(queue_key, &nonce, box, SMP_MSG_PADDED_LEN);
}

size_t reply_msg_len(const struct wire_params *p, const struct reply_to *to) {
    return head_len(p, to) + sizeof MSG_TAG - 1 + 1 + ID_LEN + BOX_TAG_LEN + SMP_MSG_PADDED_LEN;
}

struct reply_to reply_addressee(struct bytes transmission, const struct wire_params *p) {
    struct rd r = rd_init(transmission);
    (void)rd_short(&r); /* no authorization */
    if (!version_has(p->version, V_AUTH_CMDS)) (void)rd_short(&r);
    struct reply_to to;
    to.corr_id = rd_short(&r);
    to.entity = rd_short(&r);
    return to;
}
