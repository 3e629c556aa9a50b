/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/journal_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"
#include "store/disk/journal.h"

/* ---- ours ---- */

static bool is_ours(const char *name, enum journal_file *ret_kind) {
    uint32_t number = 0;
    return journal_parse_file_name(name, ret_kind, &number);
}

static void close_dirp(DIR **d) {
    if (*d != NULL) (void)closedir(*d);
}

/* *ret stays NULL when there is no such directory. */
static enum err open_dir(const char *dir, int flags, DIR **ret, struct problem *p) {
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    if (fd < 0 && errno == ENOENT) return OK;
    if (fd >= 0) *ret = fdopendir(fd);
    if (*ret != NULL) return OK;
    (void)file_problem(p, "cannot read", dir, errno);
    if (fd >= 0) (void)close(fd);
    return E_SYS;
}

enum err journal_dir_is_used(const char *dir, bool *ret, struct problem *ret_problem) {
    *ret = false;
    CLEANUP(close_dirp) DIR *d = NULL;
    const enum err e = open_dir(dir, 0, &d, ret_problem);
    if (e != OK || d == NULL) return e;
    for (const struct dirent *entry; !*ret && (entry = readdir(d)) != NULL;) {
        enum journal_file kind = FILE_SPARE;
        *ret = is_ours(entry->d_name, &kind) && kind == FILE_SEGMENT;
    }
    return OK;
}

enum err journal_dir_check_access(const char *dir, struct problem *ret_problem) {
    CLEANUP(close_dirp) DIR *d = NULL;
    const enum err e = open_dir(dir, 0, &d, ret_problem);
    if (e != OK || d == NULL) return e;
    if (faccessat(dirfd(d), ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        return file_problem(ret_problem, "cannot write into", dir, errno);
    }
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;) {
        enum journal_file kind = FILE_SPARE;
        if (!is_ours(entry->d_name, &kind) || kind == FILE_DAMAGED) continue;
        if (faccessat(dirfd(d), entry->d_name, R_OK | W_OK, AT_EACCESS) == 0) continue;
        const int number = errno;
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        return file_problem(ret_problem, "cannot read and write", path, number);
    }
    return OK;
}

/* Removes one entry if the journal has made it. */
static enum err remove_entry(int dir_fd, const char *name, struct journal_dir_removed *count) {
    struct stat st;
    enum journal_file kind = FILE_SPARE;
    if (!is_ours(name, &kind)) return OK;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return E_SYS;
    if (!S_ISREG(st.st_mode)) return OK;
    if (unlinkat(dir_fd, name, 0) != 0) return E_SYS;
    count->n_files++;
    count->n_bytes += (uint64_t)st.st_size;
    return OK;
}

enum err journal_dir_remove(const char *dir, struct journal_dir_removed *ret,
                            struct problem *ret_problem) {
    *ret = (struct journal_dir_removed){0};
    CLEANUP(close_dirp) DIR *d = NULL;
    enum err e = open_dir(dir, O_NOFOLLOW, &d, ret_problem);
    if (e != OK || d == NULL) return e;
    for (const struct dirent *entry; e == OK && (entry = readdir(d)) != NULL;) {
        e = remove_entry(dirfd(d), entry->d_name, ret);
        if (e == OK) continue;
        const int number = errno;
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        (void)file_problem(ret_problem, "cannot remove", path, number);
    }
    if (e != OK) return e;
    if (fsync(dirfd(d)) != 0) return file_problem(ret_problem, "cannot sync", dir, errno);
    (void)rmdir(dir); /* it may hold something else, or be a mount point: then it stays */
    return OK;
}

/* ---- the reference's ---- */

enum { WALK_FDS = 16, WALK_FOUND = 1 };

static int find_reference_file(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    const char *name = path + at->base;
    const bool found = type == FTW_F && (fnmatch("messages.*.log", name, 0) == 0 ||
                                         fnmatch("queue_state.*.log", name, 0) == 0);
    return found ? WALK_FOUND : 0;
}

enum err journal_dir_is_reference(const char *dir, bool *ret, struct problem *ret_problem) {
    const int r = nftw(dir, find_reference_file, WALK_FDS, FTW_PHYS);
    *ret = r == WALK_FOUND;
    if (r >= 0 || errno == ENOENT || errno == ENOTDIR) return OK;
    return file_problem(ret_problem, "cannot read", dir, errno);
}
