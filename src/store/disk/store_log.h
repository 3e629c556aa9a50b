/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log.h -- the store log of queue records: a text file, byte-compatible with the reference in
 * both directions.
 *
 * Appending is a commit sink: lines collect, the commit thread writes and syncs them in groups; a
 * group that does not fit on the disk is cut off again, and stays queued (see commit.h), so the
 * file always ends with a whole line. Reading is at start only.
 *
 * Compaction writes the whole state to a new file beside the log, syncs it, and puts it in place
 * with the steps that the reference takes at its start, so that each of the two servers can go on
 * after a crash of the other: log -> `<path>.start`, new -> log, `.start` -> a timed name
 * (`smp-server-store.log.2026-11-22T14:00:00Z`), each made durable before the next. While `.start`
 * exists it is the true state. Timed backups are kept for a time of the operator's choice, or as
 * the reference keeps them: those of the last 24 hours, the newest 3 of the older ones, and none of
 * the rest that is older than 21 days.
 *
 * Of lines on stable storage there are checksums in a file of their own, which the reference does
 * not know: bytes that the disk has changed, or an end that is gone, are noticed at the next start.
 * Formats: docs/FORMATS.md. */
#pragma once

#include "base/id.h"
#include "base/vfs.h"
#include "store/disk/commit.h"

struct store_log;

/* How far the file of checksums is good, and for how much of the log. Zeros: it is made anew. */
struct store_log_sums {
    uint64_t end, covered;
};

struct store_log_opts {
    const struct env *env;
    const struct vfs *vfs;
    const char *path;           /* borrowed */
    uint64_t n_lines;           /* to open: what is in the file, for store_log_n_lines() */
    bool skip_warnings;         /* bad lines are set aside in `<path>.bad` instead of refused */
    bool has_sums;              /* checksums of its lines are kept in `<path>.sums` */
    struct store_log_sums sums; /* to open: what store_log_read() has found */
    /* Timed backups of this age are overwritten and removed. 0: they are kept as by the reference.
     */
    int64_t copies_ttl_s;
    /* The line that creates this queue could not be made durable, and is queued still: what undoes
     * it is appended now, with store_log_append_undo(). Commit thread, without its mutex, once for
     * each; before anybody learns that the change was lost. May be NULL. */
    void (*creation_lost)(void *ctx, const struct id *queue);
    void *creation_ctx;
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes; may be NULL */
    void *progress_ctx;
};

struct store_log_problem {
    char text[600];
};

struct store_log_stats {
    uint64_t n_lines, n_bad, torn_bytes;
    struct store_log_sums sums;
    uint64_t len_bytes;
};

/* Calls line() for every whole line, without its newline. line() returns E_SYNTAX for a line that
 * it cannot use: that stops the reading (E_STORE, *ret_problem says file and line) or, with
 * skip_warnings, sets the line aside; any other error of line() is returned as it is. What a power
 * loss leaves of a group that was never acknowledged is dropped and counted in torn_bytes: an
 * unfinished last line and, in the last STORE_LOG_TORN_WINDOW bytes, lines with zero bytes and what
 * cannot be used after them. A file that does not exist is empty. With checksums, a log that is not
 * as it was written is E_STORE too, after all lines; with skip_warnings it is taken as it is.
 * Start only. E_SYS, E_NO_MEMORY. */
enum { STORE_LOG_TORN_WINDOW = 1 << 20, STORE_LOG_LINE_LEN = 64 << 10 };
MUST_USE enum err store_log_read(const struct store_log_opts *o,
                                 enum err (*line)(void *ctx, struct bytes text), void *ctx,
                                 struct store_log_stats *ret,
                                 struct store_log_problem *ret_problem);

/* Replaces the log by what `write` produces through store_log_put(). Start only, after
 * store_log_read(). What write() returned, or E_SYS: the old log is in place, unchanged. E_STORE:
 * stopped half-way between the two; the next start finds either whole, this one must not go on
 * (store_log_open() refuses). */
struct store_log_writer;
MUST_USE enum err store_log_compact(const struct store_log_opts *o,
                                    enum err (*write)(void *ctx, struct store_log_writer *w),
                                    void *ctx);
MUST_USE enum err store_log_put(struct store_log_writer *w,
                                struct bytes line); /* adds the newline; E_SYS */

/* Opens for appending, at the end of the last whole line (a torn tail is cut off), and adds itself
 * to commit as a sink. Makes the file when there is none. E_SYS, E_NO_MEMORY; E_EXISTS:
 * `<path>.start` is there, so this log is not the true one: store_log_read() first. */
MUST_USE enum err store_log_open(const struct store_log_opts *o, struct commit *commit,
                                 struct store_log **ret);
