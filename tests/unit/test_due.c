/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What is due to a session without being an answer: order, turns, what is asked for at the same
 * time, what ends before its turn, what cannot be read. */
#include "relay_rig.h"

#include "relay/session/due.h"
#include "store/ntfs.h"

enum { VERSION = 18, MINUTE_MS = 60 * 1000 };

static struct session *session; /* of the present test */

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    session = rig_session(VERSION);
    return 0;
}

/* A queue to which the session is subscribed, with n messages. */
static struct id subscribed(uint8_t id, unsigned n) {
    struct queue *q = rig_queue(id);
    struct sub_moved moved;
    assert_int_equal(sub_subscribe(session, q, &moved), OK);
    while (n-- != 0) rig_put_message(q, "hello");
    const struct id rcv_id = *queue_rcv_id(q);
    queue_unref(q);
    return rcv_id;
}

static struct sub *sub_of(const struct id *rcv_id) {
    struct sub *sub = sub_find(session, rcv_id);
    assert_non_null(sub);
    return sub;
}

static void make_due(const struct id *rcv_id, enum due_place place) {
    assert_true(sub_due(session, sub_of(rcv_id)->queue, place));
}

/* A queue with a message that is due. */
static struct id due(uint8_t id, enum due_place place) {
    const struct id rcv_id = subscribed(id, 1);
    make_due(&rcv_id, place);
    return rcv_id;
}

static void answer(const char *corr_id, lsn_t lsn) {
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof buf);
    const struct reply_to to = {.corr_id = bytes_str(corr_id)};
    reply_ok(&w, &session->params, &to);
    session_add_answer(session, &(struct out_text){.transmission = wr_bytes(&w), .lsn = lsn});
}

static void assert_read(const char *text) {
    assert_string_equal(rig_read(session), text);
}

/* ---- order ---- */

static void what_is_due_goes_out_once_and_waits_for_its_ack(void **state) {
    (void)state;
    const struct id q = due(1, DUE_AT_LEAST);
    make_due(&q, DUE_AT_LEAST); /* twice is once */
    assert_true(due_awaits(&session->due));
    assert_true(session->conn->wants_write);
    assert_read("MSG #1");
    assert_read("nothing");
    assert_true(sub_of(&q)->has_delivered);
    assert_false(sub_due(session, sub_of(&q)->queue, DUE_AT_LEAST)); /* it waits for ACK */
    assert_false(due_awaits(&session->due));
    assert_int_equal(due_bytes(&session->due), 0);
}

static void nothing_goes_before_an_answer_that_was_there_first(void **state) {
    (void)state;
    answer("a", 1);
    due(1, DUE_AT_LEAST);
    assert_read("nothing"); /* neither: the answer is not durable */
    rig.durable = 1;
    assert_read("OK a,MSG #1");
}

static void a_later_answer_is_not_waited_for(void **state) {
    (void)state;
    due(1, DUE_AT_LEAST);
    answer("a", 1);
    assert_read("MSG #1");
    rig.durable = 1;
    assert_read("OK a");
}

static void answers_and_messages_take_turns(void **state) {
    (void)state;
    for (uint8_t i = 1; i <= 3; i++) due(i, DUE_AT_LEAST);
    answer("a", 0);
    assert_read("OK a,MSG #1");
    answer("b", 0);
    assert_read("OK b,MSG #2"); /* a message went last: it is the answers' turn */
    rig.is_later = true;
    answer("c", 0);
    assert_read("OK c"); /* nothing of it was there, so it goes first next time */
    rig_answer(0);
    answer("d", 0);
    assert_read("MSG #3,OK d");
}

static void what_is_behind_many_answers_shares_no_block_with_them(void **state) {
    (void)state;
    answer("a", 0);
    due(1, DUE_BEHIND);
    due(2, DUE_BEHIND);
    assert_read("OK a");
    assert_read("MSG #1");
    assert_read("MSG #2");
    assert_read("nothing");
}

/* ---- the store answers later ---- */

