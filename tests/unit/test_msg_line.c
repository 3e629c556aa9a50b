/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "text_fixture.h"

#include "crypto/base64.h"
#include "store/text/msg_line.h"

static struct msg_line_scratch scratch;

#define V3 "v3 " ID_A " " ID_B " "

static bool parses(struct bytes line) {
    struct msg_line m;
    const enum err e = msg_line_parse(line, &scratch, &m);
    assert_true(e == OK || e == E_SYNTAX);
    return e == OK;
}

static void assert_writes(const struct msg_line *m, struct bytes want) {
    assert_true(want.n > 0);
    uint8_t *out = malloc(want.n != 0 ? want.n : 1);
    assert_non_null(out);
    struct wr w = wr_init(out, want.n);
    msg_line_write(m, &w);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(w.at, want.n);
    assert_memory_equal(out, want.p, want.n);
    w = wr_init(out, want.n - 1);
    msg_line_write(m, &w);
    assert_int_equal(wr_err(&w), E_LIMIT);
    free(out);
}

static void assert_round_trip(struct bytes line) {
    struct blob copy = blob_copy(line);
    struct msg_line m;
    assert_int_equal(msg_line_parse(blob_bytes(&copy), &scratch, &m), OK);
    assert_writes(&m, line);
    blob_freep(&copy);
}

static struct msg_line parse(const char *line) {
    struct msg_line m;
    if (msg_line_parse(bytes_str(line), &scratch, &m) != OK) fail_msg("%s is refused", line);
    return m;
}

static void samples_are_written_as_they_were_read(void **state) {
    (void)state;
    assert_int_equal(sample_each_line("reference-6.5.5/memory/smp-server-messages.log",
                                      assert_round_trip),
                     133);
}

/* A body may be empty, and any four digits are a body. */
static const char *const MARKED[] = {
    V3 "1795327697 flags=F |aGVs|bG8=",
    V3 "1795327697 quota",
};

static void lines_are_refused_when_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(MARKED); i++) try_prefixes(MARKED[i], parses);
}

static void fields(void **state) {
    (void)state;
    struct msg_line m = parse(V3 "1795327697 flags=T aGVsbG8=");
    assert_int_equal(m.rcv_id.b[0], 0x6d);
    assert_int_equal(m.msg_id.b[0], 0x7d);
    assert_int_equal(m.ts_s, 1795327697);
    assert_true(m.notification && !m.is_quota && !m.is_sealed);
    assert_true(bytes_equal(m.body, bytes_str("hello")));
    m = parse(V3 "0 flags=F ");
    assert_true(!m.notification && m.ts_s == 0 && m.body.n == 0);
    assert_writes(&m, bytes_str(V3 "0 flags=F "));
    m = parse(V3 "1795327697 quota");
    assert_true(m.is_quota && !m.is_sealed && m.body.n == 0);
    assert_writes(&m, bytes_str(V3 "1795327697 quota"));
}

/* A line of 2.x, owned by the caller: head, then a body of n bytes. */
static struct blob sealed_line(const char *head, size_t n) {
    uint8_t *body = calloc(n, 1);
    assert_non_null(body);
    body[n - 1] = 7;
    struct blob line = {malloc(MSG_LINE_MAX), MSG_LINE_MAX};
    assert_non_null(line.p);
    struct wr w = wr_init(line.p, line.n);
    wr_str(&w, head);
    base64url_write(bytes_of(body, n), &w);
    assert_int_equal(wr_err(&w), OK);
    line.n = w.at;
    free(body);
    return line;
}

