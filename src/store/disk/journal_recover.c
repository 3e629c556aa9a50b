/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* journal_recover.c -- decides what the files mean.
 *
 * Segments are read in order; numbers run on without gaps. Where the next record should be and is
 * not, either a group was being written when the machine stopped (nothing from there on was
 * acknowledged), or something that was acknowledged is damaged. Later records tell: each says up to
 * which number all was on stable storage when it was written. If one covers the missing number it
 * is damage, and the start is refused; else it is the torn tail, and goes.
 *
 * A body that is not what its record says is right if the message was deleted (bodies are erased),
 * or its queue. Otherwise, again, the numbers tell a torn group from damage. And so they do for a
 * message of a queue that is not there: either the queue's line was in a group that was never
 * acknowledged, or the store log has lost it.
 *
 * Everything is decided before anything is changed. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/disk/journal_scan.h"

enum { MAX_MISSING = 1000, FIRST_VERSION_WITH_PURGE = 2 };

/* A message that is not deleted, as far as we have read. */
struct live_msg {
    struct idnode node; /* key: see live_key() */
    struct id queue;
    uint64_t n, order;
    int64_t ts_s;
    struct journal_loc loc;
    uint16_t body_len;
    uint8_t flags;
    bool bad_body;
    bool dropped;
    bool purged;     /* its queue was deleted after it came */
    bool may_orphan; /* by a version that wrote no PURGE */
};

struct purge {
    struct idnode node; /* key: queue */
    uint64_t n;         /* of the last PURGE */
};

/* One id for queue and message together: each byte of one with the next byte of the other, so that
 * the message's can be had back. */
static struct id live_key(const struct id *queue, const struct id *msg) {
    struct id key;
    for (size_t i = 0; i < ID_LEN; i++) key.b[i] = queue->b[i] ^ msg->b[(i + 1) % ID_LEN];
    return key;
}

static struct journal_msg journal_msg_of(const struct live_msg *l) {
    struct journal_msg m = {
        .queue = l->queue,
        .ts_s = l->ts_s,
        .notification = (l->flags & RECORD_FLAG_NOTIFICATION) != 0,
        .is_quota = (l->flags & RECORD_FLAG_QUOTA) != 0,
        .body_len = l->body_len,
        .order = l->order,
        .loc = l->loc,
    };
    for (size_t i = 0; i < ID_LEN; i++) m.msg.b[(i + 1) % ID_LEN] = l->node.id.b[i] ^ l->queue.b[i];
    return m;
}

static struct live_msg *live_of(struct idnode *node) {
    return CONTAINER_OF(node, struct live_msg, node);
}

enum err recovery_refuse(struct recovery *r, uint32_t number, uint64_t at, const char *what) {
    const struct journal_path path = journal__path(r->j, FILE_SEGMENT, number);
    (void)snprintf(r->problem->text, sizeof r->problem->text,
                   "%.300s, offset %llu: %s. Restore the journal from a backup, or start with "
                   "--skip-warnings: "
                   "then a copy is set aside and what can be read is used",
                   path.s, (unsigned long long)at, what);
    return E_STORE;
}

/* ---- the files ---- */

static void note_spare(struct journal *j, uint32_t number) {
    if (j->next_spare <= number) j->next_spare = number + 1;
    journal__put_spare(j, (struct spare){.number = number, .clean = false, .fd = -1});
}

