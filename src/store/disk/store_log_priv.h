/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_priv.h -- what reading, compacting, rewriting and appending share: the names beside the
 * log, and the log that is open. */
#pragma once

#include <stdatomic.h>

#include "base/lock.h"
#include "store/disk/store_log.h"
#include "store/disk/store_log_sums.h"

enum { STORE_LOG_MAX_PATH = 1024 };

struct log_path {
    char s[STORE_LOG_MAX_PATH];
};

/* `<path><suffix>`. E_SYS (ENAMETOOLONG). */
MUST_USE enum err store_log__path(const struct store_log_opts *o, const char *suffix,
                                  struct log_path *ret);
struct log_path store_log__dir(const struct store_log_opts *o);
/* OK or E_NOT_FOUND or E_SYS. */
MUST_USE enum err store_log__exists(const struct store_log_opts *o, const char *path);
/* Renames, durably. */
MUST_USE enum err store_log__rename(const struct store_log_opts *o, const char *from,
                                    const char *to);

/* ---- store_log_compact.c ---- */

/* Puts `<path>.new` in the place of the log, which becomes a timed backup. E_SYS: the log is as it
 * was; E_STORE: it is not known which of the two has which name. */
MUST_USE enum err store_log__exchange(const struct store_log_opts *o);
/* What the newest timed backup has behind the name of the log; empty: there is none. E_SYS. */
MUST_USE enum err store_log__newest_backup(const struct store_log_opts *o, char ret[SUMS_NAME_LEN]);
/* Of two such ends: < 0 when a is older. */
int store_log__compare_backups(const char *a, const char *b);

/* ---- store_log_erase.c ---- */

struct store_log;

enum { STORE_LOG_LINE_MIN = 40 }; /* of a record of a queue, with its newline */

/* A line that is to be, or has been, overwritten. */
struct erased {
    uint64_t offset;
    uint32_t which; /* while they are looked for: of what is dead */
    uint32_t n;     /* with its newline */
};
struct erased_lines {
    struct erased *v; /* owned; by offset */
    size_t n, cap;
    uint64_t end;      /* of the log in which they are */
    uint32_t rest_crc; /* of all that is before the end, but for them */
};
/* A filler in the place of a line of n bytes, with its newline: its byte number `at`. */
uint8_t store_log__filler_byte(size_t at, size_t n);
uint32_t store_log__filler_crc(uint32_t n);
bool store_log__is_filler(struct bytes text);        /* without its newline */
void store_log__forget_erasing(struct store_log *l); /* the log is another one */
void store_log__free_erased(struct erased_lines *l);
/* Before the log is read: what was noted and not done. E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_log__finish_erasing(const struct store_log_opts *o);
/* Before another file becomes the log. E_SYS. */
MUST_USE enum err store_log__drop_notes(const struct store_log_opts *o);
/* Overwrites a file that is no log any more; durably. E_SYS, E_NO_MEMORY. */
MUST_USE enum err store_log__zero(const struct vfs *v, int fd);

/* ---- an open log ---- */

struct log_line {
    struct log_line *next;
    lsn_t lsn;       /* 0: belongs to a group that failed, and goes with the next; or to a copy */
    bool creates;    /* `queue`, and what becomes of it has not been told */
    struct id queue; /* if it creates one */
    size_t n;
    char text[]; /* with its newline */
};

struct log_lines {
    struct log_line *head, *last; /* last is valid if head is not NULL */
};

void store_log__push(struct log_lines *l, struct log_line *owned);
void store_log__free_lines(struct log_lines *l);
MUST_USE enum err store_log__line(struct bytes text, lsn_t lsn,
                                  struct log_line **ret); /* E_LIMIT, E_NO_MEMORY */

struct log_file {
    int fd;           /* -1: none */
    uint64_t end;     /* of the whole groups */
    uint64_t written; /* end and what the current group has added */
    size_t unsynced;  /* bytes */
};

MUST_USE enum err store_log__write(const struct vfs *v, struct log_file *f,
                                   const struct log_lines *lines);
/* Back to the whole groups, durably. */
MUST_USE enum err store_log__cut(const struct vfs *v, struct log_file *f);
MUST_USE enum err store_log__sync(const struct vfs *v, struct log_file *f);

/* How far a rewrite has come (store_log_rewrite.c). */
enum rewrite_state {
    REWRITE_NONE,
    REWRITE_COPYING, /* lines collect for the new file, which the rewriting thread writes */
    REWRITE_JOINING, /* all has been copied: the first group at join_lsn or later joins the two */
    REWRITE_BOTH,    /* each group goes to both files: either is the whole log */
};

struct rewrite {
    struct lock mtx;
    /* guarded by mtx */
    enum rewrite_state state;
    bool failed;     /* given up by the commit thread; the rewriting thread cleans up */
    bool exchanging; /* the names are being changed: neither file can be given up */
    bool adopt;      /* the new file is the log: the commit thread lets go of the old one */
    bool give_up;    /* the old file is the log: the commit thread lets go of the new one */
    uint16_t nr;     /* of this rewrite, or the last; 0: there was none */
    lsn_t join_lsn;
    struct log_lines collected;
    uint64_t n_lines;          /* of the new file */
    int idle_fd, idle_sums_fd; /* let go; closed by the rewriting thread. -1: none */
    uint64_t sums_end;         /* the log's length when they were let go: new ones begin there */
    bool no_sums;              /* nobody makes new ones */
    bool has_sums;             /* these are they, for the commit thread */
    struct log_sums sums;
    /* the rewriting thread's while COPYING, then the commit thread's */
    struct log_file file;
    /* commit thread only */
    struct log_lines joining;      /* what the new file lacks, with the lines of the group */
    const struct log_lines *lines; /* of this group; NULL: none for the new file */
};

struct store_log {
    /* fixed after open */
    struct store_log_opts o;
    const struct vfs *vfs;
    struct commit *commit;
    /* guarded by the mutex of commit */
    struct log_lines pending;
    size_t pending_bytes;
    /* commit thread only */
    struct log_lines taken;
    struct log_file file;
    struct log_sums sums; /* fd -1 and not off: new ones are being made */
    /* atomic, relaxed: for decisions that may be a little late */
    _Atomic uint64_t n_lines, len_bytes;
    struct rewrite rewrite;
    /* the rewriting thread's */
    struct erased_lines erasing; /* noted, and not known to be done */
};

/* ---- store_log_rewrite.c: its part in a group; the commit thread ---- */

/* A line that was appended, under commit's mutex: does it go to the new file too? The same line is
 * left to the caller. E_NO_MEMORY. */
MUST_USE enum err store_log__rewrite_append(struct store_log *l, struct bytes text, lsn_t lsn,
                                            const struct store_log_of *of);
/* Before the lines of a group are taken, and after. True: there is something to write. */
void store_log__rewrite_settle(struct store_log *l);
/* Takes over the checksums that were made for the new log, if there are any. */
void store_log__rewrite_take_sums(struct store_log *l);
bool store_log__rewrite_take(struct store_log *l, lsn_t upto);
MUST_USE enum err store_log__rewrite_write(struct store_log *l);
MUST_USE enum err store_log__rewrite_sync(struct store_log *l);
MUST_USE enum err store_log__rewrite_undo(struct store_log *l);
void store_log__rewrite_drop(struct store_log *l);
void store_log__rewrite_done(struct store_log *l, bool ok);
