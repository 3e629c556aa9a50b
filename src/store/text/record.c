/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/record.h"

#include <assert.h>

#include "store/text/field.h"

enum { CERT_HASH_MAX = 128 }; /* bytes of text; a SHA-512 has 88 */

/* ---- groups of fields that several records share ---- */

static void parse_keys(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    size_t n = 0;
    do {
        if (n == RECORD_KEYS_MAX) rd_fail(r);
        if (r->err != OK) return;
        field__read_key(r, &scratch->keys[n++]);
    } while (field__accept(r, ","));
    ret->rcv_keys = scratch->keys;
    ret->n_rcv_keys = n;
}

static void write_keys(const struct record *rec, struct wr *w) {
    for (size_t i = 0; i < rec->n_rcv_keys; i++) {
        if (i != 0) wr_u8(w, ',');
        field__write_key(&rec->rcv_keys[i], w);
    }
}

/* Two words: a client may have set either to nothing. */
static void parse_link_data(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    const size_t n_fixed = field__read_data(r, scratch->link, sizeof scratch->link);
    field__expect(r, " ");
    uint8_t *user = scratch->link + n_fixed;
    const size_t n_user = field__read_data(r, user, sizeof scratch->link - n_fixed);
    ret->has_link = true;
    ret->link_fixed = bytes_of(scratch->link, n_fixed);
    ret->link_user = bytes_of(user, n_user);
}

static void write_link_data(const struct record *rec, struct wr *w) {
    field__write_data(rec->link_fixed, w);
    wr_u8(w, ' ');
    field__write_data(rec->link_user, w);
}

static void parse_notifier(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    ret->has_notifier = true;
    field__read_id(r, &ret->notifier.id);
    field__expect(r, " ");
    field__read_key(r, &ret->notifier.key);
    field__expect(r, " ");
    field__read_fixed(r, ret->notifier.dh_secret, X25519_LEN);
    if (!field__accept(r, " nsrv=")) return;
    ret->has_ntf_service = true;
    field__read_id(r, &ret->ntf_service_id);
}

static void write_notifier(const struct record *rec, struct wr *w) {
    field__write_id(&rec->notifier.id, w);
    wr_u8(w, ' ');
    field__write_key(&rec->notifier.key, w);
    wr_u8(w, ' ');
    field__write_data(bytes_of(rec->notifier.dh_secret, X25519_LEN), w);
    if (!rec->has_ntf_service) return;
    wr_str(w, " nsrv=");
    field__write_id(&rec->ntf_service_id, w);
}

static bool has_control_byte(struct bytes b) {
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] < ' ') return true;
    }
    return false;
}

/* The reference's own two reasons; its notice is JSON (BlockingInfo in Protocol.hs), of which only
 * the outermost braces are looked at. */
bool record_info_is_good(struct bytes info) {
    struct rd r = rd_init(info);
    field__expect(&r, "reason=");
    if (!field__accept(&r, "spam")) field__expect(&r, "content");
    if (rd_err(&r) == OK && rd_left(&r) == 0) return true;
    field__expect(&r, ",notice={");
    const struct bytes notice = rd_tail(&r);
    return rd_err(&r) == OK && info.n <= RECORD_INFO_MAX && notice.n != 0 &&
           notice.p[notice.n - 1] == '}' && !has_control_byte(notice);
}

static void parse_info(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    ret->info = rd_tail(r);
    if (!record_info_is_good(ret->info)) rd_fail(r);
}

static void write_info(const struct record *rec, struct wr *w) {
    wr_bytes_raw(w, rec->info);
}

/* ---- CREATE ---- */

static void parse_sender_key(struct rd *r, struct record *ret) {
    if (!field__at_end(r)) field__read_key(r, &ret->snd_key);
}

/* 5.8 to 6.3 wrote sndSecure, and only T; 6.4 takes the absence of both for an unknown mode. */
static enum queue_mode parse_mode(struct rd *r) {
    if (field__accept(r, " queue_mode=M") || field__accept(r, " sndSecure=T")) {
        return MODE_MESSAGING;
    }
    if (field__accept(r, " queue_mode=C") || field__accept(r, " sndSecure=F")) return MODE_CONTACT;
    return MODE_UNKNOWN;
}

/* The info may hold spaces, so the service that may follow it is looked for at the end. */
static void parse_blocked(struct rd *r, struct record *ret) {
    static const char service[] = " rsrv=";
    enum { SERVICE_LEN = sizeof service - 1 + 32 };
    const size_t left = rd_left(r);
    const uint8_t *end = r->in.p + r->in.n;
    const bool has_service =
        left > SERVICE_LEN && memcmp(end - SERVICE_LEN, service, sizeof service - 1) == 0;
    ret->status = RECORD_BLOCKED;
    ret->info = rd_take(r, has_service ? left - SERVICE_LEN : left);
    if (!record_info_is_good(ret->info)) rd_fail(r);
}

