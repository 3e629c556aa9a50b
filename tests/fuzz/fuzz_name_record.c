/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What a resolver answers. What is made of it is read again: it is the same object. */
#include "fuzz_view.h"

#include <stdlib.h>
#include <string.h>

#include "names/name_record.h"

enum { OUT_MAX = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t once[OUT_MAX], twice[OUT_MAX];
    struct wr w = wr_init(once, sizeof once);
    const enum err e = name_record_write(bytes_of(data, size), &w);
    assert(e == OK || w.at == 0);
    if (e != OK) return 0;
    struct wr again = wr_init(twice, sizeof twice);
    assert(name_record_write(wr_bytes(&w), &again) == OK);
    assert(bytes_equal(wr_bytes(&w), wr_bytes(&again)));
    return 0;
}
