/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* new_file.h -- a file that takes the place of another one when it is complete and on stable
 * storage, and not before: whoever reads the name finds the old content or the new.
 *
 * Written through a buffer, under the name with ".new" behind it. The first error stays, so that
 * only new_file_commit() has to be asked. Blocks: never on a loop. One thread at a time. */
#pragma once

#include "base/vfs.h"
#include "base/wr.h"

enum { NEW_FILE_PATH_MAX = 4096 };

struct new_file {
    const struct vfs *vfs; /* borrowed */
    char path[NEW_FILE_PATH_MAX];
    char temp[NEW_FILE_PATH_MAX];
    int fd;
    uint8_t *buf; /* owned, cap bytes */
    size_t n, cap;
    uint64_t written; /* bytes before the buffer */
    enum err err;
};

/* Buffers cap bytes; 0 when there will only be new_file_put(). E_SYS with errno, E_NO_MEMORY,
 * E_LIMIT when the path is too long; then there is nothing to end. After OK, new_file_commit() or
 * new_file_discard() ends it. */
MUST_USE enum err new_file_open(struct new_file *f, const struct vfs *v, const char *path,
                                mode_t mode, size_t cap);
/* A cursor with room for at least n bytes, n <= cap; none after an error. */
struct wr new_file_begin(struct new_file *f, size_t n);
/* Takes what was written through that cursor; its error becomes the file's. */
void new_file_end(struct new_file *f, const struct wr *w);
/* Writes b itself, behind what is in the buffer: for what is in memory as a whole. */
void new_file_put(struct new_file *f, struct bytes b);
uint64_t new_file_len(const struct new_file *f); /* bytes so far */
/* The file is complete. After an error, the first one, the old file is as it was; unless it was the
 * directory that could not be synced: then a power loss decides which of the two is there. */
MUST_USE enum err new_file_commit(struct new_file *f);
void new_file_discard(struct new_file *f);

/* The directory of a path, where a name was made or changed, is brought to stable storage. */
MUST_USE enum err vfs_sync_parent(const struct vfs *v, const char *path);
