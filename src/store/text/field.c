/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/text/field.h"

#include <assert.h>

#include "crypto/base64.h"

/* A number of this many digits fits int64_t, whatever they are. */
enum { DIGITS_MAX = 18 };

/* Bytes that text stands for. Without padding a torn value could pass for a shorter one. */
static size_t decode(struct rd *r, struct bytes text, uint8_t *ret, size_t cap) {
    size_t n = 0;
    if (r->err != OK) return 0;
    if (text.n % 4 != 0 || base64url_decode(text, ret, cap, &n) != OK) {
        rd_fail(r);
        return 0;
    }
    return n;
}

void field__read_fixed(struct rd *r, uint8_t *ret, size_t n) {
    const struct bytes text = rd_take(r, BASE64_LEN(n));
    if (decode(r, text, ret, n) != n) rd_fail(r);
}

void field__read_id(struct rd *r, struct id *ret) {
    field__read_fixed(r, ret->b, ID_LEN);
}

size_t field__read_data(struct rd *r, uint8_t *ret, size_t cap) {
    return decode(r, rd_until(r, ' '), ret, cap);
}

void field__read_key(struct rd *r, struct pubkey *ret) {
    struct rd word = rd_init(rd_until(r, ' '));
    const struct bytes text = rd_until(&word, ',');
    r->at -= rd_left(&word); /* the comma and what follows it belong to the caller */
    uint8_t der[SPKI_MAX];
    const size_t n = decode(r, text, der, sizeof der);
    if (r->err == OK && pubkey_from_spki(bytes_of(der, n), ret) != OK) rd_fail(r);
}

int64_t field__read_number(struct rd *r) {
    if (r->err != OK) return 0;
    const struct bytes left = bytes_of(r->in.p + r->at, rd_left(r));
    int64_t v = 0;
    size_t n = 0;
    for (; n < left.n && left.p[n] >= '0' && left.p[n] <= '9' && n < DIGITS_MAX; n++) {
        v = v * 10 + (left.p[n] - '0');
    }
    if (n == 0 || (n > 1 && left.p[0] == '0')) rd_fail(r);
    r->at += n;
    return v;
}

void field__write_data(struct bytes b, struct wr *w) {
    base64url_write(b, w);
}

void field__write_id(const struct id *id, struct wr *w) {
    base64url_write(id_bytes(id), w);
}

void field__write_key(const struct pubkey *k, struct wr *w) {
    uint8_t der[SPKI_MAX];
    struct wr spki = wr_init(der, sizeof der);
    pubkey_write_spki(k, &spki);
    base64url_write(wr_bytes(&spki), w);
}

void field__write_number(int64_t v, struct wr *w) {
    assert(v >= 0);
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    wr_bytes_raw(w, bytes_of(text + at, sizeof text - at));
}
