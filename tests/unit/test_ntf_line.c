/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "text_fixture.h"

#include "store/text/ntf_line.h"

#define HEAD "v1 " ID_A " " ID_B " 1795327697 " ID_C " "

static bool parses(struct bytes line) {
    struct ntf_line n;
    const enum err e = ntf_line_parse(line, &n);
    assert_true(e == OK || e == E_SYNTAX);
    return e == OK;
}

static struct bytes written(const struct ntf_line *n, struct wr *w) {
    ntf_line_write(n, w);
    assert_int_equal(wr_err(w), OK);
    return wr_bytes(w);
}

static void fields_and_back(void **state) {
    (void)state;
    struct ntf_line n;
    assert_int_equal(ntf_line_parse(bytes_str(HEAD "aGVsbG8="), &n), OK);
    assert_int_equal(n.notifier_id.b[0], 0x6d);
    assert_int_equal(n.msg_id.b[0], 0x7d);
    assert_int_equal(n.ts_s, 1795327697);
    assert_int_equal(n.nonce[0], 0x32);
    assert_true(bytes_equal(bytes_of(n.meta, n.n_meta), bytes_str("hello")));
    uint8_t out[sizeof HEAD "aGVsbG8=" - 1];
    struct wr w = wr_init(out, sizeof out);
    assert_true(bytes_equal(written(&n, &w), bytes_str(HEAD "aGVsbG8=")));
    w = wr_init(out, sizeof out - 1);
    ntf_line_write(&n, &w);
    assert_int_equal(wr_err(&w), E_LIMIT);
}

/* Any four digits are metadata. */
static void lines_are_refused_when_cut(void **state) {
    (void)state;
    try_prefixes(HEAD "aGVs|bG8g|d29y|bGQ=", parses);
}

static void garbage_is_refused(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "v1",
        "v2 " ID_A " " ID_B " 1 " ID_C " aGVs",
        "v1 " ID_A " " ID_B " x " ID_C " aGVs",
        "v1 " ID_A " " ID_B " -1 " ID_C " aGVs",
        "v1 " ID_A " " ID_B " 1 " SECRET " aGVs",
        "v1 " ID_A " " ID_B " 1 aGVs aGVs",
        HEAD "aGVs ",
        HEAD "aGVsbG8",
        HEAD "aGVs\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct blob line = blob_copy(bytes_str(lines[i]));
        if (parses(blob_bytes(&line))) fail_msg("%s is accepted", lines[i]);
        blob_freep(&line);
    }
}

static void the_longest_metadata(void **state) {
    (void)state;
    struct ntf_line n = {.ts_s = 999999999999999999, .n_meta = NTF_LINE_META_MAX}, again;
    memset(n.meta, 0xfb, sizeof n.meta);
    uint8_t out[NTF_LINE_MAX];
    struct wr w = wr_init(out, sizeof out);
    assert_int_equal(ntf_line_parse(written(&n, &w), &again), OK);
    assert_int_equal(again.n_meta, NTF_LINE_META_MAX);
    assert_memory_equal(again.meta, n.meta, sizeof n.meta);
    wr_str(&w, "AAAA");
    assert_false(parses(wr_bytes(&w)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_back),
        cmocka_unit_test(lines_are_refused_when_cut),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(the_longest_metadata),
    };
    return cmocka_run_group_tests_name("ntf_line", tests, NULL, NULL);
}
