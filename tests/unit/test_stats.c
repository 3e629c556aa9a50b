/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Sheets, the end of a day under a clock that the test sets, and the state file. */
#include "stats_fixture.h"

#include <pthread.h>

#include "crypto/base64.h"

static const struct stats_gauges NO_GAUGES;

static void sheets_add_up(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 3);
    for (unsigned i = 0; i < 3; i++) stats_add(stats_sheet(s, i), STAT_MSG_SENT, i + 1);
    stats_add(NULL, STAT_MSG_SENT, 100);
    assert_int_equal(stats_sum(s, STAT_MSG_SENT), 6);
    assert_int_equal(stats_sum(s, STAT_MSG_RECV), 0);
    stats_free(s);
    stats_free(NULL);
}

static void sheets_share_no_cache_line(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 2);
    const uintptr_t a = (uintptr_t)stats_sheet(s, 0), b = (uintptr_t)stats_sheet(s, 1);
    assert_int_equal(a % 64, 0);
    assert_int_equal(b % 64, 0);
    assert_true(b >= a + sizeof(struct stats_sheet));
    stats_free(s);
}

static void value_goes_to_the_first_bucket_that_holds_it(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 2);
    struct stats_report r;
    const uint64_t values[] = {0, 50, 51, 10000000, 10000001};
    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        stats_observe(stats_sheet(s, i % 2), HISTOGRAM_COMMAND_US, values[i]);
    }
    stats_observe(NULL, HISTOGRAM_COMMAND_US, 1);
    stats_report(s, &NO_GAUGES, &r);
    const unsigned n = HISTOGRAM_ROWS[HISTOGRAM_COMMAND_US].n_bounds;
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].bucket[0], 2);
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].bucket[1], 1);
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].bucket[n - 1], 1);
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].bucket[n], 1);
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].count, 5);
    assert_int_equal(r.histogram[HISTOGRAM_COMMAND_US].sum, 20000102);
    stats_free(s);
}

static void bounds_ascend(void **state) {
    (void)state;
    for (unsigned h = 0; h < N_STAT_HISTOGRAMS; h++) {
        const struct histogram_row *row = &HISTOGRAM_ROWS[h];
        assert_in_range(row->n_bounds, 1, STATS_BUCKETS - 1);
        for (unsigned i = 1; i < row->n_bounds; i++) {
            assert_true(row->bound[i - 1] < row->bound[i]);
        }
        assert_int_equal(METRIC_ROWS[row->metric].type, TYPE_HISTOGRAM);
    }
}

static void acknowledged_by_time(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct stats_report r;
    const uint64_t values[] = {0, 60, 61, 300, 301, 1200, 1201, 3600, 3601, 100000};
    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        stats_observe(stats_sheet(s, 0), HISTOGRAM_ACK_S, values[i]);
    }
    stats_report(s, &NO_GAUGES, &r);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(r.gauges.value[GAUGE_CONFIRMED_60 + i], 2);
    }
    stats_free(s);
}

/* ---- days ---- */

static uint64_t active(const struct stats_report *r, enum stat_gauge g) {
    return r->gauges.value[g];
}

static void be_active(struct stats *s, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++) {
        const struct id id = nth_id(i);
        stats_active(stats_sheet(s, 0), ACTIVITY_MSG, &id);
        if (i % 2 == 0) stats_active(stats_sheet(s, 0), ACTIVITY_NTF, &id);
    }
}

static void end_of_a_day_resets_what_is_daily(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct stats_report r;
    stats_add(stats_sheet(s, 0), STAT_Q_CREATED, 3);
    stats_add(stats_sheet(s, 0), STAT_RCV_SUB_COUNT, 2);
    stats_add(stats_sheet(s, 0), STAT_MSG_SENT_BLOCK, 1);
    c.now_s = MONDAY_S;
    stats_end_day(s, &NO_GAUGES, &r);
    assert_int_equal(r.from.s, SUNDAY_S);
    assert_int_equal(r.counter[STAT_Q_CREATED], 3);
    stats_add(stats_sheet(s, 0), STAT_Q_CREATED, 4);
    stats_report(s, &NO_GAUGES, &r);
    assert_int_equal(r.from.s, MONDAY_S);
    assert_int_equal(r.counter[STAT_Q_CREATED], 4);
    assert_int_equal(r.counter[STAT_RCV_SUB_COUNT], 2); /* as the reference does not reset them */
    assert_int_equal(r.counter[STAT_MSG_SENT_BLOCK], 1);
    stats_free(s);
}

