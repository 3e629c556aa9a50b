/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "net/reach.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/attr.h"
#include "net/addr.h"

/* ---- addresses ---- */

struct block4 {
    uint32_t net;
    unsigned bits;
};

/* IANA "IPv4 Special-Purpose Address Registry", and all from 224.0.0.0 on. */
static const struct block4 NOT_PUBLIC_4[] = {
    {0x00000000, 8},  /* this network */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared: carrier-grade NAT */
    {0x7f000000, 8},  /* loopback */
    {0xa9fe0000, 16}, /* link-local */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* IETF protocol assignments */
    {0xc0000200, 24}, /* documentation */
    {0xc0586300, 24}, /* 6to4 relays */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xc6336400, 24}, /* documentation */
    {0xcb007100, 24}, /* documentation */
    {0xe0000000, 3},  /* multicast, reserved, broadcast */
};

static bool is_public_4(uint32_t a) {
    for (size_t i = 0; i < ARRAY_LEN(NOT_PUBLIC_4); i++) {
        const uint32_t mask = UINT32_MAX << (32 - NOT_PUBLIC_4[i].bits);
        if ((a & mask) == NOT_PUBLIC_4[i].net) return false;
    }
    return true;
}

static uint32_t read_4(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool starts_with(const uint8_t *a, const uint8_t *prefix, size_t n) {
    return memcmp(a, prefix, n) == 0;
}

static bool is_public_6(const uint8_t a[16]) {
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t special[3] = {0x20, 0x01, 0x00}; /* Teredo, ORCHID and others */
    static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8};
    if (starts_with(a, nat64, sizeof nat64)) return is_public_4(read_4(a + 12));
    if (a[0] == 0x20 && a[1] == 0x02) return is_public_4(read_4(a + 2)); /* 6to4 */
    if (starts_with(a, special, sizeof special) && a[3] < 0x02) return false;
    if (starts_with(a, special, sizeof special) && (a[3] & 0xf0) == 0x10) return false;
    if (starts_with(a, special, sizeof special) && (a[3] & 0xf0) == 0x20) return false;
    if (starts_with(a, documentation, sizeof documentation)) return false;
    if (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10) return false; /* documentation */
    return (a[0] & 0xe0) == 0x20; /* 2000::/3 is all global unicast there is */
}

bool reach_is_public(const struct sockaddr *a) {
    const struct bytes b = addr_unmapped(addr_bytes(a));
    return b.n == 4 ? is_public_4(read_4(b.p)) : b.n == 16 && is_public_6(b.p);
}

/* ---- names ---- */

static size_t length_without_dots(const char *host) {
    size_t n = strlen(host);
    while (n > 0 && host[n - 1] == '.') n--;
    return n;
}

static bool ends_with_label(const char *host, const char *label) {
    const size_t n = length_without_dots(host), n_label = strlen(label);
    if (n < n_label || strncasecmp(host + n - n_label, label, n_label) != 0) return false;
    return n == n_label || host[n - n_label - 1] == '.';
}

/* 127.1, 2130706433 and 0x7f.1 are addresses to those who look them up. */
static bool ends_like_address(const char *host, size_t n) {
    size_t from = n;
    while (from > 0 && host[from - 1] != '.') from--;
    return host[from] >= '0' && host[from] <= '9';
}

/* Of 1 to 63 characters each, as DNS wants it. */
static bool has_good_labels(const char *host, size_t n) {
    enum { LABEL_MAX = 63 };
    size_t begin = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && host[i] != '.') continue;
        if (i == begin || i - begin > LABEL_MAX) return false;
        begin = i + 1;
    }
    return true;
}

enum host_kind host_kind_of(const char *host) {
    const size_t n = length_without_dots(host);
    if (n == 0 || strlen(host) >= HOST_TEXT_MAX) return HOST_BAD;
    if (addr_is_ip(host)) return HOST_IP;
    for (const char *c = host; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && *c != '-' && *c != '_' && *c != '.') {
            return HOST_BAD;
        }
    }
    if (ends_like_address(host, n) || !has_good_labels(host, n)) return HOST_BAD;
    return ends_with_label(host, "onion") ? HOST_ONION : HOST_NAME;
}

bool host_is_local_name(const char *host) {
    return ends_with_label(host, "localhost");
}
