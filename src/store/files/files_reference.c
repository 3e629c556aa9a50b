/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* files_reference.c -- messages into the store from the reference's journal, a directory for each
 * queue (docs/FORMATS.md "The reference's journal").
 *
 * A line of a queue's state counts if it is whole, as for the reference: the last one, or the one
 * before it. What lies behind the place that it names was never acknowledged. Everything else that
 * does not fit is damage, told with its path; --skip-warnings takes what can be read. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/files/files_priv.h"
#include "store/import.h"
#include "store/text/field.h"
#include "store/text/msg_line.h"
#include "store/text/queue_state.h"

enum {
    PATH_LEN = 4096,
    DEPTH_MAX = 34, /* the reference divides ids of 32 characters; nothing is deeper */
    TAIL_LEN = 4096,
    BUF_LEN = 4 * MSG_LINE_MAX,
    FLUSH_EVERY = 512,
};
static_assert(TAIL_LEN >= 2 * QUEUE_STATE_LINE_MAX, "two whole lines are looked at");

struct path {
    char s[PATH_LEN];
};

struct import {
    struct files_store *store;
    struct msg_line_scratch *scratch; /* owned */
    uint8_t *buf;                     /* owned, BUF_LEN */
    uint64_t n, n_unknown, n_bad;
    struct store_problem *problem; /* borrowed */
};

/* ---- what is wrong ---- */

static enum err damage(struct import *x, const char *path, const char *what) {
    if (x->store->o.skip_warnings) {
        x->n_bad++;
        log_line(LOG_WARN, "import-damage", "path=%s what=\"%s\"", path, what);
        return OK;
    }
    (void)
        snprintf(x->problem->text, sizeof x->problem->text,
                 "%.400s: %s: bring the directory back from your backup, or take what can be read "
                 "with --skip-warnings (the directory is kept)",
                 path, what);
    return E_STORE;
}

static enum err fail_sys(struct import *x, const char *path) {
    (void)snprintf(x->problem->text, sizeof x->problem->text, "cannot read %.400s: %s", path,
                   strerror(errno));
    return E_SYS;
}

static enum err join(struct import *x, const char *dir, const char *before, const char *name,
                     const char *after, struct path *ret) {
    const int n = snprintf(ret->s, sizeof ret->s, "%s/%s%s%s", dir, before, name, after);
    if (n >= 0 && (size_t)n < sizeof ret->s) return OK;
    errno = ENAMETOOLONG;
    return fail_sys(x, dir);
}

/* ---- messages ---- */

static enum err import_message(struct import *x, const struct id *rcv_id, struct bytes line,
                               const char *path, uint64_t at) {
    struct msg_line m;
    char what[64];
    if (msg_line_parse_stored(line, x->scratch, &m) != OK) {
        (void)snprintf(what, sizeof what, "no message at byte %" PRIu64, at);
        return damage(x, path, what);
    }
    m.rcv_id = *rcv_id;
    const enum err e = files_restore_message(x->store, &m);
    if (e != OK) return e;
    x->n++;
    const bool flush = x->store->started && x->n % FLUSH_EVERY == 0;
    return flush ? commit_flush(x->store->commit) : OK;
}

/* Whole lines of buf; *ret_used: bytes of them. */
static enum err import_lines(struct import *x, const struct id *rcv_id, struct bytes buf,
                             const char *path, uint64_t at, size_t *ret_used) {
    *ret_used = 0;
    const uint8_t *end = NULL;
    while ((end = buf.n != *ret_used ? memchr(buf.p + *ret_used, '\n', buf.n - *ret_used) : NULL) !=
           NULL) {
        const struct bytes line = bytes_of(buf.p + *ret_used, (size_t)(end - (buf.p + *ret_used)));
        const enum err e = import_message(x, rcv_id, line, path, at + *ret_used);
        if (e != OK) return e;
        *ret_used += line.n + 1;
    }
    return OK;
}

static enum err import_bytes(struct import *x, const struct id *rcv_id, int fd, const char *path,
                             uint64_t from, uint64_t to) {
    const struct vfs *v = x->store->o.vfs;
    size_t kept = 0;
    while (from < to || kept != 0) {
        const uint64_t left = to - from;
        const size_t want = left < BUF_LEN - kept ? (size_t)left : BUF_LEN - kept;
        size_t got = 0, used = 0;
        enum err e = v->read_at(v->ctx, fd, x->buf + kept, want, from, &got);
        if (e != OK) return fail_sys(x, path);
        const size_t n = kept + got;
        e = import_lines(x, rcv_id, bytes_of(x->buf, n), path, from - kept, &used);
        if (e != OK) return e;
        from += got;
        kept = n - used;
        if (used == 0) return damage(x, path, "a line without an end");
        memmove(x->buf, x->buf + used, kept);
    }
    return OK;
}

