/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_mark.c -- what an orderly stop has left, written down apart from the journal.
 *
 * The journal alone cannot say that its first or last files are gone, or that it is another
 * directory. The mark is written when all is on stable storage, and removed at the next start
 * before anything is changed: so whoever finds one may hold the journal against it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/new_file.h"
#include "base/rd.h"
#include "store/disk/journal_scan.h"

enum { MARK_MAX = 512, WHAT_MAX = 420 };

static const char TITLE[] = "smp-server journal, as it was at an orderly stop\n";

/* ---- the text ---- */

static uint64_t read_number(struct rd *r, const char *key) {
    uint64_t v = 0;
    for (; *key != '\0'; key++) rd_lit(r, *key);
    const struct bytes digits = rd_until(r, '\n');
    rd_lit(r, '\n');
    if (digits.n == 0 || digits.n > 19) rd_fail(r);
    for (size_t i = 0; i < digits.n; i++) {
        if (digits.p[i] < '0' || digits.p[i] > '9') rd_fail(r);
        v = v * 10 + (uint64_t)(digits.p[i] - '0');
    }
    return v;
}

static bool decode(struct bytes text, struct journal_mark *ret) {
    struct rd r = rd_init(text);
    struct journal_mark m = {.valid = true};
    for (const char *c = TITLE; *c != '\0'; c++) rd_lit(&r, *c);
    const uint64_t first = read_number(&r, "first_segment=");
    const uint64_t n = read_number(&r, "segments=");
    m.next_n = read_number(&r, "next_n=");
    const uint64_t has_count = read_number(&r, "counted=");
    m.n_messages = read_number(&r, "messages=");
    m.stopped_s = (int64_t)read_number(&r, "stopped=");
    const size_t at = r.at;
    const uint64_t crc = read_number(&r, "crc=");
    if (rd_end(&r) != OK || crc != crc32c(0, text.p, at)) return false;
    if (first > UINT32_MAX || n > UINT32_MAX - first) return false;
    m.first_segment = (uint32_t)first;
    m.n_segments = (uint32_t)n;
    m.has_count = has_count != 0;
    *ret = m;
    return true;
}

static size_t encode(const struct journal_mark *m, char *ret) {
    const int n = snprintf(ret, MARK_MAX,
                           "%sfirst_segment=%" PRIu32 "\nsegments=%" PRIu32 "\nnext_n=%" PRIu64
                           "\ncounted=%d\nmessages=%" PRIu64 "\nstopped=%" PRId64 "\n",
                           TITLE, m->first_segment, m->n_segments, m->next_n, m->has_count ? 1 : 0,
                           m->n_messages, m->stopped_s);
    const uint32_t crc = crc32c(0, ret, (size_t)n);
    return (size_t)n + (size_t)snprintf(ret + n, MARK_MAX - (size_t)n, "crc=%" PRIu32 "\n", crc);
}

/* ---- the file ---- */

enum err journal__read_mark(const struct journal *j, struct journal_mark *ret) {
    const struct vfs *v = j->vfs;
    uint8_t buf[MARK_MAX];
    size_t n = 0;
    int fd;
    *ret = (struct journal_mark){0};
    if (j->mark_path == NULL) return OK;
    enum err e = v->open(v->ctx, j->mark_path, O_RDONLY, 0, &fd);
    if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    e = v->read_at(v->ctx, fd, buf, sizeof buf, 0, &n);
    v->close(v->ctx, fd);
    if (e != OK) return E_SYS;
    ret->is_there = true;
    if (decode(bytes_of(buf, n), ret)) {
        ret->is_there = true;
    } else {
        log_line(LOG_WARN, "journal-mark", "file=%s action=\"not used: it is damaged\"",
                 j->mark_path);
    }
    return OK;
}

enum err journal__remove_mark(const struct journal *j) {
    const enum err e = j->vfs->unlink(j->vfs->ctx, j->mark_path);
    if (e != OK) return e == E_NOT_FOUND ? OK : E_SYS;
    return vfs_sync_parent(j->vfs, j->mark_path);
}

enum err journal__write_mark(const struct journal *j, const struct journal_mark *m) {
    struct new_file f;
    char text[MARK_MAX];
    const size_t n = encode(m, text);
    const enum err e = new_file_open(&f, j->vfs, j->mark_path, 0600, 0);
    if (e != OK) return e;
    new_file_put(&f, bytes_of(text, n));
    return new_file_commit(&f);
}

