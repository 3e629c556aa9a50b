/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/queue_name.h"

#include "base/attr.h"
#include "base/rd.h"
#include "crypto/base64.h"

enum { LINK_KEY_LEN = 32, BARE_ID_MAX = 96 };

static const char CONTACT_INFO[] = "SimpleXContactLink"; /* of the derivation; clients have it */

/* ---- parts ---- */

/* Takes the text if it comes next. */
static bool take_prefix(struct rd *r, const char *prefix) {
    const size_t n = strlen(prefix);
    if (rd_left(r) < n || memcmp(r->in.p + r->at, prefix, n) != 0) return false;
    (void)rd_take(r, n);
    return true;
}

static bool is_host_byte(uint8_t b) {
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
           (b != '\0' && strchr("-.:[]_", b) != NULL);
}

static void skip_host(struct rd *r) {
    const struct bytes host = rd_until(r, '/');
    if (host.n == 0) rd_fail(r);
    for (size_t i = 0; i < host.n; i++) {
        if (!is_host_byte(host.p[i])) rd_fail(r);
    }
}

/* Exactly n bytes in base64url. */
static void decode(struct rd *r, struct bytes text, uint8_t *ret, size_t n) {
    size_t got = 0;
    if (base64url_decode(text, ret, n, &got) != OK || got != n) rd_fail(r);
}

/* `name=value` pairs; only the fingerprint is looked at. */
static void read_query(struct rd *r, struct queue_name *ret) {
    while (r->err == OK && rd_left(r) > 0) {
        struct rd pair = rd_init(rd_part(r, '&'));
        const struct bytes name = rd_until(&pair, '=');
        rd_lit(&pair, '=');
        const struct bytes value = rd_tail(&pair);
        if (name.n == 0 || rd_err(&pair) != OK) rd_fail(r);
        if (!bytes_equal(name, bytes_str("c"))) continue;
        if (ret->has_server) rd_fail(r);
        ret->has_server = true;
        decode(r, value, ret->server, sizeof ret->server);
    }
}

/* ---- a link ---- */

static enum err contact_id(const uint8_t key[LINK_KEY_LEN], struct id *ret) {
    return crypto_hkdf((struct bytes){0}, bytes_of(key, LINK_KEY_LEN), bytes_str(CONTACT_INFO),
                       ret->b, sizeof ret->b);
}

/* What follows '#'. */
static enum err read_fragment(struct rd *r, bool is_invitation, struct queue_name *ret) {
    uint8_t key[LINK_KEY_LEN];
    if (is_invitation) {
        decode(r, rd_until(r, '/'), ret->id.b, sizeof ret->id.b);
        rd_lit(r, '/');
    }
    decode(r, rd_until(r, '?'), key, sizeof key);
    const bool has_query = rd_left(r) > 0;
    if (has_query) {
        rd_lit(r, '?');
        read_query(r, ret);
    }
    if (rd_end(r) != OK) return E_SYNTAX;
    const enum err e = is_invitation ? OK : contact_id(key, &ret->id);
    crypto_wipe(key, sizeof key);
    return e;
}

static enum err read_link(struct rd *r, struct queue_name *ret) {
    static const char CONTACT_TYPES[] = "acgrACGR";
    rd_lit(r, '/');
    const uint8_t type = rd_u8(r);
    if (type != 'i' && (type == '\0' || strchr(CONTACT_TYPES, type) == NULL)) rd_fail(r);
    (void)take_prefix(r, "/");
    rd_lit(r, '#');
    ret->is_link = true;
    return rd_err(r) == OK ? read_fragment(r, type == 'i', ret) : E_SYNTAX;
}

static enum err read_id(struct bytes text, struct queue_name *ret) {
    uint8_t raw[BARE_ID_MAX];
    size_t n = 0;
    if (text.n == 0 || base64url_decode(text, raw, sizeof raw, &n) != OK) return E_SYNTAX;
    return id_from_bytes(bytes_of(raw, n), &ret->id) ? OK : E_AUTH;
}

enum err queue_name_parse(struct bytes text, struct queue_name *ret) {
    struct queue_name name = {0};
    struct rd r = rd_init(text);
    enum err e;
    if (take_prefix(&r, "simplex:")) {
        e = read_link(&r, &name);
    } else if (take_prefix(&r, "https://")) {
        skip_host(&r);
        e = read_link(&r, &name);
    } else {
        e = read_id(text, &name);
    }
    if (e == OK) *ret = name;
    return e;
}
