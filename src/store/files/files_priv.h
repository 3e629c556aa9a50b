/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_priv.h -- the backend that keeps what it is given in files, in its two modes.
 *
 *   memory    store log; messages in RAM, saved at an orderly stop
 *   journal   store log and journal; bodies on disk, those of the last moments in RAM too
 *
 * A change is logged under its queue's lock, before it is made, so the order of lines and records
 * is the order of changes. */
#pragma once

#include "base/lock.h"
#include "base/new_file.h"
#include "base/thread.h"
#include "model/limits.h"
#include "store/files/files_hold.h"
#include "store/body_cache.h"
#include "store/disk/commit.h"
#include "store/disk/journal.h"
#include "store/disk/store_log.h"
#include "store/files.h"
#include "store/queue_table.h"
#include "store/store_priv.h"
#include "store/text/record.h"

/* A log of an orderly stop. */
struct saved_log {
    const char *path;              /* borrowed */
    const char *lost;              /* what is gone when its end is missing, in words */
    char aside[NEW_FILE_PATH_MAX]; /* what it becomes when it has done its duty; empty: not read */
};

/* Writes the store log anew while the store is used. */
struct compactor {
    /* fixed while it runs */
    struct thread thread;
    /* its thread's, and before it runs */
    bool is_due;   /* since the start, so the old log is kept */
    bool is_short; /* of room for the messages: has been said */
    struct lock mtx;
    struct lock_cond cond;
    /* guarded by mtx */
    bool stop;
};

struct id_list {
    struct id *v; /* owned */
    size_t n, cap;
};

/* What is to be erased from the store log, and when copies are looked at. */
struct deleted {
    struct lock mtx;
    /* guarded by mtx */
    struct id_list gone;     /* queues that are deleted */
    struct id_list replaced; /* queues that live and had something else before */
    bool is_incomplete;      /* there was no memory: all is written anew */
    /* the compactor's thread */
    int64_t copies_at_ms; /* next look; 0: none yet */
    int64_t baks_at_ms;
};

/* A directory of the store's, and which it was when it was opened. */
struct place {
    char path[NEW_FILE_PATH_MAX]; /* "": none */
    struct vfs_identity id;
};

struct files_store {
    struct store base;
    /* fixed after open */
    struct store_opts shared;
    struct files_opts o;
    struct commit *commit;   /* owned */
    struct store_log *log;   /* owned */
    struct journal *journal; /* owned; NULL: messages in RAM */
    bool started;
    bool was_started; /* the saved logs have been set aside, so they have to be written again */
    struct body_cache bodies;
    struct hold hold;
    struct compactor compactor;
    struct deleted deleted;
    struct saved_log saved_messages, saved_ntfs;
    struct place state_place, journal_place;
};

static inline struct files_store *files_of(struct store *s) {
    return CONTAINER_OF(s, struct files_store, base);
}

/* Where the journal has a message. */
static inline struct journal_loc files_loc(const struct msg_entry *e) {
    return (struct journal_loc){.segment = (uint32_t)(e->place >> 32),
                                .offset_8 = (uint32_t)e->place};
}

static inline uint64_t files_place_of(struct journal_loc loc) {
    return (uint64_t)loc.segment << 32 | loc.offset_8;
}

/* base is the first field */
static inline const struct files_store *files_of_const(const struct store *s) {
    return (const struct files_store *)(const void *)s;
}

/* ---- files_change.c: struct store_ops ---- */
enum err files_record(struct store *s, struct queue *q, const struct record *r, lsn_t *ret_lsn);
enum err files_journal_record(struct store *s, struct queue *q, const struct record *r,
                              lsn_t *ret_lsn);
/* The message into the journal; under the queue's lock. E_STORE, E_NO_MEMORY. */
MUST_USE enum err files_write_message(struct files_store *m, struct queue *q, struct message *msg,
                                      struct msg_entry *e, lsn_t *ret_lsn);
enum err files_journal_message(struct store *s, struct queue *q, struct message *msg,
                               struct msg_entry *e);
bool files_journal_hold(struct store *s, struct queue *q, struct message *msg, struct msg_entry *e);
enum err files_journal_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                              enum store_pace pace, lsn_t *ret_lsn);
enum err files_memory_message(struct store *s, struct queue *q, struct message *msg,
                              struct msg_entry *e);
enum err files_memory_forget(struct store *s, struct queue *q, const struct msg_entry *e,
                             enum store_pace pace, lsn_t *ret_lsn);
/* store_log_opts.creation_lost; ctx is the store */
void files_creation_lost(void *ctx, const struct id *rcv_id);
/* Appends a line to the store log. Under the lock of what it is about. E_STORE, E_NO_MEMORY. */
MUST_USE enum err files_log_line(struct files_store *m, const struct store_log_of *of,
                                 struct bytes line, lsn_t *ret_lsn);

