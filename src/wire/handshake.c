/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "wire/handshake.h"

/* ---- certificate chain: non-empty list of large strings, kept as one view ---- */

static struct bytes parse_chain(struct rd *r) {
    const size_t from = r->at;
    const unsigned n = rd_list(r);
    for (unsigned i = 0; i < n && r->err == OK; i++) (void)rd_large(r);
    return r->err == OK ? bytes_of(r->in.p + from, r->at - from) : (struct bytes){0};
}

/* ---- server hello ---- */

void server_hello_write(const struct server_hello *h, struct wr *w) {
    wr_u16(w, h->version_min);
    wr_u16(w, h->version_max);
    wr_short(w, h->session_id);
    if (!version_has(h->version_max, V_AUTH_CMDS)) return;
    wr_bytes_raw(w, h->cert_chain);
    wr_large(w, h->signed_key);
    if (h->proof.n != 0) wr_short(w, h->proof);
}

enum err server_hello_parse(struct bytes content, struct server_hello *ret) {
    struct rd r = rd_init(content);
    struct server_hello h = {0};
    h.version_min = rd_u16(&r);
    h.version_max = rd_u16(&r);
    h.session_id = rd_short(&r);
    if (version_has(h.version_max, V_AUTH_CMDS)) {
        h.cert_chain = parse_chain(&r);
        h.signed_key = rd_large(&r);
    }
    if (rd_err(&r) == OK) *ret = h;
    return rd_err(&r);
}

/* ---- client hello ---- */

static void write_key(const struct pubkey *k, struct wr *w) {
    wr_u8(w, (uint8_t)pubkey_spki_len(k->type));
    pubkey_write_spki(k, w);
}

void client_hello_write(const struct client_hello *h, struct wr *w) {
    wr_u16(w, h->version);
    wr_short(w, h->identity);
    if (version_has(h->version, V_AUTH_CMDS) && h->key.type != KEY_NONE) write_key(&h->key, w);
    if (version_has(h->version, V_PROXY_SERVER)) wr_bool(w, h->proxy_server);
    if (!version_has(h->version, V_SERVICE_CERTS)) return;
    wr_maybe(w, h->has_service);
    if (!h->has_service) return;
    wr_u8(w, (uint8_t)h->service.role);
    wr_bytes_raw(w, h->service.cert_chain);
    wr_large(w, h->service.signed_key);
}

/* The key may be left out: at the end of the content, or before the next field, whose first byte no
 * key length equals. */
static void parse_client_key(struct rd *r, struct pubkey *ret) {
    struct rd ahead = *r;
    const uint8_t next = rd_u8(&ahead);
    if (ahead.err != OK || next == 'T' || next == 'F') return;
    const struct bytes der = rd_short(r);
    if (r->err == OK && (pubkey_from_spki(der, ret) != OK || ret->type != KEY_X25519)) rd_fail(r);
}

static void parse_service(struct rd *r, struct client_service *ret) {
    const uint8_t role = rd_u8(r);
    if (role != 'M' && role != 'N' && role != 'P') rd_fail(r);
    ret->role = (char)role;
    ret->cert_chain = parse_chain(r);
    ret->signed_key = rd_large(r);
}

enum err client_hello_parse(struct bytes content, struct client_hello *ret) {
    struct rd r = rd_init(content);
    struct client_hello h = {0};
    h.version = rd_u16(&r);
    h.identity = rd_short(&r);
    if (version_has(h.version, V_AUTH_CMDS)) parse_client_key(&r, &h.key);
    if (version_has(h.version, V_PROXY_SERVER)) h.proxy_server = rd_bool(&r);
    if (version_has(h.version, V_SERVICE_CERTS)) {
        h.has_service = rd_maybe(&r);
        if (h.has_service) parse_service(&r, &h.service);
    }
    if (rd_err(&r) == OK) *ret = h;
    return rd_err(&r);
}

enum err handshake_agree(uint16_t min, uint16_t max, uint16_t client_version, uint16_t *ret) {
    if (client_version < min || client_version > max) return E_VERSION;
    *ret = client_version;
    return OK;
}

uint16_t handshake_proxy_max(uint16_t relay_max, uint16_t our_max) {
    const bool knows_proxies = version_has(relay_max, V_PROXY_SERVER);
    return knows_proxies || our_max < V_DELETED_EVENT ? our_max : (uint16_t)V_DELETED_EVENT;
}

/* ---- third message ---- */

static const char *const TRANSPORT_ERRORS[] = {
    [TRANSPORT_BLOCK] = "BLOCK",
    [TRANSPORT_VERSION] = "VERSION",
    [TRANSPORT_LARGE_MSG] = "LARGE_MSG",
    [TRANSPORT_SESSION] = "SESSION",
    [TRANSPORT_NO_AUTH] = "NO_AUTH",
    [TRANSPORT_HS_PARSE] = "HANDSHAKE PARSE",
    [TRANSPORT_HS_IDENTITY] = "HANDSHAKE IDENTITY",
    [TRANSPORT_HS_BAD_AUTH] = "HANDSHAKE BAD_AUTH",
    [TRANSPORT_HS_BAD_SERVICE] = "HANDSHAKE BAD_SERVICE",
};

const char *transport_error_text(enum transport_error e) {
    return TRANSPORT_ERRORS[e];
}

void service_accepted_write(struct bytes service_id, struct wr *w) {
    wr_u8(w, 'R');
    wr_short(w, service_id);
}

void service_refused_write(enum transport_error e, struct wr *w) {
    wr_u8(w, 'E');
    wr_str(w, transport_error_text(e));
}
