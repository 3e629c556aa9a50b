/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_priv.h -- what the parts of the journal share.
 *
 *   journal.c          open, close, append: places are given out under the commit mutex
 *   journal_segment.c  the table of segments, spare files, names
 *   journal_write.c    the commit sink: writes groups, syncs, undoes
 *   journal_mark.c     what an orderly stop has left
 *   journal_read.c     the readers: threads that read bodies
 *   journal_worker.c   the worker thread: frees, keeps spares
 *   journal_erase.c    takes what is deleted out of the files
 *   journal_compact.c  moves what lives in the oldest segment
 *   journal_scan.c     reads a segment while opening
 *   journal_recover.c  decides what a crash or damage has left
 *   journal_repair.c   makes the files say so
 *   journal_format.c   bytes */
#pragma once

#include "base/lock.h"
#include "base/thread.h"
#include "store/disk/journal.h"
#include "store/disk/journal_format.h"

enum {
    JOURNAL_MAX_PATH = 1024,
    JOURNAL_GROUP_BYTES = 32 << 20, /* per sync: bounds the time that an answer waits for others */
    JOURNAL_N_SPARES = 2,           /* kept ready */
    JOURNAL_MAX_SPARES = 16,        /* known at a time; more are removed at once */
    JOURNAL_N_IOV = 1023,
    JOURNAL_N_DIRTY = 8,
    JOURNAL_N_READERS = 4,          /* reads that the disk is given at a time */
    JOURNAL_MAX_ERASURES = 1000000, /* then a round is made at once */
    JOURNAL_ROUND_S = 15,
};

/* A record on its way to the disk. */
struct jrec {
    struct jrec *next;
    lsn_t lsn; /* 0: belongs to a group that failed; goes with the next */
    struct journal_loc loc;
    struct journal_loc from; /* COPY: where the message is now */
    struct record_head h;
    struct message *msg; /* MSG: counted; its body is written */
    uint8_t head[RECORD_HEAD_LEN];
    uint8_t body[]; /* COPY */
};

struct jrec_list {
    struct jrec *head, **tail; /* initialised by jrec_list_init() */
};

static inline void jrec_list_init(struct jrec_list *l) {
    l->head = NULL;
    l->tail = &l->head;
}

static inline void jrec_list_push(struct jrec_list *l, struct jrec *r) {
    r->next = NULL;
    *l->tail = r;
    l->tail = &r->next;
}

struct segment {
    uint64_t salt;  /* valid once the file is there */
    lsn_t free_lsn; /* may be freed once this is on stable storage */
    uint64_t live_bytes;
    uint32_t n_live;
};

struct spare {
    uint32_t number;
    bool clean; /* all zeros, on stable storage */
    int fd;     /* owned; opened ahead, so that a segment needs no descriptor; -1: not clean */
};

/* Of a group that failed: what is still to be taken out of the files. */
struct undo {
    bool wanted;
    struct journal_loc from; /* where the group began */
    uint64_t to;             /* where what it wrote to that segment ends */
};

/* A record that has nothing to say any more. */
struct erasure {
    struct journal_loc loc;
    lsn_t lsn; /* not before this is on stable storage */
    uint16_t body_len;
};

struct erasures {
    struct erasure *v; /* owned */
    size_t n, cap;
};
MUST_USE enum err erasures_add(struct erasures *l, const struct erasure *x); /* E_NO_MEMORY */

struct segment_fd {
    uint32_t number;
    int fd; /* -1: none */
};

struct read_req;

/* What an orderly stop has left. */
struct journal_mark {
    bool is_there, valid;
    uint32_t first_segment, n_segments;
    uint64_t next_n;
    bool has_count;
    uint64_t n_messages; /* that live, if has_count */
    int64_t stopped_s;
};

struct reads {
    struct lock mtx;
    struct lock_cond wake;
    /* guarded by mtx */
    struct read_req *head, **tail; /* owned */
    bool stopping;
    unsigned n_threads;
    struct thread threads[JOURNAL_N_READERS];
};

