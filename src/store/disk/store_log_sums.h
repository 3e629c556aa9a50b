/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_sums.h -- checksums of the store log's lines, in a file beside it: `<path>.sums`
 * (docs/FORMATS.md "Checksums of the store log", ADR 11).
 *
 * They say of a front part of the log, of whole lines that are on stable storage, what was written.
 * They are a help and no duty: where they end or are missing nothing is known, and nothing else
 * fails. They are removed, durably, before another file takes the log's name, so they are never
 * beside a log that they were not made for, unless somebody else changed it. */
#pragma once

#include "base/vfs.h"
#include "store/disk/store_log.h"

enum { SUMS_NAME_LEN = 64 };

struct log_row {
    uint32_t crc, n; /* of a line with its newline */
};

/* ---- what the file says ---- */

struct sums_map {
    uint8_t *buf;               /* owned */
    size_t end;                 /* of the whole frames */
    uint64_t covered;           /* so many bytes of the log */
    uint64_t n_rows;            /* lines */
    char backup[SUMS_NAME_LEN]; /* the newest timed backup then; empty: none */
};
/* Empty when there is no file, or none of ours. E_SYS, E_NO_MEMORY. */
MUST_USE enum err sums_load(const struct store_log_opts *o, struct sums_map *ret);
void sums_map_done(struct sums_map *m);
/* The rows one by one; begin with a cursor of zeros. False: there are no more. */
struct sums_cursor {
    size_t at;          /* in the map */
    uint32_t rows_left; /* of a frame */
};
bool sums_next(const struct sums_map *m, struct sums_cursor *io_c, struct log_row *ret);

/* ---- is the log as it was written? (store_log_sums_check.c) ---- */

struct sums_check {
    struct sums_map map;
    struct sums_cursor cursor;
    struct log_row row; /* the one that is compared */
    uint32_t crc, left; /* so far, and bytes to come; 0: no more rows */
    bool is_filler;     /* so far: it has been erased since */
    uint64_t offset;    /* of the row */
    uint64_t n_seen, n_bad, n_one_bit;
    uint64_t bad_line, bad_offset; /* the first */
    bool match_after_bad;
};
/* E_NO_MEMORY. */
MUST_USE enum err sums_check_begin(struct sums_check *c, const struct store_log_opts *o);
void sums_check_feed(struct sums_check *c, struct bytes b); /* all of the log, in order */
/* After the last byte of a log of this size. E_STORE: it is damaged, *ret_problem says how; with
 * skip_warnings that is said, and counted in n_bad. Sets sums when they are those of the log.
 * E_SYS.
 */
MUST_USE enum err sums_check_end(struct sums_check *c, const struct store_log_opts *o,
                                 uint64_t size, struct store_log_stats *io_stats,
                                 struct store_log_problem *ret_problem);
void sums_check_done(struct sums_check *c);

/* ---- writing ---- */

struct log_sums {
    int fd;               /* -1: none */
    uint64_t at;          /* its end */
    uint64_t covered;     /* by it, and by the rows that wait */
    struct log_row *rows; /* owned: they wait until they are on stable storage in the log */
    size_t n_rows, cap_rows;
    bool is_off; /* could not be written; until the log is written anew */
};
/* Opens the file and brings it up to this length of the log, which is on stable storage there.
 * Failures are logged: then it is off. */
void sums_open(struct log_sums *s, const struct store_log_opts *o, uint64_t log_end);
void sums_add(struct log_sums *s, const void *line, size_t n);       /* with its newline */
void sums_write(struct log_sums *s, const struct store_log_opts *o); /* the rows that wait */
void sums_close(struct log_sums *s, const struct store_log_opts *o); /* leaves out what waits */
/* The rows of lines that were overwritten become those of fillers; durably. The rewriting thread,
 * while rows are added. E_SYS, E_NO_MEMORY. */
struct erased_lines;
MUST_USE enum err sums_erase(const struct store_log_opts *o, const struct erased_lines *l);
/* E_SYS. */
MUST_USE enum err sums_remove(const struct store_log_opts *o);
