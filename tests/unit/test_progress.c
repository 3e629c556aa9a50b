/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The text of the progress bar, at its ends too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/terminal/progress.h"

static void assert_text(const char *title, uint64_t done, uint64_t total, const char *wanted) {
    char text[PROGRESS_LINE_MAX];
    progress_text(title, "queues", done, total, text);
    assert_string_equal(text, wanted);
}

static void shows_share_and_size(void **state) {
    (void)state;
    enum { MIB = 1 << 20 };
    assert_text(NULL, 0, 8 * MIB, "Loading queues [------------------------]   0% of 8 MiB");
    assert_text(NULL, 4 * MIB, 8 * MIB, "Loading queues [############------------]  50% of 8 MiB");
    assert_text(NULL, 8 * MIB, 8 * MIB, "Loading queues [########################] 100% of 8 MiB");
    assert_text("Importing messages", 1, 3,
                "Importing messages [#######-----------------]  33% of 1 MiB");
}

/* A file that grows while it is read, one that is empty, one that is huge. */
static void odd_sizes_do_no_harm(void **state) {
    (void)state;
    assert_text(NULL, 9, 8, "Loading queues [########################] 100% of 1 MiB");
    assert_text(NULL, 0, 0, "Loading queues [########################] 100% of 0 MiB");
    char text[PROGRESS_LINE_MAX];
    progress_text("A title that is much longer than the bar", "", UINT64_MAX - 1, UINT64_MAX, text);
    assert_true(strlen(text) < sizeof text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_share_and_size),
        cmocka_unit_test(odd_sizes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