struct journal {
    /* fixed after journal_open() */
    const struct env *env;
    const struct vfs *vfs;
    char *dir;       /* owned */
    char *mark_path; /* owned; NULL: none */
    struct commit *commit;
    struct journal_owner owner;
    uint32_t segment_len;
    uint64_t torn_bytes;

    /* guarded by the mutex of commit */
    struct journal_loc pos; /* of the next record */
    uint64_t next_n;
    struct jrec_list pending;
    uint64_t pending_bytes;

    /* commit thread only */
    struct jrec_list taken;
    struct segment_fd cur;                    /* being written; number 0: none yet */
    struct segment_fd dirty[JOURNAL_N_DIRTY]; /* ended, not yet synced */
    unsigned n_dirty;
    bool cur_is_dirty;
    char missing[JOURNAL_MAX_PATH]; /* see journal_missing() */
    uint64_t written_n, synced_n;
    struct undo undo;
    struct iovec iov[JOURNAL_N_IOV];
    int n_iov;
    uint64_t iov_at;

    /* worker only (journal_housekeep: the caller) */
    bool stuck;           /* the oldest segment cannot be freed: damaged, or not renamed */
    bool relocating_bad;  /* owner.relocate() is asked about a body that is damaged */
    bool met_bad;         /* and the message is live */
    bool copy_failed;     /* a live message was not copied: no memory */
    uint8_t *segment_buf; /* owned; NULL until needed */

    /* guarded by mtx */
    struct lock mtx;
    struct lock_cond wake;
    struct segment *segments; /* owned; [0] is first_segment */
    uint32_t first_segment, n_segments, cap_segments;
    uint32_t closed_below; /* segments with a lower number are ended and synced */
    uint64_t live_bytes, n_live;
    struct spare spares[JOURNAL_MAX_SPARES];
    unsigned n_spares;
    uint32_t next_spare;
    bool low_space;
    bool miscounted;           /* more is counted as live than is */
    bool unproven;             /* the last group is not known to be synced by any record */
    struct erasures erasures;  /* messages that are deleted */
    struct erasures deletions; /* DELETE and PURGE on the disk */
    bool keeps_deletions;      /* what they delete is not all in erasures */
    unsigned n_purging;        /* PURGE appended, and its messages not yet all forgotten */
    size_t n_erasures_left;    /* after the last round */
    bool kicked, stopping, has_worker;
    struct thread worker;

    struct reads reads;
};

/* ---- journal.c ---- */

/* Gives a record its place and number, and `end` to the segment that it does not fit into any more.
 * *ret_used_end says whether. Commit mutex held; the table of segments must have room for one more.
 */
void journal__place(struct journal *j, struct jrec *r, struct jrec *end, bool *ret_used_end);
/* Appends a record that has no message: for MARK, and for deletions found necessary while opening.
 * Between commit_begin() and commit_end(). */
MUST_USE enum err journal__append_plain(struct journal *j, const struct record_head *h);

/* ---- journal_segment.c: the table is guarded by mtx, which these do not take unless they say so
 * ---- */

struct journal_path {
    char s[JOURNAL_MAX_PATH];
};
struct journal_path journal__path(const struct journal *j, enum journal_file kind, uint32_t number);

struct segment *journal__segment(struct journal *j,
                                 uint32_t number); /* NULL: not there (any more) */
MUST_USE enum err journal__reserve_segment(
    struct journal *j); /* room for one more; E_NO_MEMORY; takes mtx */
void journal__count_live(struct journal *j, struct journal_loc loc, uint16_t body_len, int sign);
/* The record is dead, once lsn is on stable storage. E_NO_MEMORY: nothing changed. */
MUST_USE enum err journal__add_erasure(struct journal *j, const struct erasure *e);

