/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* state.c -- the state file smp-server-stats.log, written to the byte as the reference writes it,
 * but that hashes are keyed (stats/keys.h).
 *
 * A line is `name=number`, a section's head `name:`, or a list of hashes. Reading is by name: lines
 * may be missing (older versions have fewer), and numbers that are not known here are skipped (they
 * were counted by versions that counted more). Anything else is damage, and then nothing is taken.
 * A text without the end of its last line was cut off, perhaps within a number. */
#include <stdlib.h>

#include "base/rd.h"
#include "base/lock.h"
#include "crypto/base64.h"
#include "stats/report.h"
#include "stats/stats_priv.h"
#include "stats/tables.h"

enum {
    HEAD_MAX = 8192, /* bytes of all that is not a list */
    NUMBER_MAX = 21, /* bytes: sign, digits, comma */
    SETS_SIZE = N_STAT_ACTIVITIES * N_STAT_PERIODS,
};

static const char *const SET_SECTIONS[N_STAT_ACTIVITIES] = {
    [ACTIVITY_MSG] = "activeQueues",
    [ACTIVITY_NTF] = "activeQueuesNtf",
};
/* as hashes; as ids, in earlier versions; before there were sections */
static const char *const SET_NAMES[N_STAT_PERIODS][3] = {
    [PERIOD_DAY] = {"dayHashes", "day", "dayMsgQueues"},
    [PERIOD_WEEK] = {"weekHashes", "week", "weekMsgQueues"},
    [PERIOD_MONTH] = {"monthHashes", "month", "monthMsgQueues"},
};

/* ---- writing ---- */

struct snapshot {
    struct calendar_time from;
    struct stats_keys keys;
    uint64_t counter[N_STATS];
};

static void write_pair(struct wr *w, const char *name, uint64_t v) {
    wr_str(w, name);
    wr_u8(w, '=');
    wr_dec(w, v);
    wr_u8(w, '\n');
}

static void write_head(struct wr *w, const char *section) {
    wr_str(w, section);
    wr_str(w, ":\n");
}

static void write_hashes(struct wr *w, const int64_t *hash, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i != 0) wr_u8(w, ',');
        if (hash[i] < 0) wr_u8(w, '-');
        wr_dec(w, hash[i] < 0 ? 0 - (uint64_t)hash[i] : (uint64_t)hash[i]);
    }
}

/* Sorted outside of the lock, for which the loops may wait. */
static void write_sets(struct stats *s, int64_t *scratch, struct wr *w) {
    for (unsigned a = 0; a < N_STAT_ACTIVITIES; a++) {
        write_head(w, SET_SECTIONS[a]);
        for (unsigned p = 0; p < N_STAT_PERIODS; p++) {
            lock_take(&s->mtx);
            const size_t n = s->active[a][p].n;
            active_set_copy(&s->active[a][p], scratch);
            lock_give(&s->mtx);
            active_sort(scratch, n);
            wr_str(w, SET_NAMES[p][0]);
            wr_u8(w, '=');
            write_hashes(w, scratch, n);
            wr_u8(w, '\n');
        }
    }
}

static void take_snapshot(struct stats *s, struct snapshot *ret) {
    lock_take(&s->mtx);
    ret->from = s->from;
    ret->keys = *s->keys;
    for (unsigned i = 0; i < N_STATS; i++) ret->counter[i] = stats_sum(s, i) + s->base[i];
    lock_give(&s->mtx);
}

/* Version 6.5 does not start with a section that it does not know: that of names comes in only
 * where a resolver was asked. */
static bool is_written(const struct snapshot *snap, unsigned stat) {
    if (STAT_ROWS[stat].name == NULL) return false;
    return stat < STAT_RSLV_REQS || stat > STAT_RSLV_DISABLED ||
           snap->counter[STAT_RSLV_REQS] != snap->counter[STAT_RSLV_DISABLED];
}

