/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/command.h"

enum { NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63 }; /* bytes; as in the DNS */

/* ---- pieces of parameters ---- */

/* A short string with the DER of a key; fails unless can_authorize or X25519 as asked. */
static void parse_key(struct rd *r, struct pubkey *ret, bool (*accept)(const struct pubkey *)) {
    const struct bytes der = rd_short(r);
    if (r->err == OK && (pubkey_from_spki(der, ret) != OK || !accept(ret))) rd_fail(r);
}

static bool is_x25519(const struct pubkey *k) {
    return k->type == KEY_X25519;
}

static void parse_auth_key(struct rd *r, struct pubkey *ret) {
    parse_key(r, ret, pubkey_can_authorize);
}

static void parse_dh_key(struct rd *r, struct pubkey *ret) {
    parse_key(r, ret, is_x25519);
}

/* Passwords are printable ASCII without the separators of an address (spec: wire, section 8). */
static struct bytes parse_basic_auth(struct rd *r) {
    const struct bytes b = rd_short(r);
    for (size_t i = 0; i < b.n; i++) {
        const uint8_t c = b.p[i];
        if (c <= ' ' || c >= 0x7f || c == '@' || c == ':' || c == '/') rd_fail(r);
    }
    return b;
}

static void parse_maybe_basic_auth(struct rd *r, bool *ret_has, struct bytes *ret) {
    *ret_has = rd_maybe(r);
    if (*ret_has) *ret = parse_basic_auth(r);
}

static bool parse_sub_mode(struct rd *r) {
    const uint8_t c = rd_u8(r);
    if (c != 'S' && c != 'C') rd_fail(r);
    return c == 'S';
}

/* ---- one parser per row; the cursor stands after the tag ---- */

static void parse_queue_data(struct rd *r, struct cmd_new *ret) {
    ret->has_mode = rd_maybe(r);
    if (!ret->has_mode) return;
    const uint8_t mode = rd_u8(r);
    if (mode != 'M' && mode != 'C') rd_fail(r);
    ret->is_contact = mode == 'C';
    ret->data.present = rd_maybe(r);
    if (!ret->data.present) return;
    if (ret->is_contact) ret->data.link_id = rd_short(r);
    ret->data.snd_id = rd_short(r);
    ret->data.fixed = rd_large(r);
    ret->data.user = rd_large(r);
}

static void parse_notifier(struct rd *r, struct cmd_new *ret) {
    ret->has_notifier = rd_maybe(r);
    if (!ret->has_notifier) return;
    parse_auth_key(r, &ret->ntf_key);
    parse_dh_key(r, &ret->ntf_dh_key);
}

/* Below version 9 the password is marked by 'A' instead of a maybe; no sub mode begins with it. */
static void parse_legacy_basic_auth(struct rd *r, struct cmd_new *ret) {
    struct rd ahead = *r;
    if (rd_u8(&ahead) != 'A') return;
    *r = ahead;
    ret->has_basic_auth = true;
    ret->basic_auth = parse_basic_auth(r);
}

static void parse_new(struct rd *r, uint16_t version, struct command *ret) {
    struct cmd_new *c = &ret->new_queue;
    rd_lit(r, ' ');
    parse_auth_key(r, &c->rcv_auth_key);
    parse_dh_key(r, &c->rcv_dh_key);
    if (!version_has(version, V_SND_AUTH_KEY)) {
        parse_legacy_basic_auth(r, c);
        c->subscribe = parse_sub_mode(r);
        return;
    }
    parse_maybe_basic_auth(r, &c->has_basic_auth, &c->basic_auth);
    c->subscribe = parse_sub_mode(r);
    if (!version_has(version, V_SHORT_LINKS)) {
        c->has_mode = true;
        c->is_contact = !rd_bool(r); /* sndSecure */
        return;
    }
    parse_queue_data(r, c);
    if (version_has(version, V_NEW_NTF_CREDS)) parse_notifier(r, c);
}

static void parse_one_key(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    parse_auth_key(r, &ret->key);
}

