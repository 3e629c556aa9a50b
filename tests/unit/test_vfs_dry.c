/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* All operations on a directory of real files, which is the same afterwards. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

#include "base/new_file.h"
#include "base/vfs_dry.h"

enum { PATH_LEN = 64, NAMES_LEN = 128 };

struct rig {
    char dir[PATH_LEN], old[PATH_LEN + 8], new[PATH_LEN + 8];
    struct vfs_dry *dry;
    const struct vfs *v;
};

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0 && fclose(f) == 0, true);
}

static struct rig rig_new(void) {
    struct rig r = {.dir = "/tmp/test_vfs_dry.XXXXXX"};
    assert_non_null(mkdtemp(r.dir));
    (void)snprintf(r.old, sizeof r.old, "%s/old", r.dir);
    (void)snprintf(r.new, sizeof r.new, "%s/new", r.dir);
    put(r.old, "old text");
    assert_int_equal(vfs_dry_new(&r.dry), OK);
    r.v = vfs_dry_vfs(r.dry);
    return r;
}

/* What is on disk is what was there before. */
static void rig_done(struct rig *r) {
    char text[32] = "";
    vfs_dry_free(r->dry);
    FILE *f = fopen(r->old, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_string_equal(text, "old text");
    (void)fclose(f);
    assert_int_equal(access(r->new, F_OK), -1);
    assert_int_equal(unlink(r->old), 0);
    assert_int_equal(rmdir(r->dir), 0);
}

static void assert_reads(const struct rig *r, const char *path, const char *want) {
    char text[32] = "";
    int fd = -1;
    size_t n = 0;
    assert_int_equal(r->v->open(r->v->ctx, path, O_RDONLY, 0, &fd), OK);
    assert_int_equal(r->v->read_at(r->v->ctx, fd, text, sizeof text - 1, 0, &n), OK);
    assert_string_equal(text, want);
    r->v->close(r->v->ctx, fd);
}

static void assert_absent(const struct rig *r, const char *path) {
    int fd = -1;
    assert_int_equal(r->v->open(r->v->ctx, path, O_RDONLY, 0, &fd), E_NOT_FOUND);
    assert_int_equal(r->v->open(r->v->ctx, path, O_RDWR, 0, &fd), E_NOT_FOUND);
    assert_int_equal(r->v->unlink(r->v->ctx, path), E_NOT_FOUND);
}

static void add_name(void *arg, const char *name) {
    char *names = arg;
    const size_t n = strlen(names);
    (void)snprintf(names + n, NAMES_LEN - n, "%s ", name);
}

static void assert_names(const struct rig *r, const char *dir, const char *want) {
    char names[NAMES_LEN] = "";
    assert_int_equal(r->v->list(r->v->ctx, dir, add_name, names), OK);
    assert_string_equal(names, want);
}

static void new_files_are_in_memory(void **state) {
    (void)state;
    struct rig r = rig_new();
    struct new_file f;
    assert_absent(&r, r.new);
    assert_int_equal(new_file_open(&f, r.v, r.new, 0600, 16), OK);
    new_file_put(&f, bytes_str("new text"));
    assert_int_equal(new_file_commit(&f), OK);
    assert_reads(&r, r.new, "new text");
    assert_names(&r, r.dir, "old new ");
    int fd = -1;
    assert_int_equal(r.v->open(r.v->ctx, r.new, O_RDWR | O_CREAT | O_EXCL, 0600, &fd), E_EXISTS);
    assert_int_equal(r.v->open(r.v->ctx, r.new, O_RDWR, 0600, &fd), OK);
    assert_int_equal(r.v->truncate(r.v->ctx, fd, 3), OK);
    r.v->close(r.v->ctx, fd);
    assert_reads(&r, r.new, "new");
    assert_int_equal(r.v->unlink(r.v->ctx, r.new), OK);
    assert_absent(&r, r.new);
    rig_done(&r);
}

static void files_that_are_there_stay(void **state) {
    (void)state;
    struct rig r = rig_new();
    int fd = -1;
    uint64_t size = 0;
    assert_int_equal(r.v->open(r.v->ctx, r.old, O_RDWR | O_CREAT, 0600, &fd), OK);
    assert_int_equal(vfs_write(r.v, fd, bytes_str("NEW"), 0), OK);
    assert_int_equal(r.v->truncate(r.v->ctx, fd, 1), OK);
    assert_int_equal(r.v->sync(r.v->ctx, fd), OK);
    assert_int_equal(r.v->size(r.v->ctx, fd, &size), OK);
    assert_int_equal(size, 8);
    r.v->close(r.v->ctx, fd);
    assert_reads(&r, r.old, "NEW text");
    assert_int_equal(r.v->open(r.v->ctx, r.old, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd), OK);
    assert_int_equal(vfs_write(r.v, fd, bytes_str("NEW"), 0), OK);
    r.v->close(r.v->ctx, fd);
    assert_reads(&r, r.old, "NEW");
    rig_done(&r);
}

/* Later writes hide earlier ones; parts are read as they lie; what is behind the end is not there.
 */
static void writes_are_read_back(void **state) {
    (void)state;
    struct rig r = rig_new();
    char text[16] = "";
    size_t n = 0;
    int fd = -1;
    assert_int_equal(r.v->open(r.v->ctx, r.old, O_RDWR, 0, &fd), OK);
    assert_int_equal(vfs_write(r.v, fd, bytes_str("ABCD"), 2), OK);
    assert_int_equal(vfs_write(r.v, fd, bytes_str("xy"), 4), OK);
    assert_int_equal(vfs_write(r.v, fd, bytes_str("!!!"), 7), OK);
    r.v->close(r.v->ctx, fd);
    assert_reads(&r, r.old, "olABxyx!");
    assert_int_equal(r.v->rename(r.v->ctx, r.old, r.new), OK);
    assert_reads(&r, r.new, "olABxyx!");
    assert_int_equal(r.v->open(r.v->ctx, r.new, O_RDONLY, 0, &fd), OK);
    assert_int_equal(r.v->read_at(r.v->ctx, fd, text, 3, 3, &n), OK);
    assert_string_equal(text, "Bxy");
    r.v->close(r.v->ctx, fd);
    rig_done(&r);
}

static void names_change_for_the_vfs_alone(void **state) {
    (void)state;
    struct rig r = rig_new();
    assert_int_equal(r.v->rename(r.v->ctx, r.old, r.new), OK);
    assert_absent(&r, r.old);
    assert_reads(&r, r.new, "old text");
    assert_names(&r, r.dir, "new ");
    assert_int_equal(r.v->rename(r.v->ctx, r.old, r.new), E_NOT_FOUND);
    assert_int_equal(r.v->rename(r.v->ctx, r.new, r.old), OK);
    assert_reads(&r, r.old, "old text");
    assert_int_equal(r.v->unlink(r.v->ctx, r.old), OK);
    assert_absent(&r, r.old);
    assert_names(&r, r.dir, "");
    rig_done(&r);
}

static void directories(void **state) {
    (void)state;
    struct rig r = rig_new();
    char below[PATH_LEN + 16];
    int fd = -1;
    (void)snprintf(below, sizeof below, "%s/file", r.new);
    assert_int_equal(r.v->open(r.v->ctx, below, O_RDWR | O_CREAT, 0600, &fd), E_NOT_FOUND);
    assert_int_equal(r.v->sync_dir(r.v->ctx, r.new), E_NOT_FOUND);
    assert_int_equal(r.v->mkdir(r.v->ctx, r.new, 0700), OK);
    assert_int_equal(r.v->mkdir(r.v->ctx, r.new, 0700), E_EXISTS);
    assert_int_equal(r.v->mkdir(r.v->ctx, r.dir, 0700), E_EXISTS);
    assert_int_equal(r.v->sync_dir(r.v->ctx, r.new), OK);
    assert_names(&r, r.new, "");
    assert_int_equal(r.v->open(r.v->ctx, below, O_RDWR | O_CREAT, 0600, &fd), OK);
    r.v->close(r.v->ctx, fd);
    assert_names(&r, r.new, "file ");
    rig_done(&r);
}

/* Root may do everything: then there is nothing to see. */
static void missing_rights_are_errors(void **state) {
    (void)state;
    struct rig r = rig_new();
    int fd = -1;
    if (geteuid() != 0) {
        assert_int_equal(chmod(r.old, 0400), 0);
        assert_int_equal(r.v->open(r.v->ctx, r.old, O_RDWR, 0, &fd), E_SYS);
        assert_int_equal(errno, EACCES);
        assert_int_equal(chmod(r.dir, 0500), 0);
        assert_int_equal(r.v->open(r.v->ctx, r.new, O_RDWR | O_CREAT, 0600, &fd), E_SYS);
        assert_int_equal(r.v->mkdir(r.v->ctx, r.new, 0700), E_SYS);
        assert_int_equal(r.v->rename(r.v->ctx, r.old, r.new), E_SYS);
        assert_int_equal(r.v->unlink(r.v->ctx, r.old), E_SYS);
        assert_int_equal(errno, EACCES);
        assert_int_equal(chmod(r.dir, 0700), 0);
    }
    rig_done(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_files_are_in_memory),
        cmocka_unit_test(files_that_are_there_stay),
        cmocka_unit_test(writes_are_read_back),
        cmocka_unit_test(names_change_for_the_vfs_alone),
        cmocka_unit_test(directories),
        cmocka_unit_test(missing_rights_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
