/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "proxy/relay_addr.h"

#include <strings.h>

#include "base/rd.h"
#include "client/smp_uri.h"
#include "crypto/crypto.h"
#include "model/limits.h"

/* Hosts hold no NUL: what comes after one would be seen by us and not by the resolver. Brackets
 * around an IPv6 address are taken off. */
static bool copy_host(struct bytes b, char ret[HOST_TEXT_MAX]) {
    if (b.n >= 2 && b.p[0] == '[' && b.p[b.n - 1] == ']') b = bytes_of(b.p + 1, b.n - 2);
    if (b.n == 0 || b.n >= HOST_TEXT_MAX || memchr(b.p, '\0', b.n) != NULL) return false;
    memcpy(ret, b.p, b.n);
    ret[b.n] = '\0';
    return true;
}

/* The first host of the kind, or any when any is set. */
static bool find_host(struct bytes hosts, bool onion, bool any, char ret[HOST_TEXT_MAX]) {
    struct rd r = rd_init(hosts);
    while (rd_left(&r) > 0 && rd_err(&r) == OK) {
        if (!copy_host(rd_short(&r), ret)) continue;
        const enum host_kind kind = host_kind_of(ret);
        if (kind == HOST_BAD) continue;
        if (any || (kind == HOST_ONION) == onion) return true;
    }
    return false;
}

static enum err parse_port(struct bytes b, uint16_t *ret) {
    uint32_t port = 0;
    if (b.n > 5) return E_SYNTAX;
    for (size_t i = 0; i < b.n; i++) {
        if (b.p[i] < '0' || b.p[i] > '9') return E_SYNTAX;
        port = port * 10 + (uint32_t)(b.p[i] - '0');
    }
    if (b.n == 0) port = SMP_DEFAULT_PORT;
    if (port == 0 || port > UINT16_MAX) return E_SYNTAX;
    *ret = (uint16_t)port;
    return OK;
}

static bool is_in_domain(const char *host, const char *domain, size_t n_domain) {
    const size_t n = strlen(host);
    if (n_domain == 0 || n < n_domain) return false;
    if (strncasecmp(host + n - n_domain, domain, n_domain) != 0) return false;
    return n == n_domain || host[n - n_domain - 1] == '.';
}

/* By the first host, whichever is connected to (reference: Agent.hs, isOwnServer). */
bool relay_name_is_own(const struct relay_name *name, const struct relay_addr_rules *rules) {
    const char *domains = rules->own_domains;
    char first[HOST_TEXT_MAX];
    struct rd r = rd_init(name->hosts);
    if (!copy_host(rd_short(&r), first)) return false;
    while (*domains != '\0') {
        domains += strspn(domains, ", ");
        const size_t n = strcspn(domains, ", ");
        if (is_in_domain(first, domains, n)) return true;
        domains += n;
    }
    return false;
}

static enum err make_key(const struct relay_name *name, const struct smp_target *t,
                         struct id *ret) {
    uint8_t text[SMP_BLOCK_LEN], hash[SHA256_LEN];
    struct wr w = wr_init(text, sizeof text);
    wr_large(&w, name->hosts);
    wr_u16(&w, t->port);
    wr_bytes_raw(&w, bytes_of(t->identity, sizeof t->identity));
    if (wr_err(&w) != OK || crypto_sha256(wr_bytes(&w), hash) != OK) return E_CRYPTO;
    memcpy(ret->b, hash, sizeof ret->b);
    return OK;
}

enum err relay_addr_from(const struct relay_name *name, const struct relay_addr_rules *rules,
                         struct relay_addr *ret) {
    struct relay_addr a = {.is_own = relay_name_is_own(name, rules)};
    if (!find_host(name->hosts, rules->prefer_onion, false, a.target.host) &&
        (rules->required || !find_host(name->hosts, false, true, a.target.host))) {
        return E_HOST;
    }
    if (name->identity.n != sizeof a.target.identity) return E_SYNTAX;
    memcpy(a.target.identity, name->identity.p, sizeof a.target.identity);
    enum err e = parse_port(name->port, &a.target.port);
    if (e == OK) e = make_key(name, &a.target, &a.key);
    if (e == OK) *ret = a;
    return e;
}
