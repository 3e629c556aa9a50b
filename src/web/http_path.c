/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/http_path.h"

#include "base/rd.h"

static int digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* One character; -1: it is none. */
static int decode(struct rd *r) {
    const uint8_t c = rd_u8(r);
    if (c != '%') return c;
    const int high = digit(rd_u8(r)), low = digit(rd_u8(r));
    return rd_err(r) == OK && high >= 0 && low >= 0 ? high * 16 + low : -1;
}

static bool is_clean(struct bytes path) {
    if (path.n == 0 || path.p[0] != '/') return false;
    const size_t first = bytes_begin(path, "/.well-known/") ? 1 : 0; /* whose dot is allowed */
    for (size_t i = 0; i < path.n; i++) {
        const uint8_t c = path.p[i];
        if (c < ' ' || c == 0x7f || c == '\\') return false;
        if (i == 0 || path.p[i - 1] != '/') continue;
        if (c == '/' || (c == '.' && i != first)) return false;
    }
    return true;
}

enum err http_path_decode(struct bytes path, char *to, struct bytes *ret) {
    struct rd r = rd_init(path);
    size_t n = 0;
    while (rd_left(&r) != 0) {
        const int c = decode(&r);
        if (c < 0) return E_SYNTAX;
        to[n++] = (char)c;
    }
    *ret = bytes_of(to, n);
    return is_clean(*ret) ? OK : E_SYNTAX;
}
