/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who gets a queue's messages: two sessions and their queues, what they are told of each other, and
 * news that comes late. */
#include "relay_rig.h"

enum { VERSION = 18 };

static struct session *first, *second;
static struct queue *queue;
static struct id rcv_id, snd_id;

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    first = rig_session(VERSION);
    second = rig_session(VERSION);
    queue = rig_queue(1);
    rcv_id = *queue_rcv_id(queue);
    snd_id = *queue_snd_id(queue);
    return 0;
}

static int teardown(void **state) {
    queue_unref(queue);
    return rig_teardown(state);
}

/* One command in a block, and what comes of it at once. */
static const char *command(struct session *s, enum command_tag tag) {
    struct rig_block b;
    rig_begin(&b, s);
    rig_plain(&b, "a", tag, &rcv_id, &rig.key);
    rig_write(&b);
    return rig_read(s);
}

static const char *send_from(struct session *s, const char *body) {
    struct rig_block b;
    rig_begin(&b, s);
    rig_send(&b, "a", &snd_id, body);
    rig_write(&b);
    return rig_read(s);
}

static const char *ack(struct session *s) {
    struct rig_block b;
    rig_begin(&b, s);
    rig_ack(&b, "a", &rcv_id, &sub_find(s, &rcv_id)->delivered);
    rig_write(&b);
    return rig_read(s);
}

static bool is_subscribed(const struct session *s) {
    return store_is_subscribed(rig.store, queue, SUB_RECIPIENT, s->self);
}

/* ---- messages ---- */

static void a_message_comes_to_who_subscribed(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    assert_string_equal(send_from(second, "hello"), "OK a");
    assert_string_equal(rig_read(first), "MSG #1");
    assert_string_equal(send_from(second, "hello"), "OK a");
    assert_string_equal(rig_read(first), "nothing"); /* one at a time */
    assert_string_equal(ack(first), "MSG a");
    assert_string_equal(ack(first), "OK a");
    assert_string_equal(send_from(second, "hello"), "OK a");
    assert_string_equal(rig_read(first), "MSG #1");
}

static void who_sends_to_itself_gets_the_message_before_the_answer(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    assert_string_equal(send_from(first, "hello"), "MSG #1");
    assert_string_equal(rig_read(first), "OK a");
}

static void subscribing_again_delivers_again(void **state) {
    (void)state;
    rig_put_message(queue, "hello");
    assert_string_equal(command(first, CMD_SUB), "SOK a,MSG #1");
    assert_string_equal(command(first, CMD_SUB), "SOK a,MSG #1");
    assert_int_equal(first->n_delivered, 1);
    assert_int_equal(first->n_own_subs, 1);
}

static void get_is_no_subscription(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_GET), "OK a");
    assert_string_equal(send_from(second, "hello"), "OK a");
    assert_string_equal(rig_read(first), "nothing");
    assert_false(session_is_subscribed(first));
    assert_string_equal(command(first, CMD_SUB), "ERR CMD PROHIBITED a");
    assert_string_equal(command(first, CMD_GET), "MSG a");
    assert_string_equal(command(second, CMD_SUB), "SOK a,MSG #1");
    assert_string_equal(command(second, CMD_GET), "ERR CMD PROHIBITED a");
    assert_string_equal(rig_read(first), "nothing"); /* nothing ended for it */
}

/* ---- who had it before ---- */

static void who_loses_the_queue_is_told(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    assert_string_equal(command(second, CMD_SUB), "SOK a");
    assert_string_equal(rig_read(first), "END #1");
    assert_null(sub_find(first, &rcv_id));
    assert_false(session_is_subscribed(first));
    assert_true(is_subscribed(second));
    assert_string_equal(send_from(first, "hello"), "OK a");
    assert_string_equal(rig_read(first), "nothing");
    assert_string_equal(rig_read(second), "MSG #1");
}

