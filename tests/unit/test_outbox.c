/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What waits to be written: order, lanes, durability, bodies that are not there yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rd.h"
#include "crypto/crypto.h"
#include "relay/outbox.h"

enum { NOT_DURABLE = 1 }; /* the store that writes nothing has made only lsn 0 durable */

struct fixture {
    struct store *store;
    struct queue *queue;
    struct outbox box;
    struct wire_params params;
    bool wanted, fetching;
    unsigned n_fetched, n_dropped;
};

/* ---- the session's side ---- */

static bool wants(void *ctx, const struct id *rcv_id, const struct id *msg_id) {
    (void)rcv_id;
    (void)msg_id;
    return ((struct fixture *)ctx)->wanted;
}

static bool fetch(void *ctx, struct queue *q, struct message *m) {
    (void)q;
    (void)m;
    struct fixture *f = ctx;
    f->n_fetched++;
    return f->fetching;
}

static void dropped(void *ctx, const struct id *rcv_id, const struct id *msg_id) {
    (void)rcv_id;
    (void)msg_id;
    ((struct fixture *)ctx)->n_dropped++;
}

/* ---- set-up ---- */

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const struct store_opts o = {.env = &ENV_SYSTEM, .quota = 10};
    struct store_problem problem = {0};
    assert_int_equal(store_open("memory", &o, &f->store, &problem), OK);
    const struct pubkey key = {.type = KEY_ED25519};
    struct queue_rec rec = {.rcv_id = {{1}}, .snd_id = {{2}}};
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(f->store, &rec, &f->queue, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    outbox_init(&f->box);
    f->params.version = 18;
    f->wanted = true;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    outbox_done(&f->box);
    assert_int_equal(f->box.pending_bytes, 0);
    queue_unref(f->queue);
    store_close(f->store);
    free(f);
    return 0;
}

/* ---- adding and packing ---- */

static void add_text(struct fixture *f, const struct out_text *t) {
    assert_int_equal(outbox_add_text(&f->box, t), OK);
}

static void add_ok(struct fixture *f, const char *corr_id, lsn_t lsn) {
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof buf);
    const struct reply_to to = {.corr_id = bytes_str(corr_id)};
    reply_ok(&w, &f->params, &to);
    add_text(f, &(struct out_text){.transmission = wr_bytes(&w), .lsn = lsn});
}

static struct message *new_message(bool absent) {
    const struct id id = {{9}};
    struct message *m;
    const enum err e = absent ? message_new_absent(&id, 1, false, 5, &m)
                              : message_new(&id, 1, false, bytes_str("hello"), &m);
    assert_int_equal(e, OK);
    return m;
}

static void bring_body(struct message *m) {
    uint8_t *body = malloc(5);
    assert_non_null(body);
    memcpy(body, "hello", 5);
    message_bring_body(m, body);
}

static void add_msg(struct fixture *f, const char *corr_id, enum out_place place) {
    struct message *m = new_message(false);
    assert_int_equal(outbox_add_msg(&f->box, bytes_str(corr_id), f->queue, m, 0, place), OK);
    message_unref(m);
}

/* Packs one block and says what is in it: "OK a,MSG", "empty" or "held". */
static const char *packed(struct fixture *f) {
    static char text[1024];
    uint8_t block[SMP_BLOCK_LEN];
    const struct outbox_env env = {
        .params = &f->params,
        .store = f->store,
        .wants = wants,
        .fetch = fetch,
        .dropped = dropped,
        .ctx = f,
    };
    struct wr w = block_begin(block, true);
    const enum outbox_state state = outbox_pack(&f->box, &env, &w);
    if (state != OUTBOX_WRITTEN) return state == OUTBOX_HELD ? "held" : "empty";
    struct rd r = rd_init(wr_bytes(&w));
    const unsigned n = rd_list(&r);
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        struct rd t = rd_init(rd_large(&r));
        (void)rd_short(&t);
        const struct bytes corr = rd_short(&t);
        (void)rd_short(&t);
        const struct bytes tag = rd_until(&t, ' ');
        const struct bytes more = tag.n == 3 && tag.p[0] == 'E' ? rd_tail(&t) : (struct bytes){0};
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s%.*s%s%.*s", i > 0 ? "," : "",
                               (int)tag.n, (const char *)tag.p, (int)more.n, (const char *)more.p,
                               corr.n != 0 ? " " : "", (int)corr.n, (const char *)corr.p);
    }
    assert_int_equal(rd_end(&r), OK);
    return text;
}

