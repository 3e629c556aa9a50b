/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One session: its name, what it may read, what it waits for, how it ends. */
#include "relay_rig.h"

enum { VERSION = 18 };

static struct session *session;

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    session = rig_session(VERSION);
    return 0;
}

static void answer(const char *corr_id, lsn_t lsn, size_t held_bytes) {
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof buf);
    const struct reply_to to = {.corr_id = bytes_str(corr_id)};
    reply_ok(&w, &session->params, &to);
    session_add_answer(session, &(struct out_text){.transmission = wr_bytes(&w),
                                                   .lsn = lsn,
                                                   .held_bytes = held_bytes});
}

static void end_of(uint8_t queue) {
    const struct id id = {{queue}};
    const struct reply_to to = {.entity = id_bytes(&id)};
    struct wr w = wr_init(rig.rl->scratch, sizeof rig.rl->scratch);
    reply_end(&w, &session->params, &to);
    session_add_end(session, wr_bytes(&w));
}

static void assert_read(const char *text) {
    assert_string_equal(rig_read(session), text);
}

/* ---- names ---- */

static void a_name_outlives_its_session_and_finds_nobody(void **state) {
    (void)state;
    const struct subscriber was = session->self;
    assert_ptr_equal(session_find(rig.rl, was), session);
    rig_close(session);
    assert_null(session_find(rig.rl, was));
    session = rig_session(VERSION);
    assert_int_equal(session->self.slot, was.slot);
    assert_null(session_find(rig.rl, was));
    const struct subscriber beyond = {.slot = rig.rl->n_slots, .generation = 1};
    assert_null(session_find(rig.rl, beyond));
    assert_null(session_find(rig.rl, (struct subscriber){0}));
}

/* As of another start: what named a session then, names none now. */
static void no_name_becomes_true_again(void **state) {
    (void)state;
    struct relay *again = NULL;
    struct subscriber who = session->self;
    assert_int_equal(relay_new(&rig.relay->o, &again), OK);
    rig_close(session);
    for (unsigned i = 0; i < 1000; i++) {
        who.generation = again->loops[0].last_generation + i;
        assert_null(session_find(rig.rl, who));
        rig_close(rig_session(VERSION));
    }
    relay_free(again);
}

static void sessions_have_slots_of_their_own(void **state) {
    (void)state;
    enum { N = 200 }; /* the table grows */
    struct session *all[N];
    for (unsigned i = 0; i < N; i++) all[i] = rig_session(VERSION);
    for (unsigned i = 0; i < N; i++) assert_ptr_equal(session_find(rig.rl, all[i]->self), all[i]);
    for (unsigned i = 0; i < N; i += 2) rig_close(all[i]);
    for (unsigned i = 1; i < N; i += 2)
        assert_ptr_equal(session_find(rig.rl, all[i]->self), all[i]);
}

/* ---- reading ---- */

static void who_does_not_read_is_not_read(void **state) {
    (void)state;
    const size_t max = rig.relay->o.settings.pending_bytes_max;
    answer("a", 1, max / 2);
    session_adjust_reading(session);
    assert_false(session->conn->is_paused);
    answer("b", 2, max / 2);
    session_adjust_reading(session);
    assert_true(session->conn->is_paused);
    assert_read("nothing");
    assert_true(session->conn->is_paused);
    rig_set_durable(1); /* not before half of it is gone */
    assert_read("OK a");
    assert_true(session->conn->is_paused);
    rig_set_durable(2);
    assert_read("OK b");
    assert_false(session->conn->is_paused);
}

static void what_is_due_counts_too(void **state) {
    (void)state;
    const size_t n = rig.relay->o.settings.pending_bytes_max / SESSION_PENDING_BASE + 1;
    for (size_t i = 0; i < n; i++) {
        const struct id id = {{(uint8_t)i, (uint8_t)(i >> 8)}};
        session_add_due(session, DUE_MESSAGE, &id, false);
    }
    session_adjust_reading(session);
    assert_true(session->conn->is_paused);
    assert_read("nothing"); /* nobody is subscribed to any of them */
    assert_false(session->conn->is_paused);
}

/* ---- the disk ---- */

static void a_session_is_woken_for_its_own_change_alone(void **state) {
    (void)state;
    answer("a", 5, 0);
    assert_read("nothing");
    rig_set_durable(4);
    assert_false(session->conn->wants_write);
    rig_set_durable(5);
    assert_true(session->conn->wants_write);
    assert_read("OK a");
}

