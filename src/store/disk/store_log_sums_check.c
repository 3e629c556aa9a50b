/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_sums_check.c -- is the log that which was written, and if not, who changed it?
 *
 * A disk changes bytes where they are, or loses the end. Whoever edits the log, or writes it anew,
 * moves all that follows. So the bytes of the log are compared line by line at the offsets that the
 * lines had, whatever is there now. */
#include <errno.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "store/disk/store_log_priv.h"
#include "store/disk/store_log_sums.h"

enum {
    /* So few lines, each with one bit changed: no accident, whatever else is there. */
    FEW = 16,
    DAMAGED_PART = 4, /* a disk changes this part of the lines at most */
};

static void next_row(struct sums_check *c) {
    c->offset += c->row.n;
    c->crc = 0;
    c->left = sums_next(&c->map, &c->cursor, &c->row) ? c->row.n : 0;
    c->is_filler = c->left >= STORE_LOG_LINE_MIN;
}

enum err sums_check_begin(struct sums_check *c, const struct store_log_opts *o) {
    *c = (struct sums_check){0};
    if (!o->has_sums) return OK;
    const enum err e = sums_load(o, &c->map);
    if (e == E_SYS) {
        log_line(LOG_WARN, "store-log-sums", "path=%s.sums error=\"%s\": the log is not compared",
                 o->path, strerror(errno));
        return OK;
    }
    if (e == OK && c->map.covered != 0) next_row(c);
    return e;
}

void sums_check_done(struct sums_check *c) {
    sums_map_done(&c->map);
}

static void compare(struct sums_check *c) {
    c->n_seen++;
    const uint32_t difference = c->crc ^ c->row.crc;
    if (difference == 0 || c->is_filler) {
        c->match_after_bad = c->n_bad != 0;
        return;
    }
    if (c->n_bad++ == 0) {
        c->bad_line = c->n_seen;
        c->bad_offset = c->offset;
    }
    if (c->n_bad <= FEW && crc32c_is_one_bit(difference, c->row.n)) c->n_one_bit++;
}

void sums_check_feed(struct sums_check *c, struct bytes b) {
    while (b.n != 0 && c->left != 0) {
        const size_t n = b.n < c->left ? b.n : c->left;
        c->crc = crc32c(c->crc, b.p, n);
        for (size_t i = 0; i < n && c->is_filler; i++)
            c->is_filler = b.p[i] == store_log__filler_byte(c->row.n - c->left + i, c->row.n);
        c->left -= (uint32_t)n;
        b = bytes_of(b.p + n, b.n - n);
        if (c->left != 0) return;
        compare(c);
        next_row(c);
    }
}

/* ---- the verdict ---- */

enum verdict { WRITTEN_ANEW, CUT, DAMAGED, CHANGED };

/* Of a log that is not as it was written. */
static enum verdict judge(const struct sums_check *c, const char *newest_backup, uint64_t size) {
    if (store_log__compare_backups(newest_backup, c->map.backup) > 0) return WRITTEN_ANEW;
    if (c->n_bad == 0) return CUT;
    if (c->n_bad <= FEW && c->n_one_bit == c->n_bad) return DAMAGED;
    const bool is_in_place = c->match_after_bad || size == c->map.covered;
    return is_in_place && c->n_bad <= c->map.n_rows / DAMAGED_PART ? DAMAGED : CHANGED;
}

static void describe(const struct sums_check *c, const struct store_log_opts *o, enum verdict v,
                     uint64_t size, struct store_log_problem *ret) {
    char what[140];
    if (v == CUT) {
        (void)snprintf(what, sizeof what,
                       "has %llu bytes and had %llu: it was cut or emptied, from line %llu on",
                       (unsigned long long)size, (unsigned long long)c->map.covered,
                       (unsigned long long)c->n_seen + 1);
    } else {
        (void)snprintf(what, sizeof what,
                       "is damaged: %llu lines are not as they were written, the first is line "
                       "%llu (offset %llu)",
                       (unsigned long long)c->n_bad, (unsigned long long)c->bad_line,
                       (unsigned long long)c->bad_offset);
    }
    (void)
        snprintf(ret->text, sizeof ret->text,
                 "%.140s %s. Put a backup in its place and remove %.140s.sums (if you changed the "
                 "log yourself, remove that alone), or start with --skip-warnings: it is taken "
                 "as it is",
                 o->path, what, o->path);
}

enum err sums_check_end(struct sums_check *c, const struct store_log_opts *o, uint64_t size,
                        struct store_log_stats *io_stats, struct store_log_problem *ret_problem) {
    if (c->n_bad == 0 && size >= c->map.covered) {
        io_stats->sums = (struct store_log_sums){c->map.end, c->map.covered};
        return OK;
    }
    char newest_backup[SUMS_NAME_LEN];
    const enum err e = store_log__newest_backup(o, newest_backup);
    if (e != OK) return e;
    const enum verdict v = judge(c, newest_backup, size);
    if (v == CUT || v == DAMAGED) {
        describe(c, o, v, size, ret_problem);
        if (!o->skip_warnings) return E_STORE;
        log_line(LOG_WARN, "store-log-damaged", "%s", ret_problem->text);
        io_stats->n_bad += v == CUT ? 1 : c->n_bad;
    } else if (v == WRITTEN_ANEW) {
        log_line(LOG_INFO, "store-log-written-anew", "path=%s by=\"another program\"", o->path);
    } else {
        log_line(LOG_WARN, "store-log-changed",
                 "path=%s line=%llu: it was changed by hand or by another program, and is taken as "
                 "it is",
                 o->path, (unsigned long long)c->bad_line);
    }
    return OK;
}
