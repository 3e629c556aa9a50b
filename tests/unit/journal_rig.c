/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "journal_rig.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- names and bodies are made from numbers ---- */

struct id rig_msg_id(size_t message) {
    struct id id;
    for (size_t i = 0; i < ID_LEN; i++) id.b[i] = (uint8_t)(message >> (i % 4 * 8) ^ (i * 37));
    return id;
}

static size_t number_of(const struct id *id) {
    size_t v = 0;
    for (size_t i = 0; i < 4; i++) v |= (size_t)(id->b[i] ^ (uint8_t)(i * 37)) << (i * 8);
    return v;
}

/* A queue is its slot and a generation; deleted and made again it is another one. */
struct id rig_queue_id(unsigned slot, uint32_t generation) {
    return rig_msg_id((size_t)generation * RIG_N_QUEUES + slot + 0x10000000);
}

void rig_fill_body(size_t message, uint8_t *buf, size_t n) {
    uint64_t x = message * 0x9e3779b97f4a7c15U + 1;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        buf[i] = (uint8_t)(x | 1); /* never zero: an erased byte shows */
    }
}

unsigned rig_chance(struct rig *r, unsigned n) {
    r->random ^= r->random >> 12;
    r->random ^= r->random << 25;
    r->random ^= r->random >> 27;
    return (unsigned)((r->random * 0x2545f4914f6cdd1dU >> 33) % n);
}

/* ---- the owner ---- */

/* Was this queue deleted, as far as stable storage knew? */
static bool is_gone(const struct rig *r, uint32_t generation) {
    const lsn_t lsn = r->queue_delete_lsn[generation];
    return lsn == RIG_GONE || (lsn != 0 && lsn <= r->safe_lsn);
}

static enum err recovered(void *ctx, const struct journal_msg *m) {
    struct rig *r = ctx;
    const size_t k = number_of(&m->msg);
    if (k >= r->n_messages) {
        r->n_unknown++;
        return OK;
    }
    struct rig_msg *x = &r->messages[k];
    const uint32_t generation = (uint32_t)((number_of(&m->queue) - 0x10000000) / RIG_N_QUEUES);
    if (is_gone(r, generation)) return E_NOT_FOUND;
    if (m->body_len != x->body_len || m->is_quota != x->is_quota || m->ts_s != (int64_t)k ||
        m->notification != (k % 3 == 0)) {
        r->n_unknown++;
    }
    if (m->order <= r->last_order) r->n_disorder++;
    r->last_order = m->order;
    x->n_recovered++;
    x->loc = m->loc;
    return OK;
}

static bool has_queue(void *ctx, const struct id *queue) {
    const struct rig *r = ctx;
    const uint32_t generation = (uint32_t)((number_of(queue) - 0x10000000) / RIG_N_QUEUES);
    return !is_gone(r, generation);
}

static bool same_loc(struct journal_loc a, struct journal_loc b) {
    return a.segment == b.segment && a.offset_8 == b.offset_8;
}

static void relocate(void *ctx, const struct journal_msg *m, struct bytes body) {
    struct rig *r = ctx;
    pthread_mutex_lock(&r->mtx);
    const struct rig_msg *x = &r->messages[number_of(&m->msg)];
    lsn_t lsn;
    if (x->state == RIG_LIVE && same_loc(x->loc, m->loc) && commit_begin(r->commit, &lsn) == OK) {
        (void)!journal_copy(r->journal, m, body);
        commit_end(r->commit);
    }
    pthread_mutex_unlock(&r->mtx);
}

static bool moved(void *ctx, const struct journal_msg *m, struct journal_loc from) {
    struct rig *r = ctx;
    pthread_mutex_lock(&r->mtx);
    struct rig_msg *x = &r->messages[number_of(&m->msg)];
    const bool yes = x->state == RIG_LIVE && same_loc(x->loc, from);
    if (yes) {
        x->loc = m->loc;
        r->n_moved++;
    }
    pthread_mutex_unlock(&r->mtx);
    return yes;
}

static void lost(void *ctx, const struct id *queue, const struct id *msg) {
    struct rig *r = ctx;
    (void)queue;
    pthread_mutex_lock(&r->mtx);
    r->messages[number_of(msg)].state = RIG_LOST;
    r->n_lost++;
    pthread_mutex_unlock(&r->mtx);
}

