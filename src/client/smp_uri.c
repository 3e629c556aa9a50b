/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "client/smp_uri.h"

#include "base/rd.h"
#include "crypto/base64.h"

static const char SCHEME[] = "smp://";

/* Each piece returns what is wrong with it, NULL for nothing. */

static const char *parse_identity(struct bytes b, struct smp_uri *ret) {
    size_t n = 0;
    if (base64url_decode(b, ret->identity, sizeof ret->identity, &n) == OK &&
        n == sizeof ret->identity) {
        return NULL;
    }
    return "the fingerprint is not 32 bytes in base64url";
}

static bool has_password_length(struct bytes b) {
    return b.n != 0 && b.n < SMP_PASSWORD_MAX;
}

bool smp_is_password(struct bytes b) {
    if (!has_password_length(b)) return false;
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] <= ' ' || b.p[i] > '~' || strchr("@:/", b.p[i]) != NULL) return false;
    }
    return true;
}

static const char *parse_password(struct bytes b, struct smp_uri *ret) {
    if (!has_password_length(b)) return "a password has 1 to 255 characters";
    if (!smp_is_password(b)) return "the password has a character that none may have";
    memcpy(ret->password, b.p, b.n);
    ret->password[b.n] = '\0';
    return NULL;
}

/* "fingerprint[:password]" */
static const char *parse_user(struct bytes b, struct smp_uri *ret) {
    struct rd r = rd_init(b);
    const char *why = parse_identity(rd_until(&r, ':'), ret);
    if (why != NULL || rd_left(&r) == 0) return why;
    rd_lit(&r, ':');
    struct rd rest = rd_init(rd_tail(&r));
    const struct bytes password = rd_until(&rest, ':');
    if (rd_left(&rest) != 0) return "the password has a character that none may have";
    return parse_password(password, ret);
}

/* What stands before ',' or ':', or within brackets. */
static struct bytes take_host(struct rd *r, bool *ret_bracketed) {
    struct rd ahead = *r;
    *ret_bracketed = rd_u8(&ahead) == '[';
    if (*ret_bracketed) {
        rd_lit(r, '[');
        const struct bytes host = rd_until(r, ']');
        rd_lit(r, ']');
        return host;
    }
    const size_t from = r->at;
    while (r->at < r->in.n && r->in.p[r->at] != ',' && r->in.p[r->at] != ':') r->at++;
    return bytes_of(r->in.p + from, r->at - from);
}

static const char *parse_host(struct rd *r, struct smp_uri *ret) {
    bool bracketed = false;
    const struct bytes b = take_host(r, &bracketed);
    if (ret->n_hosts == SMP_URI_HOSTS_MAX) return "there are too many hosts";
    if (r->err != OK || b.n == 0) return "a host is missing";
    if (b.n >= HOST_TEXT_MAX) return "a host is too long";
    char *host = ret->hosts[ret->n_hosts];
    memcpy(host, b.p, b.n);
    host[b.n] = '\0';
    const enum host_kind kind = host_kind_of(host);
    const bool has_colon = memchr(b.p, ':', b.n) != NULL;
    if (kind == HOST_BAD || bracketed != has_colon || (bracketed && kind != HOST_IP))
        return "a host is none";
    ret->n_hosts++;
    return NULL;
}

static const char *parse_port(struct bytes b, struct smp_uri *ret) {
    static const char WRONG[] = "the port is not a number from 1 to 65535";
    uint32_t port = 0;
    if (b.n == 0 || b.n > 5) return WRONG;
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] < '0' || b.p[i] > '9') return WRONG;
        port = port * 10 + (uint32_t)(b.p[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) return WRONG;
    ret->port = (uint16_t)port;
    return NULL;
}

/* "host[,host...][:port]" */
static const char *parse_place(struct rd *r, struct smp_uri *ret) {
    const char *why = parse_host(r, ret);
    while (why == NULL && rd_left(r) > 0 && r->in.p[r->at] == ',') {
        rd_lit(r, ',');
        why = parse_host(r, ret);
    }
    ret->port = SMP_DEFAULT_PORT;
    if (why != NULL || rd_left(r) == 0) return why;
    rd_lit(r, ':');
    if (r->err != OK) return "a host is none";
    return parse_port(rd_tail(r), ret);
}

static const char *parse(struct bytes text, struct smp_uri *ret) {
    struct rd r = rd_init(text);
    const struct bytes scheme = rd_take(&r, sizeof SCHEME - 1);
    if (!bytes_equal(scheme, bytes_str(SCHEME))) return "it does not begin with smp://";
    const struct bytes user = rd_until(&r, '@');
    rd_lit(&r, '@');
    if (r.err != OK) return "there is no @ between fingerprint and host";
    const char *why = parse_user(user, ret);
    return why != NULL ? why : parse_place(&r, ret);
}

enum err smp_uri_parse(const char *text, struct smp_uri *ret, const char **ret_why) {
    struct smp_uri u = {0};
    const char *why = parse(bytes_str(text), &u);
    if (why == NULL) *ret = u;
    if (why != NULL) *ret_why = why;
    smp_uri_done(&u);
    return why == NULL ? OK : E_SYNTAX;
}

void smp_uri_done(struct smp_uri *u) {
    crypto_wipe(u, sizeof *u);
}

const char *smp_uri_host(const struct smp_uri *u, bool onion) {
    for (unsigned i = 0; i < u->n_hosts; i++) {
        if ((host_kind_of(u->hosts[i]) == HOST_ONION) == onion) return u->hosts[i];
    }
    return NULL;
}