static enum err add_file(struct recovery *r, uint32_t number, bool missing) {
    if (r->n_files == r->cap_files) {
        const size_t cap = r->cap_files != 0 ? r->cap_files * 2 : 64;
        struct seg_file *p = realloc(r->files, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        r->files = p;
        r->cap_files = cap;
    }
    r->files[r->n_files++] = (struct seg_file){.number = number, .missing = missing};
    return OK;
}

static void list_entry(void *arg, const char *name) {
    struct recovery *r = arg;
    enum journal_file kind;
    uint32_t number;
    if (!journal_parse_file_name(name, &kind, &number)) {
        r->foreign = r->foreign || strcmp(name, JOURNAL_NOTES_NAME) != 0;
    } else if (kind == FILE_SPARE) {
        note_spare(r->j, number);
    } else if (kind == FILE_SEGMENT && r->list_err == OK) {
        r->list_err = add_file(r, number, false);
    }
}

static int compare_files(const void *a, const void *b) {
    const uint32_t x = ((const struct seg_file *)a)->number,
                   y = ((const struct seg_file *)b)->number;
    return x < y ? -1 : x > y;
}

static void sort_files(struct recovery *r) {
    if (r->n_files > 1) qsort(r->files, r->n_files, sizeof *r->files, compare_files);
}

/* There must be no number left out; with skip_warnings, those are noted as missing. */
static enum err find_missing(struct recovery *r) {
    const size_t n = r->n_files;
    for (size_t i = 1; i < n; i++) {
        const uint32_t want = r->files[i - 1].number + 1;
        const uint32_t have = r->files[i].number;
        if (have == want) continue;
        if (!r->o->skip_warnings || have - want > MAX_MISSING) {
            return recovery_refuse(r, want, 0,
                                   "this file is missing, although there are later ones");
        }
        for (uint32_t number = want; number < have; number++) {
            const enum err e = add_file(r, number, true);
            if (e != OK) return e;
        }
    }
    sort_files(r);
    return OK;
}

static enum err list_files(struct recovery *r) {
    const struct journal *j = r->j;
    enum err e = j->vfs->list(j->vfs->ctx, j->dir, list_entry, r);
    if (e == OK) e = r->list_err;
    if (e != OK) return e;
    if (r->foreign)
        log_line(LOG_WARN, "journal-unknown-files", "dir=%s action=\"left alone\"", j->dir);
    sort_files(r);
    r->bytes_total = (uint64_t)r->n_files * j->segment_len;
    return find_missing(r);
}

/* The table of segments, with one more for what will be written. */
static enum err make_table(struct recovery *r) {
    struct journal *j = r->j;
    j->cap_segments = (uint32_t)r->n_files + 16;
    j->segments = calloc(j->cap_segments, sizeof *j->segments);
    if (j->segments == NULL) return E_NO_MEMORY;
    j->first_segment = r->n_files != 0 ? r->files[0].number : 1;
    j->n_segments = (uint32_t)r->n_files + 1;
    return OK;
}

/* ---- repairs to be made ---- */

static enum err add_fix(struct recovery *r, const struct fix *f) {
    if (r->n_fixes == r->cap_fixes) {
        const size_t cap = r->cap_fixes != 0 ? r->cap_fixes * 2 : 8;
        struct fix *p = realloc(r->fixes, cap * sizeof *p);
        if (p == NULL) return E_NO_MEMORY;
        r->fixes = p;
        r->cap_fixes = cap;
    }
    r->fixes[r->n_fixes++] = *f;
    if (f->open_ended) r->n_open_fixes++;
    if (!r->files[f->file].missing) r->files[f->file].set_aside = true;
    return OK;
}

/* A segment of which nothing can be read. */
static enum err add_whole_fix(struct recovery *r, size_t file) {
    struct fix f = {.file = file,
                    .whole = true,
                    .open_ended = true,
                    .at = SEGMENT_HEAD_LEN,
                    .h = {.len = RECORD_HEAD_LEN, .type = JREC_END}};
    env_random(r->j->env, &f.salt, sizeof f.salt);
    r->j->segments[file].salt = f.salt;
    return add_fix(r, &f);
}

/* Shares the numbers up to before first_n among the open repairs: one each, the rest to the last.
 */
static bool close_fixes(struct recovery *r, uint64_t first_n) {
    const size_t k = r->n_open_fixes;
    if (k == 0) return first_n == r->next_n || r->next_n == 0;
    if (r->next_n == 0) r->next_n = first_n > k ? first_n - k : 1;
    if (first_n < r->next_n + k) return false;
    for (size_t i = 0; i < k; i++) {
        struct record_head *h = &r->fixes[r->n_fixes - k + i].h;
        h->n = r->next_n + i;
        h->order = i + 1 < k ? h->n : first_n - 1;
    }
    r->n_open_fixes = 0;
    r->next_n = first_n;
    return true;
}

/* ---- records ---- */

/* What lies at l->loc will not be asked for any more. */
static enum err bury(struct recovery *r, const struct live_msg *l, lsn_t lsn) {
    return journal__add_erasure(r->j, &(struct erasure){.loc = l->loc,
                                                        .lsn = lsn,
                                                        .body_len = l->body_len});
}

static enum err see_message(struct recovery *r, uint32_t at, const struct record_head *h) {
    const struct id key = live_key(&h->queue, &h->msg);
    const bool bad = !record_body_is_whole(h, scan_body(&r->cur, at, h));
    struct idnode *node = idmap_find(&r->live, &key);
    enum err e = OK;
    if (node != NULL) {
        /* A copy of which only the head was written must not hide the original. */
        if (bad && !live_of(node)->bad_body) {
            const struct live_msg copy = {.loc = {r->cur.number, at / 8}, .body_len = h->body_len};
            return bury(r, &copy, 0);
        }
        e = bury(r, live_of(node), 0);
        if (e != OK) return e;
    } else {
        struct live_msg *l = calloc(1, sizeof *l);
        if (l == NULL) return E_NO_MEMORY;
        node = &l->node;
        node->id = key;
        e = idmap_insert(&r->live, node);
        if (e != OK) {
            free(l);
            return e;
        }
    }
    struct live_msg *l = live_of(node);
    l->queue = h->queue;
    l->n = h->n;
    l->order = h->order;
    l->ts_s = h->ts_s;
    l->loc = (struct journal_loc){r->cur.number, at / 8};
    l->body_len = h->body_len;
    l->flags = h->flags;
    l->bad_body = bad;
    l->may_orphan = r->cur.head.version < FIRST_VERSION_WITH_PURGE;
    return OK;
}

static enum err see_delete(struct recovery *r, const struct record_head *h) {
    const struct id key = live_key(&h->queue, &h->msg);
    struct idnode *node = idmap_remove(&r->live, &key);
    if (node == NULL) return OK; /* went with its segment */
    struct live_msg *l = live_of(node);
    const enum err e = bury(r, l, 0);
    free(l);
    return e;
}

static enum err see_purge(struct recovery *r, const struct record_head *h) {
    struct idnode *node = idmap_find(&r->purged, &h->queue);
    if (node != NULL) {
        CONTAINER_OF(node, struct purge, node)->n = h->n;
        return OK;
    }
    struct purge *p = calloc(1, sizeof *p);
    if (p == NULL) return E_NO_MEMORY;
    p->node.id = h->queue;
    p->n = h->n;
    const enum err e = idmap_insert(&r->purged, &p->node);
    if (e != OK) free(p);
    return e;
}

static bool is_purged(struct recovery *r, const struct live_msg *l) {
    struct idnode *node = idmap_find(&r->purged, &l->queue);
    return node != NULL && l->order < CONTAINER_OF(node, struct purge, node)->n;
}

static enum err see_record(struct recovery *r, size_t file, uint32_t at,
                           const struct record_head *h) {
    if (r->durable_n < h->durable_n) r->durable_n = h->durable_n;
    const bool covers = h->type == JREC_END || h->type == JREC_SKIP;
    r->files[file].last_n = covers ? h->order : h->n;
    r->next_n = r->files[file].last_n + 1;
    switch ((enum record_type)h->type) {
    case JREC_MSG:
    case JREC_COPY:
        return see_message(r, at, h);
    case JREC_DELETE:
        journal__note_deletion(r->j, (struct journal_loc){r->cur.number, at / 8}, 0);
        return see_delete(r, h);
    case JREC_PURGE:
        journal__note_deletion(r->j, (struct journal_loc){r->cur.number, at / 8}, 0);
        return see_purge(r, h);
    case JREC_MARK:
    case JREC_END:
    case JREC_SKIP:
    case JREC_GONE:
        break;
    }
    return OK;
}

/* ---- what is not there ---- */

/* A segment, as it is when what was being erased is. */
static enum err load(struct recovery *r, uint32_t number, struct scan *s) {
    const enum err e = scan_load(r->j, number, s);
    if (e == OK) journal__apply_notes(r->notes, r->n_notes, number, s->head.salt, s->buf, s->all.n);
    return e;
}

/* Does a record of this segment, from this offset on, say that the missing one was on stable
 * storage? */
static bool proves(const struct scan *s, uint32_t at, uint64_t missing_n) {
    struct record_head h;
    for (; (at = scan_find(s, at, missing_n, &h)) != 0; at += 8) {
        if (h.durable_n >= missing_n) return true;
    }
    return false;
}

static enum err was_durable(struct recovery *r, size_t file, uint32_t at, bool *ret) {
    *ret = (r->mark.valid && r->next_n < r->mark.next_n) || proves(&r->cur, at, r->next_n);
    for (size_t i = file + 1; i < r->n_files && !*ret; i++) {
        const enum err e = r->files[i].missing ? E_SYNTAX : load(r, r->files[i].number, &r->ahead);
        if (e == E_SYNTAX || e == E_VERSION) {
            *ret =
                true; /* a segment's head is durable before the segment is: this is no torn group */
        } else if (e != OK) {
            return e;
        } else {
            *ret = r->ahead.head.durable_n >= r->next_n ||
                   proves(&r->ahead, SEGMENT_HEAD_LEN, r->next_n);
        }
    }
    return OK;
}

static void note_tear(struct recovery *r, size_t file, uint32_t at) {
    r->torn = true;
    r->tear_file = file;
    r->tear_at = at;
    r->tear_salt = r->cur.head.salt;
    r->tear_len = r->cur.head.len;
    r->j->torn_bytes += scan_used(&r->cur, at);
    r->j->torn_bytes += (uint64_t)(r->n_files - file - 1) * r->j->segment_len;
}

/* Leaves out what is damaged at *io_at: up to the next record (OK), or to the end of the segment
 * (E_NOT_FOUND). */
static enum err skip_damage(struct recovery *r, size_t file, uint32_t *io_at) {
    struct fix f = {.file = file, .at = *io_at, .salt = r->cur.head.salt};
    struct record_head next;
    const uint32_t to = scan_find(&r->cur, *io_at + RECORD_HEAD_LEN, r->next_n + 1, &next);
    if (to == 0) {
        f.open_ended = true;
        f.h = (struct record_head){.len = RECORD_HEAD_LEN, .type = JREC_END};
        const enum err e = add_fix(r, &f);
        return e == OK ? E_NOT_FOUND : e;
    }
    f.h = (struct record_head){.len = to - *io_at,
                               .type = JREC_SKIP,
                               .n = r->next_n,
                               .order = next.n - 1};
    *io_at = to;
    r->next_n = next.n;
    return add_fix(r, &f);
}

/* ---- one segment after the other ---- */

static enum err read_records(struct recovery *r, size_t file) {
    struct record_head h = {0};
    for (uint32_t at = SEGMENT_HEAD_LEN; h.type != JREC_END;) {
        enum err e = scan_record(&r->cur, at, &h);
        if (e == OK && h.n == r->next_n) {
            e = see_record(r, file, at, &h);
            if (e != OK) return e;
            at += h.len;
            continue;
        }
        h.type = 0;
        bool durable = false;
        e = was_durable(r, file, at, &durable);
        if (e != OK) return e;
        if (!durable) {
            note_tear(r, file, at);
            return OK;
        }
        if (!r->o->skip_warnings) {
            return recovery_refuse(r, r->cur.number, at, "a record that was stored is damaged");
        }
        e = skip_damage(r, file, &at);
        if (e == E_NOT_FOUND) return OK;
        if (e != OK) return e;
    }
    return OK;
}

static enum err read_segment(struct recovery *r, size_t file) {
    const uint32_t number = r->files[file].number;
    enum err e = r->files[file].missing ? E_SYNTAX : load(r, number, &r->cur);
    if (e == E_VERSION)
        return recovery_refuse(r, number, 0, "written by a later version of smp-server");
    if (e == E_SYNTAX && r->o->skip_warnings) return add_whole_fix(r, file);
    if (e == E_SYNTAX) return recovery_refuse(r, number, 0, "the head of the file is damaged");
    if (e != OK) return e;
    const struct segment_head *head = &r->cur.head;
    if (!close_fixes(r, head->first_n)) {
        return recovery_refuse(r, number, 0,
                               "it does not follow the file before it; a file is missing or from "
                               "another time");
    }
    r->next_n = head->first_n;
    r->files[file].last_n = head->first_n - 1;
    if (r->durable_n < head->durable_n) r->durable_n = head->durable_n;
    r->j->segments[file].salt = head->salt;
    e = read_records(r, file);
    r->bytes_done += r->j->segment_len;
    if (r->o->progress != NULL) r->o->progress(r->o->owner.ctx, r->bytes_done, r->bytes_total);
    return e;
}

static enum err read_segments(struct recovery *r) {
    enum err e = OK;
    for (size_t i = 0; i < r->n_files && e == OK && !r->torn; i++) e = read_segment(r, i);
    if (e != OK) return e;
    if (r->next_n == 0) r->next_n = 1;
    if (!close_fixes(r, r->next_n + r->n_open_fixes)) abort(); /* each gets one: always possible */
    return OK;
}

/* ---- what lives ---- */

struct live_list {
    struct live_msg **v; /* owned, and the entries */
    size_t n;
};

static void collect(struct idnode *node, void *ctx) {
    struct live_list *list = ctx;
    list->v[list->n++] = live_of(node);
}

static int compare_live(const void *a, const void *b) {
    const struct live_msg *x = *(struct live_msg *const *)a, *y = *(struct live_msg *const *)b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Empties r->live. */
static enum err take_live(struct recovery *r, struct live_list *ret) {
    ret->n = 0;
    ret->v = malloc((r->live.n_entries + 1) * sizeof(struct live_msg *));
    if (ret->v == NULL) return E_NO_MEMORY;
    idmap_each(&r->live, collect, ret);
    idmap_done(&r->live);
    if (ret->n > 1) qsort(ret->v, ret->n, sizeof(struct live_msg *), compare_live);
    return OK;
}

static void free_live(struct live_list *list) {
    for (size_t i = 0; i < list->n; i++) free(list->v[i]);
    free(list->v);
}

/* A message without its body: erased with its queue, torn, or damaged. */
static enum err judge_body(struct recovery *r, struct live_msg *l) {
    if (!r->j->owner.has_queue(r->j->owner.ctx, &l->queue)) {
        l->dropped = !l->may_orphan; /* its deletion was damaged */
        return OK;
    }
    if (l->n <= r->durable_n) {
        if (!r->o->skip_warnings) {
            return recovery_refuse(r, l->loc.segment, (uint64_t)l->loc.offset_8 * 8,
                                   "a message that was stored is damaged");
        }
        r->files[l->loc.segment - r->files[0].number].set_aside = true;
    } else {
        r->j->torn_bytes += record_len(l->body_len);
    }
    l->dropped = true;
    return OK;
}

/* A whole message of a queue that is not there, and that nobody has deleted. */
static void judge_orphan(struct recovery *r, struct live_msg *l, struct queue_tally *t) {
    l->dropped = true;
    t->n_unknown++;
    if (l->order > r->durable_n || l->may_orphan) return; /* the queue's line was in its group */
    if (t->n_lost++ == 0) t->lost_at = l->loc;
}

static enum err judge_live(struct recovery *r, const struct live_list *list) {
    struct queue_tally t = {0};
    enum err e = OK;
    for (size_t i = 0; i < list->n && e == OK; i++) {
        struct live_msg *l = list->v[i];
        l->purged = is_purged(r, l);
        if (l->purged) continue;
        if (l->bad_body) {
            e = judge_body(r, l);
        } else if (r->j->owner.has_queue(r->j->owner.ctx, &l->queue)) {
            t.n_known++;
        } else {
            judge_orphan(r, l, &t);
        }
    }
    return e == OK ? journal__check_queues(r, &t) : e;
}

/* A deletion for a message that is given up, so that the next start does not find it again. */
static enum err delete_dropped(struct recovery *r, const struct live_msg *l) {
    const struct journal_msg m = journal_msg_of(l);
    lsn_t lsn;
    enum err e = commit_begin(r->j->commit, &lsn);
    if (e != OK) return e;
    e = journal__append_plain(r->j, &(struct record_head){.type = JREC_DELETE,
                                                          .queue = m.queue,
                                                          .msg = m.msg});
    commit_end(r->j->commit);
    return e == OK ? bury(r, l, lsn) : e;
}

static enum err hand_over(struct recovery *r, const struct live_list *list) {
    struct journal *j = r->j;
    for (size_t i = 0; i < list->n; i++) {
        const struct live_msg *l = list->v[i];
        enum err e;
        if (l->dropped) {
            e = delete_dropped(r, l);
        } else if (l->bad_body || l->purged) {
            e = bury(r, l, 0);
        } else {
            const struct journal_msg m = journal_msg_of(l);
            e = j->owner.recovered(j->owner.ctx, &m);
            if (e == OK) {
                journal__count_live(j, l->loc, l->body_len, 1);
            } else if (e == E_NOT_FOUND) {
                e = bury(r, l, 0);
            }
        }
        if (e != OK) return e;
    }
    return OK;
}

/* Where to go on: always in a new segment. */
static void set_position(struct recovery *r) {
    struct journal *j = r->j;
    j->n_segments = (uint32_t)r->n_files + 1;
    j->pos = (struct journal_loc){j->first_segment + (uint32_t)r->n_files, SEGMENT_HEAD_LEN / 8};
    j->closed_below = j->pos.segment;
    j->next_n = r->next_n;
    j->written_n = r->next_n - 1;
    j->synced_n = r->durable_n;
    j->unproven = j->written_n > j->synced_n;
}

static enum err recover(struct recovery *r) {
    enum err e = journal__read_mark(r->j, &r->mark);
    if (e == OK) e = journal__load_notes(r->j, &r->notes, &r->n_notes);
    if (e == OK) e = list_files(r);
    if (e == OK) e = journal__check_ends(r);
    if (e == OK) e = make_table(r);
    if (e == OK) e = read_segments(r);
    struct live_list list = {0};
    if (e == OK) e = take_live(r, &list);
    if (e == OK) e = judge_live(r, &list);
    if (e == OK && r->mark.is_there) e = journal__remove_mark(r->j);
    if (e == OK) e = recovery_repair(r);
    if (e == OK) {
        set_position(r);
        e = hand_over(r, &list);
    }
    free_live(&list);
    if (e == OK && r->j->torn_bytes != 0) {
        log_line(LOG_WARN, "journal-torn-tail", "bytes=%llu action=\"dropped: never acknowledged\"",
                 (unsigned long long)r->j->torn_bytes);
    }
    return e;
}

static void free_node(struct idnode *node, void *ctx) {
    (void)ctx;
    free(live_of(node));
}

static void free_purge(struct idnode *node, void *ctx) {
    (void)ctx;
    free(CONTAINER_OF(node, struct purge, node));
}

enum err journal__recover(struct journal *j, const struct journal_opts *o,
                          struct journal_problem *ret_problem) {
    struct recovery r = {.j = j, .o = o, .problem = ret_problem};
    uint64_t seed[3];
    env_random(j->env, seed, sizeof seed);
    idmap_init(&r.live, seed);
    idmap_init(&r.purged, seed);
    const enum err e = recover(&r);
    const int error = errno;
    idmap_each(&r.live, free_node, NULL);
    idmap_done(&r.live);
    idmap_each(&r.purged, free_purge, NULL);
    idmap_done(&r.purged);
    scan_done(&r.cur);
    scan_done(&r.ahead);
    free(r.files);
    free(r.fixes);
    free(r.notes);
    errno = error;
    return e;
}