static void some_are_asked_for_at_the_same_time(void **state) {
    (void)state;
    rig.is_later = true;
    for (uint8_t i = 1; i <= 12; i++) due(i, DUE_AT_LEAST);
    assert_read("nothing");
    assert_int_equal(rig.n_questions, 8);
    answer("a", 0);
    assert_read("OK a"); /* answers go on meanwhile */
    rig_answer(2);
    assert_true(session->conn->wants_write);
    assert_read("MSG #3"); /* the first that comes goes first */
    assert_read("nothing");
    assert_int_equal(rig.n_questions, 8); /* and the next is asked for */
}

static void all_that_had_waited_goes_before_alls(void **state) {
    (void)state;
    rig.is_later = true;
    due(1, DUE_BEHIND);
    session_add_due(session, DUE_ALLS, NULL, true);
    assert_read("nothing");
    rig_answer(0);
    assert_read("MSG #1");
    assert_read("ALLS");
    assert_read("nothing");
}

static void an_empty_queue_is_asked_again_when_there_was_news(void **state) {
    (void)state;
    rig.is_later = true;
    const struct id q = subscribed(1, 0);
    make_due(&q, DUE_AT_LEAST);
    assert_read("nothing");
    rig_put_message(sub_of(&q)->queue, "late");
    make_due(&q, DUE_AT_LEAST); /* news, while it is asked for */
    rig.read_err = E_AUTH;      /* as of a queue that was empty when the store looked */
    rig_answer(0);
    rig.read_err = OK;
    rig.is_later = false;
    assert_read("MSG #1");
}

/* ---- what ends before its turn ---- */

static void what_nobody_is_subscribed_to_any_more_is_not_asked_for(void **state) {
    (void)state;
    const struct id q = due(1, DUE_AT_LEAST);
    due(2, DUE_AT_LEAST);
    sub_remove(session, sub_of(&q));
    assert_read("MSG #2");
    assert_int_equal(rig.n_asked, 1);
    assert_read("nothing");
    assert_int_equal(due_bytes(&session->due), 0);
}

static void a_queue_that_was_emptied_gives_nothing(void **state) {
    (void)state;
    const struct id q = subscribed(1, 0);
    make_due(&q, DUE_AT_LEAST);
    assert_read("nothing");
    assert_false(sub_of(&q)->is_due);
    rig_put_message(sub_of(&q)->queue, "hello");
    make_due(&q, DUE_AT_LEAST);
    assert_read("MSG #1");
}

static void a_session_may_end_while_the_store_reads(void **state) {
    (void)state;
    rig.is_later = true;
    due(1, DUE_AT_LEAST);
    assert_read("nothing");
    rig_close(session);
    rig_answer(0); /* finds nobody */
}

/* ---- what cannot be read ---- */

static void what_cannot_be_read_is_tried_again(void **state) {
    (void)state;
    const struct id q = due(1, DUE_AT_LEAST);
    due(2, DUE_AT_LEAST);
    rig.read_err = E_STORE;
    assert_read("nothing");
    assert_false(due_awaits(&session->due)); /* a stop does not wait for it */
    rig.read_err = OK;
    assert_read("nothing"); /* not before its time */
    rig_pass_ms(MINUTE_MS - 1);
    assert_false(session->conn->wants_write);
    rig_pass_ms(1);
    assert_true(session->conn->wants_write);
    assert_read("MSG #1");
    assert_read("MSG #2");
    assert_true(sub_of(&q)->has_delivered);
    rig_pass_ms(10 * MINUTE_MS);
    assert_false(session->conn->wants_write); /* and no timer is left */
    assert_true(list_is_empty(&loop_rig.timers));
}

/* Minutes until the store is asked again. */
static unsigned minutes_until_asked(void) {
    const unsigned before = rig.n_asked;
    unsigned n = 0;
    while (rig.n_asked == before && n < 1000) {
        rig_pass_ms(MINUTE_MS);
        n++;
        if (session->conn->wants_write) assert_read("nothing");
    }
    return n;
}

