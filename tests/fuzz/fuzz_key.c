/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Keys and base64url: what is accepted has one encoding only, which is made again. */
#include "fuzz_view.h"

#include "base/wr.h"
#include "crypto/base64.h"
#include "crypto/key.h"

static void check_key(struct bytes der) {
    struct pubkey k;
    const enum err e = pubkey_from_spki(der, &k);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return;
    uint8_t buf[SPKI_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    pubkey_write_spki(&k, &w);
    assert(bytes_equal(wr_bytes(&w), der));
    assert(pubkey_spki_len(k.type) == der.n);
    assert(pubkey_can_authorize(&k) == (k.type != KEY_X448));
}

/* Without the padding, which may be left out. */
static size_t digits(const char *text, size_t n) {
    while (n > 0 && text[n - 1] == '=') n--;
    return n;
}

static void check_decode(struct bytes text) {
    uint8_t *out = malloc(text.n + 1);
    char *again = malloc(BASE64_LEN(text.n) + 1);
    assert(out != NULL && again != NULL);
    size_t n = 0;
    const enum err e = base64url_decode(text, out, text.n, &n);
    assert(e == OK || e == E_SYNTAX);
    if (e == OK) {
        assert(n <= text.n);
        base64url_encode(bytes_of(out, n), again);
        const size_t len = digits(again, strlen(again));
        assert(text.n == len || text.n == strlen(again));
        assert(bytes_equal(bytes_of(again, len), bytes_of(text.p, len)));
        if (n > 0) assert(base64url_decode(text, out, n - 1, &n) == E_LIMIT);
    }
    free(again);
    free(out);
}

static void check_encode(struct bytes b) {
    const size_t cap = BASE64_LEN(b.n) + 1;
    char *text = malloc(cap);
    uint8_t *out = malloc(b.n + 1);
    assert(text != NULL && out != NULL);
    base64url_encode(b, text);
    assert(strlen(text) == cap - 1);
    size_t n = 0;
    assert(base64url_decode(bytes_str(text), out, b.n, &n) == OK);
    assert(bytes_equal(bytes_of(out, n), b));
    assert(base64url_decode(bytes_of(text, digits(text, cap - 1)), out, b.n, &n) == OK);
    assert(bytes_equal(bytes_of(out, n), b));
    free(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct bytes b = bytes_of(data, size);
    check_key(b);
    check_decode(b);
    check_encode(b);
    return 0;
}