/* ---- open and close ---- */

void rig_init(struct rig *r, uint64_t seed) {
    *r = (struct rig){.random = seed * 0x9e3779b97f4a7c15U | 1,
                      .next_generation = RIG_N_QUEUES,
                      .env = &ENV_SYSTEM,
                      .dir = "/j"};
    for (unsigned i = 0; i < RIG_N_QUEUES; i++) r->generations[i] = i;
    pthread_mutex_init(&r->mtx, NULL);
    r->fs = faultfs_new(seed);
}

void rig_done(struct rig *r) {
    faultfs_free(r->fs);
    pthread_mutex_destroy(&r->mtx);
}

/* ---- the store log: lines that are written may be on the disk after a crash ---- */

static bool lines_take(void *sink, lsn_t upto) {
    struct rig *r = sink;
    r->line_taken = upto;
    return true;
}

static enum err lines_write(void *sink) {
    struct rig *r = sink;
    r->line_written = r->line_taken;
    return OK;
}

static enum err lines_ok(void *sink) {
    (void)sink;
    return OK;
}

static void lines_drop(void *sink) {
    (void)sink;
}

static void lines_done(void *sink, bool ok) {
    (void)sink;
    (void)ok;
}

static void add_lines(struct rig *r) {
    r->line_taken = r->line_written = 0;
    commit_add_sink(r->commit, &(struct commit_sink){.take = lines_take,
                                                     .write = lines_write,
                                                     .sync = lines_ok,
                                                     .undo = lines_ok,
                                                     .drop = lines_drop,
                                                     .done = lines_done,
                                                     .retry = lines_ok,
                                                     .sink = r});
}

/* Of the deletions that were written and not synced some are there. */
static void keep_some_lines(struct rig *r) {
    for (uint32_t i = 0; i < RIG_MAX_MESSAGES; i++) {
        const lsn_t lsn = r->queue_delete_lsn[i];
        if (lsn == 0 || lsn == RIG_GONE || lsn <= r->safe_lsn || lsn > r->line_written) continue;
        if (rig_chance(r, 2) == 0) r->queue_delete_lsn[i] = RIG_GONE;
    }
}

static void on_durable(void *ctx) {
    struct rig *r = ctx;
    while (r->hold) usleep(5);
}

enum err rig_open(struct rig *r) {
    const struct commit_opts co = {.env = r->env,
                                   .interval_ms = r->interval_ms,
                                   .on_durable = on_durable,
                                   .ctx = r};
    enum err e = commit_new(&co, &r->commit);
    if (e != OK) return e;
    add_lines(r);
    for (size_t i = 0; i < r->n_messages; i++) r->messages[i].n_recovered = 0;
    r->n_unknown = r->n_disorder = 0;
    r->last_order = 0;
    const struct journal_opts jo = {
        .env = r->env,
        .vfs = r->vfs != NULL ? r->vfs : faultfs_vfs(r->fs),
        .dir = r->dir,
        .mark_path = r->vfs != &VFS_SYSTEM ? RIG_MARK : NULL,
        .commit = r->commit,
        .owner = {recovered, has_queue, relocate, moved, lost, r},
        .skip_warnings = r->skip_warnings,
        .segment_len = RIG_SEGMENT_LEN,
    };
    e = journal_open(&jo, &r->journal, &r->problem);
    if (e == OK) e = commit_start(r->commit);
    if (e == OK) return OK;
    journal_close(r->journal);
    commit_free(r->commit);
    r->commit = NULL;
    r->journal = NULL;
    return e;
}

void rig_close(struct rig *r) {
    if (r->commit == NULL) return;
    journal_stop(r->journal);
    (void)!commit_stop(r->commit);
    r->safe_lsn = commit_synced_lsn(r->commit);
    keep_some_lines(r);
    for (size_t i = 0; i < r->n_messages; i++) {
        struct rig_msg *x = &r->messages[i];
        if (commit_is_lost(r->commit, x->append_lsn)) x->state = RIG_LOST;
    }
    journal_close(r->journal);
    commit_free(r->commit);
    r->commit = NULL;
    r->journal = NULL;
}

/* ---- changes ---- */

