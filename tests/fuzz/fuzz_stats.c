/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The state file of the statistics. What was read is written and read again as the same. */
#include <assert.h>
#include <stdlib.h>

#include "fuzz_view.h"

#include "stats/report.h"

static int64_t now(void *ctx) {
    (void)ctx;
    return 0;
}

static void zeros(void *ctx, void *buf, size_t n) {
    (void)ctx;
    memset(buf, 0, n);
}

static const struct env STILL = {.now_s = now, .mono_us = now, .random = zeros};

static void save(struct stats *s, uint8_t **ret_text, size_t *ret_n, struct stats_keys *ret_keys) {
    const enum err e = stats_save(s, 0, ret_text, ret_n, ret_keys);
    assert(e == OK);
    (void)e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct stats *s = NULL, *again = NULL;
    if (stats_new(&STILL, 1, &s) != OK || stats_new(&STILL, 1, &again) != OK) abort();
    if (stats_restore(s, bytes_of(data, size), NULL) == OK) {
        uint8_t *first = NULL, *second = NULL;
        size_t n_first = 0, n_second = 0;
        struct stats_keys keys;
        save(s, &first, &n_first, &keys);
        const enum err e = stats_restore(again, bytes_of(first, n_first), &keys);
        assert(e == OK);
        (void)e;
        save(again, &second, &n_second, &keys);
        assert(bytes_equal(bytes_of(first, n_first), bytes_of(second, n_second)));
        free(first);
        free(second);
    }
    stats_free(s);
    stats_free(again);
    return 0;
}