static void active_queues_of_day_week_and_month(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct stats_report r;
    be_active(s, 0, 10);
    be_active(s, 0, 10);

    c.now_s = MONDAY_S; /* 23 November: the week ends, the month does not */
    stats_end_day(s, &NO_GAUGES, &r);
    assert_true(r.is_complete[PERIOD_DAY] && r.is_complete[PERIOD_WEEK]);
    assert_false(r.is_complete[PERIOD_MONTH]);
    assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 10);
    assert_int_equal(active(&r, GAUGE_WEEK_MSG_QUEUES), 10);
    assert_int_equal(active(&r, GAUGE_DAY_NTF_QUEUES), 5);

    be_active(s, 5, 12); /* some are known to the month, and the sheet has seen them */
    c.now_s += DAY_S;
    stats_end_day(s, &NO_GAUGES, &r);
    assert_false(r.is_complete[PERIOD_WEEK]);
    assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 7);
    assert_int_equal(active(&r, GAUGE_WEEK_MSG_QUEUES), 7);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 12);

    be_active(s, 100, 101);
    c.now_s = MONDAY_S + 8 * (int64_t)DAY_S; /* 1 December, a Tuesday */
    stats_end_day(s, &NO_GAUGES, &r);
    assert_true(r.is_complete[PERIOD_MONTH]);
    assert_false(r.is_complete[PERIOD_WEEK]);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 13);
    stats_report(s, &NO_GAUGES, &r);
    assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 0);
    assert_int_equal(active(&r, GAUGE_WEEK_MSG_QUEUES), 8);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 0);
    stats_free(s);
}

static void active_day_ends_without_counters(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct stats_report r;
    be_active(s, 0, 3);
    stats_add(stats_sheet(s, 0), STAT_MSG_SENT, 3);
    c.now_s = MONDAY_S;
    stats_end_active_day(s);
    stats_report(s, &NO_GAUGES, &r);
    assert_int_equal(r.from.s, SUNDAY_S);
    assert_int_equal(r.counter[STAT_MSG_SENT], 3);
    assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 0);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 3);
    stats_free(s);
}

struct counting {
    struct stats *stats;
    unsigned sheet;
};

enum { PER_THREAD = 20000 };

static void *count_much(void *arg) {
    const struct counting *t = arg;
    struct stats_sheet *sheet = stats_sheet(t->stats, t->sheet);
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        const struct id id = nth_id(i % 9000);
        stats_add(sheet, STAT_MSG_SENT, 1);
        stats_observe(sheet, HISTOGRAM_LOOP_LAG_US, i);
        stats_active(sheet, ACTIVITY_MSG, &id);
    }
    return NULL;
}

/* Each count is in one period and in one only; for thread sanitizers too. */
static void nothing_is_lost_between_days(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    enum { N = 3 };
    struct stats *s = stats_at(&c, N);
    struct counting t[N];
    pthread_t thread[N];
    struct stats_report r;
    uint64_t sum = 0;
    for (unsigned i = 0; i < N; i++) {
        t[i] = (struct counting){s, i};
        assert_int_equal(pthread_create(&thread[i], NULL, count_much, &t[i]), 0);
    }
    for (int i = 0; i < 50; i++) {
        stats_end_day(s, &NO_GAUGES, &r);
        sum += r.counter[STAT_MSG_SENT];
    }
    for (unsigned i = 0; i < N; i++) (void)pthread_join(thread[i], NULL);
    stats_report(s, &NO_GAUGES, &r);
    assert_int_equal(sum + r.counter[STAT_MSG_SENT], N * PER_THREAD);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 9000);
    assert_int_equal(r.histogram[HISTOGRAM_LOOP_LAG_US].count, N * PER_THREAD);
    stats_free(s);
}