static void parse_rkey(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->rkey.n = rd_list(r);
    const size_t from = r->at;
    for (unsigned i = 0; i < ret->rkey.n && r->err == OK; i++) {
        struct pubkey ignored;
        parse_auth_key(r, &ignored);
    }
    if (r->err == OK) ret->rkey.items = bytes_of(r->in.p + from, r->at - from);
}

static void parse_lset(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->lset.link_id = rd_short(r);
    ret->lset.fixed = rd_large(r);
    ret->lset.user = rd_large(r);
}

static void parse_nkey(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    parse_auth_key(r, &ret->nkey.key);
    parse_dh_key(r, &ret->nkey.dh_key);
}

static void parse_ack(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->ack.msg_id = rd_short(r);
}

static void parse_send(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->send.notification = rd_bool(r);
    (void)rd_until(r, ' '); /* flags of the future */
    rd_lit(r, ' ');
    ret->send.body = rd_tail(r);
}

static void parse_service_subs(struct rd *r, uint16_t version, struct command *ret) {
    ret->subs.count = -1;
    if (!version_has(version, V_RCV_SERVICE)) return;
    rd_lit(r, ' ');
    ret->subs.count = rd_i64(r);
    ret->subs.ids_hash = rd_short(r);
    if (ret->subs.ids_hash.n != IDS_HASH_LEN) rd_fail(r);
}

static void parse_prxy(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    const unsigned n_hosts = rd_list(r);
    const size_t from = r->at;
    for (unsigned i = 0; i < n_hosts && r->err == OK; i++) (void)rd_short(r);
    if (r->err == OK) ret->prxy.hosts = bytes_of(r->in.p + from, r->at - from);
    ret->prxy.port = rd_short(r);
    ret->prxy.identity = rd_short(r);
    parse_maybe_basic_auth(r, &ret->prxy.has_basic_auth, &ret->prxy.basic_auth);
}

static void parse_pfwd(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->pfwd.version = rd_u16(r);
    parse_dh_key(r, &ret->pfwd.key);
    ret->pfwd.body = rd_tail(r);
}

static void parse_rfwd(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    ret->rfwd.body = rd_tail(r);
}

static bool is_label(struct bytes b) {
    if (b.n == 0 || b.n > LABEL_MAX_LEN || b.p[0] == '-' || b.p[b.n - 1] == '-') return false;
    for (size_t i = 0; i < b.n; i++) {
        const uint8_t c = b.p[i], letter = c | 0x20;
        const bool hyphen = c == '-' && b.p[i - 1] != '-';
        if ((letter < 'a' || letter > 'z') && (c < '0' || c > '9') && !hyphen) return false;
    }
    return true;
}

/* Up to the first white space. */
static struct bytes first_word(struct bytes text) {
    size_t n = 0;
    while (n < text.n && text.p[n] != ' ' && (text.p[n] < '\t' || text.p[n] > '\r')) n++;
    return bytes_of(text.p, n);
}

/* A domain: two labels or more, of ASCII letters, digits and single hyphens. After a white space
 * may come what later versions add. */
static void parse_rslv(struct rd *r, uint16_t version, struct command *ret) {
    (void)version;
    rd_lit(r, ' ');
    const struct bytes name = first_word(rd_tail(r));
    struct rd labels = rd_init(name);
    unsigned n = 0;
    bool good = r->err == OK && name.n != 0 && name.n <= NAME_MAX_LEN;
    while (good) {
        good = is_label(rd_until(&labels, '.'));
        n++;
        if (rd_left(&labels) == 0) break;
        rd_lit(&labels, '.');
    }
    if (!good || n < 2) rd_fail(r);
    ret->rslv.name = name;
}

static void parse_nothing(struct rd *r, uint16_t version, struct command *ret) {
    (void)r;
    (void)version;
    (void)ret;
}

/* ---- the table ---- */

typedef void parse_fn(struct rd *r, uint16_t version, struct command *ret);

