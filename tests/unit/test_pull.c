/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* A queue's next message, asked of the store: at once, later, not now, not yet durable, never. */
#include "relay_rig.h"

#include "base/rd.h"
#include "relay/delivery/pull.h"

static unsigned n_came;
static struct subscriber came_for;

static void came(void *ctx, struct subscriber who) {
    assert_ptr_equal(ctx, &rig);
    n_came++;
    came_for = who;
}

static const struct subscriber WHO = {.slot = 3, .generation = 5};

struct fixture {
    struct pull_home home;
    struct queue *queue;
    struct pull pull;
};

static int setup(void **state) {
    static struct fixture f;
    if (rig_setup(state) != 0) return -1;
    n_came = 0;
    f.home = (struct pull_home){rig.store, loop_rig.loops[0], came, &rig};
    f.queue = rig_queue(1);
    pull_init(&f.pull, f.queue);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    pull_done(&f->pull);
    queue_unref(f->queue);
    return rig_teardown(state);
}

static enum pulled try(struct fixture *f) {
    return pull_try(&f->pull, &f->home, WHO);
}

static void assert_has(const struct fixture *f, const char *body) {
    assert_true(bytes_equal(message_body(f->pull.message), bytes_str(body)));
}

static void what_is_there_comes_at_once_and_stays_the_same(void **state) {
    struct fixture *f = *state;
    rig_put_message(f->queue, "one");
    rig_put_message(f->queue, "two");
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_has(f, "one");
    assert_int_equal(rig.n_asked, 1);
    assert_int_equal(n_came, 0);
}

static void an_empty_queue_is_asked_anew(void **state) {
    struct fixture *f = *state;
    assert_int_equal(try(f), PULLED_NOTHING);
    rig_put_message(f->queue, "late");
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_has(f, "late");
}

static void a_deleted_queue_has_nothing(void **state) {
    struct fixture *f = *state;
    struct queue_ended ended;
    lsn_t lsn;
    rig_put_message(f->queue, "gone");
    assert_int_equal(store_queue_delete(rig.store, f->queue, &ended, &lsn), OK);
    assert_int_equal(try(f), PULLED_NOTHING);
}

static void a_late_answer_is_told_and_then_there(void **state) {
    struct fixture *f = *state;
    rig.is_later = true;
    rig_put_message(f->queue, "one");
    assert_int_equal(try(f), PULLED_LATER);
    assert_int_equal(try(f), PULLED_LATER);
    assert_int_equal(rig.n_questions, 1); /* asked once */
    rig_answer(0);
    assert_int_equal(n_came, 1);
    assert_true(subscriber_equal(came_for, WHO));
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_has(f, "one");
}

static void a_late_answer_may_be_that_there_is_nothing(void **state) {
    struct fixture *f = *state;
    rig.is_later = true;
    assert_int_equal(try(f), PULLED_LATER);
    rig_answer(0);
    assert_int_equal(try(f), PULLED_NOTHING);
    assert_int_equal(try(f), PULLED_LATER); /* asked anew */
    rig_answer(0);
}

/* Whoever asked is gone: nobody is told, and nothing leaks. */
static void an_answer_that_nobody_waits_for_is_dropped(void **state) {
    struct fixture *f = *state;
    rig.is_later = true;
    rig_put_message(f->queue, "one");
    assert_int_equal(try(f), PULLED_LATER);
    pull_done(&f->pull);
    rig_answer(0);
    assert_int_equal(n_came, 0);
    pull_init(&f->pull, f->queue);
    assert_int_equal(try(f), PULLED_LATER);
    rig_answer(0);
    assert_int_equal(n_came, 1); /* told, and not taken: freed with the pull */
}

static void who_should_not_wait_any_longer_is_told(void **state) {
    struct fixture *f = *state;
    rig_put_message(f->queue, "one");
    rig.read_err = E_CLOSED;
    assert_int_equal(try(f), PULLED_CLOSED);
    rig.read_err = OK;
    assert_int_equal(try(f), PULLED_MESSAGE);
}

static void what_cannot_be_read_fails_and_is_asked_anew(void **state) {
    struct fixture *f = *state;
    rig_put_message(f->queue, "one");
    for (int later = 0; later < 2; later++) {
        rig.is_later = later != 0;
        rig.read_err = E_STORE;
        if (rig.is_later) {
            assert_int_equal(try(f), PULLED_LATER);
            rig_answer(0);
        }
        assert_int_equal(try(f), PULLED_FAILED);
    }
    rig.is_later = false;
    rig.read_err = OK;
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_has(f, "one");
}

static void a_message_waits_until_it_is_durable(void **state) {
    struct fixture *f = *state;
    rig.lsn = 7;
    rig.durable = 6;
    rig_put_message(f->queue, "one");
    assert_int_equal(try(f), PULLED_LATER);
    assert_int_equal(try(f), PULLED_LATER);
    assert_int_equal(rig.n_asked, 1); /* it is there, and waits for the disk alone */
    rig.durable = 7;
    assert_int_equal(try(f), PULLED_MESSAGE);
}

static void in_place_of_a_lost_message_the_store_is_asked_again(void **state) {
    struct fixture *f = *state;
    struct msg_acked acked;
    rig.lsn = 7;
    rig_put_message(f->queue, "lost");
    rig_put_message(f->queue, "next");
    assert_int_equal(try(f), PULLED_LATER);
    const struct id lost = f->pull.message->id;
    assert_int_equal(store_msg_ack(rig.store, f->queue, &lost, PACE_AT_ONCE, &acked),
                     OK); /* taken back */
    rig.lost = 7;
    rig.lsn = 8;
    rig.durable = 8;
    assert_int_equal(try(f), PULLED_MESSAGE);
    assert_has(f, "next");
}

static void it_is_written_as_what_it_answers(void **state) {
    struct fixture *f = *state;
    const struct wire_params p = {.version = 18};
    uint8_t buf[SMP_BLOCK_LEN];
    struct wr w = wr_init(buf, sizeof buf);
    rig_put_message(f->queue, "one");
    assert_int_equal(try(f), PULLED_MESSAGE);
    pull_write(&f->pull, &p, bytes_str("corr"), &w);
    const struct reply_to to = reply_addressee(wr_bytes(&w), &p);
    assert_true(bytes_equal(to.corr_id, bytes_str("corr")));
    assert_true(bytes_equal(to.entity, id_bytes(queue_rcv_id(f->queue))));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(what_is_there_comes_at_once_and_stays_the_same),
        TEST(an_empty_queue_is_asked_anew),
        TEST(a_deleted_queue_has_nothing),
        TEST(a_late_answer_is_told_and_then_there),
        TEST(a_late_answer_may_be_that_there_is_nothing),
        TEST(an_answer_that_nobody_waits_for_is_dropped),
        TEST(who_should_not_wait_any_longer_is_told),
        TEST(what_cannot_be_read_fails_and_is_asked_anew),
        TEST(a_message_waits_until_it_is_durable),
        TEST(in_place_of_a_lost_message_the_store_is_asked_again),
        TEST(it_is_written_as_what_it_answers),
    };
    return cmocka_run_group_tests_name("pull", TESTS, NULL, NULL);
}