static void write_state(struct stats *s, uint64_t q_count, int64_t *scratch, struct wr *w,
                        struct stats_keys *ret_keys) {
    struct snapshot snap;
    const char *section = NULL;
    bool sets_written = false;
    take_snapshot(s, &snap);
    *ret_keys = snap.keys;
    crypto_wipe(&snap.keys, sizeof snap.keys);
    wr_str(w, "fromTime=");
    calendar_write_iso(snap.from, w);
    wr_u8(w, '\n');
    for (unsigned i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &STAT_ROWS[i];
        if (!is_written(&snap, i)) continue;
        if (row->section != NULL && !sets_written) { /* they stand before the first section */
            write_sets(s, scratch, w);
            sets_written = true;
        }
        if (row->section != NULL && (section == NULL || strcmp(section, row->section) != 0)) {
            write_head(w, row->section);
        }
        section = row->section;
        write_pair(w, row->name, snap.counter[i]);
        if (i == STAT_Q_BLOCKED) write_pair(w, GAUGE_ROWS[GAUGE_Q_COUNT].line_name, q_count);
    }
}

/* Bytes that are enough, also with what becomes active while the sets are written. */
static size_t state_max(struct stats *s) {
    enum { SPARE = 4096 };
    size_t n = 0;
    lock_take(&s->mtx);
    for (unsigned i = 0; i < SETS_SIZE; i++) {
        const size_t have = s->active[i / N_STAT_PERIODS][i % N_STAT_PERIODS].n;
        n += have + have / 8 + SPARE;
    }
    lock_give(&s->mtx);
    return HEAD_MAX + n * NUMBER_MAX;
}

enum err stats_save(struct stats *s, uint64_t q_count, uint8_t **ret_text, size_t *ret_n,
                    struct stats_keys *ret_keys) {
    const size_t max = state_max(s);
    uint8_t *text = malloc(max);
    int64_t *scratch = malloc(ACTIVE_SET_MAX * sizeof *scratch);
    struct wr w = wr_init(text, max);
    if (text != NULL && scratch != NULL) write_state(s, q_count, scratch, &w, ret_keys);
    const bool is_done = text != NULL && scratch != NULL && wr_err(&w) == OK;
    free(scratch);
    if (!is_done) {
        free(text);
        return E_NO_MEMORY;
    }
    *ret_text = text;
    *ret_n = w.at;
    return OK;
}

/* ---- reading ---- */

struct reading {
    struct snapshot snap;
    bool has_from, has[N_STATS];
    const struct stats *stats;     /* borrowed: for its keys, which are fixed meanwhile */
    const struct stats_keys *keys; /* borrowed; of the hashes that are read; NULL: none yet */
    struct active_set active[N_STAT_ACTIVITIES][N_STAT_PERIODS];
    struct bytes section; /* of the line; empty: none yet */
};

static bool is(struct bytes b, const char *s) {
    return s != NULL && bytes_equal(b, bytes_str(s));
}

