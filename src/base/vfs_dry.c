/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A path that was touched has a shadow, which hides what is there. What is written into a file that
 * is there is a patch on what is read from it, by whatever name. */
#include "base/vfs_dry.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/list.h"

enum kind { GONE, DIRECTORY, NEW_FILE, RENAMED };

struct shadow {
    struct list link;
    enum kind kind;
    int fd;     /* owned, of a NEW_FILE; else -1 */
    char *real; /* owned, of a RENAMED one: where it is on disk; else NULL */
    char *path; /* owned */
};

/* A write. Later ones hide earlier ones. */
struct patch {
    struct list link;
    struct vfs_identity file;
    uint64_t at;
    size_t n;
    uint8_t bytes[];
};

enum { PATCHES_MAX = 32 << 20 }; /* bytes; what is written beyond is dropped */

struct vfs_dry {
    struct vfs vfs;
    struct list shadows;
    struct list patches; /* the oldest first */
    size_t n_patched;    /* bytes */
};

/* ---- shadows ---- */

static void shadow_clear(struct shadow *s) {
    if (s->fd >= 0) (void)close(s->fd);
    free(s->real);
    s->fd = -1;
    s->real = NULL;
    s->kind = GONE;
}

static struct shadow *find(struct vfs_dry *d, const char *path) {
    for (struct list *n = d->shadows.next; n != &d->shadows; n = n->next) {
        struct shadow *s = CONTAINER_OF(n, struct shadow, link);
        if (strcmp(s->path, path) == 0) return s;
    }
    return NULL;
}

/* The shadow of a path, GONE if it is new; NULL: no memory. */
static struct shadow *shadow_of(struct vfs_dry *d, const char *path) {
    struct shadow *s = find(d, path);
    if (s != NULL) return s;
    s = calloc(1, sizeof *s);
    char *copy = strdup(path);
    if (s == NULL || copy == NULL) {
        free(s);
        free(copy);
        return NULL;
    }
    *s = (struct shadow){.kind = GONE, .fd = -1, .path = copy};
    list_init(&s->link);
    list_push_back(&d->shadows, &s->link);
    return s;
}

/* Where a path's content is on disk; NULL: nowhere. */
static const char *real_path(struct vfs_dry *d, const char *path) {
    const struct shadow *s = find(d, path);
    if (s == NULL) return path;
    return s->kind == RENAMED ? s->real : NULL;
}

static bool exists(struct vfs_dry *d, const char *path) {
    const struct shadow *s = find(d, path);
    return s != NULL ? s->kind != GONE : faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) == 0;
}

static enum err fail(int number) {
    errno = number;
    return number == ENOENT ? E_NOT_FOUND : number == EEXIST ? E_EXISTS : E_SYS;
}

static enum err may(const char *path, int mode) {
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? OK : fail(errno);
}

/* May names be made and removed beside this path? */
static enum err may_change_names(struct vfs_dry *d, const char *path) {
    char *parent = strdup(path);
    if (parent == NULL) return E_NO_MEMORY;
    char *slash = strrchr(parent, '/');
    if (slash == parent) slash++; /* keep the root */
    if (slash != NULL) *slash = '\0';
    const char *dir = slash != NULL ? parent : ".";
    const struct shadow *s = find(d, dir);
    const enum err e = s == NULL ? may(dir, W_OK | X_OK) : s->kind == DIRECTORY ? OK : E_NOT_FOUND;
    const int saved = errno;
    free(parent);
    errno = saved;
    return e;
}

/* ---- files ---- */

static enum err open_new(struct vfs_dry *d, const char *path, int *ret_fd) {
    enum err e = may_change_names(d, path);
    if (e != OK) return e;
    struct shadow *s = shadow_of(d, path);
    if (s == NULL) return E_NO_MEMORY;
    const int fd = memfd_create("dry", MFD_CLOEXEC);
    const int mine = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (mine < 0) {
        e = fail(errno);
        if (fd >= 0) (void)close(fd);
        return e;
    }
    shadow_clear(s);
    s->kind = NEW_FILE;
    s->fd = mine;
    *ret_fd = fd;
    return OK;
}

