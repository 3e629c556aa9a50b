/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "faultfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SECTOR = 512,
    MAX_FILES = 4096,
    MAX_NAMES = 512,
    MAX_FDS = 256,
    MAX_PENDING = 1024,
    NAME_LEN = 120
};

_Thread_local volatile bool faultfs_allocates;

struct inode {
    uint8_t *now, *safe; /* owned; cap bytes each, zeros beyond their sizes */
    size_t size, safe_size, cap;
};

struct name {
    char path[NAME_LEN];
    int inode;
};

struct names {
    struct name v[MAX_NAMES];
    size_t n;
};

enum change { LINK, RENAME, UNLINK };
struct pending {
    enum change what;
    char path[NAME_LEN], to[NAME_LEN];
    int inode;
};

struct faultfs {
    _Atomic uint64_t room;
    pthread_mutex_t mtx;
    struct vfs vfs;
    uint64_t random;
    struct inode inodes[MAX_FILES];
    int n_inodes;
    struct names now, safe;
    struct pending pending[MAX_PENDING];
    size_t n_pending;
    int fds[MAX_FDS]; /* inode, or -1 */
    char dirs[8][NAME_LEN];
    size_t n_dirs;
    uint64_t n_changes, n_ops, power_at, fail_at;
    int fail_errno;
    bool fail_forever, failing, dark;
};

static uint64_t next_random(struct faultfs *f) { /* xorshift64* */
    f->random ^= f->random >> 12;
    f->random ^= f->random << 25;
    f->random ^= f->random >> 27;
    return f->random * 0x2545f4914f6cdd1dU;
}

static unsigned chance(struct faultfs *f, unsigned n) {
    return (unsigned)((next_random(f) >> 33) % n);
}

/* ---- names ---- */

static struct name *find_name(struct names *l, const char *path) {
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->v[i].path, path) == 0) return &l->v[i];
    }
    return NULL;
}

static void remove_name(struct names *l, const char *path) {
    struct name *x = find_name(l, path);
    if (x != NULL) *x = l->v[--l->n];
}

static void set_name(struct names *l, const char *path, int inode) {
    struct name *x = find_name(l, path);
    if (x == NULL) {
        if (l->n == MAX_NAMES) abort();
        x = &l->v[l->n++];
        (void)snprintf(x->path, sizeof x->path, "%s", path);
    }
    x->inode = inode;
}

static void apply(struct names *l, const struct pending *p) {
    const struct name *from;
    switch (p->what) {
    case LINK:
        set_name(l, p->path, p->inode);
        break;
    case UNLINK:
        remove_name(l, p->path);
        break;
    case RENAME:
        from = find_name(l, p->path);
        if (from == NULL) break; /* its creation was lost */
        const int inode = from->inode;
        remove_name(l, p->path);
        set_name(l, p->to, inode);
        break;
    }
}

static void change_names(struct faultfs *f, const struct pending *p) {
    if (f->n_pending == MAX_PENDING) abort();
    apply(&f->now, p);
    f->pending[f->n_pending++] = *p;
}

static bool is_in(const char *path, const char *dir) {
    const char *slash = strrchr(path, '/');
    const size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (slash == NULL) return strcmp(dir, ".") == 0;
    if (n == 0) return strcmp(dir, "/") == 0;
    return strlen(dir) == n && strncmp(path, dir, n) == 0;
}

/* ---- faults: what is asked before each operation; mtx held ---- */

/* What an operation needs, and may be short. */
enum { ROOM = 1, DESCRIPTOR = 2 };

static bool is_short(const struct faultfs *f, unsigned needs) {
    switch (f->fail_errno) {
    case ENOSPC:
        return (needs & ROOM) != 0;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return (needs & DESCRIPTOR) != 0;
    default:
        return true;
    }
}

static bool goes_wrong(struct faultfs *f, bool *ret_last_breath, bool changes, unsigned needs) {
    *ret_last_breath = false;
    f->n_ops++;
    if (f->dark) {
        errno = EIO;
        return true;
    }
    if (f->fail_at != 0 && --f->fail_at == 0) f->failing = true;
    if (f->failing && is_short(f, needs)) {
        f->failing = f->fail_forever;
        errno = f->fail_errno;
        return true;
    }
    if (!changes) return false;
    f->n_changes++;
    if (f->power_at == 0 || --f->power_at != 0) return false;
    f->dark = true;
    errno = EIO;
    *ret_last_breath = chance(f, 2) != 0; /* the operation itself may be done, or not */
    return true;
}