/* ---- tests ---- */

static void answers_share_a_block_in_order(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", 0);
    add_ok(f, "b", 0);
    add_ok(f, "c", 0);
    assert_string_equal(packed(f), "OK a,OK b,OK c");
    assert_string_equal(packed(f), "empty");
}

static void an_answer_fits_beside_a_message(void **state) {
    struct fixture *f = *state;
    add_msg(f, "m", OUT_IN_ORDER);
    add_ok(f, "a", 0);
    add_msg(f, "n", OUT_IN_ORDER);
    assert_string_equal(packed(f), "MSG m,OK a");
    assert_string_equal(packed(f), "MSG n");
}

static void messages_of_a_batch_follow_its_answers(void **state) {
    struct fixture *f = *state;
    for (unsigned before = 0; before < 3; before++) { /* whatever was written before */
        for (unsigned i = 0; i < before; i++) {
            add_ok(f, "x", 0);
            assert_string_equal(packed(f), "OK x");
        }
        for (unsigned i = 0; i < 5; i++) add_ok(f, "s", 0);
        for (unsigned i = 0; i < 3; i++) add_msg(f, "", OUT_AFTER);
        assert_string_equal(packed(f), "OK s,OK s,OK s,OK s,OK s");
        assert_string_equal(packed(f), "MSG");
        assert_string_equal(packed(f), "MSG");
        assert_string_equal(packed(f), "MSG");
        assert_string_equal(packed(f), "empty");
    }
}

static void the_lanes_take_turns(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) add_msg(f, "", OUT_AFTER);
    add_ok(f, "a", 0);
    assert_string_equal(packed(f), "OK a");
    add_ok(f, "b", 0);
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "OK b");
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "MSG");
}

static void what_is_not_durable_is_held_with_all_behind_it(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", 0);
    add_ok(f, "b", NOT_DURABLE);
    add_ok(f, "c", 0);
    assert_string_equal(packed(f), "OK a");
    assert_string_equal(packed(f), "held");
}

static void a_message_that_is_not_wanted_any_more_is_dropped(void **state) {
    struct fixture *f = *state;
    add_msg(f, "", OUT_IN_ORDER);
    add_msg(f, "answer", OUT_IN_ORDER);
    f->wanted = false;
    assert_string_equal(packed(f), "MSG answer");
    assert_int_equal(f->n_dropped, 0);
}

static void an_absent_body_is_fetched_once_and_waited_for(void **state) {
    struct fixture *f = *state;
    struct message *m = new_message(true);
    assert_int_equal(outbox_add_msg(&f->box, (struct bytes){0}, f->queue, m, 0, OUT_IN_ORDER), OK);
    f->fetching = true;
    assert_string_equal(packed(f), "held");
    assert_string_equal(packed(f), "held");
    assert_int_equal(f->n_fetched, 1);
    bring_body(m);
    assert_string_equal(packed(f), "MSG");
    message_unref(m);
}

static void few_answers_wait_for_the_bodies_of_their_messages(void **state) {
    struct fixture *f = *state;
    struct message *m = new_message(true), *n = new_message(true);
    f->fetching = true;
    add_ok(f, "before", 0);
    outbox_begin(&f->box);
    add_ok(f, "a", 0);
    add_ok(f, "b", 0);
    assert_int_equal(outbox_add_msg(&f->box, (struct bytes){0}, f->queue, m, 0, OUT_IN_ORDER), OK);
    assert_int_equal(outbox_add_msg(&f->box, (struct bytes){0}, f->queue, n, 0, OUT_IN_ORDER), OK);
    outbox_end(&f->box, true);
    add_ok(f, "behind", 0);
    assert_string_equal(packed(f), "OK before");
    assert_string_equal(packed(f), "held");
    assert_int_equal(f->n_fetched, 2); /* both are on their way */
    bring_body(n);
    assert_string_equal(packed(f), "held");
    bring_body(m);
    assert_string_equal(packed(f), "OK a,OK b,MSG");
    assert_string_equal(packed(f), "MSG,OK behind");
    message_unref(m);
    message_unref(n);
}

