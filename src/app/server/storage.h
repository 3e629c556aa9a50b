/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* storage.h -- where queues and messages are kept, by the settings, and what is checked before
 * anything there is touched.
 *
 * The order is: storage_init(), storage_make(), storage_lock(), the checks, storage_open(). The
 * lock makes sure that one process at a time uses a state directory and a journal; the kernel takes
 * it back when the process ends, however that happens. A server with `enable: off` makes no file,
 * not even that of the lock, and locks the directory alone. Main thread. */
#pragma once

#include "app/settings/conf.h"
#include "app/files/paths.h"
#include "store/db/db_store.h"
#include "store/store.h"

struct storage {
    /* fixed after storage_init() */
    const struct paths *paths; /* borrowed */
    bool on_disk;              /* queues are in the store log, or in_database */
    bool in_journal;           /* messages are in the journal; else in memory */
    bool in_database;          /* queues and messages are in a database, none of the above */
    bool has_log_beside;       /* and a store log is kept too */
    bool saves_messages;       /* and written to the messages log at an orderly stop */
    unsigned quota, sync_interval_ms, hold_ms;
    int64_t copies_ttl_s;
    struct db_store_opts db; /* in_database; borrows from the settings */
    char journal[PATH_MAX];  /* its directory */
    /* main thread */
    int lock_fd; /* -1: not locked */
    unsigned n_dirs;
    int dir_fds[2]; /* locked: the state directory, and a journal elsewhere */
};

/* E_CONFIG when a path is too long. */
MUST_USE enum err storage_init(struct storage *ret, const struct conf *c, const struct paths *paths,
                               struct problem *ret_problem);
void storage_done(struct storage *s); /* after store_close(); gives the lock back */
/* Makes the directory of a journal elsewhere, durably, unless it is there: only what is there can
 * be locked. When this fails storage_open() says why. */
void storage_make(const struct storage *s);
/* E_EXISTS when another process has one of the locks, E_NOT_FOUND, E_SYS. */
MUST_USE enum err storage_lock(struct storage *s, struct problem *ret_problem);

/* May this process use a directory of the server's state, or a file there, which may be missing?
 * Rights, kind; nothing is changed. E_SYS, E_NOT_FOUND (the directory). */
MUST_USE enum err storage_check_dir(const char *dir, struct problem *ret_problem);
/* The journal's, which is made when it is missing. */
MUST_USE enum err storage_check_journal_dir(const char *dir, struct problem *ret_problem);
MUST_USE enum err storage_check_file(const char *path, struct problem *ret_problem);

/* Refuses to start a server beside messages that it would not deliver; an empty journal is no
 * obstacle. E_CONFIG, E_SYS. Warns of
 * files that are there and not read. */
MUST_USE enum err storage_check(const struct storage *s, conf_warn *warn, void *ctx,
                                struct problem *ret_problem);
void storage_log_warning(void *ctx, const char *text); /* to the log; ctx is not used */
/* The process that has the lock, found out without touching it; 0: none. */
long storage_locked_by(const struct storage *s);
void storage_print(const struct storage *s); /* as the reference does when it starts */

struct storage_use {
    const struct vfs *vfs; /* borrowed; NULL: the files as they are */
    bool skip_warnings, compact_log;
    bool serves;                   /* for long: the store log is also compacted while it is used */
    void (*on_durable)(void *ctx); /* any thread; may be NULL */
    void *ctx;
    void (*taken_over)(void *ctx); /* another server has taken the database; may be NULL */
    struct db_node node;           /* in_database, to start: who we are */
    struct store_expiry expiry;
    struct stats_sheet *commit_stats; /* of the commit thread; borrowed; may be NULL */
};
/* What the settings say of it; stats: of the thread that expires, borrowed. */
struct store_expiry storage_expiry(const struct conf *c, struct stats_sheet *stats);
/* in_database: makes what the schema lacks. E_CONFIG, E_STORE, E_VERSION. */
MUST_USE enum err storage_migrate(const struct storage *s, struct problem *ret_problem);
/* Opens the store and logs what is in it. Shows progress between progress_begin() and
 * progress_end(). s is borrowed until store_close(). */
MUST_USE enum err storage_open(const struct storage *s, const struct storage_use *use,
                               struct store **ret, struct problem *ret_problem);

/* Opens the store as a start would and closes it, without a change to any file; what that logs is
 * told to warn. While no server runs. Errors as of storage_open(). */
MUST_USE enum err storage_try(const struct storage *s, conf_warn *warn, void *ctx,
                              struct store_counts *ret, struct problem *ret_problem);

/* Does a file have anything in it? E_SYS when that cannot be found out. */
MUST_USE enum err storage_has_content(const char *path, bool *ret, struct problem *ret_problem);
