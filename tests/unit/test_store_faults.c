/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The store on a file system that fails: what the log says is what the store says, whatever
 * happened. */
#include "store_fault_fixture.h"

/* ---- every operation of opening fails ---- */

static struct faultfs *filled(bool in_journal) {
    struct fixture f = setup(in_journal);
    struct made m = make_queue(&f), gone = make_queue(&f);
    struct queue_ended ended;
    lsn_t lsn;
    (void)write_message(&f, m.queue);
    assert_int_equal(store_queue_delete(f.store, gone.queue, &ended, &lsn), OK);
    drop(&m);
    drop(&gone);
    close_store(&f);
    return f.fs;
}

static bool names_a_path(const char *text) {
    return strstr(text, LOG) != NULL || strstr(text, MESSAGES) != NULL ||
           strstr(text, NTFS) != NULL || strstr(text, "/journal") != NULL;
}

/* What cannot be opened is named, with the system's reason. */
static void check_words_of_openings(bool in_journal, int error) {
    struct faultfs *full = filled(in_journal);
    unsigned n_failed = 0;
    bool is_over = false;
    for (uint64_t n = 1; !is_over; n++) {
        struct fixture f = {.fs = faultfs_clone(full, n), .in_journal = in_journal};
        const uint64_t before = faultfs_n_ops(f.fs);
        faultfs_fail_at(f.fs, n, error, false);
        const enum err e = try_open(&f);
        is_over = faultfs_n_ops(f.fs) - before < n;
        if (e == OK) {
            store_close(f.store);
        } else {
            n_failed++;
            if (!names_a_path(f.problem.text) || strstr(f.problem.text, strerror(error)) == NULL)
                fail_msg("operation %u: %s: %s", (unsigned)n, err_name(e), f.problem.text);
        }
        faultfs_free(f.fs);
    }
    assert_true(n_failed > 4);
    faultfs_free(full);
}

static void test_words_when_opening_fails(void **state) {
    (void)state;
    check_words_of_openings(false, EIO);
    check_words_of_openings(true, EIO);
    check_words_of_openings(false, EMFILE);
    check_words_of_openings(true, EMFILE);
}

/* ---- a start that fails half-way ---- */

/* What cannot be read keeps the start from setting anything aside: it can be tried again. */
static void test_a_failed_start_sets_nothing_aside(void **state) {
    (void)state;
    struct fixture f = setup(false);
    struct made m = make_queue(&f);
    struct sub_ended ended;
    struct ntf_added added;
    lsn_t lsn;
    const struct queue_notifier n = {.id = new_id(&f), .key = new_key(&f, KEY_ED25519)};
    assert_int_equal(store_notifier_set(f.store, m.queue, &n, &ended, &lsn), OK);
    const struct id msg_id = write_message(&f, m.queue);
    assert_int_equal(store_ntf_add(f.store, m.queue, &msg_id, NOW_S, &added), OK);
    drop(&m);
    close_store(&f);
    for (uint64_t at = 1; at < 200; at++) {
        faultfs_fail_at(f.fs, at, EIO, true);
        f.store = NULL;
        const enum err e = try_open(&f);
        faultfs_fail_at(f.fs, 0, 0, false);
        if (e == OK) {
            assert_int_equal(store_counts(f.store).n_messages, 1);
            assert_int_equal(store_counts(f.store).n_ntfs, 1);
            store_close(f.store); /* a start that failed elsewhere, and could not save */
            if (at > 100) break;
        }
        faultfs_kill(f.fs);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        assert_int_equal(store_counts(f.store).n_ntfs, 1);
        close_store(&f);
    }
    faultfs_free(f.fs);
}

/* ---- queues that are gone, and their messages ---- */

static void make_again(struct fixture *f, struct made *m) {
    lsn_t lsn;
    queue_unref(m->queue);
    assert_int_equal(store_queue_create(f->store, &m->rec, &m->queue, &lsn), OK);
}

