/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* db_replay.c -- groups that were committed not long ago are kept, and written again when the
 * database has gone back in time: it was restored, or a standby took over that had not got
 * everything. What is kept holds no queue, so it keeps nothing from being evicted. Commit thread.
 *
 * A reader may see such a database before the lane does. What it finds there is old, so it asks for
 * the number of the last group first, and waits until the lane has seen to it. */
#include <stdlib.h>

#include "base/log.h"
#include "store/db/db_store_priv.h"

static void drop_oldest(struct db_replay *y) {
    struct db_change *c = y->oldest;
    y->oldest = c->next;
    if (y->oldest == NULL) y->newest = NULL;
    y->n_bytes -= c->n_bytes;
    db_change_free(c);
}

static void trim(struct db_replay *y, int64_t before_ms) {
    while (y->oldest != NULL && (y->n_bytes > DB_REPLAY_MAX || y->oldest->committed_ms < before_ms))
        drop_oldest(y);
}

void db_replay_keep(struct db_lane *l, struct db_change *owned) {
    struct db_replay *y = &l->replay;
    const struct db_store *m = l->store;
    if (m->o.replay_ms == 0) {
        db_change_free(owned);
        return;
    }
    const int64_t now_ms = env_mono_ms(m->shared.env);
    queue_unref(STEAL(owned->queue));
    db_change_drop_line(owned);
    owned->next = NULL;
    owned->committed_ms = now_ms;
    if (y->newest != NULL) y->newest->next = owned;
    if (y->oldest == NULL) y->oldest = owned;
    y->newest = owned;
    y->n_bytes += owned->n_bytes;
    trim(y, now_ms - m->o.replay_ms);
}

void db_replay_done(struct db_lane *l) {
    while (l->replay.oldest != NULL) drop_oldest(&l->replay);
}

/* Those of one group; gives what follows them. */
static struct db_change *take_group(struct db_change *first, struct db_change *ret[DB_GROUP_MAX],
                                    unsigned *ret_n) {
    struct db_change *c = first;
    for (*ret_n = 0; c != NULL && c->group == first->group && *ret_n < DB_GROUP_MAX; c = c->next)
        ret[(*ret_n)++] = c;
    return c;
}

/* The sequence has gone back as well: an id must not be drawn twice. */
static enum err move_sequence(struct db_lane *l) {
    uint8_t number[DB_NUMBER_LEN];
    const uint64_t last = l->drawn_last != 0 ? l->drawn_last : l->block_last;
    const struct db_value at = db_number((int64_t)last, number);
    return db_pipe_run_sql(l->db, "move the sequence of message ids",
                           "SELECT setval('%s.messages_message_id_seq', greatest(last_value, "
                           "$1::int8)) FROM %s.messages_message_id_seq",
                           1, &at);
}

/* E_STORE: this group cannot be written again, and the next may be. */
static enum err write_again(struct db_lane *l, struct db_change *const *changes, unsigned n) {
    char state[6] = "";
    const struct db_group_row row = {l->epoch, changes[0]->group};
    const enum err e = db_group_write(l->group, l->db, row, changes, n, state);
    if (e == E_STORE && state[0] != '2') return E_CLOSED; /* 22, 23: for what is in it */
    return e;
}

enum err db_replay_run(struct db_lane *l, int64_t last) {
    const int64_t n_lost = l->last_group - last;
    int64_t n_again = 0;
    enum err e = move_sequence(l);
    struct db_change *c = l->replay.oldest;
    while (c != NULL && c->group <= last) c = c->next;
    while (e == OK && c != NULL) {
        struct db_change *changes[DB_GROUP_MAX];
        unsigned n;
        c = take_group(c, changes, &n);
        e = write_again(l, changes, n);
        n_again += e == OK;
        if (e == E_STORE) e = OK;
    }
    if (e != OK) return e; /* and from where it is then, later */
    log_line(LOG_ERROR, "database-went-back",
             "database=\"%s\" groups=%lld written_again=%lld missing=%lld: it was restored, or a "
             "standby took over that had not got everything",
             l->store->shown, (long long)n_lost, (long long)n_again, (long long)(n_lost - n_again));
    return OK;
}

/* ---- readers ---- */

enum err db_replay_check(struct db_store *m, struct db *db) {
    PGresult *r = NULL;
    const int64_t expected = atomic_load_explicit(&m->lane.committed, memory_order_acquire);
    enum err e = db_pipe_ask(db, "read the lane", "lane", 0, NULL, &r);
    const bool is_old =
        e == OK && PQntuples(r) == 1 && db_number_of(db_result_value(r, 0, 1)) < expected;
    PQclear(r);
    if (!is_old) return e;
    db_change_nudge(m);
    return db__say(db, E_STORE, "it has gone back in time, and is brought forward");
}
