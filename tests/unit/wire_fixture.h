/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* wire_fixture.h -- what the tests of wire/ and model/ share: comparisons, sample keys, sessions,
 * and copies that end where their content ends, so that a sanitizer sees a read beyond it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/wr.h"
#include "crypto/crypto.h"
#include "crypto/key.h"
#include "wire/version.h"

enum { FIRST_VERSION = 6, LAST_VERSION = 20, SESSION_LEN = 32 };

/* Group set-up of programs that use crypto/. */
static inline int init_crypto(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

static inline void assert_bytes(struct bytes got, struct bytes expected) {
    assert_int_equal(got.n, expected.n);
    if (got.n != 0) assert_memory_equal(got.p, expected.p, got.n);
}

static inline void assert_text(struct bytes got, const char *expected) {
    assert_bytes(got, bytes_str(expected));
}

/* Whether a view lies within another; an empty one does anywhere. */
static inline bool lies_in(struct bytes view, struct bytes in) {
    return view.n == 0 || (view.p >= in.p && view.p + view.n <= in.p + in.n);
}

/* A copy in memory of exactly that size, which the caller frees. */
static inline uint8_t *exact_copy(struct bytes b) {
    if (b.n > PTRDIFF_MAX) abort(); /* fail() returns, as the compiler sees it */
    uint8_t *p = malloc(b.n != 0 ? b.n : 1);
    assert_non_null(p);
    if (b.n != 0) memcpy(p, b.p, b.n);
    return p;
}

static inline struct pubkey sample_key(enum key_type type, uint8_t fill) {
    struct pubkey k = {.type = (uint8_t)type};
    memset(k.b, fill, pubkey_raw(&k).n);
    return k;
}

/* A key as a short string. The DER is written out here, not by the code under test. */
static inline void put_key(struct wr *w, enum key_type type, uint8_t fill) {
    static const uint8_t HEADERS[N_KEY_TYPES][6] = {
        [KEY_X25519] = {44, 0x2a, 0x6e, 0x21, 32},
        [KEY_ED25519] = {44, 0x2a, 0x70, 0x21, 32},
        [KEY_X448] = {68, 0x42, 0x6f, 0x39, 56},
        [KEY_ED448] = {69, 0x43, 0x71, 0x3a, 57},
    };
    const uint8_t *h = HEADERS[type];
    wr_u8(w, h[0]);
    const uint8_t der[] = {0x30, h[1], 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, h[2], 0x03, h[3], 0x00};
    wr_bytes_raw(w, bytes_of(der, sizeof der));
    for (unsigned i = 0; i < h[4]; i++) wr_u8(w, fill);
}

static inline void put_fill(struct wr *w, uint8_t fill, size_t n) {
    for (size_t i = 0; i < n; i++) wr_u8(w, fill);
}

static inline struct id sample_id(uint8_t fill) {
    struct id id;
    memset(id.b, fill, sizeof id.b);
    return id;
}

static inline struct wire_params sample_params(uint16_t version) {
    struct wire_params p = {.version = version, .session = {SESSION_LEN}};
    memset(p.session + 1, 0x5e, SESSION_LEN);
    return p;
}