static void crash(struct fixture *f) {
    store_close(f->store);
    faultfs_kill(f->fs);
}

/* Their ids are of the client's choosing, so the same may come again. */
static void test_a_queue_made_again_is_empty(void **state) {
    (void)state;
    struct fixture f = setup(true);
    struct made m = make_queue(&f);
    struct queue_ended ended;
    lsn_t lsn;
    for (int i = 0; i < 3; i++) (void)write_message(&f, m.queue);
    assert_int_equal(store_queue_delete(f.store, m.queue, &ended, &lsn), OK);
    make_again(&f, &m);
    const struct id mine = write_message(&f, m.queue);
    queue_unref(STEAL(m.queue));
    for (int i = 0; i < 2; i++) {
        crash(&f);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        struct queue *q = find(&f, ID_RECIPIENT, m.rec.rcv_id);
        struct queue_view v;
        assert_int_equal(store_queue_view(f.store, q, WANT_MESSAGES, &v), OK);
        assert_true(id_equal(&v.head.id, &mine));
        queue_view_done(&v);
        queue_unref(q);
    }
    drop(&m);
    teardown(&f);
}

/* What a deletion that the power ended has left. */
enum left { LEFT_ALL, LEFT_EMPTY, LEFT_NOTHING, N_LEFT };

enum { N_WAITING = 3 };

/* The power goes with this change. False: the deletion was durable before. */
static bool delete_without_power(struct fixture *f, struct queue *q, uint64_t change) {
    struct queue_ended ended;
    lsn_t lsn;
    faultfs_lose_power_at(f->fs, change);
    assert_int_equal(store_queue_delete(f->store, q, &ended, &lsn), OK);
    return !wait_durable(f, lsn);
}

/* What is there takes messages, and goes when it is asked to again. */
static enum left look_at(struct fixture *f, struct id rcv_id) {
    struct queue *q = find(f, ID_RECIPIENT, rcv_id);
    const uint64_t n = store_counts(f->store).n_messages;
    struct queue_ended ended;
    lsn_t lsn;
    if (q == NULL) {
        assert_int_equal(n, 0);
        return LEFT_NOTHING;
    }
    assert_true(n == 0 || n == N_WAITING);
    (void)write_message(f, q);
    assert_int_equal(store_queue_delete(f->store, q, &ended, &lsn), OK);
    assert_int_equal(ended.n_messages, n + 1);
    assert_true(wait_durable(f, lsn));
    queue_unref(q);
    return n == 0 ? LEFT_EMPTY : LEFT_ALL;
}

/* With the power gone at each change, until none is left. */
static void lose_power_at_each(uint64_t seed, unsigned ret_n[N_LEFT]) {
    bool was_cut = true;
    for (uint64_t change = 1; was_cut; change++) {
        struct fixture f = {.fs = faultfs_new(seed), .in_journal = true};
        open_store(&f);
        struct made m = make_queue(&f);
        for (int i = 0; i < N_WAITING; i++) (void)write_message(&f, m.queue);
        close_store(&f); /* all of it durable, and nothing under way */
        open_store(&f);
        queue_unref(m.queue);
        m.queue = find(&f, ID_RECIPIENT, m.rec.rcv_id);
        was_cut = delete_without_power(&f, m.queue, change);
        store_close(f.store);
        faultfs_power_cycle(f.fs);
        open_store(&f);
        const enum left left = look_at(&f, m.rec.rcv_id);
        assert_true(was_cut || left == LEFT_NOTHING);
        ret_n[left]++;
        drop(&m);
        teardown(&f);
    }
}

/* The messages go first, so a queue may be left without them; never messages without their queue,
 * which is what a store log looks like that has lost some. */
