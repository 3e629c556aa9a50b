/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>
#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static const uint32_t POLYNOMIAL = 0x82f63b78; /* bit-reversed */

/* tables[k][b]: the CRC of byte b followed by k zero bytes, so that eight bytes are one step. */
static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t v = b;
        for (int i = 0; i < 8; i++) v = (v >> 1) ^ ((v & 1) != 0 ? POLYNOMIAL : 0);
        tables[0][b] = v;
    }
    for (int k = 1; k < 8; k++) {
        for (int b = 0; b < 256; b++) {
            const uint32_t v = tables[k - 1][b];
            tables[k][b] = (v >> 8) ^ tables[0][v & 0xff];
        }
    }
}

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n) {
    (void)pthread_once(&tables_once, make_tables);
    const uint8_t *b = p;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, b += 8) {
        c ^= (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        c = tables[7][c & 0xff] ^ tables[6][c >> 8 & 0xff] ^ tables[5][c >> 16 & 0xff] ^
            tables[4][c >> 24] ^ tables[3][b[4]] ^ tables[2][b[5]] ^ tables[1][b[6]] ^
            tables[0][b[7]];
    }
    for (; n > 0; n--) c = (c >> 8) ^ tables[0][(c ^ *b++) & 0xff];
    return ~c;
}

bool crc32c_is_one_bit(uint32_t difference, size_t n) {
    uint32_t of_bit = POLYNOMIAL; /* the last; then each before it */
    for (size_t i = 0; i < 8 * n; i++) {
        if (of_bit == difference) return true;
        of_bit = (of_bit >> 1) ^ ((of_bit & 1) != 0 ? POLYNOMIAL : 0);
    }
    return false;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const void *p, size_t n) {
    const uint8_t *b = p;
    uint64_t c = ~crc;
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t w; /* the instruction takes bytes in memory order: x86 is little endian */
        memcpy(&w, b, sizeof w);
        c = __builtin_ia32_crc32di(c, w);
    }
    uint32_t c32 = (uint32_t)c;
    for (; n > 0; n--) c32 = __builtin_ia32_crc32qi(c32, *b++);
    return ~c32;
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
    return __builtin_cpu_supports("sse4.2") ? crc_sse42(crc, p, n) : crc32c_portable(crc, p, n);
}

#elif defined(__ARM_FEATURE_CRC32) && defined(__BYTE_ORDER__) &&                                   \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
    const uint8_t *b = p;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t w;
        memcpy(&w, b, sizeof w);
        c = __crc32cd(c, w);
    }
    for (; n > 0; n--) c = __crc32cb(c, *b++);
    return ~c;
}

#else

uint32_t crc32c(uint32_t crc, const void *p, size_t n) {
    return crc32c_portable(crc, p, n);
}

#endif
