/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal.c -- open, close, append.
 *
 * Appending gives a record its place and its number under the commit mutex and does no I/O: the
 * commit thread writes it there later (journal_write.c). A record fits into a segment only if the
 * END record fits after it, so END always finds its room. */
#include "store/disk/journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/journal_priv.h"

/* ---- appending ---- */

static struct jrec *jrec_new(size_t body_room) {
    struct jrec *r = malloc(sizeof *r + body_room);
    if (r != NULL) *r = (struct jrec){0};
    return r;
}

static void push_pending(struct journal *j, struct jrec *r) {
    r->loc = j->pos;
    r->h.n = j->next_n++;
    j->pos.offset_8 += r->h.len / 8;
    j->pending_bytes += r->h.len;
    jrec_list_push(&j->pending, r);
}

/* Would a record of this length begin the next segment? */
static bool needs_segment(const struct journal *j, uint32_t len) {
    const uint64_t at = (uint64_t)j->pos.offset_8 * 8;
    return at + len + RECORD_HEAD_LEN > j->segment_len;
}

void journal__place(struct journal *j, struct jrec *r, struct jrec *end, bool *ret_used_end) {
    *ret_used_end = needs_segment(j, r->h.len);
    if (*ret_used_end) {
        assert(end != NULL);
        *end = (struct jrec){.lsn = r->lsn, .h = {.len = RECORD_HEAD_LEN, .type = JREC_END}};
        push_pending(j, end);
        end->h.order = end->h.n;
        j->pos = (struct journal_loc){j->pos.segment + 1, SEGMENT_HEAD_LEN / 8};
        lock_take(&j->mtx);
        assert(j->n_segments < j->cap_segments);
        j->segments[j->n_segments++] = (struct segment){0};
        lock_give(&j->mtx);
    }
    push_pending(j, r);
    if (r->h.type == JREC_MSG) r->h.order = r->h.n;
    if (r->h.type != JREC_MSG && r->h.type != JREC_COPY) return;
    lock_take(&j->mtx);
    journal__count_live(j, r->loc, r->h.body_len, 1);
    lock_give(&j->mtx);
}

/* All that can fail before journal__place(), which cannot. Frees r on an error. */
static enum err prepare(struct journal *j, struct jrec *r, struct jrec **ret_end) {
    r->lsn = commit_current_lsn(j->commit);
    *ret_end = NULL;
    enum err e = OK;
    if (SEGMENT_HEAD_LEN + r->h.len + RECORD_HEAD_LEN > j->segment_len) e = E_LIMIT;
    if (e == OK && needs_segment(j, r->h.len)) {
        e = journal__reserve_segment(j);
        if (e == OK) *ret_end = jrec_new(0);
        if (*ret_end == NULL) e = E_NO_MEMORY;
    }
    if (e != OK) free(r);
    return e;
}

/* Takes r over in any case. */
static enum err append(struct journal *j, struct jrec *r, struct journal_loc *ret_loc) {
    struct jrec *end;
    const enum err e = prepare(j, r, &end);
    if (e != OK) return e;
    bool used;
    journal__place(j, r, end, &used);
    if (ret_loc != NULL) *ret_loc = r->loc;
    return OK;
}

/* Messages leave the last spare segment to deletions and copies, by which the disk becomes empty
 * again. */
static bool is_refused(struct journal *j, uint32_t len) {
    if (!needs_segment(j, len)) return false;
    lock_take(&j->mtx);
    const bool refused = j->low_space && j->n_spares <= 1;
    lock_give(&j->mtx);
    return refused;
}

enum err journal_append(struct journal *j, const struct id *queue, struct message *m,
                        struct journal_loc *ret_loc) {
    const uint32_t len = record_len(m->body_len);
    if (is_refused(j, len)) return E_STORE;
    struct jrec *r = jrec_new(0);
    if (r == NULL) return E_NO_MEMORY;
    r->h = (struct record_head){
        .len = len,
        .type = JREC_MSG,
        .flags = (uint8_t)((m->notification ? RECORD_FLAG_NOTIFICATION : 0) |
                           (m->is_quota ? RECORD_FLAG_QUOTA : 0)),
        .body_len = m->body_len,
        .ts_s = m->ts_s,
        .queue = *queue,
        .msg = m->id,
    };
    r->msg = m;
    const enum err e = append(j, r, ret_loc);
    if (e == OK) (void)message_ref(m);
    return e;
}