/* ---- state file ---- */

static struct blob saved_with(struct stats *s, uint64_t q_count, struct stats_keys *ret_keys) {
    struct blob b = {0};
    assert_int_equal(stats_save(s, q_count, &b.p, &b.n, ret_keys), OK);
    return b;
}

static struct blob saved(struct stats *s, uint64_t q_count) {
    struct stats_keys keys;
    return saved_with(s, q_count, &keys);
}

static struct blob without_hashes(const struct blob *text) {
    struct rd r = rd_init(blob_bytes(text));
    struct blob b = {.p = malloc(text->n)};
    assert_non_null(b.p);
    while (rd_left(&r) != 0) {
        const struct bytes line = rd_part(&r, '\n');
        if (memmem(line.p, line.n, "Hashes=", 7) != NULL) continue;
        memcpy(b.p + b.n, line.p, line.n);
        b.n += line.n;
    }
    return b;
}

static void state_is_written_as_it_was_read(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct blob sample = sample_load(SAMPLE_STATE);
    struct stats *s = stats_of_sample(&c), *again = stats_at(&c, 1);
    struct stats_keys keys, keys_again;
    struct blob text = saved_with(s, 5, &keys);
    struct blob mine = without_hashes(&text), theirs = without_hashes(&sample);
    assert_int_equal(mine.n, theirs.n);
    assert_memory_equal(mine.p, theirs.p, mine.n);
    assert_int_equal(stats_restore(again, blob_bytes(&text), &keys), OK);
    struct blob text_again = saved_with(again, 5, &keys_again);
    assert_int_equal(text.n, text_again.n);
    assert_memory_equal(text.p, text_again.p, text.n);
    assert_memory_equal(&keys, &keys_again, sizeof keys);
    blob_freep(&mine);
    blob_freep(&theirs);
    blob_freep(&text);
    blob_freep(&text_again);
    blob_freep(&sample);
    stats_free(s);
    stats_free(again);
}

static bool holds_hash(const struct blob *text, uint64_t hash) {
    char number[32];
    const int n = snprintf(number, sizeof number, "%" PRId64, (int64_t)hash);
    return memmem(text->p, text->n, number, (size_t)n) != NULL;
}

/* Who knows an id cannot tell from the file whether it was active; with the keys he can. */
static void hashes_are_keyed(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1), *of_reference = stats_at(&c, 1);
    struct stats_keys keys, later;
    const struct id id = nth_id(7);
    const uint64_t hash = active_hash(id_bytes(&id));
    be_active(s, 7, 8);
    struct blob text = saved_with(s, 0, &keys);
    assert_false(holds_hash(&text, hash));
    for (unsigned p = 0; p < N_STAT_PERIODS; p++)
        assert_true(holds_hash(&text, stats_keyed(&keys, p, hash)));
    blob_freep(&text);
    c.now_s = MONDAY_S; /* the month goes on: its key does, and so does the count */
    stats_end_active_day(s);
    be_active(s, 7, 8);
    text = saved_with(s, 0, &later);
    assert_memory_not_equal(keys.key[PERIOD_DAY], later.key[PERIOD_DAY], SIPHASH_KEY_LEN);
    assert_memory_not_equal(keys.key[PERIOD_WEEK], later.key[PERIOD_WEEK], SIPHASH_KEY_LEN);
    assert_memory_equal(keys.key[PERIOD_MONTH], later.key[PERIOD_MONTH], SIPHASH_KEY_LEN);
    assert_true(holds_hash(&text, stats_keyed(&keys, PERIOD_MONTH, hash)));
    assert_false(holds_hash(&text, stats_keyed(&keys, PERIOD_WEEK, hash)));
    /* keys that are lost: the queue counts twice, and no more */
    struct stats_report r;
    assert_int_equal(stats_restore(of_reference, blob_bytes(&text), NULL), OK);
    be_active(of_reference, 7, 8);
    stats_report(of_reference, &NO_GAUGES, &r);
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 2);
    blob_freep(&text);
    stats_free(s);
    stats_free(of_reference);
}