#define ENTER(f, changes, needs)                                                                   \
    pthread_mutex_lock(&(f)->mtx);                                                                 \
    bool last = false;                                                                             \
    const bool wrong = goes_wrong(f, &last, changes, needs);                                       \
    if (wrong && !last) {                                                                          \
        pthread_mutex_unlock(&(f)->mtx);                                                           \
        return E_SYS;                                                                              \
    }

static enum err leave(struct faultfs *f, bool wrong, enum err e) {
    pthread_mutex_unlock(&f->mtx);
    if (wrong) errno = EIO;
    return wrong ? E_SYS : e;
}

/* ---- files ---- */

static struct inode *inode_of(struct faultfs *f, int fd) {
    if (fd < 0 || fd >= MAX_FDS || f->fds[fd] < 0)
        abort(); /* the code under test has mixed up its files */
    return &f->inodes[f->fds[fd]];
}

static void need(struct inode *x, size_t n) {
    if (n <= x->cap) return;
    const size_t cap = n * 2;
    faultfs_allocates = true;
    x->now = realloc(x->now, cap);
    x->safe = realloc(x->safe, cap);
    if (x->now == NULL || x->safe == NULL) abort();
    memset(x->now + x->cap, 0, cap - x->cap);
    memset(x->safe + x->cap, 0, cap - x->cap);
    x->cap = cap;
    faultfs_allocates = false;
}

static int new_inode(struct faultfs *f) {
    if (f->n_inodes == MAX_FILES) abort();
    return f->n_inodes++;
}

static enum err ff_open(void *ctx, const char *path, int oflags, mode_t mode, int *ret_fd) {
    struct faultfs *f = ctx;
    (void)mode;
    const bool makes = (oflags & O_CREAT) != 0;
    ENTER(f, makes, DESCRIPTOR | (makes && find_name(&f->now, path) == NULL ? ROOM : 0))
    struct name *x = find_name(&f->now, path);
    if (x == NULL && (oflags & O_CREAT) == 0) return leave(f, wrong, E_NOT_FOUND);
    if (x == NULL) {
        struct pending p = {.what = LINK, .inode = new_inode(f)};
        (void)snprintf(p.path, sizeof p.path, "%s", path);
        change_names(f, &p);
        x = find_name(&f->now, path);
    } else if ((oflags & O_TRUNC) != 0) {
        struct inode *i = &f->inodes[x->inode];
        if (i->cap != 0) memset(i->now, 0, i->cap);
        i->size = 0;
    }
    int fd = 0;
    while (fd < MAX_FDS && f->fds[fd] >= 0) fd++;
    if (fd == MAX_FDS) abort(); /* a leak */
    if (!wrong) {
        f->fds[fd] = x->inode;
        *ret_fd = fd;
    }
    return leave(f, wrong, OK);
}

static void ff_close(void *ctx, int fd) {
    struct faultfs *f = ctx;
    pthread_mutex_lock(&f->mtx);
    (void)inode_of(f, fd);
    f->fds[fd] = -1;
    pthread_mutex_unlock(&f->mtx);
}

static enum err ff_read_at(void *ctx, int fd, void *buf, size_t n, uint64_t at, size_t *ret_n) {
    struct faultfs *f = ctx;
    ENTER(f, false, 0)
    const struct inode *i = inode_of(f, fd);
    *ret_n = 0;
    if (at < i->size) {
        *ret_n = n < i->size - at ? n : i->size - (size_t)at;
        memcpy(buf, i->now + at, *ret_n);
    }
    return leave(f, wrong, OK);
}

static enum err ff_write_at(void *ctx, int fd, struct iovec *iov, int n_iov, uint64_t at) {
    struct faultfs *f = ctx;
    pthread_mutex_lock(&f->mtx);
    bool last;
    uint64_t end = at;
    for (int k = 0; k < n_iov; k++) end += iov[k].iov_len;
    const bool wrong = goes_wrong(f, &last, true, end > inode_of(f, fd)->size ? ROOM : 0);
    const int error = errno;
    /* A write that fails may have been done in part. */
    const int parts = !wrong || last ? n_iov : (int)chance(f, (unsigned)n_iov + 1);
    for (int k = 0; k < parts; k++) {
        struct inode *i = inode_of(f, fd);
        need(i, at + iov[k].iov_len);
        if (iov[k].iov_len != 0) memcpy(i->now + at, iov[k].iov_base, iov[k].iov_len);
        at += iov[k].iov_len;
        if (i->size < at) i->size = at;
    }
    pthread_mutex_unlock(&f->mtx);
    errno = error;
    return wrong ? E_SYS : OK;
}

