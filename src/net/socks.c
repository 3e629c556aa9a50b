/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/socks.h"

#include <stdlib.h>

#include "base/rd.h"
#include "net/addr.h"

enum {
    VERSION = 5,
    PASSWORD_VERSION = 1,
    METHOD_NONE = 0,
    METHOD_PASSWORD = 2,
    COMMAND_CONNECT = 1,
    ADDRESS_V4 = 1,
    ADDRESS_NAME = 3,
    ADDRESS_V6 = 4,
    REPLY_HEAD = 5, /* version, status, reserved, type, and the first byte of the address */
};

/* ---- the setting ---- */

static bool copy_text(char *ret, size_t cap, const char *from, size_t n) {
    if (n >= cap) return false;
    memcpy(ret, from, n);
    ret[n] = '\0';
    return true;
}

/* Takes "user:password@" or "@" off the front. */
static const char *parse_auth(const char *text, struct socks_proxy *ret) {
    const char *at = strrchr(text, '@'), *colon = strchr(text, ':');
    ret->auth = SOCKS_ISOLATE;
    if (at == NULL) return text;
    ret->auth = at == text ? SOCKS_NO_AUTH : SOCKS_PASSWORD;
    if (at == text) return at + 1;
    if (colon == NULL || colon > at || colon == text) return NULL;
    if (!copy_text(ret->user, sizeof ret->user, text, (size_t)(colon - text)) ||
        !copy_text(ret->password, sizeof ret->password, colon + 1, (size_t)(at - colon - 1))) {
        return NULL;
    }
    return at + 1;
}

/* Takes the host off the front. */
static const char *parse_host(const char *text, struct socks_proxy *ret) {
    const bool brackets = text[0] == '[';
    const char *from = brackets ? text + 1 : text;
    const size_t n = strcspn(from, brackets ? "]" : ":");
    if (brackets && from[n] != ']') return NULL;
    if (n == 0) {
        (void)copy_text(ret->host, sizeof ret->host, "127.0.0.1", 9);
    } else if (!copy_text(ret->host, sizeof ret->host, from, n)) {
        return NULL;
    }
    return from + n + (brackets ? 1 : 0);
}

static bool parse_port(const char *text, uint16_t *ret) {
    if (text[0] != ':' || text[1] < '0' || text[1] > '9') return false;
    char *end;
    const unsigned long port = strtoul(text + 1, &end, 10);
    if (*end != '\0' || port == 0 || port > UINT16_MAX) return false;
    *ret = (uint16_t)port;
    return true;
}

enum err socks_proxy_parse(const char *text, struct socks_proxy *ret) {
    struct socks_proxy p = {.port = 0};
    const char *rest = parse_auth(text, &p);
    if (rest != NULL) rest = parse_host(rest, &p);
    if (rest == NULL || !parse_port(rest, &p.port)) return E_SYNTAX;
    const enum host_kind kind = host_kind_of(p.host);
    if (kind != HOST_IP && kind != HOST_NAME) return E_SYNTAX;
    *ret = p;
    return OK;
}

/* ---- writing ---- */

static uint8_t method_of(enum socks_auth auth) {
    return auth == SOCKS_NO_AUTH ? METHOD_NONE : METHOD_PASSWORD;
}

/* One method is offered: a proxy that could choose "none" would not isolate. */
void socks_write_greeting(enum socks_auth auth, struct wr *w) {
    wr_u8(w, VERSION);
    wr_u8(w, 1);
    wr_u8(w, method_of(auth));
}

void socks_write_password(const char *user, const char *password, struct wr *w) {
    wr_u8(w, PASSWORD_VERSION);
    wr_short(w, bytes_str(user));
    wr_short(w, bytes_str(password));
}

void socks_write_connect(const char *host, uint16_t port, struct wr *w) {
    union addr a;
    const bool is_ip = addr_parse(host, 0, &a);
    wr_u8(w, VERSION);
    wr_u8(w, COMMAND_CONNECT);
    wr_u8(w, 0);
    if (is_ip) {
        wr_u8(w, a.any.sa_family == AF_INET ? ADDRESS_V4 : ADDRESS_V6);
        wr_bytes_raw(w, addr_bytes(&a.any));
    } else {
        wr_u8(w, ADDRESS_NAME);
        wr_short(w, bytes_str(host));
    }
    wr_u16(w, port);
}

/* ---- reading ---- */

static enum socks_verdict read_pair(struct bytes in, uint8_t first, uint8_t second,
                                    size_t *ret_need) {
    *ret_need = 2;
    if (in.n < 2) return SOCKS_MORE;
    return in.p[0] == first && in.p[1] == second ? SOCKS_GRANTED : SOCKS_REFUSED;
}

enum socks_verdict socks_read_method(struct bytes in, enum socks_auth auth, size_t *ret_need) {
    return read_pair(in, VERSION, method_of(auth), ret_need);
}

enum socks_verdict socks_read_password(struct bytes in, size_t *ret_need) {
    return read_pair(in, PASSWORD_VERSION, 0, ret_need);
}

enum socks_verdict socks_read_connect(struct bytes in, size_t *ret_need) {
    *ret_need = REPLY_HEAD;
    if (in.n < REPLY_HEAD) return SOCKS_MORE;
    struct rd r = rd_init(in);
    const uint8_t version = rd_u8(&r), status = rd_u8(&r);
    (void)rd_u8(&r);
    const uint8_t type = rd_u8(&r), first = rd_u8(&r);
    if (version != VERSION || status != 0) return SOCKS_REFUSED;
    const size_t head = REPLY_HEAD - 1, port = 2;
    switch (type) {
    case ADDRESS_V4:
        *ret_need = head + 4 + port;
        break;
    case ADDRESS_V6:
        *ret_need = head + 16 + port;
        break;
    case ADDRESS_NAME:
        *ret_need = head + 1 + first + port;
        break;
    default:
        return SOCKS_REFUSED;
    }
    return in.n < *ret_need ? SOCKS_MORE : SOCKS_GRANTED;
}