/* ---- holding the journal against it ---- */

static enum err refuse(struct recovery *r, const char *what) {
    char at[32];
    const time_t t = (time_t)r->mark.stopped_s;
    struct tm tm;
    (void)gmtime_r(&t, &tm);
    (void)strftime(at, sizeof at, "%Y-%m-%d %H:%M:%S UTC", &tm);
    (void)
        snprintf(r->problem->text, sizeof r->problem->text,
                 "%.290s (the server was stopped in order at %s). Is this the right directory, and "
                 "is it mounted? Restore the journal from a backup, or start with "
                 "--skip-warnings to do without",
                 what, at);
    return E_STORE;
}

/* The first of n files that are missing. */
static void say_missing(char ret[WHAT_MAX], const char *first, uint64_t n, uint32_t n_files) {
    if (n > 1) {
        (void)snprintf(ret, WHAT_MAX,
                       "%.180s and %" PRIu64 " more of %" PRIu32 " files with messages are missing",
                       first, n - 1, n_files);
    } else if (n_files > 1) {
        (void)snprintf(ret, WHAT_MAX, "%.180s is missing, one of %" PRIu32 " files with messages",
                       first, n_files);
    } else {
        (void)snprintf(ret, WHAT_MAX, "%.180s is missing, the only file with messages", first);
    }
}

enum err journal__check_ends(struct recovery *r) {
    struct journal_mark *m = &r->mark;
    const size_t n = r->n_files;
    const uint32_t end = m->first_segment + m->n_segments; /* the first number beyond */
    if (!m->valid) return OK;
    if (n != 0 && r->files[n - 1].number >= end) {
        /* Somebody has gone on who does not know the mark, or it came from a backup. */
        log_line(LOG_WARN, "journal-mark",
                 "file=%s action=\"not used: it is older than the journal\"", r->j->mark_path);
        m->valid = false;
        return OK;
    }
    const uint32_t first = n != 0 ? r->files[0].number : end;
    const uint32_t last = n != 0 ? r->files[n - 1].number + 1 : end;
    const uint64_t n_missing =
        (first > m->first_segment ? first - m->first_segment : 0) + end - last;
    if (n_missing == 0) return OK;
    const uint32_t missing = first > m->first_segment ? m->first_segment : last;
    char what[WHAT_MAX];
    const struct journal_path path = journal__path(r->j, FILE_SEGMENT, missing);
    say_missing(what, path.s, n_missing, m->n_segments);
    if (!r->o->skip_warnings) return refuse(r, what);
    log_line(LOG_WARN, "journal-incomplete", "%s", what);
    m->valid = false;
    return OK;
}

enum err journal__check_queues(struct recovery *r, const struct queue_tally *t) {
    const struct journal_mark *m = &r->mark;
    const bool fewer = m->valid && m->has_count && t->n_known < m->n_messages && t->n_unknown != 0;
    if (!fewer && t->n_lost == 0) return OK;
    const uint64_t by_count = fewer ? m->n_messages - t->n_known : 0;
    const uint64_t n_lost = t->n_lost > by_count ? t->n_lost : by_count;
    char what[WHAT_MAX + 100], place[WHAT_MAX] = "";
    if (t->n_lost != 0) {
        const struct journal_path path = journal__path(r->j, FILE_SEGMENT, t->lost_at.segment);
        (void)snprintf(place, sizeof place, " (the first: %.160s, offset %" PRIu64 ")", path.s,
                       (uint64_t)t->lost_at.offset_8 * 8);
    }
    (void)snprintf(what, sizeof what,
                   "%" PRIu64 " of %" PRIu64 " messages in %.120s belong to queues that the store "
                   "log has lost%.210s: it was cut or emptied, or is from another time",
                   n_lost, t->n_known + n_lost, r->j->dir, place);
    if (r->o->skip_warnings) {
        log_line(LOG_WARN, "queues-lost", "%s; they are dropped", what);
        return OK;
    }
    (void)snprintf(r->problem->text, sizeof r->problem->text,
                   "%.400s. Restore the store log from a backup (older states of it lie beside "
                   "it), or start with --skip-warnings: then these messages are dropped",
                   what);
    return E_STORE;
}
