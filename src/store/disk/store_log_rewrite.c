/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* store_log_rewrite.c -- the log written anew while it is used; see store_log.h for the idea.
 *
 * What goes to the new file collects in one list, in the order in which it was made, so that a line
 * that frees an id stands before the copy of what took it since. The rewriting thread writes the
 * list while it copies. The first group that holds all that was ever copied takes what is left of
 * the list: from there on both files say the same. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/store_log_priv.h"

static void lock(struct store_log *l) {
    lock_take(&l->rewrite.mtx);
}

static void unlock(struct store_log *l) {
    lock_give(&l->rewrite.mtx);
}

/* ---- whoever appends ---- */

static bool collects(const struct rewrite *r) {
    return (r->state == REWRITE_COPYING || r->state == REWRITE_JOINING) && !r->failed;
}

static enum err collect(struct rewrite *r, struct bytes text, lsn_t lsn) {
    struct log_line *x;
    const enum err e = store_log__line(text, lsn, &x);
    if (e != OK) return e;
    store_log__push(&r->collected, x);
    r->n_lines++;
    return OK;
}

enum err store_log__rewrite_append(struct store_log *l, struct bytes text, lsn_t lsn,
                                   const struct store_log_of *of) {
    struct rewrite *r = &l->rewrite;
    enum err e = OK;
    lock(l);
    if (collects(r) && (of->mark == NULL || of->creates || *of->mark == r->nr)) {
        e = collect(r, text, lsn);
        if (e == OK && of->mark != NULL) *of->mark = r->nr;
    }
    unlock(l);
    return e;
}

/* ---- the commit thread ---- */

/* The log is another file, or its checksums were removed for one. */
static void let_go_of_sums(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    r->idle_sums_fd = l->sums.fd;
    r->sums_end = l->file.end;
    l->sums.fd = -1;
    l->sums.covered = l->file.end;
    l->sums.n_rows = 0;
    l->sums.is_off = !l->o.has_sums || r->no_sums;
    r->no_sums = false;
}

void store_log__rewrite_take_sums(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    if (!r->has_sums) return;
    r->has_sums = false;
    l->sums.fd = r->sums.fd;
    l->sums.at = r->sums.at;
    if (l->sums.fd < 0) l->sums.is_off = true;
    free(r->sums.rows);
    r->sums = (struct log_sums){.fd = -1};
}

void store_log__rewrite_settle(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    lock(l);
    store_log__rewrite_take_sums(l);
    if (r->adopt || r->give_up) {
        r->idle_fd = r->adopt ? l->file.fd : r->file.fd;
        if (r->adopt) {
            l->file = r->file;
            atomic_store_explicit(&l->n_lines, r->n_lines, memory_order_relaxed);
        }
        let_go_of_sums(l);
        r->file = (struct log_file){.fd = -1};
        r->adopt = r->give_up = r->exchanging = false;
        r->state = REWRITE_NONE;
    }
    unlock(l);
}

/* The commit thread's file and the name part for a moment when a rewrite ends. */
static bool is_exchanging(struct store_log *l) {
    lock(l);
    const bool is = l->rewrite.exchanging;
    unlock(l);
    return is;
}

bool store_log_is_in_place(struct store_log *l) {
    if (is_exchanging(l) || vfs_has_name(l->vfs, l->file.fd, l->o.path)) return true;
    return is_exchanging(l); /* begun meanwhile; only the commit thread ends it */
}

/* What is left of the list up to this lsn; the rest is pending in the log too. */
static void join(struct rewrite *r, lsn_t upto) {
    while (r->collected.head != NULL) {
        struct log_line *x = r->collected.head;
        r->collected.head = x->next;
        if (x->lsn <= upto) {
            store_log__push(&r->joining, x);
        } else {
            free(x);
            r->n_lines--;
        }
    }
    r->state = REWRITE_BOTH;
}

bool store_log__rewrite_take(struct store_log *l, lsn_t upto) {
    struct rewrite *r = &l->rewrite;
    r->lines = NULL;
    lock(l);
    if (r->state == REWRITE_BOTH && !r->failed) {
        r->lines = &l->taken;
        for (const struct log_line *x = l->taken.head; x != NULL; x = x->next) r->n_lines++;
    } else if (r->state == REWRITE_JOINING && !r->failed && upto >= r->join_lsn) {
        join(r, upto);
        r->lines = &r->joining;
    }
    unlock(l);
    return r->lines == &r->joining;
}