static void many_answers_do_not_wait(void **state) {
    struct fixture *f = *state;
    struct message *m = new_message(true);
    f->fetching = true;
    outbox_begin(&f->box);
    add_ok(f, "a", 0);
    assert_int_equal(outbox_add_msg(&f->box, (struct bytes){0}, f->queue, m, 0, OUT_AFTER), OK);
    outbox_end(&f->box, false);
    assert_string_equal(packed(f), "OK a");
    assert_string_equal(packed(f), "held");
    message_unref(m);
}

static void what_a_client_sends_to_itself_comes_ahead_and_alone(void **state) {
    struct fixture *f = *state;
    add_ok(f, "before", 0);
    outbox_begin(&f->box);
    add_ok(f, "a", 0);
    add_msg(f, "", OUT_AHEAD);
    add_ok(f, "b", 0);
    add_msg(f, "", OUT_AHEAD);
    outbox_end(&f->box, true);
    assert_string_equal(packed(f), "OK before");
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "OK a,OK b");
    outbox_begin(&f->box);
    add_msg(f, "", OUT_AHEAD);
    outbox_end(&f->box, true);
    add_ok(f, "c", 0);
    f->wanted = false;
    assert_string_equal(packed(f), "OK c");
}

static void a_body_that_cannot_be_had_is_told(void **state) {
    struct fixture *f = *state;
    struct message *m = new_message(true);
    assert_int_equal(outbox_add_msg(&f->box, (struct bytes){0}, f->queue, m, 0, OUT_IN_ORDER), OK);
    assert_int_equal(outbox_add_msg(&f->box, bytes_str("get"), f->queue, m, 0, OUT_IN_ORDER), OK);
    message_give_up_body(m, BODY_UNREADABLE);
    assert_string_equal(packed(f), "ERR STORE storage get");
    assert_int_equal(f->n_dropped, 2);
    message_unref(m);
}

static void an_answer_whose_message_was_deleted_is_ok(void **state) {
    struct fixture *f = *state;
    struct message *m = new_message(true);
    assert_int_equal(outbox_add_msg(&f->box, bytes_str("ack"), f->queue, m, 0, OUT_IN_ORDER), OK);
    message_give_up_body(m, BODY_GONE);
    assert_string_equal(packed(f), "OK ack");
    assert_int_equal(f->n_dropped, 1);
    message_unref(m);
}

static void what_cannot_fit_becomes_an_error(void **state) {
    struct fixture *f = *state;
    char corr_id[201] = {0};
    memset(corr_id, 'c', sizeof corr_id - 1);
    add_msg(f, corr_id, OUT_IN_ORDER);
    char expected[256];
    (void)snprintf(expected, sizeof expected, "ERR LARGE_MSG %s", corr_id);
    assert_string_equal(packed(f), expected);
}

static void pending_counts_answers_and_what_the_store_holds_for_them(void **state) {
    struct fixture *f = *state;
    add_text(f, &(struct out_text){.transmission = bytes_str("12345")});
    assert_int_equal(f->box.pending_bytes, SESSION_PENDING_BASE + 5);
    add_text(f, &(struct out_text){.transmission = bytes_str("12345"),
                                   .lsn = NOT_DURABLE,
                                   .held_bytes = 16000});
    assert_int_equal(f->box.pending_bytes, 2 * (SESSION_PENDING_BASE + 5) + 16000);
    add_msg(f, "m", OUT_IN_ORDER);
    assert_true(f->box.pending_bytes > 32000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(answers_share_a_block_in_order),
        TEST(an_answer_fits_beside_a_message),
        TEST(messages_of_a_batch_follow_its_answers),
        TEST(the_lanes_take_turns),
        TEST(what_is_not_durable_is_held_with_all_behind_it),
        TEST(a_message_that_is_not_wanted_any_more_is_dropped),
        TEST(an_absent_body_is_fetched_once_and_waited_for),
        TEST(few_answers_wait_for_the_bodies_of_their_messages),
        TEST(many_answers_do_not_wait),
        TEST(what_a_client_sends_to_itself_comes_ahead_and_alone),
        TEST(a_body_that_cannot_be_had_is_told),
        TEST(an_answer_whose_message_was_deleted_is_ok),
        TEST(what_cannot_fit_becomes_an_error),
        TEST(pending_counts_answers_and_what_the_store_holds_for_them),
    };
    if (crypto_init() != OK) return 1;
    return cmocka_run_group_tests_name("outbox", TESTS, NULL, NULL);
}
