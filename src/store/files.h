/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files.h -- the two backends that keep queues in RAM and write what changes to files.
 *
 *   memory    a store log; messages in RAM, saved at an orderly stop
 *   journal   a store log and a journal of messages */
#pragma once

#include "store/store.h"

struct vfs;

struct files_opts {
    const struct vfs *vfs;      /* borrowed */
    const char *store_log;      /* path, borrowed until store_close(), as all paths */
    const char *messages_log;   /* path: messages are saved there at an orderly stop; NULL: not */
    bool restore_messages;      /* read messages_log; store_start() makes it .bak */
    const char *ntfs_log;       /* path: notifications are saved there at an orderly stop, and read;
                                 * store_start() makes it .bak; NULL: not */
    const char *journal_dir;    /* of the journal */
    const char *journal_mark;   /* path: what an orderly stop has left of it; NULL: not kept */
    size_t journal_segment_len; /* bytes; 0: as always. Tests use small ones */
    unsigned sync_interval_ms;  /* 0: sync before anything is acknowledged */
    /* Messages to who listens are not written if they are acknowledged within this; 0: all are. */
    unsigned hold_ms;
    struct stats_sheet *commit_stats; /* of the commit thread; borrowed; may be NULL */
    bool skip_warnings;               /* go on with what is readable; what is not is set aside */
    bool compact_log; /* write the store log anew even if there is nothing to remove */
    /* A log of at least this length is compacted after the start, while the store is used; 0: at
     * the start, however long it is. */
    uint64_t compact_later_len;
    /* While the store is used the log is compacted when it has this many lines, and half of what is
     * needed, too many; 0: never. */
    uint64_t compact_waste_lines;
    unsigned compact_look_ms; /* how often that is looked at; 0: never */
    /* Lines of deleted queues are overwritten in the store log so long after the last time; 0: they
     * stay until it is compacted. Not with compact_look_ms 0. */
    unsigned erase_ms;
    /* Copies of logs that are kept for the operator are overwritten and removed at this age; 0:
     * they are kept as by the reference. Not with compact_look_ms 0. */
    int64_t copies_ttl_s;
    /* When there is no room for what is saved at a stop, it is tried again for as long as this:
     * somebody may make room. 0: not. */
    unsigned save_retry_ms;
    /* Before each of these waits: store_stop() takes at least so long yet. May be NULL. */
    void (*stop_takes)(unsigned ms);
    /* Progress of a long load, for a line on a terminal; may be NULL. */
    void (*progress)(const char *what, uint64_t done_bytes, uint64_t total_bytes);
};

/* Reads what is on disk. E_STORE (damage), E_SYS, E_NO_MEMORY with *ret_problem filled in. *ret is
 * closed by store_close(). */
MUST_USE enum err files_open_memory(const struct store_opts *o, const struct files_opts *f,
                                    struct store **ret, struct store_problem *ret_problem);
/* The same; f->journal_dir is set. */
MUST_USE enum err files_open_journal(const struct store_opts *o, const struct files_opts *f,
                                     struct store **ret, struct store_problem *ret_problem);
