/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/files/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"

static void close_fdp(int *fd) {
    const int saved = errno; /* the caller reports the failure that brought it here */
    if (*fd >= 0) (void)close(*fd);
    errno = saved;
}

/* ---- reading ---- */

enum err file_read(const char *path, size_t max, char **ret_text, size_t *ret_n) {
    CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return E_SYS;
    CLEANUP(free_textp)
    char *text = malloc(max + 1); /* not grown: a copy left behind is not wiped */
    if (text == NULL) return E_NO_MEMORY;
    size_t n = 0;
    while (true) {
        const ssize_t got = read(fd, text + n, max + 1 - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return E_SYS;
        if (got == 0) break;
        n += (size_t)got;
        if (n > max) return E_LIMIT;
    }
    text[n] = '\0';
    *ret_text = STEAL(text);
    *ret_n = n;
    return OK;
}

bool file_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

/* ---- making ---- */

void file_set_init(struct file_set *s) {
    *s = (struct file_set){0};
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &s->signals_before);
}

/* Some file systems cannot refuse to overwrite; there the check of file_set_add() has to do. */
static enum err rename_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return OK;
    if (errno != EINVAL && errno != ENOSYS) return E_SYS;
    return rename(from, to) == 0 ? OK : E_SYS;
}

/* Some cannot exchange either; there a is missing for a moment. */
static enum err exchange(const char *a, const char *b) {
    if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return OK;
    if (errno != EINVAL && errno != ENOSYS) return E_SYS;
    char *name = NULL;
    if (asprintf(&name, "%s.old", a) < 0) return E_NO_MEMORY;
    CLEANUP(free_textp) char *aside = name;
    if (rename(a, aside) != 0) return E_SYS;
    if (rename(b, a) == 0) return rename(aside, b) == 0 ? OK : E_SYS;
    const int saved = errno;
    (void)rename(aside, a);
    errno = saved;
    return E_SYS;
}

/* Takes away what was made and brings back what was replaced, last first. */
static void undo(struct file_set *s) {
    for (unsigned i = s->n_files; i-- > 0;) {
        const char *path = s->files[i].path, *tmp = s->files[i].tmp;
        const bool was_replaced = s->files[i].is_placed && s->files[i].replaces;
        if (was_replaced && exchange(path, tmp) != OK) continue; /* then both stay */
        (void)unlink(s->files[i].is_placed && !was_replaced ? path : tmp);
    }
    for (unsigned i = s->n_dirs; i-- > 0;) (void)rmdir(s->dirs[i]);
}

void file_set_done(struct file_set *s) {
    if (!s->is_committed) undo(s);
    for (unsigned i = 0; i < s->n_files; i++) {
        free(s->files[i].path);
        free(s->files[i].tmp);
    }
    for (unsigned i = 0; i < s->n_dirs; i++) free(s->dirs[i]);
    (void)pthread_sigmask(SIG_SETMASK, &s->signals_before, NULL);
    *s = (struct file_set){0};
}