/* Messages of one file, from where it was read to. */
static enum err import_file(struct import *x, const struct id *rcv_id, const char *dir,
                            const struct queue_state_pos *pos) {
    const struct vfs *v = x->store->o.vfs;
    struct path path;
    uint64_t size = 0;
    int fd = -1;
    if (pos->msg_pos == pos->msg_count) return OK;
    enum err e = join(x, dir, "messages.", pos->name, ".log", &path);
    if (e != OK) return e;
    e = v->open(v->ctx, path.s, O_RDONLY, 0, &fd);
    if (e == E_NOT_FOUND) return damage(x, path.s, "the file is missing, and has messages");
    if (e != OK) return fail_sys(x, path.s);
    const uint64_t before = x->n, n_bad = x->n_bad;
    uint64_t to = pos->byte_count;
    e = v->size(v->ctx, fd, &size) == OK ? OK : fail_sys(x, path.s);
    if (e == OK && size < to) {
        e = damage(x, path.s, "it is shorter than the state of its queue says");
        to = size > pos->byte_pos ? size : pos->byte_pos;
    }
    if (e == OK) e = import_bytes(x, rcv_id, fd, path.s, pos->byte_pos, to);
    v->close(v->ctx, fd);
    const bool is_whole = x->n - before == pos->msg_count - pos->msg_pos;
    if (e == OK && !is_whole && x->n_bad == n_bad)
        e = damage(x, path.s, "it has another number of messages than the state of its queue says");
    return e;
}

/* ---- queues ---- */

/* Takes the last line off *text, with or without its newline; empty when there is none. */
static struct bytes last_line(struct bytes *text) {
    size_t end = text->n;
    if (end != 0 && text->p[end - 1] == '\n') end--;
    size_t begin = end;
    while (begin != 0 && text->p[begin - 1] != '\n') begin--;
    const struct bytes line = bytes_of(text->p + begin, end - begin);
    text->n = begin;
    return line;
}

static enum err read_state(struct import *x, const char *path, struct queue_state *ret) {
    const struct vfs *v = x->store->o.vfs;
    uint64_t size = 0;
    size_t n = 0;
    int fd = -1;
    enum err e = v->open(v->ctx, path, O_RDONLY, 0, &fd);
    if (e != OK) return fail_sys(x, path);
    e = v->size(v->ctx, fd, &size);
    const uint64_t from = size > TAIL_LEN ? size - TAIL_LEN : 0;
    if (e == OK) e = v->read_at(v->ctx, fd, x->buf, TAIL_LEN, from, &n);
    v->close(v->ctx, fd);
    if (e != OK) return fail_sys(x, path);
    struct bytes text = bytes_of(x->buf, n);
    *ret = (struct queue_state){.size = 0};
    if (n == 0) return OK; /* made, and not written to */
    if (queue_state_parse(last_line(&text), ret) == OK) return OK;
    if (text.n != 0 && queue_state_parse(last_line(&text), ret) == OK) return OK;
    *ret = (struct queue_state){.size = 0};
    return damage(x, path, "neither of the last two lines is the state of a queue");
}

static enum err import_queue(struct import *x, const struct id *rcv_id, const char *dir,
                             const char *name) {
    struct path path;
    struct queue_state s;
    enum err e = join(x, dir, "", name, "", &path);
    if (e == OK) e = read_state(x, path.s, &s);
    if (e != OK || s.size == 0) return e;
    struct queue *q = queue_table_find(x->store->base.table, ID_RECIPIENT, rcv_id);
    if (q == NULL) {
        x->n_unknown += s.size;
        return OK;
    }
    queue_unref(q);
    e = import_file(x, rcv_id, dir, &s.read);
    if (e != OK || queue_state_is_one(&s)) return e;
    s.write.msg_pos = s.write.byte_pos = 0; /* what is read from is full: this comes behind it */
    return import_file(x, rcv_id, dir, &s.write);
}

/* ---- directories ---- */

static const char STATE[] = "queue_state.", LOG[] = ".log", BACKUP[] = ".log.bak";

struct names {
    char **list; /* owned, with each name */
    size_t n, cap;
    bool failed;
};

