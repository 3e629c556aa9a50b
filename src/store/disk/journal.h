/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal.h -- the message journal: bodies on disk, in segments that are recycled. It knows
 * messages, not queues.
 *
 * Format, recovery rules and the reasons: docs/FORMATS.md and docs/adr/0004-journal-format.md. In
 * short: records with CRC-32C and a running number are appended to segments of 8 MiB; a deletion is
 * a record too; the oldest segment is freed when its live records are few (they are copied
 * forward), so a deletion is always still there as long as the message it deletes. A message whose
 * deletion is durable is overwritten within ERASE_WITHIN_S, then the deletion, and free segments
 * are overwritten too: the server must not be an archive (ADR 19).
 *
 * Threads: append and release may be called by any thread that holds commit_begin() or nothing as
 * stated; records are written by the commit thread alone; some threads do nothing but read bodies,
 * so that no reader waits for house-keeping; a worker thread erases, compacts, and keeps spare
 * segments ready. Lock order: the owner's lock of a queue, the mutex of
 * commit_begin(), the journal's own (which is never held while calling anybody). */
#pragma once

#include "base/vfs.h"
#include "model/message.h"
#include "store/disk/commit.h"

struct journal;
struct jrec;

enum { JOURNAL_SEGMENT_LEN = 8 << 20, ERASE_WITHIN_S = 45 };

/* Where a message's record is; 8 bytes, because there is one for each message in RAM. */
struct journal_loc {
    uint32_t segment;  /* running number of the segment */
    uint32_t offset_8; /* of the record, in units of 8 bytes */
};

struct journal_msg {
    struct id queue, msg;
    int64_t ts_s;
    bool notification, is_quota;
    uint16_t body_len;
    uint64_t order; /* messages of a queue are in this order, wherever they lie */
    struct journal_loc loc;
};

struct journal_owner {
    /* While opening: each live message, in order of `order`. E_NOT_FOUND: there is no such queue;
     * the message is dropped. */
    enum err (*recovered)(void *ctx, const struct journal_msg *m);
    /* While opening: is there such a queue? */
    bool (*has_queue)(void *ctx, const struct id *queue);
    /* Worker thread: the record at m->loc is to move. If the message is still live there, the owner
     * calls journal_copy(), under its own lock of the queue and commit_begin(); else it does
     * nothing. The message stays where it is until moved() says otherwise. */
    void (*relocate)(void *ctx, const struct journal_msg *m, struct bytes body);
    /* Commit thread: the copy at m->loc is written. If the message is still live at `from`, the
     * owner remembers the new place and returns true, all under its own lock of the queue; else
     * false. */
    bool (*moved)(void *ctx, const struct journal_msg *m, struct journal_loc from);
    /* Commit thread: the message was in a group that failed: it is not stored. The owner takes it
     * out, without journal_delete(). */
    void (*lost)(void *ctx, const struct id *queue, const struct id *msg);
    void *ctx;
};

struct journal_opts {
    const struct env *env;
    const struct vfs *vfs;
    const char *dir;       /* is made when absent; borrowed */
    const char *mark_path; /* file that says what an orderly stop has left; NULL: none; borrowed */
    struct commit *commit; /* borrowed; the journal adds itself as a sink */
    struct journal_owner owner;
    bool skip_warnings; /* damaged segments are set aside instead of refused */
    size_t segment_len; /* 0: JOURNAL_SEGMENT_LEN; tests use small ones */
    void (*progress)(void *ctx, uint64_t done,
                     uint64_t total); /* bytes read while opening, with owner.ctx; may be NULL */
};

/* What was found wrong, in words for the operator: file, offset, what to do. */
struct journal_problem {
    char text[560];
};

struct journal_stats {
    uint64_t n_live, live_bytes; /* messages on disk that are not deleted */
    uint64_t n_segments, disk_bytes;
    uint64_t torn_bytes; /* dropped when opening: never acknowledged */
    uint64_t n_to_erase; /* deleted bodies not yet overwritten */
    bool low_space;      /* messages are refused, deletions are not */
};

