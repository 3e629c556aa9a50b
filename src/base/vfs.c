/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "base/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { IOV_BATCH = 1024 }; /* what Linux takes in one call (IOV_MAX) */

/* atomic, relaxed: counts */
static _Atomic uint64_t n_syncs, n_writes, written_bytes;

static void count(_Atomic uint64_t *figure, uint64_t n) {
    (void)atomic_fetch_add_explicit(figure, n, memory_order_relaxed);
}

struct vfs_figures vfs_system_figures(void) {
    return (struct vfs_figures){
        .n_syncs = atomic_load_explicit(&n_syncs, memory_order_relaxed),
        .n_writes = atomic_load_explicit(&n_writes, memory_order_relaxed),
        .written_bytes = atomic_load_explicit(&written_bytes, memory_order_relaxed),
    };
}

static enum err err_of_errno(void) {
    switch (errno) {
    case ENOENT:
        return E_NOT_FOUND;
    case EEXIST:
        return E_EXISTS;
    default:
        return E_SYS;
    }
}

static enum err system_open(void *ctx, const char *path, int oflags, mode_t mode, int *ret_fd) {
    (void)ctx;
    int fd;
    do {
        fd = open(path, oflags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return err_of_errno();
    *ret_fd = fd;
    return OK;
}

static void system_close(void *ctx, int fd) {
    (void)ctx;
    (void)close(fd); /* what matters was synced before */
}

static enum err system_read_at(void *ctx, int fd, void *buf, size_t n, uint64_t at, size_t *ret_n) {
    (void)ctx;
    uint8_t *p = buf;
    size_t done = 0;
    while (done < n) {
        const ssize_t got = pread(fd, p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return E_SYS;
        if (got == 0) break;
        done += (size_t)got;
    }
    *ret_n = done;
    return OK;
}

/* Takes n written bytes off the front of iov; returns how many whole parts are done. */
static int iov_advance(struct iovec *iov, int n_iov, size_t n) {
    int i = 0;
    while (i < n_iov && n >= iov[i].iov_len) n -= iov[i++].iov_len;
    if (i < n_iov) {
        iov[i].iov_base = (uint8_t *)iov[i].iov_base + n;
        iov[i].iov_len -= n;
    }
    return i;
}

static enum err system_write_at(void *ctx, int fd, struct iovec *iov, int n_iov, uint64_t at) {
    (void)ctx;
    int i = iov_advance(iov, n_iov, 0);
    while (i < n_iov) {
        const int n = n_iov - i < IOV_BATCH ? n_iov - i : IOV_BATCH;
        const ssize_t put = pwritev(fd, iov + i, n, (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return E_SYS;
        if (put == 0) { /* never for a file; but an endless loop would be worse than an error */
            errno = EIO;
            return E_SYS;
        }
        count(&n_writes, 1);
        count(&written_bytes, (uint64_t)put);
        at += (uint64_t)put;
        i += iov_advance(iov + i, n_iov - i, (size_t)put);
    }
    return OK;
}

/* Not repeated after a failure: the kernel may have thrown away what it could not write. */
static enum err system_sync(void *ctx, int fd) {
    (void)ctx;
    count(&n_syncs, 1);
    return fdatasync(fd) == 0 ? OK : E_SYS;
}

static enum err system_truncate(void *ctx, int fd, uint64_t len) {
    (void)ctx;
    int r;
    do {
        r = ftruncate(fd, (off_t)len);
    } while (r != 0 && errno == EINTR);
    return r == 0 ? OK : E_SYS;
}

static enum err system_size(void *ctx, int fd, uint64_t *ret) {
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) != 0) return E_SYS;
    *ret = (uint64_t)st.st_size;
    return OK;
}

static enum err system_rename(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return rename(from, to) == 0 ? OK : err_of_errno();
}

static enum err system_unlink(void *ctx, const char *path) {
    (void)ctx;
    return unlink(path) == 0 ? OK : err_of_errno();
}

static enum err system_mkdir(void *ctx, const char *path, mode_t mode) {
    (void)ctx;
    return mkdir(path, mode) == 0 ? OK : err_of_errno();
}

static enum err system_sync_dir(void *ctx, const char *path) {
    int fd;
    const enum err e = system_open(ctx, path, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (e != OK) return e;
    count(&n_syncs, 1);
    const int r = fsync(fd);
    const int err = errno;
    (void)close(fd);
    errno = err;
    return r == 0 ? OK : E_SYS;
}

static enum err system_list(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                            void *arg) {
    (void)ctx;
    DIR *d = opendir(path);
    if (d == NULL) return err_of_errno();
    errno = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL; errno = 0) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) entry(arg, e->d_name);
    }
    const int err = errno;
    (void)closedir(d);
    errno = err;
    return err == 0 ? OK : E_SYS;
}

static enum err system_identity(void *ctx, const char *path, struct vfs_identity *ret) {
    (void)ctx;
    struct stat st;
    if (stat(path, &st) != 0) return errno == ENOENT ? E_NOT_FOUND : E_SYS;
    *ret = (struct vfs_identity){st.st_dev, st.st_ino};
    return OK;
}

static enum err system_identity_of(void *ctx, int fd, struct vfs_identity *ret) {
    (void)ctx;
    struct stat st;
    if (fstat(fd, &st) != 0) return E_SYS;
    *ret = (struct vfs_identity){st.st_dev, st.st_ino};
    return OK;
}

static uint64_t system_room(void *ctx, const char *path) {
    (void)ctx;
    char dir[PATH_MAX];
    struct statvfs st;
    const char *slash = strrchr(path, '/');
    const size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (n >= sizeof dir) return UINT64_MAX;
    memcpy(dir, path, n);
    dir[n] = '\0';
    if (statvfs(slash == NULL ? "." : n == 0 ? "/" : dir, &st) != 0) return UINT64_MAX;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

const struct vfs VFS_SYSTEM = {
    .open = system_open,
    .close = system_close,
    .read_at = system_read_at,
    .write_at = system_write_at,
    .sync = system_sync,
    .truncate = system_truncate,
    .size = system_size,
    .rename = system_rename,
    .unlink = system_unlink,
    .mkdir = system_mkdir,
    .sync_dir = system_sync_dir,
    .list = system_list,
    .room = system_room,
    .identity = system_identity,
    .identity_of = system_identity_of,
};

bool vfs_has_name(const struct vfs *v, int fd, const char *path) {
    struct vfs_identity named, opened;
    const enum err e = v->identity(v->ctx, path, &named);
    if (e != OK) return e != E_NOT_FOUND;
    return v->identity_of(v->ctx, fd, &opened) != OK ||
           (named.device == opened.device && named.inode == opened.inode);
}

bool vfs_is_shortage(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOSPC ||
           error == EDQUOT;
}

enum err vfs_write(const struct vfs *v, int fd, struct bytes b, uint64_t at) {
    union { /* iov_base is not const, but write_at only reads from it */
        const void *in;
        void *out;
    } p = {.in = b.p};
    struct iovec iov = {p.out, b.n};
    return v->write_at(v->ctx, fd, &iov, 1, at);
}
