/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A file is replaced when it is complete, or not at all: whatever fails, and whenever the power
 * goes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/new_file.h"
#include "faultfs.h"

enum { CAP = 16, LINES = 10 };

static const char *const PATH = "/d/file";
static const char OLD[] = "old";
static const char NEW[] = "line 0\nline 1\nline 2\nline 3\nline 4\n"
                          "line 5\nline 6\nline 7\nline 8\nline 9\n";

static struct faultfs *fs_with_old(void) {
    struct faultfs *fs = faultfs_new(1);
    const struct vfs *v = faultfs_vfs(fs);
    assert_int_equal(v->mkdir(v->ctx, "/d", 0700), OK);
    assert_int_equal(v->sync_dir(v->ctx, "/"), OK);
    faultfs_put(fs, PATH, bytes_str(OLD));
    return fs;
}

static enum err write_new(struct faultfs *fs) {
    struct new_file f;
    const enum err e = new_file_open(&f, faultfs_vfs(fs), PATH, 0600, CAP);
    if (e != OK) return e;
    for (int i = 0; i < LINES; i++) {
        struct wr w = new_file_begin(&f, 7);
        wr_str(&w, "line ");
        wr_u8(&w, (uint8_t)('0' + i));
        wr_u8(&w, '\n');
        new_file_end(&f, &w);
    }
    assert_true(f.err != OK || new_file_len(&f) == sizeof NEW - 1);
    return new_file_commit(&f);
}

static bool holds(struct faultfs *fs, const char *text) {
    return faultfs_size(fs, PATH) == strlen(text) &&
           memcmp(faultfs_data(fs, PATH), text, strlen(text)) == 0;
}

static void test_replaces(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_old();
    assert_int_equal(write_new(fs), OK);
    assert_true(holds(fs, NEW));
    assert_int_equal(faultfs_n_files(fs), 1);
    faultfs_free(fs);
}

static void test_discard_leaves_the_old(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_old();
    struct new_file f;
    assert_int_equal(new_file_open(&f, faultfs_vfs(fs), PATH, 0600, CAP), OK);
    new_file_discard(&f);
    assert_true(holds(fs, OLD));
    assert_int_equal(faultfs_n_files(fs), 1);
    faultfs_free(fs);
}

static void test_put_follows_the_buffer(void **state) {
    (void)state;
    static const char MORE[] = "more than the buffer holds";
    struct faultfs *fs = fs_with_old();
    for (size_t cap = 0; cap <= CAP; cap += CAP) {
        struct new_file f;
        assert_int_equal(new_file_open(&f, faultfs_vfs(fs), PATH, 0600, cap), OK);
        if (cap != 0) {
            struct wr w = new_file_begin(&f, 4);
            wr_str(&w, "some");
            new_file_end(&f, &w);
        }
        new_file_put(&f, bytes_str(MORE));
        assert_int_equal(new_file_commit(&f), OK);
        assert_true(holds(fs, cap != 0 ? "somemore than the buffer holds" : MORE));
    }
    faultfs_free(fs);
}

/* What does not fit where room was asked for must not be half there. */
static void test_error_of_a_cursor_stays(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_old();
    struct new_file f;
    assert_int_equal(new_file_open(&f, faultfs_vfs(fs), PATH, 0600, CAP), OK);
    struct wr w = new_file_begin(&f, CAP);
    wr_str(&w, "longer than there is room for");
    new_file_end(&f, &w);
    w = new_file_begin(&f, 1);
    wr_u8(&w, 'x');
    new_file_end(&f, &w);
    assert_int_equal(new_file_commit(&f), E_LIMIT);
    assert_true(holds(fs, OLD));
    faultfs_free(fs);
}

static void test_each_operation_fails(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_old();
    const uint64_t before = faultfs_n_ops(fs);
    assert_int_equal(write_new(fs), OK);
    const uint64_t n = faultfs_n_ops(fs) - before;
    faultfs_free(fs);
    assert_true(n > LINES / 2);
    for (uint64_t i = 1; i <= n; i++) {
        fs = fs_with_old();
        faultfs_fail_at(fs, i, EIO, false);
        if (write_new(fs) == OK) {
            assert_true(holds(fs, NEW)); /* closing failed, which nobody asks for */
        } else {
            assert_int_equal(errno, EIO);
            assert_true(holds(fs, OLD) || (i == n && holds(fs, NEW)));
            assert_int_equal(faultfs_n_files(fs), 1);
        }
        faultfs_free(fs);
    }
}

static void test_power_goes_at_each_change(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        for (uint64_t i = 1; i <= 20; i++) {
            struct faultfs *fs = fs_with_old();
            faultfs_lose_power_at(fs, i);
            const enum err e = write_new(fs);
            faultfs_power_cycle(fs);
            assert_true(holds(fs, NEW) || (e != OK && holds(fs, OLD)));
            faultfs_free(fs);
        }
    }
}

static void test_parent(void **state) {
    (void)state;
    struct faultfs *fs = fs_with_old();
    const struct vfs *v = faultfs_vfs(fs);
    assert_int_equal(vfs_sync_parent(v, "/d/file"), OK);
    assert_int_equal(vfs_sync_parent(v, "/file"), OK);
    char *path = malloc(NEW_FILE_PATH_MAX + 2);
    assert_non_null(path);
    memset(path, 'x', NEW_FILE_PATH_MAX + 1);
    path[NEW_FILE_PATH_MAX] = '/';
    path[NEW_FILE_PATH_MAX + 1] = '\0';
    assert_int_equal(vfs_sync_parent(v, path), E_LIMIT);
    struct new_file f;
    assert_int_equal(new_file_open(&f, v, path, 0600, CAP), E_LIMIT);
    free(path);
    faultfs_free(fs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_discard_leaves_the_old),
        cmocka_unit_test(test_put_follows_the_buffer),
        cmocka_unit_test(test_error_of_a_cursor_stays),
        cmocka_unit_test(test_each_operation_fails),
        cmocka_unit_test(test_power_goes_at_each_change),
        cmocka_unit_test(test_parent),
    };
    return cmocka_run_group_tests_name("new_file", tests, NULL, NULL);
}
