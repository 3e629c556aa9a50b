/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* text_fixture.h -- lines of the text logs for the tests of their codecs: constants, recorded
 * samples, and lines that are tried cut short. */
#pragma once

#include <stdio.h>

#include "recorded.h"

/* Base64url of 24 bytes, of 32 bytes, and of keys of the four types. */
#define ID_A             "bU7edXsa1tXKik6Sn1jTGQ3VhzHbWBN8"
#define ID_B             "fT7V1w22XJVi_dWUn6Y-1Ohq_-VARq2v"
#define ID_C             "MkJNVIDjTfHgxWjGPrnHVJB5WtGNHvyG"
#define ID_D             "Hzo_QcvePw_TrZOfuaSgQaOoWTxDDDsJ"
#define SECRET           "R-fa0d0P5fSZ5LcrSJcYEgSb1KG4SmrcgXn51tNhwkc="
#define KEY_TEXT_ED25519 "MCowBQYDK2VwAyEA2_ahcYg11jPMxXK4ZufrVYMNC3GjMGp6uSqWy7FQNxM="
#define KEY_TEXT_X25519  "MCowBQYDK2VuAyEAsI-437Ib8HPb44MUsOw3gmwghJ-623AiKc0UHfr7-WE="
#define KEY_TEXT_ED448                                                                             \
    "MEMwBQYDK2VxAzoASLHyPdPmrwkYUBdjKB885oiqIF3WQAeB29740qaDFbZYAxyQgHYVOPsUf2g5P2V1TVJwEL5BzjoA"
#define KEY_TEXT_X448                                                                              \
    "MEIwBQYDK2VvAzkASLHyPdPmrwkYUBdjKB885oiqIF3WQAeB29740qaDFbZYAxyQgHYVOPsUf2g5P2V1TVJwEL5Bzjo="

/* Memory of exactly that size, for blob_freep(). */
static inline struct blob blob_copy(struct bytes b) {
    struct blob copy = {malloc(b.n != 0 ? b.n : 1), b.n};
    assert_non_null(copy.p);
    if (b.n != 0) memcpy(copy.p, b.p, b.n);
    return copy;
}

static inline struct blob sample_load(const char *name) {
    const char *dir = getenv("SMP_TEST_SAMPLES");
    assert_non_null(dir);
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s cannot be read", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    const long size = ftell(f);
    assert_true(size > 0);
    rewind(f);
    struct blob b = {malloc((size_t)size), (size_t)size};
    assert_non_null(b.p);
    assert_int_equal(fread(b.p, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

/* Calls each() for every line of a recorded sample; their number. */
static inline unsigned sample_each_line(const char *name, void (*each)(struct bytes line)) {
    struct blob file = sample_load(name);
    unsigned n = 0;
    for (size_t at = 0; at < file.n; n++) {
        const uint8_t *end = memchr(file.p + at, '\n', file.n - at);
        assert_non_null(end);
        const size_t len = (size_t)(end - (file.p + at));
        each(bytes_of(file.p + at, len));
        at += len + 1;
    }
    blob_freep(&file);
    return n;
}

/* `marked` is a line with a | wherever it may be cut and is still a line. Every prefix is given to
 * good(); a | is expected to be told by true, and so is the whole line. */
static inline void try_prefixes(const char *marked, bool (*good)(struct bytes line)) {
    char *line = malloc(strlen(marked) + 1);
    assert_non_null(line);
    size_t n = 0;
    for (const char *c = marked;; c++) {
        struct blob prefix = blob_copy(bytes_of(line, n));
        const bool want = *c == '|' || *c == '\0';
        if (good(blob_bytes(&prefix)) != want) {
            fail_msg("%.*s is %sa line", (int)n, line, want ? "not " : "");
        }
        blob_freep(&prefix);
        if (*c == '\0') break;
        if (*c == '|') c++;
        line[n++] = *c;
    }
    free(line);
}