static void older_lines(void **state) {
    (void)state;
    static const struct {
        const char *head;
        bool notification;
    } forms[] = {
        {ID_A " " ID_B " 17 ", false},         /* 2.3 */
        {ID_A " " ID_B " 17 flags=F ", false}, /* betas of 3.0 */
        {ID_A " " ID_B " 17 flags=T ", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct blob line = sealed_line(forms[i].head, MSG_LINE_SEALED_LEN);
        struct msg_line m;
        assert_int_equal(msg_line_parse(blob_bytes(&line), &scratch, &m), OK);
        assert_true(m.is_sealed && !m.is_quota && m.notification == forms[i].notification);
        assert_int_equal(m.rcv_id.b[0], 0x6d);
        assert_int_equal(m.msg_id.b[0], 0x7d);
        assert_int_equal(m.ts_s, 17);
        assert_int_equal(m.body.n, MSG_LINE_SEALED_LEN);
        assert_int_equal(m.body.p[m.body.n - 1], 7);
        for (size_t n = 0; n < line.n; n++) assert_false(parses(bytes_of(line.p, n)));
        m.is_sealed = false; /* as if it had been opened */
        m.body = bytes_str("hello");
        assert_writes(&m, bytes_str(m.notification ? V3 "17 flags=T aGVsbG8="
                                                   : V3 "17 flags=F aGVsbG8="));
        blob_freep(&line);
        line = sealed_line(forms[i].head, MSG_LINE_SEALED_LEN - 1);
        assert_false(parses(blob_bytes(&line)));
        blob_freep(&line);
        line = sealed_line(forms[i].head, MSG_LINE_SEALED_LEN + 1);
        assert_false(parses(blob_bytes(&line)));
        blob_freep(&line);
    }
}

static void garbage_is_refused(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "v3",
        "v3 ",
        "v4 " ID_A " " ID_B " 1 quota",
        "V3 " ID_A " " ID_B " 1 quota",
        "v3  " ID_A " " ID_B " 1 quota",
        "v3 " ID_A " AAAA 1 quota",
        "v3 " ID_A "=" ID_B " 1 quota",
        V3 "1 ",
        V3 "1 quota ",
        V3 "1 quotas",
        V3 "1 QUOTA",
        V3 "-1 quota",
        V3 "01 quota",
        V3 "1000000000000000000 quota",
        V3 "2022-06-12T00:00:00Z quota",
        V3 "1 aGVsbG8=", /* no version wrote that */
        V3 "1 flag",
        V3 "1 flags=T",
        V3 "1 flags=X aGVs",
        V3 "1 flags=TT aGVs",
        V3 "1 flags=T aGVsbG8",
        V3 "1 flags=T aGVsbG9=",
        V3 "1 flags=T aGVs bG8=",
        V3 "1 flags=T aGVs\r",
        ID_A " " ID_B " 1 quota",
        ID_A " " ID_B " 1 ",
        ID_A " " ID_B " 1 aGVs",
        ID_A " " ID_B " 1 flag",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct blob line = blob_copy(bytes_str(lines[i]));
        if (parses(blob_bytes(&line))) fail_msg("%s is accepted", lines[i]);
        blob_freep(&line);
    }
}

static void the_longest_body(void **state) {
    (void)state;
    static uint8_t body[MSG_LINE_BODY_MAX + 1], out[MSG_LINE_MAX];
    memset(body, 0xfb, sizeof body);
    struct msg_line m = parse(V3 "999999999999999999 flags=T ");
    for (size_t n = MSG_LINE_BODY_MAX; n <= MSG_LINE_BODY_MAX + 1; n++) {
        m.body = bytes_of(body, n);
        struct wr w = wr_init(out, sizeof out);
        msg_line_write(&m, &w);
        assert_int_equal(wr_err(&w), OK);
        assert_int_equal(parses(wr_bytes(&w)), n == MSG_LINE_BODY_MAX);
        if (n == MSG_LINE_BODY_MAX) assert_round_trip(wr_bytes(&w));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_written_as_they_were_read),
        cmocka_unit_test(lines_are_refused_when_cut),
        cmocka_unit_test(fields),
        cmocka_unit_test(older_lines),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(the_longest_body),
    };
    return cmocka_run_group_tests_name("msg_line", tests, NULL, NULL);
}
