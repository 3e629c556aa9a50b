/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* field.h -- the fields that the lines of the text logs are made of, read and written side by side.
 *
 * Private to this folder. Readers work on the sticky error of rd.h and writers on that of wr.h.
 * Binary values are base64url with padding and have one spelling only; numbers are decimal, not
 * negative, without leading zeros. Pure; any thread. */
#pragma once

#include "base/id.h"
#include "base/rd.h"
#include "base/wr.h"
#include "crypto/key.h"

/* Consumes lit if the input goes on with it. */
static inline bool field__accept(struct rd *r, const char *lit) {
    const size_t n = strlen(lit);
    if (r->err != OK || rd_left(r) < n || memcmp(r->in.p + r->at, lit, n) != 0) return false;
    r->at += n;
    return true;
}

static inline void field__expect(struct rd *r, const char *lit) {
    if (!field__accept(r, lit)) rd_fail(r);
}

/* At the end, or before a space. */
static inline bool field__at_end(const struct rd *r) {
    return rd_left(r) == 0 || r->in.p[r->at] == ' ';
}

/* Exactly n bytes, whatever follows. */
void field__read_fixed(struct rd *r, uint8_t *ret, size_t n);
void field__read_id(struct rd *r, struct id *ret);
/* A word, maybe empty, of up to cap bytes; their number. */
size_t field__read_data(struct rd *r, uint8_t *ret, size_t cap);
/* A word or an item of a list with commas. */
void field__read_key(struct rd *r, struct pubkey *ret);
int64_t field__read_number(struct rd *r);

void field__write_data(struct bytes b, struct wr *w);
void field__write_id(const struct id *id, struct wr *w);
void field__write_key(const struct pubkey *k, struct wr *w); /* nothing for KEY_NONE */
void field__write_number(int64_t v, struct wr *w);           /* must not be negative */