#define CRED_YES CREDENTIAL_YES
#define CRED_NO  CREDENTIAL_NO
#define CRED_OPT CREDENTIAL_OPT
#define SIG_YES  true
#define SIG_NO   false
#define FWD_YES  true
#define FWD_NO   false

static const struct command_row ROWS[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    [CMD_##                                                                                        \
        tag] = {#tag,         since,           PARTY_##party, CRED_##auth,    CRED_##entity,       \
                SIG_##sig,    LOOKUP_##lookup, WANT_##want,   NEED_KEY_##key, BLOCKED_##blocked,   \
                FWD_##forward},
#include "wire/commands.def"
#undef CMD
};

static parse_fn *const PARSERS[N_COMMANDS] = {
#define CMD(tag, since, party, auth, entity, sig, lookup, want, key, blocked, forward, refused,    \
            fn, params)                                                                            \
    [CMD_##tag] = parse_##params,
#include "wire/commands.def"
#undef CMD
};

const struct command_row *command_row(enum command_tag tag) {
    return &ROWS[tag];
}

/* Which services a party may be; 0: any. */
static const char PARTY_ROLES[] = {
    [PARTY_CREATOR] = SERVICE_MESSAGING,           [PARTY_RECIPIENT] = SERVICE_MESSAGING,
    [PARTY_RECIPIENT_SERVICE] = SERVICE_MESSAGING, [PARTY_SENDER] = SERVICE_MESSAGING,
    [PARTY_SENDER_LINK] = SERVICE_MESSAGING,       [PARTY_NOTIFIER] = SERVICE_NOTIFIER,
    [PARTY_NOTIFIER_SERVICE] = SERVICE_NOTIFIER,   [PARTY_IDLE] = 0,
    [PARTY_PROXIED_CLIENT] = SERVICE_MESSAGING,    [PARTY_PROXY_SERVICE] = SERVICE_PROXY,
    [PARTY_RESOLVER] = SERVICE_MESSAGING,
};

bool command_fits_role(const struct command_row *row, enum service_role role) {
    const char wanted = PARTY_ROLES[row->party];
    return wanted == 0 || wanted == (char)role;
}

/* ---- the driver ---- */

static enum err find_tag(struct bytes tag, enum command_tag *ret) {
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        if (!bytes_equal(tag, bytes_str(ROWS[i].tag))) continue;
        *ret = (enum command_tag)i;
        return OK;
    }
    return E_CMD_UNKNOWN;
}

/* What is missing is reported before what is too much. */
static enum err check_credentials(const struct command_row *row, const struct transmission *t) {
    const bool has_auth = t->auth.n != 0, has_entity = t->entity.n != 0;
    const bool no_entity = row->entity == CREDENTIAL_YES && !has_entity;
    if (row->auth == CREDENTIAL_YES && (!has_auth || no_entity)) return E_CMD_NO_AUTH;
    if (no_entity) return E_CMD_NO_ENTITY;
    if (row->auth == CREDENTIAL_NO && has_auth) return E_CMD_HAS_AUTH;
    if (row->entity == CREDENTIAL_NO && has_entity) return E_CMD_HAS_AUTH;
    return OK;
}

enum err command_parse(const struct transmission *t, uint16_t version, struct command *ret) {
    *ret = (struct command){0};
    struct rd r = rd_init(t->command);
    const enum err e = find_tag(rd_until(&r, ' '), &ret->tag);
    if (e != OK) return e;
    PARSERS[ret->tag](&r, version, ret);
    if (rd_end(&r) != OK) return E_CMD_SYNTAX;
    return check_credentials(&ROWS[ret->tag], t);
}

void command_rkey(const struct command *c, struct pubkey *ret) {
    struct rd r = rd_init(c->rkey.items);
    for (unsigned i = 0; i < c->rkey.n; i++) parse_auth_key(&r, &ret[i]); /* valid: parse_rkey() */
}

size_t command_max_body(uint16_t version) {
    if (version_has(version, V_ENCRYPTED_BLOCK)) return 16048;
    return version_has(version, V_SENDING_PROXY) ? 16064 : 16088;
}