/* ---- files_body.c: bodies between RAM and journal ---- */
bool files_journal_next(struct store *s, struct store_next *n, struct store_waiter *w);
struct journal_owner files_journal_owner(struct files_store *m);
/* Blocks until the body is there: for export. E_NOT_FOUND: the message is gone; E_STORE: it cannot
 * be read. Never on a loop, never under a queue's lock. */
MUST_USE enum err files_bring_body(struct files_store *m, struct queue *q, struct message *msg);

/* ---- files_service.c: service clients ---- */
enum err files_service(struct store *s, struct service *svc, const struct service_rec *rec);
/* A NEW_SERVICE line of the log. E_EXISTS, E_SYNTAX, E_NO_MEMORY. */
MUST_USE enum err files_service_load(struct files_store *m, const struct record *r,
                                     struct bytes line);
/* The service that a record names, or NULL when it names none. E_NO_MEMORY. */
MUST_USE enum err files_service_find(struct files_store *m, const struct record *r,
                                     struct service **ret);
/* Their lines, in their order; those of forgotten ones are left out, and logged again if one comes
 * back. When the new log is the only one: service_table_sweep(). The table's mutex is held, or
 * nobody else is there yet. */
MUST_USE enum err files_service_each_line(struct files_store *m,
                                          enum err (*line)(void *ctx, struct bytes text),
                                          void *ctx);

/* ---- files_ntf_log.c: notifications at start ---- */
MUST_USE enum err files_restore_ntfs(struct files_store *m, struct saved_log *l,
                                     struct store_problem *ret_problem);

/* ---- files_saved_log.c: what is written at an orderly stop, read ---- */
/* Reads l->path; says what is wrong with it. E_STORE, E_SYS, E_NO_MEMORY, what line() returned. */
MUST_USE enum err files_read_saved(struct files_store *m, struct saved_log *l,
                                   enum err (*line)(void *ctx, struct bytes text), void *ctx,
                                   struct store_problem *ret_problem);
/* What the messages in memory need on disk when they are saved, at most. */
uint64_t files_messages_len(const struct files_store *m);
/* Says once when there would be too little room to save the messages, and when there is again. */
void files_watch_room(struct files_store *m);
/* A log that was read is kept once, as `<path>.bak`; one that was not whole for good, as
 * `<path>.damaged-<Unix seconds>`. Durable. None is fine. E_SYS: logged. */
MUST_USE enum err files_set_aside(struct files_store *m, struct saved_log *l);

/* ---- files_compact.c: the store log written anew while it is used ---- */
MUST_USE enum err files_compactor_start(struct files_store *m); /* E_SYS, E_NO_MEMORY */
void files_compactor_stop(
    struct files_store *m); /* before commit_stop(); a no-op when it is not there */

/* ---- files_erase.c ---- */
void files_erase_init(struct deleted *d);
void files_erase_done(struct deleted *d);
/* A queue is deleted, and its line of the log appended. */
void files_note_deleted(struct files_store *m, const struct id *rcv_id);
/* A change of a queue, if it puts something in the place of what was there; appended, and not made
 * yet. Under the queue's lock. */
void files_note_replaced(struct files_store *m, const struct queue *q, const struct record *r);
/* The compactor's thread, or after it has ended. */
void files_erase(struct files_store *m); /* all that was noted; what fails is left to the next */
bool files_must_rewrite(struct files_store *m);
void files_was_rewritten(struct files_store *m); /* since files_must_rewrite() was true */
void files_look_after_copies(struct files_store *m);

/* ---- files_place.c ---- */
MUST_USE enum err files_note_places(
    struct files_store *m);           /* at a start; E_NOT_FOUND, E_SYS, E_LIMIT */
const char *files_missing(void *ctx); /* commit_opts.missing; ctx is the store */
/* ---- files_load.c: the store log ---- */
uint64_t files_n_log_lines(const struct files_store *m); /* that a compact log has */
/* All that the log says of a queue, in a buffer of RECORD_LINE_MAX bytes. Under its lock. */
MUST_USE enum err files_queue_line(const struct queue *q, uint8_t *buf, struct bytes *ret);
MUST_USE enum err files_load_log(struct files_store *m, struct store_problem *ret_problem);
/* ---- files_messages_log.c ---- */
/* Of l, path is set; it is left where it is. */
MUST_USE enum err files_restore_messages(struct files_store *m, struct saved_log *l,
                                         uint64_t *ret_n, struct store_problem *ret_problem);
MUST_USE enum err files_save_messages(struct files_store *m, const char *path, uint64_t *ret_n,
                                      struct store_problem *ret_problem);
struct msg_line;
/* One message, behind those that its queue has. E_AUTH: there is no such queue; E_NO_MEMORY. */
MUST_USE enum err files_restore_message(struct files_store *m, const struct msg_line *line);

/* Commits a log, or discards it when what was to be written failed. */
MUST_USE enum err files_end_log(struct new_file *owned, enum err so_far);
