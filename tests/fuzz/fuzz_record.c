/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Lines of the store log: what is accepted has one spelling, but for the mode of older versions. */
#include "fuzz_view.h"

#include "store/text/record.h"

static struct record_scratch scratch;
static uint8_t first[RECORD_LINE_MAX], second[RECORD_LINE_MAX];

static struct bytes write(const struct record *rec, uint8_t *out) {
    struct wr w = wr_init(out, RECORD_LINE_MAX);
    record_write(rec, &w);
    assert(wr_err(&w) == OK);
    return wr_bytes(&w);
}

/* The first " sndSecure=" of a line can only be that field: texts of services come without it. */
static bool has_old_mode(struct bytes line) {
    static const char field[] = " sndSecure=";
    return memmem(line.p, line.n, field, sizeof field - 1) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct bytes line = bytes_of(data, size);
    struct record rec;
    const enum err e = record_parse(line, &scratch, &rec);
    assert(e == OK || e == E_SYNTAX);
    if (e != OK) return 0;
    assert_inside(rec.info, line);
    assert_inside(rec.cert, line);
    assert_inside(rec.cert_hash, line);
    const struct bytes text = write(&rec, first);
    assert(has_old_mode(line) || bytes_equal(text, line));
    assert(record_parse(text, &scratch, &rec) == OK);
    assert(bytes_equal(write(&rec, second), text));
    return 0;
}
