/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "crypto/base64.h"

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Exactly BASE64_LEN(b.n) digits. */
static void encode(struct bytes b, char *ret) {
    for (; b.n >= 3; b.p += 3, b.n -= 3) {
        const unsigned v = (unsigned)b.p[0] << 16 | (unsigned)b.p[1] << 8 | b.p[2];
        *ret++ = DIGITS[v >> 18];
        *ret++ = DIGITS[v >> 12 & 63];
        *ret++ = DIGITS[v >> 6 & 63];
        *ret++ = DIGITS[v & 63];
    }
    if (b.n != 0) {
        const unsigned v = (unsigned)b.p[0] << 16 | (b.n == 2 ? (unsigned)b.p[1] << 8 : 0U);
        *ret++ = DIGITS[v >> 18];
        *ret++ = DIGITS[v >> 12 & 63];
        *ret++ = b.n == 2 ? DIGITS[v >> 6 & 63] : '=';
        *ret = '=';
    }
}

void base64url_encode(struct bytes b, char *ret) {
    encode(b, ret);
    ret[BASE64_LEN(b.n)] = '\0';
}

void base64url_write(struct bytes b, struct wr *w) {
    uint8_t *to = wr_skip(w, BASE64_LEN(b.n));
    if (to != NULL) encode(b, (char *)to);
}

/* Value of a digit plus one, 0 for what is no digit. A table: the start with a million
 * queues decodes hundreds of megabytes, and branches on random digits are predicted badly. */
/* clang-format off */
static const uint8_t VALUES[UINT8_MAX + 1] = {
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};
/* clang-format on */

/* Length of the text without its padding; *ret_ok is false when the padding does not fit it. */
static size_t unpadded_len(struct bytes text, bool *ret_ok) {
    size_t n = text.n;
    while (n > 0 && text.n - n < 2 && text.p[n - 1] == '=') n--;
    *ret_ok = n % 4 != 1 && (n == text.n || text.n % 4 == 0);
    return n;
}

enum err base64url_decode(struct bytes text, uint8_t *ret, size_t cap, size_t *ret_n) {
    bool ok;
    const size_t n = unpadded_len(text, &ok);
    if (!ok) return E_SYNTAX;
    if (n / 4 * 3 + n % 4 * 3 / 4 > cap) return E_LIMIT;
    size_t at = 0, i = 0;
    for (; n - i >= 4; i += 4, at += 3) {
        const uint32_t a = VALUES[text.p[i]] - 1U, b = VALUES[text.p[i + 1]] - 1U;
        const uint32_t c = VALUES[text.p[i + 2]] - 1U, d = VALUES[text.p[i + 3]] - 1U;
        if ((a | b | c | d) > 63) return E_SYNTAX; /* one was 0, that is no digit */
        const uint32_t v = a << 18 | b << 12 | c << 6 | d;
        ret[at] = (uint8_t)(v >> 16);
        ret[at + 1] = (uint8_t)(v >> 8);
        ret[at + 2] = (uint8_t)v;
    }
    uint32_t acc = 0;
    unsigned n_bits = 0;
    for (; i < n; i++) {
        const uint32_t v = VALUES[text.p[i]] - 1U;
        if (v > 63) return E_SYNTAX;
        acc = acc << 6 | v;
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        ret[at++] = (uint8_t)(acc >> n_bits);
    }
    /* Left-over bits must be zero, or one value would have several spellings. */
    if ((acc & ((1U << n_bits) - 1)) != 0) return E_SYNTAX;
    *ret_n = at;
    return OK;
}
