/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* recorded.h -- reading the recorded vectors (tests/vectors) and hexadecimal constants, for tests
 * of any layer.
 *
 * Every function fails the running test when it cannot do its work. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/bytes.h"

/* Bytes that the holder frees by blob_freep(). Exactly as long as their content, so that a
 * sanitizer sees a read beyond them. */
struct blob {
    uint8_t *p;
    size_t n;
};

static inline void blob_freep(struct blob *b) {
    free(b->p);
}

static inline struct bytes blob_bytes(const struct blob *b) {
    return bytes_of(b->p, b->n);
}

static inline struct blob blob_of_hex(const char *hex) {
    const size_t n = strlen(hex) / 2;
    struct blob b = {malloc(n != 0 ? n : 1), n};
    assert_non_null(b.p);
    for (size_t i = 0; i < n; i++) {
        unsigned v = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        b.p[i] = (uint8_t)v;
    }
    return b;
}

/* Exactly n bytes into ret. */
static inline void hex_into(const char *hex, uint8_t *ret, size_t n) {
    struct blob b = blob_of_hex(hex);
    assert_int_equal(b.n, n);
    memcpy(ret, b.p, n);
    blob_freep(&b);
}

/* Owned by the caller: json_decref(). */
static inline json_t *vectors_load(const char *name) {
    const char *dir = getenv("SMP_TEST_VECTORS");
    assert_non_null(dir);
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    json_error_t error;
    json_t *j = json_load_file(path, 0, &error);
    if (j == NULL) fail_msg("%s:%d: %s", path, error.line, error.text);
    return j;
}

static inline const char *vectors_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

static inline struct blob vectors_blob(const json_t *object, const char *key) {
    return blob_of_hex(vectors_text(object, key));
}

static inline void hex_member(const json_t *object, const char *key, uint8_t *ret, size_t n) {
    hex_into(vectors_text(object, key), ret, n);
}

/* The first entry of primitives.json of that name; borrowed from root. */
static inline const json_t *vectors_primitive(const json_t *root, const char *name) {
    size_t i;
    const json_t *v;
    json_array_foreach(root, i, v) {
        if (strcmp(vectors_text(v, "primitive"), name) == 0) return v;
    }
    fail_msg("no primitive \"%s\"", name);
    return NULL;
}

/* The recorded sessions, one a protocol version. */
static const char *const VECTORS_SESSIONS[] = {
    "session-v6.json",  "session-v7.json",  "session-v8.json",  "session-v9.json",
    "session-v11.json", "session-v14.json", "session-v15.json", "session-v16.json",
    "session-v17.json", "session-v18.json", "session-v19.json", "session-v20.json",
};
enum { VECTORS_N_SESSIONS = sizeof VECTORS_SESSIONS / sizeof VECTORS_SESSIONS[0] };
