/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "app/server/web_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/files/file_problem.h"
#include "app/files/files.h"
#include "base/rd.h"
#include "base/wr.h"

static const char LIST[] = ".smp-server-files", CHALLENGES[] = ".well-known/acme-challenge/";

enum { LIST_MAX = 64 * 1024, FILE_MODE = 0644, DIR_MODE = 0755 };

struct writing {
    const char *dir;   /* borrowed */
    struct problem *p; /* borrowed */
    struct wr list;    /* names of what is written, one a line */
    char path[PATH_MAX];
};

/* The path of a name, into w->path. */
static enum err set_path(struct writing *w, const char *name) {
    const int n = snprintf(w->path, sizeof w->path, "%s/%s", w->dir, name);
    if (n > 0 && (size_t)n < sizeof w->path) return OK;
    return problem_set(w->p, E_LIMIT, "the path %s/%s is too long: set another [WEB] static_path",
                       w->dir, name);
}

/* All directories above w->path. */
static enum err make_dirs(struct writing *w) {
    for (char *c = strchr(w->path + 1, '/'); c != NULL; c = strchr(c + 1, '/')) {
        *c = '\0';
        const bool is_there = mkdir(w->path, DIR_MODE) == 0 || errno == EEXIST;
        const int number = errno;
        const enum err e = is_there ? OK : file_problem(w->p, "cannot make", w->path, number);
        *c = '/';
        if (e != OK) return e;
    }
    return OK;
}

static bool is_same(const char *path, struct bytes content) {
    CLEANUP(free_textp) char *text = NULL;
    size_t n = 0;
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           file_read(path, content.n, &text, &n) == OK && bytes_equal(bytes_of(text, n), content);
}

/* In one step for whoever reads; not synced, as each start writes what is missing. */
static bool replace(const char *path, struct bytes content) {
    char temp[PATH_MAX];
    const int n = snprintf(temp, sizeof temp, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof temp) {
        errno = ENAMETOOLONG;
        return false;
    }
    (void)unlink(temp);
    const int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return false;
    const bool is_written = file_write_all(fd, content) == OK;
    const int number = errno;
    const bool is_closed = close(fd) == 0;
    if (is_written && is_closed && rename(temp, path) == 0) return true;
    if (!is_written) errno = number;
    const int failed = errno;
    (void)unlink(temp);
    errno = failed;
    return false;
}

static enum err write_file(void *ctx, const char *name, struct bytes content) {
    struct writing *w = ctx;
    wr_str(&w->list, name);
    wr_str(&w->list, "\n");
    enum err e = set_path(w, name);
    if (e != OK || is_same(w->path, content)) return e;
    e = make_dirs(w);
    if (e == OK && !replace(w->path, content))
        e = file_problem(w->p, "cannot write", w->path, errno);
    return e;
}

static bool has_line(struct bytes list, struct bytes line) {
    struct rd r = rd_init(list);
    while (rd_left(&r) != 0) {
        if (bytes_equal(rd_part(&r, '\n'), line)) return true;
    }
    return false;
}

/* A name that we could have written ourselves: the list is only a file. */
static bool is_below(const char *name) {
    return name[0] != '/' && name[0] != '\0' && strstr(name, "..") == NULL;
}

/* What the list of the last start has and this one has not. */
static void remove_old(struct writing *w, struct bytes old) {
    struct rd r = rd_init(old);
    while (rd_left(&r) != 0) {
        const struct bytes line = rd_part(&r, '\n');
        char name[PATH_MAX];
        (void)snprintf(name, sizeof name, "%.*s", (int)line.n, (const char *)line.p);
        if (has_line(wr_bytes(&w->list), line) || !is_below(name) || set_path(w, name) != OK)
            continue;
        (void)unlink(w->path);
    }
}

static enum err write_list(struct writing *w) {
    CLEANUP(free_textp) char *old = NULL;
    size_t n = 0;
    enum err e = wr_err(&w->list);
    if (e != OK) return problem_set(w->p, e, "%s", err_meaning(e));
    e = set_path(w, LIST);
    if (e == OK && file_read(w->path, LIST_MAX, &old, &n) == OK) remove_old(w, bytes_of(old, n));
    if (e == OK) e = set_path(w, LIST);
    if (e == OK && !bytes_equal(bytes_of(old, n), wr_bytes(&w->list)) &&
        !replace(w->path, wr_bytes(&w->list)))
        e = file_problem(w->p, "cannot write", w->path, errno);
    return e;
}

void web_files_make_dir(const char *dir) {
    struct problem problem;
    struct writing w = {.dir = dir, .p = &problem};
    if (set_path(&w, "") == OK) (void)make_dirs(&w);
}

enum err web_files_write(const char *dir, const struct site *site, struct problem *ret_problem) {
    CLEANUP(free_textp) char *list = malloc(LIST_MAX);
    struct writing w = {.dir = dir, .p = ret_problem};
    if (list == NULL) return problem_set(ret_problem, E_NO_MEMORY, "out of memory");
    w.list = wr_init(list, LIST_MAX);
    enum err e = set_path(&w, CHALLENGES);
    if (e == OK) e = make_dirs(&w);
    if (e == OK) e = site_each_file(site, write_file, &w);
    return e == OK ? write_list(&w) : e;
}