/* A signed decimal number; false when it is none, or too large. */
static bool parse_number(struct bytes text, int64_t *ret) {
    const bool negative = text.n != 0 && text.p[0] == '-';
    const uint64_t max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t v = 0;
    if (text.n <= negative) return false;
    for (size_t i = negative; i < text.n; i++) {
        const unsigned digit = (unsigned)text.p[i] - '0';
        if (digit > 9 || v > (max - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* One of a list: a hash, or an id that is still to be hashed. Ids are longer than numbers. */
static bool parse_item(struct bytes item, int64_t *ret) {
    uint8_t id[64];
    size_t n = 0;
    if (item.n < NUMBER_MAX) return parse_number(item, ret);
    if (base64url_decode(item, id, sizeof id, &n) != OK) return false;
    *ret = (int64_t)active_hash(bytes_of(id, n));
    return true;
}

static bool read_list(const struct reading *g, enum stat_period p, struct bytes text,
                      struct active_set *set) {
    struct rd r = rd_init(text);
    if (text.n == 0) return true;
    for (;;) {
        int64_t hash = 0;
        if (!parse_item(rd_until(&r, ','), &hash)) return false;
        active_set_add(set, g->keys != NULL ? (uint64_t)hash
                                            : stats_keyed(g->stats->keys, p, (uint64_t)hash));
        if (rd_left(&r) == 0) return true;
        rd_lit(&r, ',');
    }
}

/* NULL: not a list. Those of a section that is not counted any more go to *unused. */
static struct active_set *find_set(struct reading *g, struct bytes name, struct active_set *unused,
                                   enum stat_period *ret_p) {
    for (unsigned p = 0; p < N_STAT_PERIODS; p++) {
        *ret_p = p;
        if (is(name, SET_NAMES[p][2])) return &g->active[ACTIVITY_MSG][p];
        if (!is(name, SET_NAMES[p][0]) && !is(name, SET_NAMES[p][1])) continue;
        for (unsigned a = 0; a < N_STAT_ACTIVITIES; a++) {
            if (is(g->section, SET_SECTIONS[a])) return &g->active[a][p];
        }
        return unused;
    }
    return NULL;
}

static void set_counter(struct reading *g, struct bytes name, uint64_t v) {
    if (is(name, "qDeleted")) name = bytes_str(STAT_ROWS[STAT_Q_DELETED_ALL].name); /* once */
    for (unsigned i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &STAT_ROWS[i];
        if (!is(name, row->name)) continue;
        if (row->section != NULL && !is(g->section, row->section)) continue;
        g->snap.counter[i] = v;
        g->has[i] = true;
        return;
    }
}

static bool read_pair(struct reading *g, struct bytes name, struct bytes value) {
    struct active_set unused = {.slot = NULL};
    int64_t v = 0;
    if (is(name, "fromTime")) {
        g->has_from = true;
        return calendar_parse_iso(value, &g->snap.from) == OK;
    }
    enum stat_period p = PERIOD_DAY;
    struct active_set *set = find_set(g, name, &unused, &p);
    if (set != NULL) {
        const bool is_list = read_list(g, p, value, set);
        active_set_clear(&unused);
        return is_list;
    }
    if (!parse_number(value, &v)) return false;
    /* Only qCount, which the store knows better, can have been less than nothing. */
    set_counter(g, name, v > 0 ? (uint64_t)v : 0);
    return true;
}

static bool read_line(struct reading *g, struct bytes line) {
    struct rd r = rd_init(line);
    const struct bytes name = rd_until(&r, '=');
    if (rd_left(&r) == 0) {
        if (line.n < 2 || line.p[line.n - 1] != ':') return false;
        g->section = bytes_of(line.p, line.n - 1);
        return true;
    }
    rd_lit(&r, '=');
    return name.n != 0 && read_pair(g, name, rd_tail(&r));
}

/* What every version has written. */
static bool has_all(const struct reading *g) {
    return g->has_from && g->has[STAT_Q_CREATED] && g->has[STAT_Q_SECURED] &&
           g->has[STAT_MSG_SENT] && g->has[STAT_MSG_RECV];
}

static bool read_state(struct reading *g, struct bytes text) {
    struct rd r = rd_init(text);
    if (text.n == 0 || text.p[text.n - 1] != '\n') return false;
    while (rd_left(&r) != 0) {
        if (!read_line(g, rd_until(&r, '\n'))) return false;
        rd_lit(&r, '\n');
    }
    return has_all(g);
}

static void free_sets(struct active_set sets[N_STAT_ACTIVITIES][N_STAT_PERIODS]) {
    for (unsigned i = 0; i < SETS_SIZE; i++) {
        active_set_clear(&sets[i / N_STAT_PERIODS][i % N_STAT_PERIODS]);
    }
}

/* What was read takes the place of what there is. */
static void apply(struct stats *s, struct reading *g) {
    lock_take(&s->mtx);
    s->from = g->snap.from;
    for (unsigned i = 0; i < N_STATS; i++) s->base[i] = g->snap.counter[i] - stats_sum(s, i);
    free_sets(s->active);
    memcpy(s->active, g->active, sizeof s->active);
    memset(g->active, 0, sizeof g->active);
    if (g->keys != NULL) *s->keys = *g->keys;
    for (unsigned i = 0; i < SETS_SIZE; i++) {
        active_set_restored(&s->active[i / N_STAT_PERIODS][i % N_STAT_PERIODS]);
    }
    lock_give(&s->mtx);
}

enum err stats_restore(struct stats *s, struct bytes text, const struct stats_keys *keys) {
    struct reading g = {.stats = s, .keys = keys};
    const bool is_good = read_state(&g, text);
    if (is_good) apply(s, &g);
    free_sets(g.active);
    return is_good ? OK : E_SYNTAX;
}
