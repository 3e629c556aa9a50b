/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/db/db_row.h"

#include "base/rd.h"

static const struct {
    const char *text;
    enum queue_mode mode;
} MODES[] = {{"M", MODE_MESSAGING}, {"C", MODE_CONTACT}};

static const uint8_t BOOL_BYTES[] = {0, 1};

static struct db_value bool_value(bool v) {
    return db_value_of(bytes_of(&BOOL_BYTES[v], 1));
}

static struct db_value number_value(int64_t v, uint8_t buf[DB_I64_LEN]) {
    struct wr w = wr_init(buf, DB_I64_LEN);
    wr_i64(&w, v);
    return db_value_of(wr_bytes(&w));
}

static struct db_value key_value(const struct pubkey *k, uint8_t buf[SPKI_MAX]) {
    struct wr w = wr_init(buf, SPKI_MAX);
    pubkey_write_spki(k, &w);
    return db_value_of(wr_bytes(&w));
}

static struct db_value id_value(const struct id *id) {
    return db_value_of(id_bytes(id));
}

/* ---- a queue into its row ---- */

static enum err keys_value(const struct record *r, uint8_t buf[DB_KEYS_MAX], struct db_value *ret) {
    struct wr w = wr_init(buf, DB_KEYS_MAX);
    wr_u8(&w, (uint8_t)r->n_rcv_keys);
    for (size_t i = 0; i < r->n_rcv_keys; i++) {
        uint8_t der[SPKI_MAX];
        wr_short(&w, key_value(&r->rcv_keys[i], der).b);
    }
    *ret = db_value_of(wr_bytes(&w));
    return wr_err(&w);
}

static enum err status_value(const struct record *r, uint8_t buf[DB_STATUS_MAX],
                             struct db_value *ret) {
    struct wr w = wr_init(buf, DB_STATUS_MAX);
    wr_str(&w, r->status == RECORD_ACTIVE ? "active"
               : r->status == RECORD_OFF  ? "off"
                                          : "blocked,");
    if (r->status == RECORD_BLOCKED) wr_bytes_raw(&w, r->info);
    *ret = db_value_of(wr_bytes(&w));
    return wr_err(&w);
}

static struct db_value mode_value(enum queue_mode mode) {
    for (size_t i = 0; i < ARRAY_LEN(MODES); i++) {
        if (MODES[i].mode == mode) return db_value_of(bytes_str(MODES[i].text));
    }
    return db_value_null();
}

enum err db_queue_to_row(const struct record *r, struct db_row_buf *buf,
                         struct db_value ret[N_DB_QUEUE_COLUMNS]) {
    const struct db_value none = db_value_null();
    const struct queue_notifier *n = &r->notifier;
    const bool has_ntf = r->has_notifier;
    enum err e = keys_value(r, buf->keys, &ret[1]);
    if (e == OK) e = status_value(r, buf->status, &ret[8]);
    if (e != OK) return e;
    ret[0] = id_value(&r->rcv_id);
    ret[2] = db_value_of(bytes_of(r->dh_secret, X25519_LEN));
    ret[3] = id_value(&r->snd_id);
    ret[4] = r->snd_key.type != KEY_NONE ? key_value(&r->snd_key, buf->snd_key) : none;
    ret[5] = has_ntf ? id_value(&n->id) : none;
    ret[6] = has_ntf ? key_value(&n->key, buf->ntf_key) : none;
    ret[7] = has_ntf ? db_value_of(bytes_of(n->dh_secret, X25519_LEN)) : none;
    ret[9] = r->has_updated_at ? number_value(r->updated_at_s, buf->time) : none;
    ret[10] = mode_value(r->mode);
    ret[11] = r->has_link ? id_value(&r->link_id) : none;
    ret[12] = r->has_link ? db_value_of(r->link_fixed) : none;
    ret[13] = r->has_link ? db_value_of(r->link_user) : none;
    ret[14] = r->has_service ? id_value(&r->service_id) : none;
    ret[15] = has_ntf && r->has_ntf_service ? id_value(&r->ntf_service_id) : none;
    return OK;
}

/* ---- what was read of a row ---- */

struct part {
    const char *column;
    bool is_good;
};

/* *ret_column: the first that is not good, or the last. */
static enum err judge(const struct part *parts, size_t n, const char **ret_column) {
    for (size_t i = 0; i < n; i++) {
        *ret_column = parts[i].column;
        if (!parts[i].is_good) return E_SYNTAX;
    }
    return OK;
}

/* ---- a row into its queue ---- */

static bool read_id(const struct db_value *v, struct id *ret) {
    return !v->is_null && id_from_bytes(v->b, ret);
}