static void test_a_deletion_without_power(void **state) {
    (void)state;
    unsigned n[N_LEFT] = {0};
    for (uint64_t seed = 1; seed <= 16; seed++) lose_power_at_each(seed, n);
    assert_true(n[LEFT_ALL] > 0 && n[LEFT_EMPTY] > 0 && n[LEFT_NOTHING] > 0);
}

static void test_a_store_log_that_lost_queues_is_refused(void **state) {
    (void)state;
    struct fixture f = setup(true);
    struct made a = make_queue(&f), b = make_queue(&f);
    for (int i = 0; i < 2; i++) { /* what comes later proves what was before */
        (void)write_message(&f, a.queue);
        (void)write_message(&f, b.queue);
    }
    drop(&a);
    drop(&b);
    crash(&f);
    const size_t n = faultfs_size(f.fs, LOG);
    char whole[2000];
    assert_true(n < sizeof whole);
    memcpy(whole, faultfs_data(f.fs, LOG), n);
    const char *second = memchr(whole, '\n', n);
    const size_t cuts[] = {0, (size_t)(second - whole) + 1};
    for (size_t i = 0; i < 2; i++) {
        faultfs_put(f.fs, LOG, bytes_of((uint8_t *)whole, cuts[i]));
        faultfs_put(f.fs, "/d/log.sums", (struct bytes){0}); /* which would notice it first */
        assert_int_equal(try_open(&f), E_STORE);
        assert_non_null(strstr(f.problem.text, "store log has lost"));
        assert_non_null(strstr(f.problem.text, "/journal/00000"));
        assert_non_null(strstr(f.problem.text, "--skip-warnings"));
        faultfs_kill(f.fs);
    }
    faultfs_put(f.fs, LOG, bytes_of((uint8_t *)whole, n));
    open_store(&f);
    assert_int_equal(store_counts(f.store).n_messages, 4);
    teardown(&f);
}

/* ---- too little room for the messages ---- */

struct heard {
    _Atomic unsigned n_short, n_enough;
};

static void hear(void *ctx, enum log_level level, const char *line) {
    struct heard *h = ctx;
    if (level == LOG_WARN && strstr(line, "no-room-for-messages path=/d/messages needed=") != NULL)
        atomic_fetch_add(&h->n_short, 1);
    if (level == LOG_INFO && strncmp(line, "room-for-messages ", 18) == 0)
        atomic_fetch_add(&h->n_enough, 1);
}

static void wait_for(_Atomic unsigned *n) {
    for (int i = 0; i < 10000 && atomic_load(n) == 0; i++) usleep(1000);
    assert_int_equal(atomic_load(n), 1);
}

static void test_too_little_room_is_said_in_time(void **state) {
    (void)state;
    struct fixture f = {.fs = faultfs_new(1), .compacts = true};
    static struct heard heard;
    log_to(hear, &heard);
    open_store(&f);
    struct made m = make_queue(&f);
    (void)write_message(&f, m.queue);
    usleep(20000);
    assert_int_equal(atomic_load(&heard.n_short), 0);
    faultfs_set_room(f.fs, 10000);
    wait_for(&heard.n_short);
    usleep(20000);
    assert_int_equal(atomic_load(&heard.n_short), 1);
    faultfs_set_room(f.fs, 1000000);
    wait_for(&heard.n_enough);
    drop(&m);
    teardown(&f);
    log_to(NULL, NULL);
}

static void *make_room(void *arg) {
    usleep(300000);
    faultfs_fail_at(arg, 0, 0, false);
    return NULL;
}

static unsigned n_told;
static void count_told(unsigned ms) {
    assert_true(ms > 1000);
    n_told++;
}