enum err journal_copy(struct journal *j, const struct journal_msg *m, struct bytes body) {
    if (j->relocating_bad) {
        j->met_bad = true;
        return E_STORE;
    }
    assert(body.n == m->body_len);
    struct jrec *r = jrec_new(body.n);
    if (r == NULL) {
        j->copy_failed = true;
        return E_NO_MEMORY;
    }
    r->h = (struct record_head){
        .len = record_len(m->body_len),
        .type = JREC_COPY,
        .flags = (uint8_t)((m->notification ? RECORD_FLAG_NOTIFICATION : 0) |
                           (m->is_quota ? RECORD_FLAG_QUOTA : 0)),
        .body_len = m->body_len,
        .order = m->order,
        .ts_s = m->ts_s,
        .queue = m->queue,
        .msg = m->msg,
    };
    r->from = m->loc;
    if (body.n != 0) memcpy(r->body, body.p, body.n);
    const enum err e = append(j, r, NULL);
    if (e != OK) j->copy_failed = true;
    return e;
}

enum err journal__append_plain(struct journal *j, const struct record_head *h) {
    struct jrec *r = jrec_new(0);
    if (r == NULL) return E_NO_MEMORY;
    r->h = *h;
    r->h.len = RECORD_HEAD_LEN;
    return append(j, r, NULL);
}

enum err journal_delete(struct journal *j, const struct id *queue, const struct id *msg,
                        struct journal_loc loc, uint16_t body_len, lsn_t lsn) {
    struct jrec *r = jrec_new(0), *end;
    if (r == NULL) return E_NO_MEMORY;
    r->h = (struct record_head){.len = RECORD_HEAD_LEN,
                                .type = JREC_DELETE,
                                .queue = *queue,
                                .msg = *msg};
    enum err e = prepare(j, r, &end);
    if (e != OK) return e;
    const struct erasure erasure = {.loc = loc, .lsn = lsn, .body_len = body_len};
    lock_take(&j->mtx);
    e = journal__add_erasure(j, &erasure);
    if (e == OK) journal__count_live(j, loc, body_len, -1);
    lock_give(&j->mtx);
    if (e != OK) {
        free(r);
        free(end);
        return e;
    }
    bool used;
    journal__place(j, r, end, &used);
    return OK;
}

enum err journal_purge_new(struct journal *j, const struct id *queue, struct journal_purge *ret) {
    struct jrec *r = jrec_new(0), *end;
    if (r == NULL) return E_NO_MEMORY;
    r->h = (struct record_head){.len = RECORD_HEAD_LEN, .type = JREC_PURGE, .queue = *queue};
    const enum err e = prepare(j, r, &end);
    if (e == OK) *ret = (struct journal_purge){r, end};
    return e;
}

void journal_purge_append(struct journal *j, struct journal_purge owned) {
    bool used;
    lock_take(&j->mtx);
    j->n_purging++;
    lock_give(&j->mtx);
    journal__place(j, owned.record, owned.end, &used);
}

void journal_purge_done(struct journal *j) {
    lock_take(&j->mtx);
    assert(j->n_purging != 0);
    j->n_purging--;
    lock_give(&j->mtx);
}

void journal_purge_drop(struct journal_purge owned) {
    free(owned.record);
    free(owned.end);
}

void journal_forget(struct journal *j, struct journal_loc loc, uint16_t body_len, lsn_t lsn) {
    const struct erasure erasure = {.loc = loc, .lsn = lsn, .body_len = body_len};
    lock_take(&j->mtx);
    /* A group that failed has given its places back, and this one may be another message's by now.
     * What is left on the disk then goes with its segment, or at the next start. The same when
     * there is no memory for the entry: the message counts as live. */
    if (!commit_is_lost(j->commit, lsn) && journal__add_erasure(j, &erasure) == OK) {
        journal__count_live(j, loc, body_len, -1);
    } else {
        j->miscounted = true;
        j->keeps_deletions = true;
    }
    lock_give(&j->mtx);
}

/* ---- figures ---- */

struct journal_stats journal_stats(struct journal *j) {
    lock_take(&j->mtx);
    const uint64_t n_files = (uint64_t)j->n_segments + j->n_spares;
    const struct journal_stats s = {
        .n_live = j->n_live,
        .live_bytes = j->live_bytes,
        .n_segments = j->n_segments,
        .disk_bytes = n_files * j->segment_len,
        .torn_bytes = j->torn_bytes,
        .n_to_erase = j->erasures.n,
        .low_space = j->low_space,
    };
    lock_give(&j->mtx);
    return s;
}

/* ---- open and close ---- */