enum err store_log__rewrite_write(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    return r->lines != NULL ? store_log__write(l->vfs, &r->file, r->lines) : OK;
}

/* From the join on; before it the file is not the commit thread's. */
static bool has_file(struct store_log *l) {
    lock(l);
    const bool yes = l->rewrite.state == REWRITE_BOTH && !l->rewrite.failed;
    unlock(l);
    return yes;
}

enum err store_log__rewrite_sync(struct store_log *l) {
    return has_file(l) ? store_log__sync(l->vfs, &l->rewrite.file) : OK;
}

enum err store_log__rewrite_undo(struct store_log *l) {
    return has_file(l) ? store_log__cut(l->vfs, &l->rewrite.file) : OK;
}

/* A rewrite takes room and is no duty: it ends, unless its file may be the log by now. */
void store_log__rewrite_drop(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    lock(l);
    if (r->state != REWRITE_NONE && !r->exchanging) {
        r->failed = true;
        store_log__free_lines(&r->collected);
    }
    unlock(l);
    r->lines = NULL;
}

void store_log__rewrite_done(struct store_log *l, bool ok) {
    struct rewrite *r = &l->rewrite;
    if (ok && r->lines != NULL && r->lines->head != NULL) r->file.end = r->file.written;
    r->lines = NULL;
    store_log__free_lines(&r->joining);
}

/* ---- the rewriting thread ---- */

/* Waits until the commit thread has done with all groups so far. With ret_lsn: the last of them is
 * that one. E_STORE. */
static enum err pass(struct store_log *l, lsn_t *ret_lsn) {
    enum err e = commit_begin(l->commit, ret_lsn);
    if (e != OK) return e;
    commit_end(l->commit);
    return commit_flush(l->commit);
}

static void zero(const struct store_log *l, int fd) {
    if (store_log__zero(l->vfs, fd) != OK)
        log_line(LOG_WARN, "store-log-not-erased", "path=%s.new error=\"%s\"", l->o.path,
                 strerror(errno));
}

/* With `is_dead` nobody finds the file any more: it is overwritten. */
static void close_idle(struct store_log *l, bool is_dead) {
    lock(l);
    const int fd = l->rewrite.idle_fd, sums_fd = l->rewrite.idle_sums_fd;
    l->rewrite.idle_fd = l->rewrite.idle_sums_fd = -1;
    unlock(l);
    if (fd >= 0 && is_dead) zero(l, fd);
    if (fd >= 0) l->vfs->close(l->vfs->ctx, fd);
    if (sums_fd >= 0) l->vfs->close(l->vfs->ctx, sums_fd);
}

/* After a pass: all that the log had when the old ones were let go is on stable storage. */
static void make_sums(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    struct log_sums s;
    lock(l);
    const bool is_settled = !r->adopt && !r->give_up;
    const uint64_t end = r->sums_end;
    r->no_sums = !is_settled;
    unlock(l);
    if (!is_settled || !l->o.has_sums) return;
    sums_open(&s, &l->o, end);
    lock(l);
    r->sums = s;
    r->has_sums = true;
    unlock(l);
}

enum err store_log_rewrite_begin(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    struct log_path path;
    int fd;
    lock(l);
    const bool is_free = r->state == REWRITE_NONE;
    const bool is_numbered = r->nr < UINT16_MAX;
    unlock(l);
    if (!is_free || commit_state(l->commit) != COMMIT_OK) return E_STORE;
    if (!is_numbered) return E_LIMIT;
    enum err e = store_log__path(&l->o, ".new", &path);
    if (e != OK) return e;
    e = l->vfs->open(l->vfs->ctx, path.s, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd);
    if (e != OK) return E_SYS;
    lock(l);
    r->file = (struct log_file){.fd = fd};
    r->failed = false;
    r->n_lines = 0;
    r->nr++;
    r->state = REWRITE_COPYING;
    unlock(l);
    return OK;
}

void store_log_rewrite_renumber(struct store_log *l) {
    lock(l);
    assert(l->rewrite.state == REWRITE_NONE);
    l->rewrite.nr = 0;
    unlock(l);
}

