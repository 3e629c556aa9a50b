/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "admin/basic_auth.h"

#include <strings.h>

#include "base/rd.h"
#include "crypto/base64.h"
#include "crypto/crypto.h"

static const char SCHEME[] = "basic";

enum { TEXT_MAX = BASE64_LEN(BASIC_AUTH_MAX) };

/* The alphabet of e-mail to that of URLs. */
static size_t copy_text(struct bytes from, char to[TEXT_MAX]) {
    for (size_t i = 0; i < from.n; i++) {
        const char c = (char)from.p[i];
        /* Those of URLs become something that is in neither. */
        to[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c == '-' || c == '_' ? ' ' : c);
    }
    return from.n;
}

/* Moves the password to the front. */
static enum err cut_name(uint8_t *text, size_t n, size_t *ret_n) {
    const uint8_t *colon = n != 0 ? memchr(text, ':', n) : NULL;
    if (colon == NULL) return E_SYNTAX;
    const size_t before = (size_t)(colon - text) + 1;
    memmove(text, text + before, n - before);
    *ret_n = n - before;
    return OK;
}

enum err basic_auth_password(struct bytes field, uint8_t ret[BASIC_AUTH_MAX], size_t *ret_n) {
    struct rd r = rd_init(field);
    char text[TEXT_MAX];
    const struct bytes scheme = rd_until(&r, ' ');
    if (scheme.n != sizeof SCHEME - 1 ||
        strncasecmp((const char *)scheme.p, SCHEME, scheme.n) != 0 || rd_left(&r) == 0)
        return E_SYNTAX;
    struct bytes coded = rd_tail(&r);
    while (coded.n != 0 && coded.p[0] == ' ') coded = bytes_of(coded.p + 1, coded.n - 1);
    if (coded.n > sizeof text) return E_LIMIT;
    size_t n = copy_text(coded, text);
    enum err e = base64url_decode(bytes_of(text, n), ret, BASIC_AUTH_MAX, &n);
    if (e == OK) e = cut_name(ret, n, ret_n);
    crypto_wipe(text, sizeof text);
    return e;
}