static bool read_maybe_id(const struct db_value *v, bool *ret_has, struct id *ret) {
    *ret_has = !v->is_null;
    return v->is_null || id_from_bytes(v->b, ret);
}

static bool read_secret(const struct db_value *v, uint8_t ret[X25519_LEN]) {
    if (v->is_null || v->b.n != X25519_LEN) return false;
    memcpy(ret, v->b.p, X25519_LEN);
    return true;
}

static bool read_key(const struct db_value *v, struct pubkey *ret) {
    return !v->is_null && pubkey_from_spki(v->b, ret) == OK;
}

static bool read_keys(const struct db_value *v, struct pubkey keys[RECORD_KEYS_MAX],
                      struct record *ret) {
    struct rd r = rd_init(v->b);
    const unsigned n = rd_list(&r);
    for (unsigned i = 0; i < n && rd_err(&r) == OK; i++) {
        if (pubkey_from_spki(rd_short(&r), &keys[i]) != OK) return false;
    }
    ret->rcv_keys = keys;
    ret->n_rcv_keys = n;
    return rd_end(&r) == OK;
}

static bool read_status(const struct db_value *v, struct record *ret) {
    static const char blocked[] = "blocked,";
    if (bytes_equal(v->b, bytes_str("active"))) {
        ret->status = RECORD_ACTIVE;
    } else if (bytes_equal(v->b, bytes_str("off"))) {
        ret->status = RECORD_OFF;
    } else if (bytes_begin(v->b, blocked)) {
        ret->status = RECORD_BLOCKED;
        ret->info = bytes_of(v->b.p + sizeof blocked - 1, v->b.n - (sizeof blocked - 1));
        return record_info_is_good(ret->info);
    } else {
        return false;
    }
    return true;
}

static bool read_number(const struct db_value *v, int64_t *ret) {
    struct rd r = rd_init(v->b);
    *ret = rd_i64(&r);
    return rd_end(&r) == OK && *ret >= 0;
}

static bool read_mode(const struct db_value *v, enum queue_mode *ret) {
    *ret = MODE_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(MODES); i++) {
        if (!v->is_null && bytes_equal(v->b, bytes_str(MODES[i].text))) *ret = MODES[i].mode;
    }
    return v->is_null || *ret != MODE_UNKNOWN;
}

/* A notifier is there only when all three are: what else there may be of it counts for nothing. */
static bool read_notifier(const struct db_value v[3], struct record *ret) {
    struct queue_notifier *n = &ret->notifier;
    ret->has_notifier = !v[0].is_null && !v[1].is_null && !v[2].is_null;
    return !ret->has_notifier || (id_from_bytes(v[0].b, &n->id) && read_key(&v[1], &n->key) &&
                                  read_secret(&v[2], n->dh_secret));
}

static bool read_link(const struct db_value v[3], struct record *ret) {
    ret->link_fixed = v[1].b; /* data that is NULL reads as empty */
    ret->link_user = v[2].b;
    return read_maybe_id(&v[0], &ret->has_link, &ret->link_id) &&
           v[1].b.n + v[2].b.n <= RECORD_LINK_MAX;
}

enum err db_queue_from_row(const struct db_value v[N_DB_QUEUE_COLUMNS],
                           struct pubkey keys[RECORD_KEYS_MAX], struct record *ret,
                           const char **ret_column) {
    *ret = (struct record){.tag = RECORD_CREATE, .has_updated_at = !v[9].is_null};
    const struct part parts[] = {
        {"recipient_id", read_id(&v[0], &ret->rcv_id)},
        {"recipient_keys", read_keys(&v[1], keys, ret)},
        {"rcv_dh_secret", read_secret(&v[2], ret->dh_secret)},
        {"sender_id", read_id(&v[3], &ret->snd_id)},
        {"sender_key", v[4].is_null || read_key(&v[4], &ret->snd_key)},
        {"notifier_id", read_notifier(&v[5], ret)},
        {"status", read_status(&v[8], ret)},
        {"updated_at", v[9].is_null || read_number(&v[9], &ret->updated_at_s)},
        {"queue_mode", read_mode(&v[10], &ret->mode)},
        {"link_id", read_link(&v[11], ret)},
        {"rcv_service_id", read_maybe_id(&v[14], &ret->has_service, &ret->service_id)},
        {"ntf_service_id", read_maybe_id(&v[15], &ret->has_ntf_service, &ret->ntf_service_id)},
    };
    return judge(parts, ARRAY_LEN(parts), ret_column);
}

/* ---- services ---- */

enum { CHAIN_MAX = 255 };