enum err store_log_rewrite_put(struct store_log *l, struct bytes line, uint16_t *mark) {
    struct rewrite *r = &l->rewrite;
    enum err e = OK;
    lock(l);
    if (collects(r) && (mark == NULL || *mark != r->nr)) {
        e = collect(r, line, 0);
        if (e == OK && mark != NULL) *mark = r->nr;
    }
    unlock(l);
    return e;
}

enum err store_log_rewrite_put_first(void *ctx, struct bytes line) {
    return store_log_rewrite_put(ctx, line, NULL);
}

enum err store_log_rewrite_flush(struct store_log *l, size_t *ret_n) {
    struct rewrite *r = &l->rewrite;
    lock(l);
    struct log_lines lines = r->collected;
    r->collected.head = NULL;
    const bool failed = r->failed;
    unlock(l);
    const uint64_t before = r->file.end;
    enum err e = failed ? E_STORE : store_log__write(l->vfs, &r->file, &lines);
    store_log__free_lines(&lines);
    if (e == OK) r->file.end = r->file.written;
    if (e == OK) e = store_log__sync(l->vfs, &r->file);
    *ret_n = (size_t)(r->file.end - before);
    return e;
}

void store_log_rewrite_abort(struct store_log *l) {
    struct rewrite *r = &l->rewrite;
    struct log_path path;
    lock(l);
    assert(!r->exchanging);
    const int fd = r->file.fd;
    r->file.fd = -1;
    r->state = REWRITE_NONE;
    store_log__free_lines(&r->collected);
    unlock(l);
    if (fd < 0) return;
    zero(l, fd);
    l->vfs->close(l->vfs->ctx, fd);
    if (store_log__path(&l->o, ".new", &path) == OK) (void)l->vfs->unlink(l->vfs->ctx, path.s);
}

/* The last of what was copied, then the request to the commit thread. */
static enum err join_files(struct store_log *l) {
    enum { FEW = 64 << 10, ROUNDS = 8 };
    struct rewrite *r = &l->rewrite;
    size_t n = SIZE_MAX;
    enum err e = OK;
    for (unsigned i = 0; i < ROUNDS && n > FEW && e == OK; i++) e = store_log_rewrite_flush(l, &n);
    lsn_t lsn;
    if (e == OK) e = commit_begin(l->commit, &lsn);
    if (e != OK) return e;
    lock(l);
    r->join_lsn = lsn;
    r->state = REWRITE_JOINING;
    unlock(l);
    commit_end(l->commit);
    return commit_flush(l->commit);
}

static enum err replace(struct store_log *l, bool keep_backup) {
    if (keep_backup) return store_log__exchange(&l->o);
    struct log_path new;
    enum err e = store_log__path(&l->o, ".new", &new);
    if (e == OK) e = sums_remove(&l->o);
    if (e == OK) e = store_log__drop_notes(&l->o);
    if (e == OK) e = l->vfs->rename(l->vfs->ctx, new.s, l->o.path);
    if (e != OK) return E_SYS;
    const struct log_path dir = store_log__dir(&l->o);
    return l->vfs->sync_dir(l->vfs->ctx, dir.s) == OK ? OK : E_STORE;
}

enum err store_log_rewrite_end(struct store_log *l, bool keep_backup) {
    struct rewrite *r = &l->rewrite;
    enum err e = join_files(l);
    lock(l);
    if (r->failed || r->state != REWRITE_BOTH) e = e == OK ? E_STORE : e;
    r->exchanging = e == OK;
    unlock(l);
    if (e != OK) {
        store_log_rewrite_abort(l);
        return e;
    }
    e = replace(l, keep_backup);
    const int error = errno;
    lock(l);
    r->adopt = e == OK;
    r->give_up = e == E_SYS;
    unlock(l);
    if (e == E_SYS) {
        struct log_path new;
        if (store_log__path(&l->o, ".new", &new) == OK) (void)l->vfs->unlink(l->vfs->ctx, new.s);
    }
    lsn_t lsn;
    (void)!pass(l, &lsn); /* if that fails now, the next group settles it */
    close_idle(l, e == OK ? !keep_backup : e == E_SYS);
    store_log__forget_erasing(l);
    if (e != E_STORE) make_sums(l);
    errno = error;
    return e;
}
