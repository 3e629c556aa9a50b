/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_scan.h -- opening the journal: what its three parts share. One thread, before anything
 * else runs. */
#pragma once

#include "base/idmap.h"
#include "store/disk/journal_priv.h"

/* ---- journal_scan.c: one segment file in memory ---- */

struct scan {
    uint8_t *buf; /* owned; scan_done() */
    size_t cap;
    uint32_t number;
    struct segment_head head;
    struct bytes all; /* head.len bytes; what the file lacks is zeros */
};

/* Reads the whole file. E_SYNTAX: its head is damaged; E_VERSION: written by a later version;
 * E_NOT_FOUND, E_SYS, E_NO_MEMORY. */
MUST_USE enum err scan_load(const struct journal *j, uint32_t number, struct scan *s);
void scan_done(struct scan *s);
/* The record at this offset. E_SYNTAX: there is none. */
MUST_USE enum err scan_record(const struct scan *s, uint32_t at, struct record_head *ret);
struct bytes scan_body(const struct scan *s, uint32_t at, const struct record_head *h);
/* The next record at or after this offset whose number is at least min_n, wherever it begins. 0:
 * none. */
uint32_t scan_find(const struct scan *s, uint32_t at, uint64_t min_n, struct record_head *ret);
/* Bytes from this offset to the last one that is not zero. */
uint32_t scan_used(const struct scan *s, uint32_t at);

/* ---- what recovery finds out ---- */

struct seg_file {
    uint32_t number;
    bool missing;   /* no such file */
    bool set_aside; /* to be copied to `.damaged` first */
    uint64_t last_n;
};

/* A place to be repaired; with skip_warnings only. */
struct fix {
    size_t file;     /* index */
    bool whole;      /* the file is written anew, with this one record */
    bool open_ended; /* its numbers are known when the next good segment is */
    uint32_t at;
    uint64_t salt;
    struct record_head h; /* SKIP or END */
};

struct recovery {
    struct journal *j;
    const struct journal_opts *o;
    struct journal_problem *problem;
    enum err list_err;
    bool foreign;           /* a file of an unknown name was seen */
    struct seg_file *files; /* owned; by number */
    size_t n_files, cap_files;
    struct fix *fixes; /* owned */
    size_t n_fixes, cap_fixes;
    size_t n_open_fixes; /* the last so many are open-ended */
    struct journal_mark mark;
    uint8_t *notes; /* owned: what was being erased */
    size_t n_notes;
    struct scan cur, ahead;
    struct idmap live;   /* of struct live_msg, owned */
    struct idmap purged; /* of struct purge, owned: queues whose messages are deleted */
    uint64_t next_n;     /* expected; 0: not known yet */
    uint64_t durable_n;
    uint64_t bytes_done, bytes_total;
    bool torn;
    size_t tear_file; /* index; valid if torn */
    uint32_t tear_at;
    uint64_t tear_salt;
    uint32_t tear_len; /* of that segment */
};

/* Says where and what; returns E_STORE. */
MUST_USE enum err recovery_refuse(struct recovery *r, uint32_t number, uint64_t at,
                                  const char *what);

/* ---- journal_mark.c: held against what the last stop has left; with skip_warnings only logged
 * ----
 */

/* Are the first and last segments there? E_STORE. */
MUST_USE enum err journal__check_ends(struct recovery *r);

/* Whole messages, by what the store log says of their queues. */
struct queue_tally {
    uint64_t n_known, n_unknown;
    uint64_t n_lost; /* unknown, although they were stored, and the queue was not deleted */
    struct journal_loc lost_at; /* the first of them */
};
/* Are the messages there that were, in queues that are there? E_STORE. */
MUST_USE enum err journal__check_queues(struct recovery *r, const struct queue_tally *t);

/* ---- journal_repair.c ---- */

/* Sets damaged files aside and repairs them, removes the torn tail, and syncs what is not known to
 * be. Each step leaves a state from which recovery comes to the same end. E_SYS, E_NO_MEMORY. */
MUST_USE enum err recovery_repair(struct recovery *r);