enum err rig_append(struct rig *r, unsigned queue, uint16_t body_len) {
    uint8_t body[RIG_MAX_BODY];
    pthread_mutex_lock(&r->mtx);
    if (r->n_messages == RIG_MAX_MESSAGES) {
        pthread_mutex_unlock(&r->mtx);
        return E_LIMIT;
    }
    const size_t k = r->n_messages;
    const struct id id = rig_msg_id(k);
    const struct id qid = rig_queue_id(queue, r->generations[queue]);
    rig_fill_body(k, body, body_len);
    struct message *m;
    enum err e = body_len != 0
                     ? message_new(&id, (int64_t)k, k % 3 == 0, bytes_of(body, body_len), &m)
                     : message_new_quota(&id, (int64_t)k, &m);
    if (e == OK) {
        if (body_len == 0) m->notification = k % 3 == 0;
        struct rig_msg x = {.queue = r->generations[queue],
                            .body_len = body_len,
                            .is_quota = body_len == 0};
        e = commit_begin(r->commit, &x.append_lsn);
        if (e == OK) {
            e = journal_append(r->journal, &qid, m, &x.loc);
            if (e == OK) r->messages[r->n_messages++] = x;
            commit_end(r->commit);
        }
        message_unref(m);
    }
    pthread_mutex_unlock(&r->mtx);
    return e;
}

void rig_delete(struct rig *r, size_t k) {
    pthread_mutex_lock(&r->mtx);
    struct rig_msg *x = &r->messages[k];
    const struct id id = rig_msg_id(k), qid = rig_queue_id(x->queue % RIG_N_QUEUES, x->queue);
    lsn_t lsn;
    if (x->state == RIG_LIVE && commit_begin(r->commit, &lsn) == OK) {
        if (journal_delete(r->journal, &qid, &id, x->loc, x->body_len, lsn) == OK) {
            x->state = RIG_DELETED;
            x->delete_lsn = lsn;
        }
        commit_end(r->commit);
    }
    pthread_mutex_unlock(&r->mtx);
}

void rig_delete_queue(struct rig *r, unsigned queue) {
    pthread_mutex_lock(&r->mtx);
    lsn_t lsn;
    const uint32_t generation = r->generations[queue];
    if (r->next_generation < RIG_MAX_MESSAGES && commit_begin(r->commit, &lsn) == OK) {
        const struct id qid = rig_queue_id(queue, generation);
        struct journal_purge purge;
        const enum err e = journal_purge_new(r->journal, &qid, &purge);
        if (e == OK) journal_purge_append(r->journal, purge);
        commit_end(r->commit);
        if (e != OK) {
            pthread_mutex_unlock(&r->mtx);
            return;
        }
        for (size_t i = 0; i < r->n_messages; i++) {
            struct rig_msg *x = &r->messages[i];
            if (x->queue != generation || x->state != RIG_LIVE) continue;
            journal_forget(r->journal, x->loc, x->body_len, lsn);
            x->state = RIG_DELETED;
            x->delete_lsn = lsn;
        }
        journal_purge_done(r->journal);
        r->queue_delete_lsn[generation] = lsn;
        r->next_generation += RIG_N_QUEUES - r->next_generation % RIG_N_QUEUES + queue;
        r->generations[queue] = r->next_generation;
    }
    pthread_mutex_unlock(&r->mtx);
}

size_t rig_n_live(struct rig *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_messages; i++) n += r->messages[i].state == RIG_LIVE;
    return n;
}

enum err rig_changes(struct rig *r, unsigned n) {
    enum err e = OK;
    r->hold = true;
    for (unsigned i = 0; i < n && e == OK; i++) {
        const unsigned what = rig_chance(r, 20);
        if (what < 11 || r->n_messages == 0) {
            const unsigned size = rig_chance(r, 10);
            const unsigned len = size == 0  ? 0
                                 : size < 5 ? rig_chance(r, 200)
                                            : rig_chance(r, RIG_MAX_BODY);
            e = rig_append(r, rig_chance(r, RIG_N_QUEUES), (uint16_t)len);
        } else if (what < 19) {
            /* mostly the older ones, and some live long */
            const size_t k = rig_chance(r, (unsigned)r->n_messages);
            if (k % 7 != 0 || rig_chance(r, 5) == 0) rig_delete(r, k);
        } else {
            rig_delete_queue(r, rig_chance(r, RIG_N_QUEUES));
        }
    }
    r->hold = false;
    return e;
}

