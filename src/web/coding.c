/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "web/coding.h"

#include <brotli/encode.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    GZIP_LEVEL = 9,
    GZIP_WINDOW = 15 + 16, /* the largest, and gzip's header */
    GZIP_MEMORY = 9,
    BROTLI_LEVEL = 9, /* 11 takes ten times as long, at each start, for 2 % */
};

/* Into at most cap bytes; 0 when it does not fit. */
static size_t gzip(struct bytes plain, uint8_t *to, size_t cap) {
    z_stream z = {0};
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return 0;
    z.next_in = (Bytef *)(uintptr_t)plain.p; /* read only */
    z.avail_in = (uInt)plain.n;
    z.next_out = to;
    z.avail_out = (uInt)cap;
    const bool fits = deflate(&z, Z_FINISH) == Z_STREAM_END;
    const size_t n = fits ? z.total_out : 0;
    (void)deflateEnd(&z);
    return n;
}

static size_t brotli(struct bytes plain, uint8_t *to, size_t cap) {
    size_t n = cap;
    return BrotliEncoderCompress(BROTLI_LEVEL, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, plain.n,
                                 plain.p, &n, to) == BROTLI_TRUE
               ? n
               : 0;
}

enum err coding_make(enum web_coding coding, struct bytes plain, struct bytes *ret) {
    *ret = (struct bytes){0};
    if (plain.n == 0) return OK;
    uint8_t *to = malloc(plain.n);
    if (to == NULL) return E_NO_MEMORY;
    const size_t n = coding == WEB_BROTLI ? brotli(plain, to, plain.n) : gzip(plain, to, plain.n);
    if (n == 0 || n >= plain.n) {
        free(to);
    } else {
        *ret = bytes_of(to, n);
    }
    return OK;
}