static void it_is_tried_ever_less_often_and_every_hour_at_least(void **state) {
    (void)state;
    static const unsigned PAUSES[] = {1, 2, 4, 8, 16, 32, 64, 64, 64};
    due(1, DUE_AT_LEAST);
    rig.read_err = E_STORE;
    assert_read("nothing");
    for (size_t i = 0; i < ARRAY_LEN(PAUSES); i++)
        assert_int_equal(minutes_until_asked(), PAUSES[i]);
}

static void a_second_sub_does_not_wait_for_the_next_try(void **state) {
    (void)state;
    const struct id q = due(1, DUE_AT_LEAST);
    rig.read_err = E_STORE;
    assert_read("nothing");
    rig.read_err = OK;
    make_due(&q, DUE_AMONG); /* as SUB does */
    assert_read("MSG #1");
    rig_pass_ms(2 * MINUTE_MS);
    assert_read("nothing"); /* the old entry finds that it is not due any more */
}

/* The message that a SUB is answered with, beside its SOK. */
static void what_cannot_be_read_beside_its_answer_is_due_later(void **state) {
    (void)state;
    const struct id q = subscribed(1, 1);
    make_due(&q, DUE_AMONG);
    answer("a", 0);
    rig.read_err = E_STORE;
    assert_read("OK a");
    rig.read_err = OK;
    rig_pass_ms(MINUTE_MS);
    assert_read("MSG #1");
    assert_true(sub_of(&q)->has_delivered);
}

static void a_session_may_end_while_it_waits_for_the_next_try(void **state) {
    (void)state;
    due(1, DUE_AT_LEAST);
    rig.read_err = E_STORE;
    assert_read("nothing");
    rig_close(session);
    rig_pass_ms(2 * MINUTE_MS);
}

/* ---- notifications ---- */

static void notifications_wait_for_the_tick_and_share_a_block(void **state) {
    (void)state;
    struct queue *q = rig_queue(1);
    const struct queue_notifier n = {.id = {{9}}, .key = {.type = KEY_ED25519}};
    struct sub_ended ended;
    lsn_t lsn;
    assert_int_equal(store_notifier_set(rig.store, q, &n, &ended, &lsn), OK);
    assert_int_equal(ntf_subscribe(session, q, &n.id, &lsn), OK);
    const struct id ids[] = {{{1}}, {{2}}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) ntf_sent(session, q, &ids[i], RIG_EPOCH_S);
    assert_read("nothing");
    assert_false(due_awaits(&session->due));
    rig_pass_ms(3000);
    assert_true(due_awaits(&session->due));
    assert_read("NMSG #9,NMSG #9");
    assert_read("nothing");
    queue_unref(q);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(what_is_due_goes_out_once_and_waits_for_its_ack),
        TEST(nothing_goes_before_an_answer_that_was_there_first),
        TEST(a_later_answer_is_not_waited_for),
        TEST(answers_and_messages_take_turns),
        TEST(what_is_behind_many_answers_shares_no_block_with_them),
        TEST(some_are_asked_for_at_the_same_time),
        TEST(all_that_had_waited_goes_before_alls),
        TEST(an_empty_queue_is_asked_again_when_there_was_news),
        TEST(what_nobody_is_subscribed_to_any_more_is_not_asked_for),
        TEST(a_queue_that_was_emptied_gives_nothing),
        TEST(a_session_may_end_while_the_store_reads),
        TEST(what_cannot_be_read_is_tried_again),
        TEST(it_is_tried_ever_less_often_and_every_hour_at_least),
        TEST(a_second_sub_does_not_wait_for_the_next_try),
        TEST(what_cannot_be_read_beside_its_answer_is_due_later),
        TEST(a_session_may_end_while_it_waits_for_the_next_try),
        TEST(notifications_wait_for_the_tick_and_share_a_block),
    };
    return cmocka_run_group_tests_name("due", TESTS, NULL, NULL);
}