enum err rig_flush(struct rig *r) {
    return commit_flush(r->commit);
}

/* ---- checks ---- */

static const char *check_one(const struct rig *r, const struct rig_msg *x) {
    const bool there = x->n_recovered != 0;
    const bool appended = x->append_lsn <= r->safe_lsn;
    const bool deleted = x->delete_lsn != 0 && x->delete_lsn <= r->safe_lsn;
    if (x->n_recovered > 1) return "a message was recovered twice";
    if (x->state == RIG_LOST) return NULL; /* may be there: it was never acknowledged */
    if (there && deleted) return "a deleted message is back";
    /* A deletion that was not durable yet may have reached the disk. */
    if (!there && appended && x->delete_lsn == 0) return "a message is lost";
    return NULL;
}

const char *rig_check_recovered(struct rig *r) {
    if (r->n_unknown != 0) return "a message that was never sent";
    if (r->n_disorder != 0) return "messages out of order";
    const char *wrong = NULL;
    for (size_t i = 0; i < r->n_messages; i++) {
        struct rig_msg *x = &r->messages[i];
        if (wrong == NULL) wrong = check_one(r, x);
        x->state = x->n_recovered != 0 ? RIG_LIVE : RIG_LOST;
        x->append_lsn = 0; /* from now on it is simply there, or not */
        x->delete_lsn = 0;
    }
    for (uint32_t i = 0; i < RIG_MAX_MESSAGES; i++) {
        r->queue_delete_lsn[i] = is_gone(r, i) ? RIG_GONE : 0;
    }
    if (wrong == NULL && journal_stats(r->journal).n_live != rig_n_live(r))
        wrong = "wrong count of live messages";
    r->safe_lsn = 0;
    return wrong;
}

struct body_read {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool done;
    enum err err;
};

static void body_done(void *arg, enum err e) {
    struct body_read *b = arg;
    pthread_mutex_lock(&b->mtx);
    b->done = true;
    b->err = e;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mtx);
}

/* E_NOT_FOUND: not live, or not durable yet. */
static enum err read_body(struct rig *r, size_t k, uint8_t *ret, size_t *ret_n) {
    struct body_read b = {.mtx = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&r->mtx);
    struct rig_msg *x = &r->messages[k];
    const struct journal_msg m = {.queue = rig_queue_id(x->queue % RIG_N_QUEUES, x->queue),
                                  .msg = rig_msg_id(k),
                                  .body_len = x->body_len,
                                  .loc = x->loc};
    const bool there = x->state == RIG_LIVE && x->append_lsn <= commit_durable_lsn(r->commit);
    enum err e = there ? journal_read(r->journal, &m, ret, body_done, &b) : E_NOT_FOUND;
    pthread_mutex_unlock(&r->mtx);
    if (e != OK) return e;
    pthread_mutex_lock(&b.mtx);
    while (!b.done) pthread_cond_wait(&b.cond, &b.mtx);
    pthread_mutex_unlock(&b.mtx);
    *ret_n = m.body_len;
    if (b.err == OK) return OK;
    pthread_mutex_lock(&r->mtx); /* deleted, or moved, in the meantime? */
    if (x->state != RIG_LIVE || !same_loc(x->loc, m.loc)) b.err = E_NOT_FOUND;
    pthread_mutex_unlock(&r->mtx);
    return b.err;
}

const char *rig_check_bodies(struct rig *r) {
    uint8_t got[RIG_MAX_BODY], want[RIG_MAX_BODY];
    pthread_mutex_lock(&r->mtx);
    const size_t n_messages = r->n_messages;
    pthread_mutex_unlock(&r->mtx);
    for (size_t i = 0; i < n_messages; i++) {
        size_t n = 0;
        const enum err e = read_body(r, i, got, &n);
        if (e == E_NOT_FOUND) continue;
        if (e != OK) return "a body cannot be read";
        rig_fill_body(i, want, n);
        if (memcmp(got, want, n) != 0) return "a body is not what was sent";
    }
    return NULL;
}
