/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* faultfs.h -- a file system in memory that can lose power and can fail.
 *
 * It knows what is on stable storage and what is only written. A power loss keeps what was synced;
 * of the rest, each sector of 512 bytes is kept, lost, or torn by chance, a file's new length is
 * kept or lost, and so is each name made, renamed or removed since its directory was synced. All
 * functions lock; any thread. Paths are plain strings; the only directories are those made with
 * mkdir, and "/". */
#pragma once

#include "base/vfs.h"

struct faultfs;

/* True in allocations of its own, which must not fail. Volatile: compilers know that malloc() looks
 * at no variables. */
extern _Thread_local volatile bool faultfs_allocates;

struct faultfs *faultfs_new(uint64_t seed);
struct faultfs *faultfs_clone(struct faultfs *f,
                              uint64_t seed); /* as it is on stable storage now; no faults set */
void faultfs_free(struct faultfs *f);
const struct vfs *faultfs_vfs(struct faultfs *f);

uint64_t faultfs_n_changes(struct faultfs *f); /* operations that change something, so far */
uint64_t faultfs_n_ops(struct faultfs *f);     /* all, reads included */
/* At change number n (1 is the first from now): the power goes; it and all that follow fail with
 * EIO. 0: never. */
void faultfs_lose_power_at(struct faultfs *f, uint64_t n);
/* At operation number n (1 is the first from now), once or from then on: E_SYS with this errno. 0:
 * never, and no more. ENOSPC is for what needs room only: making files, and making them longer;
 * EMFILE, ENFILE and ENOMEM for what opens files and directories. */
void faultfs_fail_at(struct faultfs *f, uint64_t n, int error, bool forever);
void faultfs_set_room(struct faultfs *f, uint64_t n); /* what it says is left; nothing fails */
/* The power is back: only what survived is there. All files are closed. */
void faultfs_power_cycle(struct faultfs *f);
/* The process died and the machine did not: all that was written is there. All files are closed, no
 * faults set. */
void faultfs_kill(struct faultfs *f);

/* Raw access for tests; path NULL: all files that have a name. */
bool faultfs_contains(struct faultfs *f, const char *path, struct bytes what);
uint64_t faultfs_n_bytes(struct faultfs *f);
size_t faultfs_n_files(struct faultfs *f);
const char *faultfs_name(struct faultfs *f, size_t i);
size_t faultfs_size(struct faultfs *f, const char *path);
uint8_t *faultfs_data(struct faultfs *f,
                      const char *path); /* borrowed; NULL: no such file; changes are durable */
void faultfs_link(struct faultfs *f, const char *path, const char *to); /* one more name; durable */
void faultfs_remove(struct faultfs *f, const char *path);
void faultfs_put(struct faultfs *f, const char *path, struct bytes content); /* durable */
