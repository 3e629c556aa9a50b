/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_store.h -- the backend that keeps queues and messages in PostgreSQL.
 *
 * RAM is the truth for what is loaded, the database for the rest: a change is made in RAM and
 * answered when the group that it belongs to is committed; what is not loaded is looked up by
 * threads that do nothing else. One process at a time uses a schema: who starts last takes over,
 * and the one before can commit nothing any more (docs/adr/0022). */
#pragma once

#include "store/db/db_node.h"

struct vfs;

struct db_store_opts {
    struct db_opts db;
    struct db_node node;   /* who we are */
    size_t cache_bytes;    /* of records that nobody uses, above which they are evicted */
    unsigned replay_ms;    /* that groups are kept, for a database that goes back; 0: none */
    unsigned patience_ms;  /* without a database, after which who waits gets E_CLOSED */
    unsigned stop_ms;      /* without a database at a stop, after which what waits is given up */
    unsigned counters_ms;  /* that setting the counters may take at a stop; 0: any time */
    int64_t deleted_ttl_s; /* rows of deleted queues stay as long as this; < 0: for ever */
    const char *ntfs_log;  /* path: as files_opts.ntfs_log; NULL: not */
    const char *store_log; /* path of one that is there: changes are appended to it; NULL: not */
    const struct vfs *vfs; /* borrowed; for these two */
    struct stats_sheet *stats; /* of the commit thread; borrowed; may be NULL */
    /* Another process has taken over: this one can do nothing any more, and should end. Any thread;
     * ctx is that of store_opts. May be NULL. */
    void (*taken_over)(void *ctx);
};

/* The schema must be there and not lack a migration. Changes nothing: that is for store_start().
 * E_CONFIG, E_NOT_FOUND (no schema), E_VERSION, E_STORE, E_NO_MEMORY with *ret_problem. */
MUST_USE enum err db_store_open(const struct store_opts *o, const struct db_store_opts *d,
                                struct store **ret, struct store_problem *ret_problem);
