/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_read.c -- the readers: threads that read bodies back, and do nothing else.
 *
 * Who waits for a body never waits for the worker's writing and syncing, and a slow disk is given
 * several reads at a time. A segment may be freed and its file used again while a record of it is
 * being read: the record then does not fit its place and salt, and the owner finds the message
 * elsewhere, or gone. A reader keeps the file of its last read open only while there is more to
 * read, so that a file that was removed does not stay on the disk. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "crypto/crypto.h"
#include "store/disk/journal_priv.h"

enum { MAX_RECORD_LEN = RECORD_HEAD_LEN + UINT16_MAX + 1, SHORTAGE_RETRY_MS = 100 };

struct read_req {
    struct read_req *next;
    struct journal_msg m;
    uint8_t *body; /* borrowed */
    journal_read_done *done;
    void *arg;
};

/* What a reader thread has of its own. */
struct reader {
    struct journal *j;
    struct segment_fd file; /* of the last read */
    uint8_t buf[MAX_RECORD_LEN];
};

enum err journal_read(struct journal *j, const struct journal_msg *m, uint8_t *ret_body,
                      journal_read_done *done, void *arg) {
    struct read_req *r = malloc(sizeof *r);
    if (r == NULL) return E_NO_MEMORY;
    *r = (struct read_req){.m = *m, .body = ret_body, .done = done, .arg = arg};
    lock_take(&j->reads.mtx);
    const bool open = j->reads.n_threads != 0 && !j->reads.stopping;
    if (open) {
        *j->reads.tail = r;
        j->reads.tail = &r->next;
        lock_wake(&j->reads.wake);
    }
    lock_give(&j->reads.mtx);
    if (!open) free(r);
    return open ? OK : E_CLOSED;
}

/* ---- one read ---- */

static void close_file(struct reader *t) {
    if (t->file.fd >= 0) t->j->vfs->close(t->j->vfs->ctx, t->file.fd);
    t->file.fd = -1;
}

static enum err open_file(struct reader *t, uint32_t number) {
    if (t->file.fd >= 0 && t->file.number == number) return OK;
    close_file(t);
    const struct journal_path path = journal__path(t->j, FILE_SEGMENT, number);
    const enum err e = t->j->vfs->open(t->j->vfs->ctx, path.s, O_RDONLY, 0, &t->file.fd);
    if (e != OK) t->file.fd = -1;
    t->file.number = number;
    return e;
}

/* The record at m->loc, whole and m's own. E_STORE, E_SYS with errno. */
static enum err read_record(struct reader *t, const struct journal_msg *m, uint64_t salt,
                            uint8_t *ret_body) {
    const struct vfs *v = t->j->vfs;
    const size_t len = record_len(m->body_len);
    size_t got = 0;
    assert(len <= sizeof t->buf);
    enum err e = open_file(t, m->loc.segment);
    if (e == OK)
        e = v->read_at(v->ctx, t->file.fd, t->buf, len, (uint64_t)m->loc.offset_8 * 8, &got);
    if (e != OK) return e;
    struct record_head h;
    const struct record_place place = {salt, m->loc};
    const bool ok = record_head_decode(bytes_of(t->buf, got), &place, &h) == OK &&
                    (h.type == JREC_MSG || h.type == JREC_COPY) && h.body_len == m->body_len &&
                    id_equal(&h.msg, &m->msg) && id_equal(&h.queue, &m->queue) &&
                    record_body_is_whole(&h, bytes_of(t->buf + RECORD_HEAD_LEN, h.body_len));
    if (ok && m->body_len != 0) memcpy(ret_body, t->buf + RECORD_HEAD_LEN, m->body_len);
    crypto_wipe(t->buf, len);
    return ok ? OK : E_STORE;
}

/* Waits, but not for long, and not when readers are to end: false then. */
static bool wait_for_better_times(struct journal *j) {
    lock_take(&j->reads.mtx);
    if (!j->reads.stopping) (void)lock_wait_ms(&j->reads.wake, &j->reads.mtx, SHORTAGE_RETRY_MS);
    const bool more = !j->reads.stopping;
    lock_give(&j->reads.mtx);
    return more;
}

static enum err read_body(struct reader *t, const struct journal_msg *m, uint8_t *ret_body) {
    struct journal *j = t->j;
    for (;;) {
        lock_take(&j->mtx);
        const struct segment *s = journal__segment(j, m->loc.segment);
        const uint64_t salt = s != NULL ? s->salt : 0;
        lock_give(&j->mtx);
        if (s == NULL) return E_NOT_FOUND;
        const enum err e = read_record(t, m, salt, ret_body);
        if (e == OK) return OK;
        /* Too many files are open, or the kernel is short of memory: nothing is wrong with it. */
        if (e != E_SYS || !vfs_is_shortage(errno) || !wait_for_better_times(j)) return E_STORE;
    }
}

/* ---- the threads ---- */

static struct read_req *take(struct journal *j, struct reader *t) {
    lock_take(&j->reads.mtx);
    while (j->reads.head == NULL && !j->reads.stopping) {
        if (t->file.fd >= 0) {
            lock_give(&j->reads.mtx);
            close_file(t);
            lock_take(&j->reads.mtx);
            continue;
        }
        lock_wait(&j->reads.wake, &j->reads.mtx);
    }
    struct read_req *r = j->reads.head;
    if (r != NULL) {
        j->reads.head = r->next;
        if (r->next == NULL) j->reads.tail = &j->reads.head;
    }
    lock_give(&j->reads.mtx);
    return r;
}

static bool is_stopping(struct journal *j) {
    lock_take(&j->reads.mtx);
    const bool is = j->reads.stopping;
    lock_give(&j->reads.mtx);
    return is;
}

/* What is still waiting at a stop is not read: a slow disk would hold up the stop. */
static void run(void *ctx) {
    struct reader t = {.j = ctx, .file = {0, -1}};
    for (struct read_req *r; (r = take(t.j, &t)) != NULL; free(r)) {
        r->done(r->arg, is_stopping(t.j) ? E_CLOSED : read_body(&t, &r->m, r->body));
    }
    close_file(&t);
}

enum err journal__start_readers(struct journal *j) {
    enum err e = OK;
    lock_take(&j->reads.mtx);
    j->reads.stopping = false;
    for (unsigned i = 0; i < JOURNAL_N_READERS && e == OK; i++) {
        e = thread_start(&j->reads.threads[i], "journal-read", run, j);
        if (e == OK) j->reads.n_threads++;
    }
    lock_give(&j->reads.mtx);
    if (e == OK) return OK;
    const int error = errno;
    journal__stop_readers(j);
    errno = error;
    return e;
}

void journal__stop_readers(struct journal *j) {
    lock_take(&j->reads.mtx);
    j->reads.stopping = true;
    lock_wake_all(&j->reads.wake);
    const unsigned n = j->reads.n_threads;
    lock_give(&j->reads.mtx);
    for (unsigned i = 0; i < n; i++) thread_join(&j->reads.threads[i]);
    lock_take(&j->reads.mtx);
    j->reads.n_threads = 0;
    lock_give(&j->reads.mtx);
}