/* A file of keys that is cut, longer, of another version or of another state gives no keys. */
static void keys_are_read_for_their_state_alone(void **state) {
    (void)state;
    uint8_t a[SHA256_LEN], b[SHA256_LEN], c[SHA256_LEN], file[STATS_KEY_FILE_LEN + 1];
    struct stats_keys keys, got;
    memset(a, 1, sizeof a);
    memset(b, 2, sizeof b);
    memset(c, 3, sizeof c);
    memset(&keys, 4, sizeof keys);
    stats_keys_write(&keys, a, b, file);
    file[STATS_KEY_FILE_LEN] = 0;
    const struct bytes whole = bytes_of(file, STATS_KEY_FILE_LEN);
    assert_true(stats_keys_read(whole, a, &got));
    assert_memory_equal(&got, &keys, sizeof keys);
    assert_true(stats_keys_read(whole, b, &got));
    assert_false(stats_keys_read(whole, c, &got));
    assert_false(stats_keys_read(bytes_of(file, sizeof file), a, &got));
    for (size_t n = 0; n < whole.n; n++) {
        struct blob cut = blob_copy(bytes_of(file, n));
        assert_false(stats_keys_read(blob_bytes(&cut), a, &got));
        blob_freep(&cut);
    }
    file[14]++;
    assert_false(stats_keys_read(whole, a, &got));
}

/* Every column has a value of its own, so that none can stand for another. */
static void every_counter_is_restored(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1), *again = stats_at(&c, 1);
    struct stats_report r;
    for (unsigned i = 0; i < N_STATS; i++) stats_add(stats_sheet(s, 0), i, 1000 + i);
    be_active(s, 0, 5000);
    struct stats_keys keys;
    struct blob text = saved_with(s, 0, &keys);
    assert_int_equal(stats_restore(again, blob_bytes(&text), &keys), OK);
    stats_add(stats_sheet(again, 0), STAT_Q_CREATED, 1);
    stats_report(again, &NO_GAUGES, &r);
    for (unsigned i = 0; i < N_STATS; i++) {
        const uint64_t expected = STAT_ROWS[i].name != NULL ? 1000 + i : 0;
        assert_int_equal(r.counter[i], expected + (i == STAT_Q_CREATED));
    }
    assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 5000);
    assert_int_equal(active(&r, GAUGE_WEEK_NTF_QUEUES), 2500);
    blob_freep(&text);
    stats_free(s);
    stats_free(again);
}

/* Version 6.5 refuses to start with a section that it does not know. */
static void names_are_written_where_a_resolver_was_asked(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    stats_add(stats_sheet(s, 0), STAT_RSLV_REQS, 3);
    stats_add(stats_sheet(s, 0), STAT_RSLV_DISABLED, 3);
    struct blob text = saved(s, 0);
    text.p[text.n - 1] = '\0';
    assert_null(strstr((const char *)text.p, "rslvStats"));
    blob_freep(&text);
    stats_add(stats_sheet(s, 0), STAT_RSLV_REQS, 1);
    stats_add(stats_sheet(s, 0), STAT_RSLV_NOT_FOUND, 1);
    text = saved(s, 0);
    static const char LAST[] =
        "rslvStats:\nreqs=4\nsucc=0\nnotFound=1\nresolverErrs=0\ndisabled=3\n";
    assert_true(text.n > sizeof LAST);
    assert_memory_equal(text.p + text.n - (sizeof LAST - 1), LAST, sizeof LAST - 1);
    blob_freep(&text);
    stats_free(s);
}

#define OLD_HEAD "fromTime=2022-05-03T00:00:00Z\nqCreated=7\nqSecured=6\n"