MUST_USE enum err journal__write_zeros(const struct journal *j, int fd, uint64_t from, uint64_t to);
/* Bytes: a group's sync may have to wait behind so many. */
enum { JOURNAL_ZEROS_PER_SYNC = 512 << 10 };
enum zero_pace {
    ZERO_BY_PARTS, /* a sync for each, so that nobody who syncs has to wait behind much */
    ZERO_AT_ONCE   /* one sync: a group waits for the file itself */
};
/* The whole file, and syncs it. E_SYS. */
MUST_USE enum err journal__zero_file(const struct journal *j, int fd, enum zero_pace pace);
/* A file of zeros, synced, under a new spare name. E_SYS. Takes mtx. */
MUST_USE enum err journal__create_spare(struct journal *j, enum zero_pace pace, struct spare *ret);
/* One that is clean, or one that is not. False: none. Takes mtx. */
bool journal__take_spare(struct journal *j, bool clean, struct spare *ret);
/* Puts it back, or removes the file when there are enough. Takes mtx. */
void journal__put_spare(struct journal *j, struct spare s);
void journal__remove_spare(const struct journal *j, struct spare s);
/* Renames a segment to a spare, durably. Takes mtx. E_SYS: it has its name still, unless errno is
 * EIO. */
MUST_USE enum err journal__retire(struct journal *j, uint32_t number, struct spare *ret);
/* A new segment from a spare or a new file, with its head, durable and under its name. Takes mtx.
 * E_SYS. */
MUST_USE enum err journal__make_segment(struct journal *j, const struct segment_head *h,
                                        int *ret_fd);

/* ---- journal_write.c ---- */
void journal__init_sink(struct journal *j, struct commit_sink *ret);
void journal__close_files(struct journal *j);
MUST_USE enum err journal__write_end(struct journal *j); /* at an orderly stop; E_SYS */

/* ---- journal_worker.c ---- */
void journal__kick(
    struct journal *j); /* the worker is to look what there is to do; any thread; takes mtx */
bool journal__free_oldest(struct journal *j);     /* worker; nothing that lives there may be lost;
                                                     false: not now */
uint8_t *journal__segment_buf(struct journal *j); /* worker; room for a segment; NULL: no memory */

/* ---- journal_erase.c ---- */
#define JOURNAL_NOTES_NAME "erasing"
void journal__erase(struct journal *j); /* worker */
/* A DELETE or PURGE has been written there. Takes mtx. */
void journal__note_deletion(struct journal *j, struct journal_loc loc, lsn_t lsn);
struct journal_path journal__notes_path(const struct journal *j);
/* While opening: the heads that were about to be written. Owned; NULL, 0: none. E_SYS, E_NO_MEMORY.
 */
MUST_USE enum err journal__load_notes(const struct journal *j, uint8_t **ret, size_t *ret_n);
/* Into a segment that has been read, so that it is as if they had been written. */
void journal__apply_notes(const uint8_t *notes, size_t n, uint32_t number, uint64_t salt,
                          uint8_t *segment, size_t len);
MUST_USE enum err journal__write_noted(struct journal *j, const uint8_t *notes,
                                       size_t n); /* durably; E_SYS */

/* ---- journal_mark.c ---- */
MUST_USE enum err journal__read_mark(const struct journal *j,
                                     struct journal_mark *ret);  /* E_SYS; without a path: none */
MUST_USE enum err journal__remove_mark(const struct journal *j); /* durably; E_SYS */
MUST_USE enum err journal__write_mark(
    const struct journal *j, const struct journal_mark *m); /* durably; E_SYS, E_NO_MEMORY */

/* ---- journal_read.c ---- */
MUST_USE enum err journal__start_readers(struct journal *j); /* E_SYS */
void journal__stop_readers(struct journal *j);               /* what was asked for is read before */

/* ---- journal_compact.c ---- */
void journal__compact(struct journal *j); /* worker */

/* ---- journal_recover.c ---- */
MUST_USE enum err journal__recover(struct journal *j, const struct journal_opts *o,
                                   struct journal_problem *ret_problem);
