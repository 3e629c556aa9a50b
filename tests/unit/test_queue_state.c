/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "text_fixture.h"

#include "store/text/queue_state.h"

static const char ONE[] = "write=uEzUw-mSWDlQMjiN,3,3,195,195 read=uEzUw-mSWDlQMjiN,1,3,65,195 "
                          "canWrite=T size=2";
static const char TWO[] = "write=uEzUw-mSWDlQMjiN,3,3,195,195 read=Aws7ecoz7i_NNZyk,100,256,6500,"
                          "16640 canWrite=F size=159";

static bool parses(const char *line) {
    struct queue_state s;
    const enum err e = queue_state_parse(bytes_str(line), &s);
    assert_true(e == OK || e == E_SYNTAX);
    return e == OK;
}

static void states_are_read(void **state) {
    (void)state;
    struct queue_state s;
    assert_int_equal(queue_state_parse(bytes_str(ONE), &s), OK);
    assert_true(queue_state_is_one(&s) && s.can_write);
    assert_int_equal(s.size, 2);
    assert_int_equal(s.read.byte_pos, 65);
    assert_int_equal(queue_state_parse(bytes_str(TWO), &s), OK);
    assert_false(queue_state_is_one(&s) || s.can_write);
    assert_string_equal(s.read.name, "Aws7ecoz7i_NNZyk");
    assert_string_equal(s.write.name, "uEzUw-mSWDlQMjiN");
    assert_int_equal(s.read.byte_count, 16640);
    assert_int_equal(s.write.byte_count, 195);
}

/* A number that was cut short is still a number: the others tell. */
static void cut_lines_are_refused(void **state) {
    (void)state;
    const char *const lines[] = {ONE, TWO};
    for (size_t i = 0; i < 2; i++) {
        char line[QUEUE_STATE_LINE_MAX];
        for (size_t n = 0; n < strlen(lines[i]); n++) {
            (void)snprintf(line, sizeof line, "%.*s", (int)n, lines[i]);
            if (parses(line)) fail_msg("%s is taken", line);
        }
        (void)snprintf(line, sizeof line, "%s ", lines[i]);
        assert_false(parses(line));
    }
}

static void contradictions_are_refused(void **state) {
    (void)state;
    assert_false(parses("write=a,3,3,9,9 read=a,1,3,3,9 canWrite=T size=3"));
    assert_false(parses("write=a,3,3,9,9 read=a,1,2,3,9 canWrite=T size=1"));
    assert_false(parses("write=a,3,3,9,9 read=a,4,3,3,9 canWrite=T size=0"));
    assert_false(parses("write=a,3,3,9,9 read=a,1,3,10,9 canWrite=T size=2"));
    assert_false(parses("write=a,2,3,9,9 read=a,1,3,3,9 canWrite=T size=2"));
    assert_false(parses("write=a,3,3,8,9 read=a,1,3,3,9 canWrite=T size=2"));
    assert_false(parses("write=b,3,3,9,9 read=a,1,3,3,9 canWrite=T size=4"));
    assert_true(parses("write=b,3,3,9,9 read=a,1,3,3,9 canWrite=T size=5"));
    assert_false(parses("write=a/b,1,1,9,9 read=a/b,0,1,0,9 canWrite=T size=1"));
    assert_false(parses("write=..,1,1,9,9 read=..,0,1,0,9 canWrite=T size=1"));
    assert_false(parses("write=,1,1,9,9 read=,0,1,0,9 canWrite=T size=1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_read),
        cmocka_unit_test(cut_lines_are_refused),
        cmocka_unit_test(contradictions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