static void older_forms_are_read(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        /* before sections; all deletions as one; a counter that is gone */
        OLD_HEAD "qDeleted=5\nqSubNoMsg=9\nmsgSent=4\nmsgRecv=3\n"
                 "dayMsgQueues=\nweekMsgQueues=\nmonthMsgQueues=" ID_A "\n",
        /* ids in place of hashes, and a section that is gone */
        OLD_HEAD "qDeletedAll=5\nqDeletedNew=2\nqDeletedSecured=3\nmsgSent=4\nmsgRecv=3\n"
                 "activeQueues:\nday=\nweek=\nmonth=" ID_A "\n"
                 "subscribedQueues:\nday=" ID_B "\nweek=" ID_B "\nmonth=" ID_B "\n",
        OLD_HEAD "qDeletedAll=5\nqCount=-1\nmsgSent=4\nmsgRecv=3\n"
                 "activeQueues:\ndayHashes=\nweekHashes=\nmonthHashes=-9223372036854775808\n",
    };
    struct clock c;
    clock_init(&c);
    for (unsigned i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct stats *s = stats_at(&c, 1);
        struct stats_report r;
        assert_int_equal(stats_restore(s, bytes_str(TEXTS[i]), NULL), OK);
        stats_report(s, &NO_GAUGES, &r);
        assert_int_equal(r.from.s, 1651536000);
        assert_int_equal(r.counter[STAT_Q_DELETED_ALL], 5);
        assert_int_equal(r.counter[STAT_MSG_SENT], 4);
        assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 0);
        assert_int_equal(active(&r, GAUGE_MONTH_MSG_QUEUES), 1);
        assert_int_equal(active(&r, GAUGE_MONTH_NTF_QUEUES), 0);
        stats_free(s);
    }
}

/* An id in an old file is the queue that is active now. */
static void old_ids_are_hashed(void **state) {
    (void)state;
    static const char TEXT[] =
        OLD_HEAD "msgSent=4\nmsgRecv=3\nactiveQueues:\nday=" ID_A "," ID_B "\nweek=\nmonth=\n";
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct stats_report r;
    struct id a;
    size_t n = 0;
    assert_int_equal(base64url_decode(bytes_str(ID_A), a.b, sizeof a.b, &n), OK);
    assert_int_equal(stats_restore(s, bytes_str(TEXT), NULL), OK);
    stats_active(stats_sheet(s, 0), ACTIVITY_MSG, &a);
    stats_report(s, &NO_GAUGES, &r);
    assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 2);
    assert_int_equal(active(&r, GAUGE_WEEK_MSG_QUEUES), 1);
    stats_free(s);
}

static void damage_changes_nothing(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "",
        "\n",
        "qCreated=1\n",
        OLD_HEAD,
        OLD_HEAD "msgSent=4\nmsgRecv=3",
        OLD_HEAD "msgSent=4\nmsgRecv=3\n\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nqSub\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nqSub=\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nqSub=-\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nqSub=1x\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nqSub=9223372036854775808\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\n=1\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\n:\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nactiveQueues:\ndayHashes=1,\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nactiveQueues:\ndayHashes=1,,2\n",
        OLD_HEAD "msgSent=4\nmsgRecv=3\nactiveQueues:\nday=" ID_A "!\n",
        "fromTime=2022-13-03T00:00:00Z\nqCreated=7\nqSecured=6\nmsgSent=4\nmsgRecv=3\n",
    };
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_of_sample(&c);
    for (unsigned i = 0; i < ARRAY_LEN(TEXTS); i++) {
        struct stats_report r;
        assert_int_equal(stats_restore(s, bytes_str(TEXTS[i]), NULL), E_SYNTAX);
        stats_report(s, &NO_GAUGES, &r);
        assert_int_equal(r.counter[STAT_MSG_SENT], 133);
        assert_int_equal(active(&r, GAUGE_DAY_MSG_QUEUES), 4);
    }
    stats_free(s);
}

/* Cut anywhere but at the end of a line, a state is damaged; never does it crash. */
static void state_cut_short(void **state) {
    (void)state;
    struct clock c;
    clock_init(&c);
    struct stats *s = stats_at(&c, 1);
    struct blob sample = sample_load(SAMPLE_STATE);
    for (size_t n = 0; n < sample.n; n++) {
        struct blob cut = blob_copy(bytes_of(sample.p, n));
        const enum err e = stats_restore(s, bytes_of(cut.p, n), NULL);
        assert_true(e == E_SYNTAX || sample.p[n - 1] == '\n');
        blob_freep(&cut);
    }
    blob_freep(&sample);
    stats_free(s);
}

