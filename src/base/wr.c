/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/wr.h"

static void put_be(struct wr *w, uint64_t v, size_t n) {
    uint8_t *to = wr_skip(w, n);
    if (to == NULL) return;
    for (size_t i = n; i-- > 0; v >>= 8) to[i] = (uint8_t)v;
}

void wr_u8(struct wr *w, uint8_t v) {
    put_be(w, v, 1);
}

void wr_u16(struct wr *w, uint16_t v) {
    put_be(w, v, 2);
}

void wr_u32(struct wr *w, uint32_t v) {
    put_be(w, v, 4);
}

void wr_i64(struct wr *w, int64_t v) {
    put_be(w, (uint64_t)v, 8);
}

void wr_bytes_raw(struct wr *w, struct bytes b) {
    uint8_t *to = wr_skip(w, b.n);
    if (to != NULL && b.n != 0) memcpy(to, b.p, b.n);
}

void wr_str(struct wr *w, const char *s) {
    wr_bytes_raw(w, bytes_str(s));
}

void wr_dec(struct wr *w, uint64_t v) {
    uint8_t digits[20]; /* of the largest */
    size_t at = sizeof digits;
    do digits[--at] = (uint8_t)('0' + v % 10);
    while ((v /= 10) != 0);
    wr_bytes_raw(w, bytes_of(digits + at, sizeof digits - at));
}

void wr_short(struct wr *w, struct bytes b) {
    if (b.n > UINT8_MAX) {
        w->err = E_LIMIT;
        return;
    }
    wr_u8(w, (uint8_t)b.n);
    wr_bytes_raw(w, b);
}

void wr_large(struct wr *w, struct bytes b) {
    if (b.n > UINT16_MAX) {
        w->err = E_LIMIT;
        return;
    }
    wr_u16(w, (uint16_t)b.n);
    wr_bytes_raw(w, b);
}

void wr_bool(struct wr *w, bool v) {
    wr_u8(w, v ? 'T' : 'F');
}

void wr_maybe(struct wr *w, bool present) {
    wr_u8(w, present ? '1' : '0');
}

size_t wr_mark_u16(struct wr *w) {
    const size_t mark = w->at;
    wr_u16(w, 0);
    return mark;
}

void wr_close_u16(struct wr *w, size_t mark) {
    if (w->err != OK) return;
    const size_t n = w->at - mark - 2;
    if (n > UINT16_MAX) {
        w->err = E_LIMIT;
        return;
    }
    struct wr len = wr_init(w->p + mark, 2);
    wr_u16(&len, (uint16_t)n);
}