/* base64url of each certificate, with commas, as a list of large strings. */
static enum err chain_value(struct bytes text, uint8_t buf[RECORD_CERT_MAX], struct db_value *ret) {
    struct wr w = wr_init(buf, RECORD_CERT_MAX);
    struct rd r = rd_init(text);
    unsigned n = 0;
    wr_u8(&w, 0);
    do {
        uint8_t der[RECORD_CERT_MAX];
        size_t n_der = 0;
        if (base64url_decode(rd_part(&r, ','), der, sizeof der, &n_der) != OK) return E_SYNTAX;
        wr_large(&w, bytes_of(der, n_der));
    } while (++n < CHAIN_MAX && rd_left(&r) != 0);
    if (rd_left(&r) != 0 || wr_err(&w) != OK) return E_SYNTAX;
    buf[0] = (uint8_t)n;
    *ret = db_value_of(wr_bytes(&w));
    return OK;
}

enum err db_service_to_row(const struct record *r, struct db_row_buf *buf,
                           struct db_value ret[N_DB_SERVICE_COLUMNS]) {
    size_t n_hash = 0;
    enum err e = chain_value(r->cert, buf->chain, &ret[2]);
    if (e == OK) e = base64url_decode(r->cert_hash, buf->hash, sizeof buf->hash, &n_hash);
    if (e != OK || n_hash != sizeof buf->hash) return E_SYNTAX;
    ret[0] = id_value(&r->service_id);
    ret[1] = db_value_of(bytes_of(&r->role, 1));
    ret[3] = db_value_of(bytes_of(buf->hash, n_hash));
    ret[4] = number_value(r->created_at_s, buf->time);
    return OK;
}

static bool read_role(const struct db_value *v, char *ret) {
    *ret = v->b.n == 1 ? (char)v->b.p[0] : '\0';
    return *ret == 'M' || *ret == 'N' || *ret == 'P';
}

static bool read_chain(const struct db_value *v, struct db_service_text *text, struct record *ret) {
    struct rd r = rd_init(v->b);
    struct wr w = wr_init(text->cert, sizeof text->cert);
    const unsigned n = rd_list(&r);
    for (unsigned i = 0; i < n && rd_err(&r) == OK; i++) {
        if (i != 0) wr_u8(&w, ',');
        base64url_write(rd_large(&r), &w);
    }
    ret->cert = wr_bytes(&w);
    return rd_end(&r) == OK && wr_err(&w) == OK;
}

static bool read_hash(const struct db_value *v, struct db_service_text *text, struct record *ret) {
    struct wr w = wr_init(text->hash, sizeof text->hash);
    if (v->b.n != SHA256_LEN) return false;
    base64url_write(v->b, &w);
    ret->cert_hash = wr_bytes(&w);
    return true;
}

enum err db_service_from_row(const struct db_value v[N_DB_SERVICE_COLUMNS],
                             struct db_service_text *text, struct record *ret,
                             const char **ret_column) {
    *ret = (struct record){.tag = RECORD_NEW_SERVICE, .has_service = true};
    const struct part parts[] = {
        {"service_id", read_id(&v[0], &ret->service_id)},
        {"service_role", read_role(&v[1], &ret->role)},
        {"service_cert", read_chain(&v[2], text, ret)},
        {"service_cert_hash", read_hash(&v[3], text, ret)},
        {"created_at", read_number(&v[4], &ret->created_at_s)},
    };
    return judge(parts, ARRAY_LEN(parts), ret_column);
}

/* ---- messages ---- */

void db_message_to_row(const struct msg_line *m, uint8_t time[DB_I64_LEN],
                       struct db_value ret[N_DB_MESSAGE_COLUMNS]) {
    ret[0] = id_value(&m->rcv_id);
    ret[1] = id_value(&m->msg_id);
    ret[2] = number_value(m->ts_s, time);
    ret[3] = bool_value(m->is_quota);
    ret[4] = bool_value(!m->is_quota && m->notification);
    ret[5] = db_value_of(m->is_quota ? (struct bytes){0} : m->body);
}

static bool read_bool(const struct db_value *v, bool *ret) {
    *ret = v->b.n == 1 && v->b.p[0] != 0;
    return v->b.n == 1;
}

enum err db_message_from_row(const struct db_value v[N_DB_MESSAGE_COLUMNS], struct msg_line *ret,
                             const char **ret_column) {
    *ret = (struct msg_line){.body = v[5].b};
    const struct part parts[] = {
        {"recipient_id", read_id(&v[0], &ret->rcv_id)},
        {"msg_id", read_id(&v[1], &ret->msg_id)},
        {"msg_ts", read_number(&v[2], &ret->ts_s)},
        {"msg_quota", read_bool(&v[3], &ret->is_quota)},
        {"msg_ntf_flag", read_bool(&v[4], &ret->notification)},
        {"msg_body", v[5].b.n <= MSG_LINE_BODY_MAX},
    };
    return judge(parts, ARRAY_LEN(parts), ret_column);
}