/* Brings the checksums up to the log; without has_sums a no-op. When nothing stands in the way of
 * the start, before commit_start(). */
void store_log_start(struct store_log *l);
void store_log_close(struct store_log *l); /* after commit_stop(); NULL is a no-op */

/* What a line is about. `mark` is kept beside what it is about, under the same lock, and is 0 at
 * first: the number of the rewrite into which its state has been copied. */
struct store_log_of {
    uint16_t *mark;         /* NULL: it is in every rewrite from its beginning on */
    bool creates;           /* the line has the whole state */
    const struct id *queue; /* that it creates; NULL: none */
};
/* Between commit_begin() and commit_end(). A copy of the line; the newline is added. E_NO_MEMORY,
 * E_LIMIT (STORE_LOG_LINE_LEN): nothing changed. */
MUST_USE enum err store_log_append(struct store_log *l, struct bytes line,
                                   const struct store_log_of *of);
/* The same within creation_lost(), when nothing else can be appended. */
MUST_USE enum err store_log_append_undo(struct store_log *l, struct bytes line,
                                        const struct store_log_of *of);
/* Is what is written the file that the next start will find? Commit thread. */
bool store_log_is_in_place(struct store_log *l);
uint64_t store_log_n_lines(const struct store_log *l); /* any thread; a little late */
uint64_t store_log_len(const struct store_log *l);     /* bytes; likewise */

/* What a line is to the life of something: a line that begins it has its whole state, so those
 * before it say nothing any more; of two lives the later one counts. */
enum store_log_life { LIFE_OF_OTHERS, LIFE_BEGINS, LIFE_GOES_ON, LIFE_ENDS };

/* n things of which something is dead: all that is before the last line that begins their life, or
 * the whole life with the line that ends it. find() knows the lines of them, without their
 * newlines, and says which of them it is. */
struct store_log_dead {
    size_t n;
    enum store_log_life (*find)(void *ctx, struct bytes line, size_t *ret_which);
    void *ctx;
};
/* Overwrites those lines with fillers, which are left out when the log is read; durably. Blocks for
 * as long as it takes to read the log. The thread that writes the log anew; between commit_start()
 * and commit_stop(). After an error, some are overwritten: to be done again. E_STORE: changes are
 * refused; E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_log_erase(struct store_log *l, const struct store_log_dead *dead);
/* Overwrites and removes timed backups that are too old. The same thread. */
void store_log_remove_copies(const struct store_log *l);
/* Overwrites a file and removes it, in any case. OK when there is none. E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_log_remove_file(const struct vfs *v, const char *path);
/* The file that has this name, open, before another one takes it; -1: there is none. */
int store_log_hold(const struct vfs *v, const char *path);
/* Closes it; is_replaced: overwritten first, for nobody finds it any more. fd may be -1. */
void store_log_release(const struct vfs *v, const char *path, int fd, bool is_replaced);

/* ---- writing the log anew while it is used ----
 *
 * One thread goes through all there is and copies the state of each thing, under its lock. Lines
 * about what has been copied are appended to the new file too, in the order in which they were
 * made; lines about the rest will be in its copy. So the new file is at each moment a log of what
 * has been copied. When that is all, the commit thread writes each group to both files, and the
 * names are exchanged: whichever a crash leaves is whole. Appending waits for none of this.
 *
 * All by one thread, between commit_start() and commit_stop(). */

/* E_SYS; E_STORE when the last one could not be ended; E_LIMIT: all marks must be set to 0 first,
 * then store_log_rewrite_renumber(). */
MUST_USE enum err store_log_rewrite_begin(struct store_log *l);
void store_log_rewrite_renumber(struct store_log *l);
/* The state of something, under its lock. What has been copied is left out. E_NO_MEMORY, E_LIMIT.
 */
MUST_USE enum err store_log_rewrite_put(struct store_log *l, struct bytes line, uint16_t *mark);
/* The same, without a mark: for what is copied right after the begin. ctx is the log. */
MUST_USE enum err store_log_rewrite_put_first(void *ctx, struct bytes line);
/* Writes and syncs what has been put; *ret_n is its length. E_SYS; E_STORE: the storage has failed,
 * or is full. Then, as after any failure, store_log_rewrite_abort(). */
MUST_USE enum err store_log_rewrite_flush(struct store_log *l, size_t *ret_n);
/* All is copied: the new file becomes the log; the old one is kept as a timed backup or removed.
 * E_SYS, E_STORE: the log is the old one, or both until the end; nothing is to be done. */
MUST_USE enum err store_log_rewrite_end(struct store_log *l, bool keep_backup);
void store_log_rewrite_abort(struct store_log *l);