static void a_message_that_is_not_durable_waits_like_an_answer(void **state) {
    (void)state;
    struct queue *q = rig_queue(1);
    struct sub_moved moved;
    assert_int_equal(sub_subscribe(session, q, &moved), OK);
    rig_put_message(q, "hello");
    rig.lsn = 3;
    assert_true(sub_due(session, q, DUE_AT_LEAST));
    assert_read("nothing");
    answer("a", 2, 0);
    assert_read("nothing"); /* it waits for the first of both */
    rig_set_durable(2);
    assert_read("OK a");
    assert_read("nothing");
    rig_set_durable(3);
    assert_true(session->conn->wants_write);
    assert_read("MSG #1");
    queue_unref(q);
}

static void a_session_that_ends_is_not_woken(void **state) {
    (void)state;
    answer("a", 5, 0);
    assert_read("nothing");
    rig_close(session);
    rig_set_durable(5);
}

/* ---- what a stop waits for ---- */

static void a_stop_waits_for_answers(void **state) {
    (void)state;
    assert_false(SESSION_OPS.awaits(session));
    answer("a", 5, 0);
    assert_true(SESSION_OPS.awaits(session));
    rig_set_durable(5);
    assert_read("OK a");
    assert_false(SESSION_OPS.awaits(session));
}

/* ---- ends of subscriptions ---- */

static void ends_go_with_the_next_answer_or_the_tick(void **state) {
    (void)state;
    rig.relay->o.settings.end_interval_ms = 100;
    session->conn->wants_write = false;
    end_of(1);
    end_of(2);
    assert_false(session->conn->wants_write);
    rig_pass_ms(100);
    assert_true(session->conn->wants_write);
    assert_read("END #1,END #2");
    end_of(3);
    answer("a", 0, 0);
    assert_true(session->conn->wants_write);
    assert_read("END #3,OK a");
    session->conn->wants_write = false;
    rig_pass_ms(100);
    assert_read("nothing");
}

static void ends_go_at_once_without_an_interval(void **state) {
    (void)state;
    session->conn->wants_write = false;
    end_of(1);
    assert_true(session->conn->wants_write);
    assert_read("END #1");
}

/* ---- closing ---- */

static void an_unanswered_command_closes_the_session_once(void **state) {
    (void)state;
    session_leave_unanswered(session, E_STORE);
    const int64_t at_ms = session->conn->deadline_ms;
    assert_int_equal(at_ms, loop_rig.now_ms + UNANSWERED_CLOSE_S * 1000);
    rig_pass_ms(1000);
    session_leave_unanswered(session, E_STORE);
    assert_int_equal(session->conn->deadline_ms, at_ms);
    session_leave_unanswered(session, E_CLOSED);
    assert_int_equal(session->conn->deadline_ms, loop_rig.now_ms);
}

/* A block of one command, whose queue the store finds later. */
static void write_for_later(const char *corr_id, enum command_tag tag, const struct queue *q) {
    struct rig_block b;
    rig.is_load_later = true;
    rig_begin(&b, session);
    rig_plain(&b, corr_id, tag, queue_rcv_id(q), &rig.key);
    rig_write(&b);
}

static void a_session_stays_until_the_store_has_answered(void **state) {
    (void)state;
    struct queue *q = rig_queue(1);
    write_for_later("a", CMD_SUB, q);
    assert_int_equal(session->n_loading, 1);
    assert_true(SESSION_OPS.awaits(session));
    rig_close(session);
    rig_answer_load(0); /* frees it */
    queue_unref(q);
}

static void answers_of_a_later_look_up_keep_their_order(void **state) {
    (void)state;
    struct queue *q = rig_queue(1);
    write_for_later("a", CMD_SUB, q);
    write_for_later("b", CMD_QUE, q);
    rig_answer_load(1);
    rig_run(session);
    assert_read("nothing");
    rig_answer_load(0);
    rig_run(session);
    assert_read("SOK a,INFO b");
    queue_unref(q);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(a_name_outlives_its_session_and_finds_nobody),
        TEST(no_name_becomes_true_again),
        TEST(sessions_have_slots_of_their_own),
        TEST(who_does_not_read_is_not_read),
        TEST(what_is_due_counts_too),
        TEST(a_session_is_woken_for_its_own_change_alone),
        TEST(a_message_that_is_not_durable_waits_like_an_answer),
        TEST(a_session_that_ends_is_not_woken),
        TEST(a_stop_waits_for_answers),
        TEST(ends_go_with_the_next_answer_or_the_tick),
        TEST(ends_go_at_once_without_an_interval),
        TEST(an_unanswered_command_closes_the_session_once),
        TEST(a_session_stays_until_the_store_has_answered),
        TEST(answers_of_a_later_look_up_keep_their_order),
    };
    return cmocka_run_group_tests_name("session", TESTS, NULL, NULL);
}