static void add_name(void *arg, const char *name) {
    struct names *l = arg;
    if (l->n == l->cap) {
        const size_t cap = l->cap != 0 ? 2 * l->cap : 16;
        char **list = realloc(l->list, cap * sizeof *list);
        if (list != NULL) l->list = list;
        if (list != NULL) l->cap = cap;
        l->failed = l->failed || list == NULL;
    }
    char *copy = l->failed ? NULL : strdup(name);
    if (copy == NULL) l->failed = true;
    if (copy != NULL) l->list[l->n++] = copy;
}

static void names_done(struct names *l) {
    for (size_t i = 0; i < l->n; i++) free(l->list[i]);
    free(l->list);
}

static bool has_name(const struct names *l, const char *name) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->list[i], name) == 0) return true;
    return false;
}

/* "queue_state.<recipient id><end>" */
static bool is_state(const char *name, const char *end, struct id *ret) {
    const size_t n = strlen(name), head = sizeof STATE - 1, tail = strlen(end);
    if (n < head + tail || strncmp(name, STATE, head) != 0) return false;
    if (strcmp(name + n - tail, end) != 0) return false;
    struct rd r = rd_init(bytes_of(name + head, n - head - tail));
    field__read_id(&r, ret);
    return rd_end(&r) == OK;
}

static enum err import_dir(struct import *x, const char *dir, unsigned depth);

/* The only forward declaration: directories hold directories. A state that was being shortened is
 * in its backup. */
static enum err import_entry(struct import *x, const char *dir, const struct names *all,
                             const char *name, unsigned depth) {
    struct id id;
    struct path path;
    if (is_state(name, BACKUP, &id)) return import_queue(x, &id, dir, name);
    if (is_state(name, LOG, &id)) {
        char backup[sizeof STATE + sizeof BACKUP + 64];
        (void)snprintf(backup, sizeof backup, "%s.bak", name);
        return has_name(all, backup) ? OK : import_queue(x, &id, dir, name);
    }
    if (strchr(name, '.') != NULL || depth == DEPTH_MAX) return OK; /* no part of an id */
    const enum err e = join(x, dir, "", name, "", &path);
    return e == OK ? import_dir(x, path.s, depth + 1) : e;
}

static enum err import_dir(struct import *x, const char *dir, unsigned depth) {
    const struct vfs *v = x->store->o.vfs;
    struct names names = {0};
    enum err e = v->list(v->ctx, dir, add_name, &names);
    const bool is_file = e != OK && depth > 0 && errno == ENOTDIR;
    if (e != OK) e = is_file ? OK : fail_sys(x, dir);
    if (e == OK && names.failed) e = E_NO_MEMORY;
    for (size_t i = 0; i < names.n && e == OK; i++)
        e = import_entry(x, dir, &names, names.list[i], depth);
    names_done(&names);
    return e;
}

static enum err set_aside(struct import *x, const char *dir) {
    const struct vfs *v = x->store->o.vfs;
    struct path aside;
    const int n = snprintf(aside.s, sizeof aside.s, "%s.bak", dir);
    enum err e = n >= 0 && (size_t)n < sizeof aside.s ? OK : E_LIMIT;
    if (e == OK) e = v->rename(v->ctx, dir, aside.s);
    if (e == OK) e = vfs_sync_parent(v, dir);
    if (e == OK) return OK;
    (void)snprintf(x->problem->text, sizeof x->problem->text,
                   "all messages are imported, but %.400s cannot be renamed to .bak: %s: move it "
                   "away, then start the server",
                   dir, strerror(errno));
    return E_SYS;
}

enum err store_import_reference(struct store *s, const char *dir, uint64_t *ret_n,
                                struct store_problem *ret_problem) {
    struct files_store *m = files_of(s);
    struct import x = {
        .store = m,
        .scratch = malloc(sizeof *x.scratch),
        .buf = malloc(BUF_LEN),
        .problem = ret_problem,
    };
    enum err e = x.scratch != NULL && x.buf != NULL ? OK : E_NO_MEMORY;
    if (e == OK) e = import_dir(&x, dir, 0);
    free(x.scratch);
    free(x.buf);
    if (x.n_unknown > 0) {
        log_line(LOG_WARN, "messages-skipped", "count=%" PRIu64 " their queues do not exist",
                 x.n_unknown);
    }
    *ret_n = x.n;
    if (e == OK && m->commit != NULL) e = commit_flush(m->commit);
    return e == OK ? set_aside(&x, dir) : e;
}
