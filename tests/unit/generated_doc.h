/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* generated_doc.h -- docs/generated is what the tables print: `make docs` writes it anew. Included
 * behind cmocka.h. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Compares a file of docs/generated with a text; the test is skipped where the folder is not known:
 * run by hand. */
static inline void check_generated_doc(const char *name, const char *printed) {
    const char *docs = getenv("SMP_TEST_DOCS");
    if (docs == NULL) skip();
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/generated/%s", docs, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    const size_t n = strlen(printed) + 2; /* one byte more than is wanted, and a terminator */
    char *kept = malloc(n);
    assert_non_null(kept);
    kept[fread(kept, 1, n - 1, f)] = '\0';
    (void)fclose(f);
    const bool is_same = strcmp(kept, printed) == 0;
    free(kept);
    if (!is_same) fail_msg("%s is not what `make docs` writes", path);
}