static void parse_status(struct rd *r, struct record *ret) {
    if (!field__accept(r, " status=")) return;
    if (field__accept(r, "off")) {
        ret->status = RECORD_OFF;
    } else if (field__accept(r, "blocked,")) {
        parse_blocked(r, ret);
    } else {
        rd_fail(r);
    }
}

static void parse_create(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    field__expect(r, " rk=");
    parse_keys(r, scratch, ret);
    field__expect(r, " rdh=");
    field__read_fixed(r, ret->dh_secret, X25519_LEN);
    field__expect(r, " sid=");
    field__read_id(r, &ret->snd_id);
    field__expect(r, " sk=");
    parse_sender_key(r, ret);
    ret->mode = parse_mode(r);
    if (field__accept(r, " link_id=")) {
        field__read_id(r, &ret->link_id);
        field__expect(r, " queue_data=");
        parse_link_data(r, scratch, ret);
    }
    if (field__accept(r, " notifier=")) parse_notifier(r, scratch, ret);
    if (field__accept(r, " updated_at=")) {
        ret->has_updated_at = true;
        ret->updated_at_s = field__read_number(r);
    }
    parse_status(r, ret);
    if (field__accept(r, " rsrv=")) {
        ret->has_service = true;
        field__read_id(r, &ret->service_id);
    }
}

static void write_mode(enum queue_mode mode, struct wr *w) {
    if (mode != MODE_UNKNOWN) wr_str(w, mode == MODE_MESSAGING ? " queue_mode=M" : " queue_mode=C");
}

static void write_status(const struct record *rec, struct wr *w) {
    if (rec->status == RECORD_OFF) wr_str(w, " status=off");
    if (rec->status != RECORD_BLOCKED) return;
    wr_str(w, " status=blocked,");
    write_info(rec, w);
}

static void write_create(const struct record *rec, struct wr *w) {
    wr_str(w, " rk=");
    write_keys(rec, w);
    wr_str(w, " rdh=");
    field__write_data(bytes_of(rec->dh_secret, X25519_LEN), w);
    wr_str(w, " sid=");
    field__write_id(&rec->snd_id, w);
    wr_str(w, " sk=");
    field__write_key(&rec->snd_key, w);
    write_mode(rec->mode, w);
    if (rec->has_link) {
        wr_str(w, " link_id=");
        field__write_id(&rec->link_id, w);
        wr_str(w, " queue_data=");
        write_link_data(rec, w);
    }
    if (rec->has_notifier) {
        wr_str(w, " notifier=");
        write_notifier(rec, w);
    }
    if (rec->has_updated_at) {
        wr_str(w, " updated_at=");
        field__write_number(rec->updated_at_s, w);
    }
    write_status(rec, w);
    if (rec->has_service) {
        wr_str(w, " rsrv=");
        field__write_id(&rec->service_id, w);
    }
}

/* ---- the other records of queues: what follows the recipient id ---- */

static void parse_link(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    field__read_id(r, &ret->link_id);
    field__expect(r, " ");
    parse_link_data(r, scratch, ret);
}

static void write_link(const struct record *rec, struct wr *w) {
    field__write_id(&rec->link_id, w);
    wr_u8(w, ' ');
    write_link_data(rec, w);
}

static void parse_secure(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    field__read_key(r, &ret->snd_key);
}

static void write_secure(const struct record *rec, struct wr *w) {
    field__write_key(&rec->snd_key, w);
}

static void parse_time(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    ret->has_updated_at = true;
    ret->updated_at_s = field__read_number(r);
}

static void write_time(const struct record *rec, struct wr *w) {
    field__write_number(rec->updated_at_s, w);
}

static void parse_queue_service(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    ret->party = (char)rd_u8(r);
    if (ret->party != 'R' && ret->party != 'N') rd_fail(r);
    field__expect(r, " "); /* also when no service follows */
    if (rd_left(r) == 0) return;
    ret->has_service = true;
    field__read_id(r, &ret->service_id);
}

static void write_queue_service(const struct record *rec, struct wr *w) {
    wr_u8(w, (uint8_t)rec->party);
    wr_u8(w, ' ');
    if (rec->has_service) field__write_id(&rec->service_id, w);
}

/* ---- NEW_SERVICE ---- */

