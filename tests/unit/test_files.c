/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A set of files is there wholly or not at all, and overwrites nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>

#include "app/files/files.h"

static struct problem problem;

/* Each test has an empty directory and works in it. */
static int enter(void **state) {
    char *dir = strdup("/tmp/test-files-XXXXXX");
    if (dir == NULL || mkdtemp(dir) == NULL || chdir(dir) != 0) return -1;
    *state = dir;
    return 0;
}

static int leave(void **state) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    const int r = chdir("/") == 0 ? system(command) : -1; /* NOLINT(cert-env33-c) */
    free(*state);
    return r;
}

static unsigned count_entries(const char *dir) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    unsigned n = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void assert_content(const char *path, const char *expected) {
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read(path, 1000, &text, &n), OK);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void committed_files_stay(void **state) {
    (void)state;
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_make_dir(&s, "a/b/c", 0700, &problem), OK);
    assert_int_equal(file_set_make_dir(&s, "a/b", 0750, &problem), OK);
    assert_int_equal(file_set_add(&s, "a/b/c/x", bytes_str("one"), 0600, &problem), OK);
    assert_int_equal(file_set_add(&s, "a/b/c/y", bytes_str(""), 0644, &problem), OK);
    assert_false(file_exists("a/b/c/x"));
    assert_int_equal(file_set_commit(&s, &problem), OK);
    file_set_done(&s);
    assert_content("a/b/c/x", "one");
    assert_content("a/b/c/y", "");
    assert_int_equal(mode_of("a/b/c/x"), 0600);
    assert_int_equal(mode_of("a/b/c/y"), 0644);
    assert_int_equal(mode_of("a/b/c"), 0700);
    assert_int_equal(mode_of("a"), 0755);
    assert_int_equal(count_entries("a/b/c"), 2);
}

static void uncommitted_files_leave_nothing(void **state) {
    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_make_dir(&s, "a/b//c/", 0700, &problem), OK);
    assert_int_equal(file_set_add(&s, "a/b/c/x", bytes_str("one"), 0600, &problem), OK);
    file_set_done(&s);
    assert_int_equal(count_entries("a"), 0);
}

static void existing_files_are_refused(void **state) {
    (void)state;
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_add(&s, "x", bytes_str("old"), 0600, &problem), OK);
    assert_int_equal(file_set_commit(&s, &problem), OK);
    file_set_done(&s);
    assert_int_equal(symlink("nowhere", "link"), 0);
    file_set_init(&s);
    assert_int_equal(file_set_add(&s, "y", bytes_str("new"), 0600, &problem), OK);
    assert_int_equal(file_set_add(&s, "x", bytes_str("new"), 0600, &problem), E_EXISTS);
    assert_string_equal(problem.text, "x exists: move it away, nothing is overwritten");
    assert_int_equal(file_set_add(&s, "link", bytes_str("new"), 0600, &problem), E_EXISTS);
    file_set_done(&s);
    assert_content("x", "old");
    assert_int_equal(count_entries("."), 2);
}

/* Somebody else makes a file of the set after it was begun: the commit stops and takes itself back.
 */
static void failed_commit_is_undone(void **state) {
    (void)state;
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_add(&s, "x", bytes_str("new"), 0600, &problem), OK);
    assert_int_equal(file_set_add(&s, "y", bytes_str("new"), 0600, &problem), OK);
    FILE *f = fopen("y", "w");
    assert_non_null(f);
    assert_true(fputs("other", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(file_set_commit(&s, &problem), E_SYS);
    assert_string_equal(problem.text, "cannot write y: File exists");
    file_set_done(&s);
    assert_content("y", "other");
    assert_int_equal(count_entries("."), 1);
}

static void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void replaced_files_keep_their_mode(void **state) {
    (void)state;
    write_file("x", "old", 0640);
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_replace(&s, "x", bytes_str("new"), 0600, &problem), OK);
    assert_int_equal(file_set_replace(&s, "y", bytes_str("other"), 0600, &problem), OK);
    assert_content("x", "old");
    assert_int_equal(file_set_commit(&s, &problem), OK);
    file_set_done(&s);
    assert_content("x", "new");
    assert_content("y", "other");
    assert_int_equal(mode_of("x"), 0640);
    assert_int_equal(mode_of("y"), 0600);
    assert_int_equal(count_entries("."), 2);
}

/* The second file cannot be placed: the first is the old one again. */
static void failed_replacement_is_undone(void **state) {
    (void)state;
    write_file("x", "old", 0600);
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_replace(&s, "x", bytes_str("new"), 0600, &problem), OK);
    assert_int_equal(file_set_replace(&s, "y", bytes_str("new"), 0600, &problem), OK);
    write_file("y", "somebody's", 0600);
    assert_int_equal(file_set_commit(&s, &problem), E_SYS);
    file_set_done(&s);
    assert_content("x", "old");
    assert_content("y", "somebody's");
    assert_int_equal(count_entries("."), 2);
}

static void only_files_are_replaced(void **state) {
    (void)state;
    write_file("x", "old", 0600);
    assert_int_equal(symlink("x", "link"), 0);
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_replace(&s, "link", bytes_str("new"), 0600, &problem), E_EXISTS);
    assert_string_equal(problem.text, "link is not a regular file: put one in its place");
    file_set_done(&s);
    assert_content("x", "old");
    assert_int_equal(count_entries("."), 2);
}

static void directory_in_place_of_a_file(void **state) {
    (void)state;
    FILE *f = fopen("x", "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_make_dir(&s, "x/y", 0700, &problem), E_EXISTS);
    assert_string_equal(problem.text, "x is not a directory: move it away");
    file_set_done(&s);
    assert_true(file_exists("x"));
}

static void reading_has_a_limit(void **state) {
    (void)state;
    struct file_set s;
    file_set_init(&s);
    assert_int_equal(file_set_add(&s, "x", bytes_str("12345"), 0600, &problem), OK);
    assert_int_equal(file_set_commit(&s, &problem), OK);
    file_set_done(&s);
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(file_read("x", 4, &text, &n), E_LIMIT);
    assert_int_equal(file_read("x", 5, &text, &n), OK);
    assert_string_equal(text, "12345");
    free(text);
    assert_int_equal(file_read("none", 5, &text, &n), E_SYS);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(file_read(".", 5, &text, &n), E_SYS);
    assert_int_equal(errno, EISDIR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(committed_files_stay, enter, leave),
        cmocka_unit_test_setup_teardown(uncommitted_files_leave_nothing, enter, leave),
        cmocka_unit_test_setup_teardown(existing_files_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(failed_commit_is_undone, enter, leave),
        cmocka_unit_test_setup_teardown(replaced_files_keep_their_mode, enter, leave),
        cmocka_unit_test_setup_teardown(failed_replacement_is_undone, enter, leave),
        cmocka_unit_test_setup_teardown(only_files_are_replaced, enter, leave),
        cmocka_unit_test_setup_teardown(directory_in_place_of_a_file, enter, leave),
        cmocka_unit_test_setup_teardown(reading_has_a_limit, enter, leave),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
