/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/own_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"

static const char *const FILES[] = {
    "smp-server.ini",
    "ca.key",
    "ca.crt",
    "server.key",
    "server.crt",
    "fingerprint",
    "web.key",
    "web.crt",
    /* what the reference leaves behind when it makes certificates */
    "openssl_ca.conf",
    "openssl_server.conf",
    "server.csr",
    "ca.srl",
    /* with their backups */
    "smp-server-store.log*",
    "smp-server-messages.log*",
    "smp-server-ntfs.log*",
    "smp-server-journal.stop*",
    "smp-server-stats.log*",
    "smp-server-stats.key*",
    "smp-server-stats.daily.log*",
    "smp-server-metrics.txt*",
    "smp-server-metrics.prom*",
    "smp-server.lock",
};
/* "messages" is the journal of the reference; imported, it has the other name. */
static const char *const DIRS[] = {"journal", "messages", "messages.bak", "www"};

enum { DEPTH_MAX = 32 }; /* of directories in one another; the reference's journal has 6 */

static bool is_listed(const char *name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (fnmatch(list[i], name, 0) == 0) return true;
    }
    return false;
}

static void close_dirp(DIR **d) {
    const int saved = errno; /* the caller reports the failure that brought it here */
    if (*d != NULL) (void)closedir(*d);
    errno = saved;
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* NULL with errno when it cannot be opened, or is a link. */
static DIR *open_dir(int parent, const char *name) {
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return NULL;
    DIR *d = fdopendir(fd);
    if (d == NULL) (void)close(fd);
    return d;
}

enum err own_files_check(const char *dir, bool *ret_exists, struct problem *ret_problem) {
    struct stat st;
    *ret_exists = lstat(dir, &st) == 0;
    if (!*ret_exists && errno == ENOENT) return OK;
    if (!*ret_exists) return file_problem(ret_problem, "cannot use", dir, errno);
    if (S_ISLNK(st.st_mode)) {
        return problem_set(ret_problem, E_EXISTS,
                           "%s is a symbolic link, which is not followed: name the directory "
                           "itself "
                           "by SMP_SERVER_CFG_PATH or SMP_SERVER_LOG_PATH",
                           dir);
    }
    if (!S_ISDIR(st.st_mode)) {
        return problem_set(ret_problem, E_EXISTS, "%s is not a directory: move it away", dir);
    }
    if (faccessat(AT_FDCWD, dir, R_OK | W_OK | X_OK, AT_EACCESS) == 0) return OK;
    return file_problem(ret_problem, "cannot remove files from", dir, errno);
}

/* ---- removing ---- */

struct removal {
    const char *dir; /* for messages; borrowed */
    dev_t device;    /* that of dir: others are mounted below it */
    unsigned n_removed;
    struct problem *problem; /* borrowed */
};

/* The kernel knows the path of an open directory, however it was reached. */
static enum err fail(const struct removal *r, int parent, const char *name) {
    const int number = errno;
    char link[64], dir[PATH_MAX], path[PATH_MAX + NAME_MAX + 2];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", parent);
    const ssize_t n = readlink(link, dir, sizeof dir - 1);
    if (n > 0) dir[n] = '\0';
    (void)snprintf(path, sizeof path, "%s/%s", n > 0 ? dir : r->dir, name);
    return file_problem(r->problem, "cannot remove", path, number);
}

static enum err remove_file(struct removal *r, int parent, const char *name) {
    if (unlinkat(parent, name, 0) != 0) return fail(r, parent, name);
    r->n_removed++;
    return OK;
}

/* Removes a directory with all that is in it. */
static enum err remove_tree(struct removal *r, int parent, const char *name, unsigned depth) {
    CLEANUP(close_dirp) DIR *d = open_dir(parent, name);
    struct stat st;
    if (d == NULL || fstat(dirfd(d), &st) != 0) return fail(r, parent, name);
    if (st.st_dev != r->device) {
        return problem_set(r->problem, E_EXISTS,
                           "%s in %s is another file system: unmount it, and run this again", name,
                           r->dir);
    }
    errno = ELOOP;
    if (depth == DEPTH_MAX) return fail(r, parent, name);
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (is_dots(entry->d_name)) continue;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return fail(r, dirfd(d), entry->d_name);
        }
        const enum err e = S_ISDIR(st.st_mode) ? remove_tree(r, dirfd(d), entry->d_name, depth + 1)
                                               : remove_file(r, dirfd(d), entry->d_name);
        if (e != OK) return e;
    }
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 ? OK : fail(r, parent, name);
}

/* Removes an entry of the directory itself if it is the server's; *ret_left if it is not. */
static enum err remove_own(struct removal *r, int parent, const char *name, bool *ret_left) {
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return fail(r, parent, name);
    const bool is_dir = S_ISDIR(st.st_mode), is_link = S_ISLNK(st.st_mode);
    const bool own_dir = is_listed(name, DIRS, ARRAY_LEN(DIRS)) && (is_dir || is_link);
    const bool own_file = is_listed(name, FILES, ARRAY_LEN(FILES)) && !is_dir;
    *ret_left = !own_dir && !own_file;
    if (*ret_left) return OK;
    return is_dir ? remove_tree(r, parent, name, 0) : remove_file(r, parent, name);
}

static enum err remove_all_but(struct removal *r, DIR *d, const char *last_name,
                               void (*on_left)(const char *dir, const char *name),
                               unsigned *ret_left) {
    *ret_left = 0;
    for (const struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (is_dots(entry->d_name) || strcmp(entry->d_name, last_name) == 0) continue;
        bool is_left = false;
        const enum err e = remove_own(r, dirfd(d), entry->d_name, &is_left);
        if (e != OK) return e;
        if (!is_left) continue;
        ++*ret_left;
        on_left(r->dir, entry->d_name);
    }
    return OK;
}

enum err own_files_remove(const char *dir, const char *last_name,
                          void (*on_left)(const char *dir, const char *name),
                          struct own_files_count *ret, struct problem *ret_problem) {
    *ret = (struct own_files_count){0};
    struct removal r = {.dir = dir, .problem = ret_problem};
    CLEANUP(close_dirp) DIR *d = open_dir(AT_FDCWD, dir);
    struct stat st;
    if (d == NULL || fstat(dirfd(d), &st) != 0) {
        return file_problem(ret_problem, "cannot use", dir, errno);
    }
    r.device = st.st_dev;
    enum err e = remove_all_but(&r, d, last_name, on_left, &ret->n_left);
    if (e == OK && fstatat(dirfd(d), last_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        bool is_left = false;
        e = remove_own(&r, dirfd(d), last_name, &is_left);
        if (e == OK && is_left) on_left(dir, last_name);
        ret->n_left += is_left;
    }
    ret->n_removed = r.n_removed;
    if (e == OK) ret->is_gone = rmdir(dir) == 0; /* a mount point stays */
    return e;
}