static void test_a_stop_waits_for_room(void **state) {
    (void)state;
    for (unsigned retry_ms = 0; retry_ms <= 20000; retry_ms += 20000) {
        struct fixture f = {.fs = faultfs_new(1),
                            .save_retry_ms = retry_ms,
                            .stop_takes = count_told};
        pthread_t thread;
        n_told = 0;
        open_store(&f);
        struct made m = make_queue(&f);
        (void)write_message(&f, m.queue);
        usleep(20000); /* what is written as it happens */
        drop(&m);
        faultfs_fail_at(f.fs, 1, ENOSPC, true);
        assert_int_equal(pthread_create(&thread, NULL, make_room, f.fs), 0);
        const enum err e = store_stop(f.store, &f.problem);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(e, retry_ms != 0 ? OK : E_SYS);
        assert_int_equal(n_told != 0, retry_ms != 0);
        store_close(f.store);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, retry_ms != 0 ? 1 : 0);
        teardown(&f);
    }
}

/* ---- creations that are lost ---- */

static enum err fate_of(struct fixture *f, lsn_t lsn) {
    enum err fate;
    while ((fate = store_fate(f->store, lsn)) == E_PENDING) usleep(1000);
    return fate;
}

static void set_up_loss(struct fixture *f, int error) {
    struct made kept = make_queue(f);
    struct message *m;
    struct msg_written written;
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("kept"), &m), OK);
    assert_int_equal(store_msg_write(f->store, kept.queue, m, &written), OK);
    assert_int_equal(fate_of(f, written.lsn), OK);
    usleep(20000); /* what is done after that */
    drop(&kept);
    faultfs_fail_at(f->fs, 1, error, true);
}

/* The group of a new queue, a message of it and another change of it fails. */
static void lose_a_creation(struct fixture *f, int error) {
    set_up_loss(f, error);
    struct made lost;
    struct message *m;
    struct msg_written written = {0};
    lsn_t lsn;
    assert_int_equal(try_make(f, &lost), OK);
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    const bool is_written = store_msg_write(f->store, lost.queue, m, &written) == OK;
    const enum err touched = store_queue_touch(f->store, lost.queue, DAY + 1, &lsn);
    if (touched == OK) assert_int_equal(fate_of(f, lsn), E_STORE);
    for (unsigned i = 0; i < 5000 && store_counts(f->store).n_queues != 1; i++) usleep(1000);
    assert_int_equal(store_counts(f->store).n_queues, 1);
    if (is_written && f->in_journal) assert_int_equal(fate_of(f, written.lsn), E_STORE);
    assert_null(find(f, ID_RECIPIENT, lost.rec.rcv_id));
    assert_null(find(f, ID_SENDER, lost.rec.snd_id));
    assert_int_equal(store_counts(f->store).n_messages, 1);
    assert_int_equal(store_queue_touch(f->store, lost.queue, DAY + 2, &lsn), E_AUTH);
    drop(&lost);
}

static void test_a_lost_creation_leaves_nothing(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const int error = i % 2 == 0 ? ENOSPC : EIO;
        struct fixture f = setup(i >= 2);
        lose_a_creation(&f, error);
        faultfs_fail_at(f.fs, 0, 0, false);
        if (error == ENOSPC) {
            while (store_counts(f.store).state != 0) usleep(1000);
            struct made later = make_queue(&f);
            drop(&later);
            close_store(&f);
        } else {
            assert_int_not_equal(store_stop(f.store, &f.problem), OK);
            store_close(f.store);
        }
        open_store(&f);
        /* Of a write that failed for good its line may be there. */
        assert_in_range(store_counts(f.store).n_queues, error == ENOSPC ? 2 : 1, 2);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        teardown(&f);
    }
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_when_opening_fails),
        cmocka_unit_test(test_a_failed_start_sets_nothing_aside),
        cmocka_unit_test(test_a_queue_made_again_is_empty),
        cmocka_unit_test(test_a_deletion_without_power),
        cmocka_unit_test(test_a_store_log_that_lost_queues_is_refused),
        cmocka_unit_test(test_too_little_room_is_said_in_time),
        cmocka_unit_test(test_a_stop_waits_for_room),
        cmocka_unit_test(test_a_lost_creation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
