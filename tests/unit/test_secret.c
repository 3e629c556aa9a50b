/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/secret.h"

enum { KEY_LEN = 96, MANY = 5000 };

static bool is_zero(const uint8_t *p, size_t n) {
    while (n != 0 && p[n - 1] == 0) n--;
    return n == 0;
}

/* Does the kernel keep the mapping of p out of core files, and of swap? "dd" and "lo" of smaps. */
static void assert_kept(const void *p, bool is_locked) {
    char line[512];
    bool is_it = false, has_flags = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    while (!has_flags && fgets(line, sizeof line, f) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) /* NOLINT(cert-err34-c): of the kernel's */
            is_it = from <= (uintptr_t)p && (uintptr_t)p < to;
        has_flags = is_it && strncmp(line, "VmFlags:", 8) == 0;
    }
    (void)fclose(f);
    assert_true(has_flags);
    assert_non_null(strstr(line, " dd"));
    assert_int_equal(strstr(line, " lo") != NULL, is_locked);
}

static void small_ones_are_zeros_and_wiped(void **state) {
    (void)state;
    uint8_t *a = secret_new(KEY_LEN), *b = secret_new(KEY_LEN);
    assert_non_null(a);
    assert_non_null(b);
    assert_true(is_zero(a, KEY_LEN));
    assert_int_equal((uintptr_t)a % _Alignof(max_align_t), 0);
    memset(a, 1, KEY_LEN);
    memset(b, 2, KEY_LEN);
    assert_kept(a, secret_locking() == SECRETS_LOCKED);
    secret_free(a, KEY_LEN);
    assert_true(is_zero(a + sizeof(void *), KEY_LEN - sizeof(void *))); /* its page stays */
    assert_int_equal(b[0], 2);
    assert_int_equal(b[KEY_LEN - 1], 2);
    uint8_t *c = secret_new(KEY_LEN);
    assert_ptr_equal(c, a);
    assert_true(is_zero(c, KEY_LEN));
    secret_free(b, KEY_LEN);
    secret_free(c, KEY_LEN);
    secret_free(NULL, KEY_LEN);
}

/* Of all sizes at once: none overlaps another. */
static void many_share_few_pages(void **state) {
    (void)state;
    static uint8_t *p[MANY];
    for (size_t i = 0; i < MANY; i++) {
        const size_t n = 1 + i % 256;
        p[i] = secret_new(n);
        assert_non_null(p[i]);
        memset(p[i], (int)(i % 251), n);
    }
    for (size_t i = 0; i < MANY; i++) {
        const size_t n = 1 + i % 256;
        assert_int_equal(p[i][0], i % 251);
        assert_int_equal(p[i][n - 1], i % 251);
        secret_free(p[i], n);
    }
    uint8_t *again = secret_new(200);
    assert_true(is_zero(again, 200));
    secret_free(again, 200);
}

static void large_ones_cost_what_is_used(void **state) {
    (void)state;
    enum { LEN = 64 << 20 };
    struct rusage before, after;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    uint8_t *p = secret_new(LEN);
    assert_non_null(p);
    p[0] = p[LEN - 1] = 1;
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB */
    secret_free(p, LEN);
}

static bool is_readable(const uint8_t *at) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const bool is = write(ends[1], at, 1) == 1; /* else EFAULT */
    (void)close(ends[0]);
    (void)close(ends[1]);
    return is;
}

static void nobody_may_touch_the_pages_around(void **state) {
    (void)state;
    const size_t n = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = secret_new(n);
    assert_non_null(p);
    assert_true(is_readable(p) && is_readable(p + n - 1));
    assert_false(is_readable(p - 1));
    assert_false(is_readable(p + n));
    secret_free(p, n);
}

/* Keys are kept, and it can be told. Last: the limit stays. */
static void a_small_limit_is_no_error(void **state) {
    (void)state;
    enum { KEYS = 4096, LEN = 256 };
    static uint8_t *p[KEYS];
    const struct rlimit limit = {64 << 10, 64 << 10};
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    /* Who may lock as much as he likes (CAP_IPC_LOCK) has no limit. */
    uint8_t *large = secret_new(1 << 20);
    const bool has_limit = mlock2(large, 1 << 20, 0) != 0;
    secret_free(large, 1 << 20);
    secret_begin(100000);
    for (size_t i = 0; i < KEYS; i++) {
        p[i] = secret_new(LEN);
        assert_non_null(p[i]);
        memset(p[i], 1, LEN);
    }
    assert_kept(p[KEYS - 1], !has_limit);
    assert_int_equal(secret_locking() != SECRETS_LOCKED, has_limit);
    for (size_t i = 0; i < KEYS; i++) secret_free(p[i], LEN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_are_zeros_and_wiped),
        cmocka_unit_test(many_share_few_pages),
        cmocka_unit_test(large_ones_cost_what_is_used),
        cmocka_unit_test(nobody_may_touch_the_pages_around),
        cmocka_unit_test(a_small_limit_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