static void an_end_that_comes_late_ends_nothing(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    news_about(rig.rl, NEWS_END, first->self, queue); /* of a time before */
    assert_string_equal(rig_read(first), "nothing");
    assert_true(is_subscribed(first));
}

static void news_for_who_is_gone_finds_nobody(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    const struct subscriber was = first->self;
    const struct news n = {.kind = NEWS_MESSAGE, .to = was, .queue = queue};
    news_send_from_outside(rig.relay, &n); /* on its way */
    rig_close(first);
    assert_false(store_is_subscribed(rig.store, queue, SUB_RECIPIENT, was));
    first = rig_session(VERSION); /* in the same slot */
    assert_int_equal(first->self.slot, was.slot);
    assert_int_not_equal(first->self.generation, was.generation);
    rig_put_message(queue, "hello");
    rig_run_posted();
    assert_string_equal(rig_read(first), "nothing");
}

static void a_deleted_queue_is_told_to_its_subscriber(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    rig_put_message(queue, "hello");
    news_about(rig.rl, NEWS_MESSAGE, first->self, queue);
    assert_string_equal(command(second, CMD_DEL), "OK a");
    assert_string_equal(rig_read(first), "DELD #1"); /* and no message of it */
    assert_string_equal(rig_read(first), "nothing");
    assert_int_equal(first->subs.n_entries, 0);
    assert_string_equal(command(second, CMD_SUB), "ERR AUTH a");
}

static void who_deletes_its_own_queue_is_told_once(void **state) {
    (void)state;
    assert_string_equal(command(first, CMD_SUB), "SOK a");
    assert_string_equal(command(first, CMD_DEL), "OK a");
    assert_string_equal(rig_read(first), "nothing");
    assert_false(session_is_subscribed(first));
}

static uint64_t waiting_acks(void) {
    struct ages_sum sum = {0};
    relay_waiting_acks(rig.relay, &sum);
    return sum.n[0];
}

static void what_waits_for_ack_is_forgotten_with_its_session(void **state) {
    (void)state;
    rig_put_message(queue, "hello");
    assert_string_equal(command(first, CMD_SUB), "SOK a,MSG #1");
    assert_int_equal(waiting_acks(), 1);
    rig_close(first);
    assert_int_equal(waiting_acks(), 0);
    assert_string_equal(command(second, CMD_SUB), "SOK a,MSG #1"); /* it is there still */
}

/* ---- many at once ---- */

static void messages_behind_many_subscriptions_come_after_all_answers(void **state) {
    (void)state;
    struct rig_block b;
    static const char *const NAMES[] = {"a", "b", "c", "d", "e"};
    rig_begin(&b, first);
    for (uint8_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        struct queue *q = rig_queue((uint8_t)(10 + i));
        rig_put_message(q, "hello");
        rig_plain(&b, NAMES[i], CMD_SUB, queue_rcv_id(q), &rig.key);
        queue_unref(q);
    }
    rig_write(&b);
    assert_string_equal(rig_read(first), "SOK a,SOK b,SOK c,SOK d,SOK e");
    assert_string_equal(rig_read(first), "MSG #10");
    assert_string_equal(rig_read(first), "MSG #11");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(a_message_comes_to_who_subscribed),
        TEST(who_sends_to_itself_gets_the_message_before_the_answer),
        TEST(subscribing_again_delivers_again),
        TEST(get_is_no_subscription),
        TEST(who_loses_the_queue_is_told),
        TEST(an_end_that_comes_late_ends_nothing),
        TEST(news_for_who_is_gone_finds_nobody),
        TEST(a_deleted_queue_is_told_to_its_subscriber),
        TEST(who_deletes_its_own_queue_is_told_once),
        TEST(what_waits_for_ack_is_forgotten_with_its_session),
        TEST(messages_behind_many_subscriptions_come_after_all_answers),
    };
    return cmocka_run_group_tests_name("subscription", TESTS, NULL, NULL);
}