static void free_journal(struct journal *j) {
    lock_cond_done(&j->reads.wake);
    lock_done(&j->reads.mtx);
    lock_cond_done(&j->wake);
    lock_done(&j->mtx);
    free(j->segments);
    free(j->erasures.v);
    free(j->deletions.v);
    free(j->segment_buf);
    free(j->dir);
    free(j->mark_path);
    free(j);
}

static enum err new_journal(const struct journal_opts *o, struct journal **ret) {
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL) return E_NO_MEMORY;
    j->dir = strdup(o->dir);
    j->mark_path = o->mark_path != NULL ? strdup(o->mark_path) : NULL;
    if (j->dir == NULL || (j->mark_path != NULL) != (o->mark_path != NULL)) {
        free(j->dir);
        free(j->mark_path);
        free(j);
        return E_NO_MEMORY;
    }
    lock_init(&j->mtx, LOCK_JOURNAL);
    lock_cond_init(&j->wake);
    lock_init(&j->reads.mtx, LOCK_JOURNAL_READS);
    lock_cond_init(&j->reads.wake);
    j->env = o->env;
    j->vfs = o->vfs;
    j->commit = o->commit;
    j->owner = o->owner;
    j->segment_len = o->segment_len != 0 ? (uint32_t)o->segment_len : JOURNAL_SEGMENT_LEN;
    assert(j->segment_len % 8 == 0 && j->segment_len > SEGMENT_HEAD_LEN + 2 * RECORD_HEAD_LEN);
    j->next_n = 1;
    j->next_spare = 1;
    j->reads.tail = &j->reads.head;
    j->cur.fd = -1;
    jrec_list_init(&j->pending);
    jrec_list_init(&j->taken);
    *ret = j;
    return OK;
}

/* Makes the directory, durably. */
static enum err make_dir(const struct journal *j) {
    const struct vfs *v = j->vfs;
    enum err e = v->mkdir(v->ctx, j->dir, 0700);
    if (e == E_EXISTS) return OK;
    if (e != OK) return E_SYS;
    char parent[JOURNAL_MAX_PATH];
    const char *slash = strrchr(j->dir, '/');
    const size_t n = slash == NULL ? 0 : slash == j->dir ? 1 : (size_t)(slash - j->dir);
    memcpy(parent, n != 0 ? j->dir : ".", n != 0 ? n : 1);
    parent[n != 0 ? n : 1] = '\0';
    return v->sync_dir(v->ctx, parent);
}

enum err journal_open(const struct journal_opts *o, struct journal **ret,
                      struct journal_problem *ret_problem) {
    ret_problem->text[0] = '\0';
    if (strlen(o->dir) + 40 > JOURNAL_MAX_PATH) {
        errno = ENAMETOOLONG;
        return E_SYS;
    }
    struct journal *j;
    enum err e = new_journal(o, &j);
    if (e != OK) return e;
    e = make_dir(j);
    if (e == OK) e = journal__recover(j, o, ret_problem);
    if (e != OK) {
        const int error = errno;
        free_journal(j);
        errno = error;
        return e == E_NOT_FOUND ? E_SYS : e;
    }
    struct commit_sink sink;
    journal__init_sink(j, &sink);
    commit_add_sink(j->commit, &sink);
    *ret = j;
    return OK;
}

static void free_records(struct jrec_list *l) {
    for (struct jrec *r = l->head, *next; r != NULL; r = next) {
        next = r->next;
        message_unref(r->msg);
        free(r);
    }
    jrec_list_init(l);
}

/* All is on stable storage: says so, in the journal and beside it. */
static enum err end_in_order(struct journal *j) {
    enum err e = journal__write_end(j);
    if (e != OK || j->mark_path == NULL) return e;
    /* The last place in the table may have no file yet. */
    const uint32_t end = j->cur.fd >= 0 ? j->cur.number + 1 : j->pos.segment;
    const struct journal_mark m = {
        .first_segment = j->first_segment,
        .n_segments = end - j->first_segment,
        .next_n = j->next_n,
        .has_count = !j->miscounted,
        .n_messages = j->n_live,
        .stopped_s = env_now_s(j->env),
    };
    return journal__write_mark(j, &m);
}

void journal_close(struct journal *j) {
    if (j == NULL) return;
    assert(!j->has_worker);
    if (commit_state(j->commit) == COMMIT_OK && j->pending.head == NULL && end_in_order(j) != OK) {
        log_line(LOG_WARN, "journal-end-not-written", "error=\"%s\"", strerror(errno));
    }
    free_records(&j->pending);
    free_records(&j->taken);
    journal__close_files(j);
    free_journal(j);
}