/* Recovers, then is ready. Before commit_start(). E_STORE (damage: *ret_problem says where; nothing
 * was changed), E_SYS, E_NO_MEMORY. */
MUST_USE enum err journal_open(const struct journal_opts *o, struct journal **ret,
                               struct journal_problem *ret_problem);
MUST_USE enum err journal_start(struct journal *j); /* its threads; after commit_start(). E_SYS */
void journal_stop(struct journal *j);               /* ends them; before commit_stop() */
void journal_close(struct journal *j);              /* after commit_stop(); NULL is a no-op */

/* What a journal's directory holds. */
enum journal_file { FILE_SEGMENT, FILE_SPARE, FILE_DAMAGED };
/* Kind and number of a file by its name. False: not a name that the journal gives. Any thread. */
bool journal_parse_file_name(const char *name, enum journal_file *ret_kind, uint32_t *ret_number);

/* The following three: between commit_begin() and commit_end(). On an error nothing has changed.
 * E_NO_MEMORY; E_LIMIT: larger than a segment. */
/* The body is written from m itself: the reference taken lives until the group is done. *ret_loc is
 * where it will be. E_STORE: the disk is nearly full; what is left is kept for deletions, so that
 * the relay can be emptied. */
MUST_USE enum err journal_append(struct journal *j, const struct id *queue, struct message *m,
                                 struct journal_loc *ret_loc);
/* In owner.relocate() only; body is copied. E_STORE: the body on disk is damaged, so the message
 * stays where it is. */
MUST_USE enum err journal_copy(struct journal *j, const struct journal_msg *m, struct bytes body);
/* The message is deleted: a deletion record, and its body is erased once that is durable. */
MUST_USE enum err journal_delete(struct journal *j, const struct id *queue, const struct id *msg,
                                 struct journal_loc loc, uint16_t body_len, lsn_t lsn);
/* All messages that a queue has are deleted: one record, which is on stable storage before the
 * sinks behind the journal write of this group; so what they say of the queue never is there alone.
 * In two steps, because what can fail comes before both: journal_purge_new(), the line of the store
 * log, then journal_purge_append(), which cannot fail, or journal_purge_drop(). All within one
 * commit_begin(), with no other append between. */
struct journal_purge {
    struct jrec *record, *end; /* private */
};
MUST_USE enum err journal_purge_new(struct journal *j, const struct id *queue,
                                    struct journal_purge *ret);
void journal_purge_append(struct journal *j, struct journal_purge owned);
void journal_purge_drop(struct journal_purge owned);
/* Of each message that journal_purge_append() has deleted at lsn: it is erased. Any time after that
 * and before journal_purge_done(), which comes once for each append; under the owner's lock of the
 * queue. */
void journal_forget(struct journal *j, struct journal_loc loc, uint16_t body_len, lsn_t lsn);
void journal_purge_done(struct journal *j);

/* Asks for a body to be read into ret_body (room for body_len); done(arg, e) is called by one of
 * the threads that read: OK, E_NOT_FOUND (it does not lie there any more: look where it is now),
 * E_STORE (it cannot be read, or is damaged), E_CLOSED (the journal stops). Not before the message
 * is durable. Any thread. E_NO_MEMORY; E_CLOSED: there are no such threads; done is not called
 * then. */
typedef void journal_read_done(void *arg, enum err e);
MUST_USE enum err journal_read(struct journal *j, const struct journal_msg *m, uint8_t *ret_body,
                               journal_read_done *done, void *arg);

/* The path of the segment that is written, when the next start will not find it there; else NULL.
 * Commit thread; until its next call. */
const char *journal_missing(struct journal *j);

struct journal_stats journal_stats(struct journal *j); /* any thread */
/* Runs one round of the worker's erasing and compaction now; for tests and `journal` commands. Not
 * while the worker runs. */
void journal_housekeep(struct journal *j);