/* Makes one directory unless it is there, on the way to the wanted one. */
static enum err make_one_dir(struct file_set *s, const char *dir, const struct new_dir *wanted,
                             struct problem *p) {
    struct stat st;
    if (stat(dir, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return OK;
        return problem_set(p, E_EXISTS, "%s is not a directory: move it away", dir);
    }
    if (errno != ENOENT) return file_problem(p, "cannot use the directory", dir, errno);
    if (s->n_dirs == FILE_SET_DIRS_MAX)
        return problem_set(p, E_LIMIT, "%s is too deep a path", dir);
    CLEANUP(free_textp) char *name = strdup(dir);
    if (name == NULL) return problem_set(p, E_NO_MEMORY, "out of memory");
    if (mkdir(dir, 0700) != 0) return new_dir_problem(p, dir, wanted, errno);
    s->dirs[s->n_dirs++] = STEAL(name);
    const mode_t mode = strcmp(dir, wanted->path) == 0 ? wanted->mode : 0755;
    if (chmod(dir, mode) != 0) return file_problem(p, "cannot set the mode of", dir, errno);
    return OK;
}

enum err file_set_make_dir(struct file_set *s, const char *dir, mode_t mode,
                           struct problem *ret_problem) {
    CLEANUP(free_textp) char *path = strdup(dir);
    if (path == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    const struct new_dir wanted = {dir, mode, "SMP_SERVER_CFG_PATH and SMP_SERVER_LOG_PATH"};
    for (char *p = path + 1; *path != '\0' && *p != '\0'; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = '\0';
        const enum err e = make_one_dir(s, path, &wanted, ret_problem);
        if (e != OK) return e;
        *p = '/';
    }
    return make_one_dir(s, dir, &wanted, ret_problem);
}

enum err file_write_all(int fd, struct bytes b) {
    while (b.n > 0) {
        const ssize_t n = write(fd, b.p, b.n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return E_SYS;
        b = bytes_of(b.p + n, b.n - (size_t)n);
    }
    return OK;
}

static enum err sync_dir_of(const char *path) {
    CLEANUP(free_textp) char *copy = strdup(path);
    if (copy == NULL) return E_NO_MEMORY;
    CLEANUP(close_fdp) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? OK : E_SYS;
}

/* Writes a temporary file beside path; its last row of the set is the new one then. */
static enum err write_beside(struct file_set *s, const char *path, struct bytes content,
                             mode_t mode, const struct stat *replaced, struct problem *p) {
    assert(s->n_files < FILE_SET_MAX);
    char *tmp = NULL;
    if (asprintf(&tmp, "%s.XXXXXX", path) < 0) tmp = NULL;
    CLEANUP(free_textp) char *owned_tmp = tmp;
    CLEANUP(free_textp) char *name = strdup(path);
    if (owned_tmp == NULL || name == NULL) return problem_set(p, E_NO_MEMORY, "out of memory");
    CLEANUP(close_fdp) int fd = mkostemp(owned_tmp, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) return file_problem(p, "cannot write", path, errno);
    s->files[s->n_files].tmp = STEAL(owned_tmp);
    s->files[s->n_files].path = STEAL(name);
    s->files[s->n_files].is_placed = false;
    s->files[s->n_files].replaces = replaced != NULL;
    s->n_files++;
    const bool is_others =
        replaced != NULL && (replaced->st_uid != geteuid() || replaced->st_gid != getegid());
    if (is_others && fchown(fd, replaced->st_uid, replaced->st_gid) != 0) {
        return problem_sys(p, "cannot write %s for its owner: run this as root or as that user",
                           path);
    }
    if (file_write_all(fd, content) != OK || fchmod(fd, mode) != 0 || fsync(fd) != 0) {
        return file_problem(p, "cannot write", path, errno);
    }
    return OK;
}

enum err file_set_add(struct file_set *s, const char *path, struct bytes content, mode_t mode,
                      struct problem *ret_problem) {
    if (file_exists(path)) {
        return problem_set(ret_problem, E_EXISTS, "%s exists: move it away, nothing is overwritten",
                           path);
    }
    return write_beside(s, path, content, mode, NULL, ret_problem);
}

enum err file_set_replace(struct file_set *s, const char *path, struct bytes content, mode_t mode,
                          struct problem *ret_problem) {
    struct stat st;
    if (lstat(path, &st) != 0) return file_set_add(s, path, content, mode, ret_problem);
    if (!S_ISREG(st.st_mode)) {
        return problem_set(ret_problem, E_EXISTS, "%s is not a regular file: put one in its place",
                           path);
    }
    return write_beside(s, path, content, st.st_mode & 07777, &st, ret_problem);
}

enum err file_set_commit(struct file_set *s, struct problem *ret_problem) {
    for (unsigned i = 0; i < s->n_files; i++) {
        const char *path = s->files[i].path, *tmp = s->files[i].tmp;
        const enum err e = s->files[i].replaces ? exchange(path, tmp) : rename_new(tmp, path);
        if (e != OK) return file_problem(ret_problem, "cannot write", path, errno);
        s->files[i].is_placed = true;
        if (sync_dir_of(path) != OK) {
            return file_problem(ret_problem, "cannot write the directory of", path, errno);
        }
    }
    s->is_committed = true;
    for (unsigned i = 0; i < s->n_files; i++) {
        if (s->files[i].replaces) (void)unlink(s->files[i].tmp);
    }
    return OK;
}
