/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* vfs.h -- the file operations that storage uses, injected so that tests can lose, tear, reorder
 * and refuse writes.
 *
 * All may block: never on a loop. All return OK, E_NOT_FOUND (no such file) or E_SYS with errno
 * set; partial reads and writes and EINTR are the implementation's business. Any thread; one file
 * is used by one thread at a time. */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/bytes.h"

/* Which file or directory it is, whatever its name. */
struct vfs_identity {
    uint64_t device, inode;
};

struct vfs {
    enum err (*open)(void *ctx, const char *path, int oflags, mode_t mode,
                     int *ret_fd); /* close-on-exec */
    void (*close)(void *ctx, int fd);
    enum err (*read_at)(void *ctx, int fd, void *buf, size_t n, uint64_t at,
                        size_t *ret_n); /* fewer only at the end of the file */
    enum err (*write_at)(void *ctx, int fd, struct iovec *iov, int n_iov,
                         uint64_t at); /* all or an error; iov is scratch */
    enum err (*sync)(void *ctx,
                     int fd); /* fdatasync: data, and the size if it grew, are on stable storage */
    enum err (*truncate)(void *ctx, int fd, uint64_t len);
    enum err (*size)(void *ctx, int fd, uint64_t *ret);
    enum err (*rename)(void *ctx, const char *from, const char *to);
    enum err (*unlink)(void *ctx, const char *path);
    enum err (*mkdir)(void *ctx, const char *path, mode_t mode); /* E_EXISTS */
    enum err (*sync_dir)(
        void *ctx,
        const char *path); /* names made, renamed or removed there are on stable storage */
    enum err (*list)(void *ctx, const char *path, void (*entry)(void *arg, const char *name),
                     void *arg);
    uint64_t (*room)(void *ctx, const char *path); /* bytes that can be added beside this file;
                                                      UINT64_MAX when that is not known */
    enum err (*identity)(void *ctx, const char *path, struct vfs_identity *ret);
    enum err (*identity_of)(void *ctx, int fd, struct vfs_identity *ret); /* of what is open */
    void *ctx;
};

extern const struct vfs VFS_SYSTEM;

/* What VFS_SYSTEM was asked for in this process, ever: what storage costs a disk. */
struct vfs_figures {
    uint64_t n_syncs, n_writes, written_bytes;
};
struct vfs_figures vfs_system_figures(void); /* any thread */

/* Does this errno, of making or opening a file, say that something is short which may be there
 * again later (descriptors, memory, room on the disk)? Else the file is at fault. */
bool vfs_is_shortage(int error);

/* Is this open file still the one that has this name? When that cannot be told, it is. */
bool vfs_has_name(const struct vfs *v, int fd, const char *path);

/* Writes one view at `at`; a convenience over write_at. */
MUST_USE enum err vfs_write(const struct vfs *v, int fd, struct bytes b, uint64_t at);