static void make_safe(struct inode *i) {
    if (i->cap != 0) memcpy(i->safe, i->now, i->cap);
    i->safe_size = i->size;
}

static enum err ff_sync(void *ctx, int fd) {
    struct faultfs *f = ctx;
    ENTER(f, true, 0)
    make_safe(inode_of(f, fd));
    return leave(f, wrong, OK);
}

static enum err ff_truncate(void *ctx, int fd, uint64_t len) {
    struct faultfs *f = ctx;
    ENTER(f, true, 0)
    struct inode *i = inode_of(f, fd);
    need(i, len);
    if (len < i->size) memset(i->now + len, 0, i->size - len);
    i->size = len;
    return leave(f, wrong, OK);
}

static enum err ff_size(void *ctx, int fd, uint64_t *ret) {
    struct faultfs *f = ctx;
    ENTER(f, false, 0)
    *ret = inode_of(f, fd)->size;
    return leave(f, wrong, OK);
}

static enum err ff_rename(void *ctx, const char *from, const char *to) {
    struct faultfs *f = ctx;
    ENTER(f, true, 0)
    if (find_name(&f->now, from) == NULL) return leave(f, wrong, E_NOT_FOUND);
    struct pending p = {.what = RENAME};
    (void)snprintf(p.path, sizeof p.path, "%s", from);
    (void)snprintf(p.to, sizeof p.to, "%s", to);
    change_names(f, &p);
    return leave(f, wrong, OK);
}

static enum err ff_unlink(void *ctx, const char *path) {
    struct faultfs *f = ctx;
    ENTER(f, true, 0)
    if (find_name(&f->now, path) == NULL) return leave(f, wrong, E_NOT_FOUND);
    struct pending p = {.what = UNLINK};
    (void)snprintf(p.path, sizeof p.path, "%s", path);
    change_names(f, &p);
    return leave(f, wrong, OK);
}

static enum err ff_mkdir(void *ctx, const char *path, mode_t mode) {
    struct faultfs *f = ctx;
    (void)mode;
    ENTER(f, true, 0)
    for (size_t i = 0; i < f->n_dirs; i++) {
        if (strcmp(f->dirs[i], path) == 0) return leave(f, wrong, E_EXISTS);
    }
    (void)snprintf(f->dirs[f->n_dirs++], NAME_LEN, "%s", path);
    return leave(f, wrong, OK);
}

static void sync_names(struct faultfs *f, const char *dir) {
    size_t n = 0;
    for (size_t i = 0; i < f->n_pending; i++) {
        const struct pending *p = &f->pending[i];
        if (is_in(p->path, dir)) {
            apply(&f->safe, p);
        } else {
            f->pending[n++] = *p;
        }
    }
    f->n_pending = n;
}

static enum err ff_sync_dir(void *ctx, const char *path) {
    struct faultfs *f = ctx;
    ENTER(f, true, DESCRIPTOR)
    sync_names(f, path);
    return leave(f, wrong, OK);
}

static enum err ff_list(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                        void *arg) {
    struct faultfs *f = ctx;
    ENTER(f, false, DESCRIPTOR)
    faultfs_allocates = true;
    struct names *copy = malloc(sizeof *copy); /* entry() may call back */
    faultfs_allocates = false;
    if (copy == NULL) return leave(f, true, E_SYS);
    *copy = f->now;
    (void)leave(f, wrong, OK);
    for (size_t i = 0; i < copy->n; i++) {
        if (is_in(copy->v[i].path, path)) entry(arg, strrchr(copy->v[i].path, '/') + 1);
    }
    free(copy);
    return OK;
}

/* ---- for tests ---- */

/* Nothing is ever put in the place of anything. */
static enum err ff_identity(void *ctx, const char *path, struct vfs_identity *ret) {
    (void)ctx;
    (void)path;
    *ret = (struct vfs_identity){1, 1};
    return OK;
}

