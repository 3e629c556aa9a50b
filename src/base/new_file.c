/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/new_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum err vfs_sync_parent(const struct vfs *v, const char *path) {
    char dir[NEW_FILE_PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (n >= sizeof dir) return E_LIMIT;
    memcpy(dir, path, n);
    dir[n] = '\0';
    return v->sync_dir(v->ctx, slash == NULL ? "." : n == 0 ? "/" : dir);
}

enum err new_file_open(struct new_file *f, const struct vfs *v, const char *path, mode_t mode,
                       size_t cap) {
    *f = (struct new_file){.vfs = v, .cap = cap};
    const int n = snprintf(f->temp, sizeof f->temp, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof f->temp) return E_LIMIT;
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    f->buf = cap != 0 ? malloc(cap) : NULL;
    if (cap != 0 && f->buf == NULL) return E_NO_MEMORY;
    const enum err e = v->open(v->ctx, f->temp, O_WRONLY | O_CREAT | O_TRUNC, mode, &f->fd);
    if (e != OK) free(f->buf);
    return e;
}

static void flush(struct new_file *f) {
    if (f->err != OK || f->n == 0) return;
    f->err = vfs_write(f->vfs, f->fd, bytes_of(f->buf, f->n), f->written);
    f->written += f->n;
    f->n = 0;
}

struct wr new_file_begin(struct new_file *f, size_t n) {
    assert(n <= f->cap);
    if (f->cap - f->n < n) flush(f);
    return f->err == OK ? wr_init(f->buf + f->n, f->cap - f->n) : wr_init(f->buf, 0);
}

void new_file_end(struct new_file *f, const struct wr *w) {
    if (f->err != OK) return;
    f->err = wr_err(w);
    if (f->err == OK) f->n += wr_bytes(w).n;
}

void new_file_put(struct new_file *f, struct bytes b) {
    flush(f);
    if (f->err == OK) f->err = vfs_write(f->vfs, f->fd, b, f->written);
    f->written += b.n;
}

uint64_t new_file_len(const struct new_file *f) {
    return f->written + f->n;
}

static void close_file(struct new_file *f) {
    f->vfs->close(f->vfs->ctx, f->fd);
    free(f->buf);
    f->buf = NULL;
}

static void remove_temp(struct new_file *f) {
    const int saved = errno;
    (void)f->vfs->unlink(f->vfs->ctx, f->temp);
    errno = saved;
}

void new_file_discard(struct new_file *f) {
    const int saved = errno;
    close_file(f);
    errno = saved;
    remove_temp(f);
}

enum err new_file_commit(struct new_file *f) {
    const struct vfs *v = f->vfs;
    flush(f);
    if (f->err == OK) f->err = v->sync(v->ctx, f->fd);
    if (f->err != OK) {
        new_file_discard(f);
        return f->err;
    }
    close_file(f);
    const enum err e = v->rename(v->ctx, f->temp, f->path);
    if (e == OK) return vfs_sync_parent(v, f->path);
    remove_temp(f);
    return e;
}