/* base64url values with commas between them, kept as text. */
static struct bytes read_values(struct rd *r, size_t max) {
    const struct bytes text = rd_until(r, ' ');
    bool good = text.n != 0 && text.n <= max;
    for (size_t i = 0; good && i < text.n; i++) {
        const uint8_t c = text.p[i], letter = c | 0x20;
        good = (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '=' || c == ',';
    }
    if (!good) rd_fail(r);
    return text;
}

static void parse_new_service(struct rd *r, struct record_scratch *scratch, struct record *ret) {
    (void)scratch;
    ret->has_service = true;
    field__read_id(r, &ret->service_id);
    field__expect(r, " role=");
    ret->role = (char)rd_u8(r);
    if (ret->role != 'M' && ret->role != 'N' && ret->role != 'P') rd_fail(r);
    field__expect(r, " cert=");
    ret->cert = read_values(r, RECORD_CERT_MAX);
    field__expect(r, " cert_hash=");
    ret->cert_hash = read_values(r, CERT_HASH_MAX);
    field__expect(r, " created_at=");
    ret->created_at_s = field__read_number(r);
}

static void write_new_service(const struct record *rec, struct wr *w) {
    field__write_id(&rec->service_id, w);
    wr_str(w, " role=");
    wr_u8(w, (uint8_t)rec->role);
    wr_str(w, " cert=");
    wr_bytes_raw(w, rec->cert);
    wr_str(w, " cert_hash=");
    wr_bytes_raw(w, rec->cert_hash);
    wr_str(w, " created_at=");
    field__write_number(rec->created_at_s, w);
}

/* ---- all of them ---- */

/* The id of the queue stands after `id`, unless that is NULL; then comes `rest`, unless there is
 * nothing more. `rest` is part of the table because it is a space but for two records. */
/* clang-format off */
static const struct {
    const char *tag;
    const char *id, *rest;
    void (*parse)(struct rd *r, struct record_scratch *scratch, struct record *ret);
    void (*write)(const struct record *rec, struct wr *w);
} FORMS[N_RECORD_TAGS] = {
    [RECORD_CREATE]        = {"CREATE",        " rid=", "",              parse_create,        write_create},
    [RECORD_LINK]          = {"LINK",          " ",     " ",             parse_link,          write_link},
    [RECORD_LDELETE]       = {"LDELETE",       " ",     "",              NULL,                NULL},
    [RECORD_SECURE]        = {"SECURE",        " ",     " ",             parse_secure,        write_secure},
    [RECORD_KEYS]          = {"KEYS",          " ",     " ",             parse_keys,          write_keys},
    [RECORD_NOTIFIER]      = {"NOTIFIER",      " ",     " ",             parse_notifier,      write_notifier},
    [RECORD_NDELETE]       = {"NDELETE",       " ",     "",              NULL,                NULL},
    [RECORD_SUSPEND]       = {"SUSPEND",       " ",     "",              NULL,                NULL},
    [RECORD_BLOCK]         = {"BLOCK",         " ",     " ",             parse_info,          write_info},
    [RECORD_UNBLOCK]       = {"UNBLOCK",       " ",     "",              NULL,                NULL},
    [RECORD_DELETE]        = {"DELETE",        " ",     "",              NULL,                NULL},
    [RECORD_TIME]          = {"TIME",          " ",     " ",             parse_time,          write_time},
    [RECORD_NEW_SERVICE]   = {"NEW_SERVICE",   NULL,    " service_id=",  parse_new_service,   write_new_service},
    [RECORD_QUEUE_SERVICE] = {"QUEUE_SERVICE", " ",     " ",             parse_queue_service, write_queue_service},
};
/* clang-format on */

static enum record_tag tag_of(struct bytes text) {
    unsigned tag = 0;
    while (tag < N_RECORD_TAGS && !bytes_equal(text, bytes_str(FORMS[tag].tag))) tag++;
    return tag;
}

enum err record_parse(struct bytes line, struct record_scratch *scratch, struct record *ret) {
    struct rd r = rd_init(line);
    if (line.n > RECORD_LINE_MAX) return E_SYNTAX;
    const enum record_tag tag = tag_of(rd_until(&r, ' '));
    if (tag == N_RECORD_TAGS) return E_SYNTAX;
    *ret = (struct record){.tag = tag};
    if (FORMS[tag].id != NULL) {
        field__expect(&r, FORMS[tag].id);
        field__read_id(&r, &ret->rcv_id);
    }
    field__expect(&r, FORMS[tag].rest);
    if (FORMS[tag].parse != NULL) FORMS[tag].parse(&r, scratch, ret);
    return rd_end(&r);
}

bool record_queue_of(struct bytes line, struct id *ret, enum record_tag *ret_tag) {
    struct rd r = rd_init(line);
    const enum record_tag tag = tag_of(rd_until(&r, ' '));
    if (tag == N_RECORD_TAGS || FORMS[tag].id == NULL) return false;
    field__expect(&r, FORMS[tag].id);
    field__read_id(&r, ret);
    *ret_tag = tag;
    return rd_err(&r) == OK;
}

void record_write(const struct record *rec, struct wr *w) {
    assert(rec->tag < N_RECORD_TAGS);
    wr_str(w, FORMS[rec->tag].tag);
    if (FORMS[rec->tag].id != NULL) {
        wr_str(w, FORMS[rec->tag].id);
        field__write_id(&rec->rcv_id, w);
    }
    wr_str(w, FORMS[rec->tag].rest);
    if (FORMS[rec->tag].write != NULL) FORMS[rec->tag].write(rec, w);
}

const char *record_tag_text(enum record_tag tag) {
    assert(tag < N_RECORD_TAGS);
    return FORMS[tag].tag;
}