static enum err ff_identity_of(void *ctx, int fd, struct vfs_identity *ret) {
    (void)fd;
    return ff_identity(ctx, "", ret);
}

static uint64_t ff_room(void *ctx, const char *path) {
    struct faultfs *f = ctx;
    (void)path;
    return atomic_load(&f->room);
}

struct faultfs *faultfs_new(uint64_t seed) {
    struct faultfs *f = calloc(1, sizeof *f);
    if (f == NULL) abort();
    pthread_mutex_init(&f->mtx, NULL);
    atomic_init(&f->room, UINT64_MAX);
    f->random = seed * 0x9e3779b97f4a7c15U | 1;
    for (int i = 0; i < MAX_FDS; i++) f->fds[i] = -1;
    f->vfs = (struct vfs){ff_open,   ff_close,    ff_read_at,     ff_write_at,
                          ff_sync,   ff_truncate, ff_size,        ff_rename,
                          ff_unlink, ff_mkdir,    ff_sync_dir,    ff_list,
                          ff_room,   ff_identity, ff_identity_of, f};
    return f;
}

void faultfs_free(struct faultfs *f) {
    for (int i = 0; i < f->n_inodes; i++) {
        free(f->inodes[i].now);
        free(f->inodes[i].safe);
    }
    pthread_mutex_destroy(&f->mtx);
    free(f);
}

const struct vfs *faultfs_vfs(struct faultfs *f) {
    return &f->vfs;
}

void faultfs_put(struct faultfs *f, const char *path, struct bytes content) {
    pthread_mutex_lock(&f->mtx);
    const int k = new_inode(f);
    struct inode *i = &f->inodes[k];
    need(i, content.n + 1);
    if (content.n != 0) memcpy(i->now, content.p, content.n);
    i->size = content.n;
    make_safe(i);
    set_name(&f->now, path, k);
    set_name(&f->safe, path, k);
    pthread_mutex_unlock(&f->mtx);
}

struct faultfs *faultfs_clone(struct faultfs *f, uint64_t seed) {
    struct faultfs *c = faultfs_new(seed);
    pthread_mutex_lock(&f->mtx);
    for (size_t i = 0; i < f->safe.n; i++) {
        const struct inode *x = &f->inodes[f->safe.v[i].inode];
        faultfs_put(c, f->safe.v[i].path, bytes_of(x->safe, x->safe_size));
    }
    memcpy(c->dirs, f->dirs, sizeof c->dirs);
    c->n_dirs = f->n_dirs;
    pthread_mutex_unlock(&f->mtx);
    return c;
}

static uint64_t read_locked(struct faultfs *f, const uint64_t *what) {
    pthread_mutex_lock(&f->mtx);
    const uint64_t n = *what;
    pthread_mutex_unlock(&f->mtx);
    return n;
}

uint64_t faultfs_n_changes(struct faultfs *f) {
    return read_locked(f, &f->n_changes);
}

uint64_t faultfs_n_ops(struct faultfs *f) {
    return read_locked(f, &f->n_ops);
}

void faultfs_lose_power_at(struct faultfs *f, uint64_t n) {
    pthread_mutex_lock(&f->mtx);
    f->power_at = n;
    pthread_mutex_unlock(&f->mtx);
}

void faultfs_fail_at(struct faultfs *f, uint64_t n, int error, bool forever) {
    pthread_mutex_lock(&f->mtx);
    f->fail_at = n;
    f->fail_errno = error;
    f->fail_forever = forever;
    if (n == 0) f->failing = false;
    pthread_mutex_unlock(&f->mtx);
}

/* One sector after a power loss. */
static void settle_sector(struct faultfs *f, uint8_t *now, const uint8_t *safe, size_t n) {
    if (memcmp(now, safe, n) == 0) return;
    const unsigned what = chance(f, 5);
    if (what < 2) return;                                       /* kept */
    const size_t from = what == 4 ? chance(f, (unsigned)n) : 0; /* torn: the front is new */
    memcpy(now + from, safe + from, n - from);
}

static void settle(struct faultfs *f, struct inode *i) {
    for (size_t at = 0; at < i->cap; at += SECTOR) {
        const size_t n = i->cap - at < SECTOR ? i->cap - at : SECTOR;
        settle_sector(f, i->now + at, i->safe + at, n);
    }
    if (i->size != i->safe_size && chance(f, 2) == 0) i->size = i->safe_size;
    if (i->cap > i->size) memset(i->now + i->size, 0, i->cap - i->size);
    make_safe(i);
}