/* ---- calendar ---- */

static void days_of_utc(void **state) {
    (void)state;
    assert_int_equal(calendar_day(-1), -1);
    assert_int_equal(calendar_day(0), 0);
    assert_int_equal(calendar_day(DAY_S - 1), 0);
    const int64_t monday = calendar_day(MONDAY_S);
    assert_int_equal(monday * DAY_S, MONDAY_S);
    for (int64_t d = -14; d < 14; d++) {
        assert_int_equal(calendar_is_monday(monday + d), d % 7 == 0);
    }
    assert_false(calendar_is_first(monday));
    assert_true(calendar_is_first(monday + 8)); /* 1 December */
    assert_true(calendar_is_first(0));
    assert_true(calendar_is_first(19783)); /* 29 February 2024 is the day before */
}

static void check_time(const char *text, int64_t s, uint32_t ns, const char *again) {
    struct calendar_time t = {0};
    char buf[64];
    struct wr w = wr_init(buf, sizeof buf);
    assert_int_equal(calendar_parse_iso(bytes_str(text), &t), OK);
    assert_int_equal(t.s, s);
    assert_int_equal(t.ns, ns);
    calendar_write_iso(t, &w);
    assert_true(bytes_equal(wr_bytes(&w), bytes_str(again)));
}

static void times_of_utc(void **state) {
    (void)state;
    static const char SAMPLE[] = "2026-11-22T06:08:15.262620511Z";
    check_time(SAMPLE, SUNDAY_S, 262620511, SAMPLE);
    check_time("2026-11-23T00:00:00Z", MONDAY_S, 0, "2026-11-23T00:00:00Z");
    check_time("2026-11-23T00:00:00.5Z", MONDAY_S, 500000000, "2026-11-23T00:00:00.5Z");
    check_time("2026-11-23T00:00:00.000000001999Z", MONDAY_S, 1, "2026-11-23T00:00:00.000000001Z");
    static const char *const BAD[] = {
        "",
        "2026-11-23T00:00:00",
        "2026-11-23 00:00:00Z",
        "2026-11-23T00:00:00.Z",
        "2026-11-23T00:00:00.1xZ",
        "2026-11-23T00:00:00Z ",
        "2026-00-23T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "226-11-23T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "0438-05-03T00:00:00Z",
    };
    for (unsigned i = 0; i < ARRAY_LEN(BAD); i++) {
        struct calendar_time t;
        assert_int_equal(calendar_parse_iso(bytes_str(BAD[i]), &t), E_SYNTAX);
    }
    for (size_t n = 0; n + 1 < sizeof SAMPLE; n++) {
        struct calendar_time t;
        assert_int_equal(calendar_parse_iso(bytes_of(SAMPLE, n), &t), E_SYNTAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sheets_add_up),
        cmocka_unit_test(sheets_share_no_cache_line),
        cmocka_unit_test(value_goes_to_the_first_bucket_that_holds_it),
        cmocka_unit_test(bounds_ascend),
        cmocka_unit_test(acknowledged_by_time),
        cmocka_unit_test(end_of_a_day_resets_what_is_daily),
        cmocka_unit_test(active_queues_of_day_week_and_month),
        cmocka_unit_test(active_day_ends_without_counters),
        cmocka_unit_test(nothing_is_lost_between_days),
        cmocka_unit_test(state_is_written_as_it_was_read),
        cmocka_unit_test(hashes_are_keyed),
        cmocka_unit_test(keys_are_read_for_their_state_alone),
        cmocka_unit_test(every_counter_is_restored),
        cmocka_unit_test(names_are_written_where_a_resolver_was_asked),
        cmocka_unit_test(older_forms_are_read),
        cmocka_unit_test(old_ids_are_hashed),
        cmocka_unit_test(damage_changes_nothing),
        cmocka_unit_test(state_cut_short),
        cmocka_unit_test(days_of_utc),
        cmocka_unit_test(times_of_utc),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
