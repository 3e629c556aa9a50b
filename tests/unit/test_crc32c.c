/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/crc32c.h"

typedef uint32_t crc_function(uint32_t crc, const void *p, size_t n);
static crc_function *const FUNCTIONS[] = {crc32c, crc32c_portable};

/* RFC 3720, appendix B.4; and the check value of the catalogues. */
static void test_vectors(void **state) {
    (void)state;
    uint8_t up[32], down[32], zeros[32] = {0}, ones[32];
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
        ones[i] = 0xff;
    }
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(FUNCTIONS[k](0, zeros, 32), 0x8a9136aa);
        assert_int_equal(FUNCTIONS[k](0, ones, 32), 0x62a8ab43);
        assert_int_equal(FUNCTIONS[k](0, up, 32), 0x46dd794e);
        assert_int_equal(FUNCTIONS[k](0, down, 32), 0x113fdb5c);
        assert_int_equal(FUNCTIONS[k](0, "123456789", 9), 0xe3069283);
        assert_int_equal(FUNCTIONS[k](0, NULL, 0), 0);
    }
}

/* Any length, any alignment, in any two parts: both agree. */
static void test_parts_and_alignment(void **state) {
    (void)state;
    uint8_t buf[300];
    for (size_t i = 0; i < sizeof buf; i++) buf[i] = (uint8_t)(i * 131 + i / 7);
    for (size_t from = 0; from < 9; from++) {
        for (size_t n = 0; n < 260; n++) {
            const uint32_t whole = crc32c_portable(0, buf + from, n);
            assert_int_equal(crc32c(0, buf + from, n), whole);
            const size_t cut = n / 3;
            assert_int_equal(crc32c(crc32c(0, buf + from, cut), buf + from + cut, n - cut), whole);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_parts_and_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