static void restart(struct faultfs *f) {
    f->now = f->safe;
    f->n_pending = 0;
    for (int i = 0; i < MAX_FDS; i++) f->fds[i] = -1;
    f->power_at = f->fail_at = 0;
    f->failing = f->dark = false;
    bool used[MAX_FILES] = {false};
    for (size_t i = 0; i < f->now.n; i++) used[f->now.v[i].inode] = true;
    for (int i = 0; i < f->n_inodes; i++) { /* without a name: gone */
        if (used[i]) continue;
        free(f->inodes[i].now);
        free(f->inodes[i].safe);
        f->inodes[i] = (struct inode){0};
    }
}

void faultfs_power_cycle(struct faultfs *f) {
    pthread_mutex_lock(&f->mtx);
    for (size_t i = 0; i < f->n_pending; i++) {
        if (chance(f, 2) != 0) apply(&f->safe, &f->pending[i]);
    }
    for (int i = 0; i < f->n_inodes; i++) settle(f, &f->inodes[i]);
    restart(f);
    pthread_mutex_unlock(&f->mtx);
}

void faultfs_kill(struct faultfs *f) {
    pthread_mutex_lock(&f->mtx);
    for (int i = 0; i < MAX_FDS; i++) f->fds[i] = -1;
    f->power_at = f->fail_at = 0;
    f->failing = f->dark = false;
    pthread_mutex_unlock(&f->mtx);
}

static bool has(const struct inode *i, struct bytes what) {
    return i->size != 0 && memmem(i->now, i->size, what.p, what.n) != NULL;
}

bool faultfs_contains(struct faultfs *f, const char *path, struct bytes what) {
    bool found = false;
    pthread_mutex_lock(&f->mtx);
    for (size_t i = 0; i < f->now.n && !found; i++) {
        if (path != NULL && strcmp(path, f->now.v[i].path) != 0) continue;
        found = has(&f->inodes[f->now.v[i].inode], what);
    }
    pthread_mutex_unlock(&f->mtx);
    return found;
}

uint64_t faultfs_n_bytes(struct faultfs *f) {
    uint64_t n = 0;
    pthread_mutex_lock(&f->mtx);
    for (size_t i = 0; i < f->now.n; i++) n += f->inodes[f->now.v[i].inode].size;
    pthread_mutex_unlock(&f->mtx);
    return n;
}

size_t faultfs_n_files(struct faultfs *f) {
    pthread_mutex_lock(&f->mtx);
    const size_t n = f->now.n;
    pthread_mutex_unlock(&f->mtx);
    return n;
}

const char *faultfs_name(struct faultfs *f, size_t i) {
    return f->now.v[i].path;
}

static struct inode *inode_named(struct faultfs *f, const char *path) {
    const struct name *x = find_name(&f->now, path);
    return x != NULL ? &f->inodes[x->inode] : NULL;
}

size_t faultfs_size(struct faultfs *f, const char *path) {
    pthread_mutex_lock(&f->mtx);
    const struct inode *i = inode_named(f, path);
    const size_t n = i != NULL ? i->size : 0;
    pthread_mutex_unlock(&f->mtx);
    return n;
}

uint8_t *faultfs_data(struct faultfs *f, const char *path) {
    pthread_mutex_lock(&f->mtx);
    struct inode *i = inode_named(f, path);
    uint8_t *data = i != NULL ? i->now : NULL;
    pthread_mutex_unlock(&f->mtx);
    return data;
}

void faultfs_link(struct faultfs *f, const char *path, const char *to) {
    pthread_mutex_lock(&f->mtx);
    const struct name *x = find_name(&f->now, path);
    if (x != NULL) {
        const int inode = x->inode;
        set_name(&f->now, to, inode);
        set_name(&f->safe, to, inode);
    }
    pthread_mutex_unlock(&f->mtx);
}

void faultfs_remove(struct faultfs *f, const char *path) {
    pthread_mutex_lock(&f->mtx);
    remove_name(&f->now, path);
    remove_name(&f->safe, path);
    pthread_mutex_unlock(&f->mtx);
}

void faultfs_set_room(struct faultfs *f, uint64_t n) {
    atomic_store(&f->room, n);
}