static enum err dry_open(void *ctx, const char *path, int oflags, mode_t mode, int *ret_fd) {
    struct vfs_dry *d = ctx;
    assert(path != NULL);
    const struct shadow *s = find(d, path);
    const bool is_there = exists(d, path), writes = (oflags & O_ACCMODE) != O_RDONLY;
    if (is_there && (oflags & O_EXCL) != 0) return fail(EEXIST);
    if (!is_there && (oflags & O_CREAT) == 0) return fail(s != NULL ? ENOENT : errno);
    if (s != NULL && s->kind == NEW_FILE && (oflags & O_TRUNC) == 0) {
        *ret_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
        return *ret_fd >= 0 ? OK : fail(errno);
    }
    const char *real = real_path(d, path);
    if (is_there && real != NULL && writes) {
        const enum err e = may(real, W_OK);
        if (e != OK) return e;
    }
    if (!is_there || (oflags & O_TRUNC) != 0) return open_new(d, path, ret_fd);
    if (real == NULL) return fail(EISDIR);
    return VFS_SYSTEM.open(VFS_SYSTEM.ctx, real, oflags & ~(O_ACCMODE | O_CREAT), mode, ret_fd);
}

/* Of a file that is there the descriptor only reads. */
static bool is_in_memory(int fd) {
    return (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

static enum err add_patch(struct vfs_dry *d, const struct vfs_identity *file, struct bytes b,
                          uint64_t at) {
    if (b.n > PATCHES_MAX - d->n_patched) return OK;
    struct patch *p = malloc(sizeof *p + b.n);
    if (p == NULL) return E_NO_MEMORY;
    *p = (struct patch){.file = *file, .at = at, .n = b.n};
    memcpy(p->bytes, b.p, b.n);
    list_push_back(&d->patches, &p->link);
    d->n_patched += b.n;
    return OK;
}

static enum err dry_write_at(void *ctx, int fd, struct iovec *iov, int n_iov, uint64_t at) {
    struct vfs_dry *d = ctx;
    struct vfs_identity file;
    if (is_in_memory(fd)) return VFS_SYSTEM.write_at(VFS_SYSTEM.ctx, fd, iov, n_iov, at);
    enum err e = VFS_SYSTEM.identity_of(VFS_SYSTEM.ctx, fd, &file);
    for (int i = 0; i < n_iov && e == OK; i++) {
        if (iov[i].iov_len != 0)
            e = add_patch(d, &file, bytes_of(iov[i].iov_base, iov[i].iov_len), at);
        at += iov[i].iov_len;
    }
    return e;
}

/* What of n bytes at `at` this patch has. */
static void apply(const struct patch *p, uint8_t *buf, size_t n, uint64_t at) {
    const uint64_t from = p->at > at ? p->at : at;
    const uint64_t end = p->at + p->n < at + n ? p->at + p->n : at + n;
    if (from < end) memcpy(buf + (from - at), p->bytes + (from - p->at), (size_t)(end - from));
}

/* The file's length is what it is on disk: what was written behind it is not there. */
static enum err dry_read_at(void *ctx, int fd, void *buf, size_t n, uint64_t at, size_t *ret_n) {
    struct vfs_dry *d = ctx;
    struct vfs_identity file;
    enum err e = VFS_SYSTEM.read_at(VFS_SYSTEM.ctx, fd, buf, n, at, ret_n);
    if (e != OK || list_is_empty(&d->patches) || is_in_memory(fd)) return e;
    e = VFS_SYSTEM.identity_of(VFS_SYSTEM.ctx, fd, &file);
    for (struct list *l = d->patches.next; l != &d->patches && e == OK; l = l->next) {
        const struct patch *p = CONTAINER_OF(l, struct patch, link);
        if (p->file.device == file.device && p->file.inode == file.inode) apply(p, buf, *ret_n, at);
    }
    return e;
}

static enum err dry_sync(void *ctx, int fd) {
    (void)ctx;
    (void)fd;
    return OK;
}

static enum err dry_truncate(void *ctx, int fd, uint64_t len) {
    (void)ctx;
    return is_in_memory(fd) ? VFS_SYSTEM.truncate(VFS_SYSTEM.ctx, fd, len) : OK;
}

/* ---- names ---- */

static enum err dry_unlink(void *ctx, const char *path) {
    struct vfs_dry *d = ctx;
    if (!exists(d, path)) return fail(ENOENT);
    const enum err e = may_change_names(d, path);
    if (e != OK) return e;
    struct shadow *s = shadow_of(d, path);
    if (s == NULL) return E_NO_MEMORY;
    shadow_clear(s);
    return OK;
}

static enum err dry_rename(void *ctx, const char *from, const char *to) {
    struct vfs_dry *d = ctx;
    if (!exists(d, from)) return fail(ENOENT);
    if (strcmp(from, to) == 0) return OK;
    enum err e = may_change_names(d, from);
    if (e == OK) e = may_change_names(d, to);
    if (e != OK) return e;
    const char *real = real_path(d, from);
    char *copy = real != NULL ? strdup(real) : NULL;
    struct shadow *s = shadow_of(d, from), *t = shadow_of(d, to);
    if (s == NULL || t == NULL || (real != NULL && copy == NULL)) {
        free(copy);
        return E_NO_MEMORY;
    }
    shadow_clear(t);
    t->kind = real != NULL ? RENAMED : s->kind;
    t->fd = s->fd;
    t->real = copy;
    s->fd = -1;
    shadow_clear(s);
    return OK;
}

static enum err dry_mkdir(void *ctx, const char *path, mode_t mode) {
    (void)mode;
    struct vfs_dry *d = ctx;
    if (exists(d, path)) return fail(EEXIST);
    const enum err e = may_change_names(d, path);
    if (e != OK) return e;
    struct shadow *s = shadow_of(d, path);
    if (s == NULL) return E_NO_MEMORY;
    s->kind = DIRECTORY;
    return OK;
}

static enum err dry_sync_dir(void *ctx, const char *path) {
    return exists(ctx, path) ? OK : fail(ENOENT);
}

struct listing {
    struct vfs_dry *d;
    const char *dir;
    void (*entry)(void *arg, const char *name);
    void *arg;
};

/* The name of a path that is in this directory itself; NULL: it is not. */
static const char *name_in(const char *path, const char *dir) {
    const size_t n = strlen(dir);
    if (strncmp(path, dir, n) != 0 || path[n] != '/') return NULL;
    return strchr(path + n + 1, '/') == NULL ? path + n + 1 : NULL;
}

static void list_real(void *arg, const char *name) {
    const struct listing *l = arg;
    for (struct list *n = l->d->shadows.next; n != &l->d->shadows; n = n->next) {
        const char *touched = name_in(CONTAINER_OF(n, struct shadow, link)->path, l->dir);
        if (touched != NULL && strcmp(touched, name) == 0) return;
    }
    l->entry(l->arg, name);
}

static enum err dry_list(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                         void *arg) {
    struct vfs_dry *d = ctx;
    struct listing l = {d, path, entry, arg};
    const struct shadow *dir = find(d, path);
    if (dir != NULL && dir->kind != DIRECTORY) return fail(ENOENT);
    const enum err e = dir == NULL ? VFS_SYSTEM.list(VFS_SYSTEM.ctx, path, list_real, &l) : OK;
    if (e != OK) return e;
    for (struct list *n = d->shadows.next; n != &d->shadows; n = n->next) {
        const struct shadow *s = CONTAINER_OF(n, struct shadow, link);
        const char *name = name_in(s->path, path);
        if (name != NULL && s->kind != GONE) entry(arg, name);
    }
    return OK;
}

/* ---- making one ---- */

enum err vfs_dry_new(struct vfs_dry **ret) {
    struct vfs_dry *d = calloc(1, sizeof *d);
    if (d == NULL) return E_NO_MEMORY;
    d->vfs = VFS_SYSTEM;
    d->vfs.ctx = d;
    d->vfs.open = dry_open;
    d->vfs.read_at = dry_read_at;
    d->vfs.write_at = dry_write_at;
    d->vfs.sync = dry_sync;
    d->vfs.truncate = dry_truncate;
    d->vfs.rename = dry_rename;
    d->vfs.unlink = dry_unlink;
    d->vfs.mkdir = dry_mkdir;
    d->vfs.sync_dir = dry_sync_dir;
    d->vfs.list = dry_list;
    list_init(&d->shadows);
    list_init(&d->patches);
    *ret = d;
    return OK;
}

void vfs_dry_free(struct vfs_dry *d) {
    if (d == NULL) return;
    for (struct list *n; (n = list_first(&d->shadows)) != NULL;) {
        struct shadow *s = CONTAINER_OF(n, struct shadow, link);
        list_remove(n);
        shadow_clear(s);
        free(s->path);
        free(s);
    }
    for (struct list *n; (n = list_first(&d->patches)) != NULL;) {
        struct patch *p = CONTAINER_OF(n, struct patch, link);
        list_remove(n);
        free(p);
    }
    free(d);
}

const struct vfs *vfs_dry_vfs(const struct vfs_dry *d) {
    return &d->vfs;
}
