/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Answers that wait to be written: order, durability, messages that are not there yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rd.h"
#include "crypto/crypto.h"
#include "relay/delivery/outbox.h"
#include "store/nothing.h"
#include "store/store_priv.h"

enum { NOT_DURABLE = 1 }; /* but lsn 0 always is */

struct fixture {
    struct store *store;
    struct store_ops ops; /* the store's, but for the fates */
    struct queue *queue;
    struct outbox box;
    struct wire_params params;
    enum pulled pulled; /* what the store says to whoever asks */
    unsigned n_pulled, n_sent, n_unsent[UNSENT_LOST + 1];
    unsigned n_unanswered, n_settled, n_lost;
    enum err unanswered_why;
};

static enum err fate_of_changes = E_PENDING;

static enum err fate(const struct store *s, lsn_t lsn) {
    (void)s;
    (void)lsn;
    return fate_of_changes;
}

/* ---- the session's side ---- */

static enum pulled pull(void *ctx, struct pull *p, bool is_answer) {
    struct fixture *f = ctx;
    (void)is_answer;
    f->n_pulled++;
    if (f->pulled == PULLED_MESSAGE && p->message == NULL) {
        const struct id id = {{9}};
        assert_int_equal(message_new(&id, 1, false, bytes_str("hello"), &p->message), OK);
    }
    return p->message != NULL ? PULLED_MESSAGE : f->pulled;
}

static void sent(void *ctx, const struct pull *p) {
    struct fixture *f = ctx;
    assert_non_null(p->message);
    f->n_sent++;
}

static void unsent(void *ctx, const struct pull *p, bool is_answer, enum unsent why) {
    struct fixture *f = ctx;
    (void)p;
    (void)is_answer;
    f->n_unsent[why]++;
}

static void unanswered(void *ctx, enum err why) {
    struct fixture *f = ctx;
    f->unanswered_why = why;
    f->n_unanswered++;
}

static void settled(void *ctx, const struct follow_up *f, bool is_lost) {
    struct fixture *fix = ctx;
    assert_int_equal(f->n_counts, 1);
    assert_int_equal(f->counts[0], 7);
    assert_ptr_equal(f->subscribed, fix->queue);
    fix->n_settled++;
    if (is_lost) fix->n_lost++;
}

static struct outbox_env env_of(struct fixture *f) {
    return (struct outbox_env){
        .params = &f->params,
        .store = f->store,
        .pull = pull,
        .sent = sent,
        .unsent = unsent,
        .settled = settled,
        .unanswered = unanswered,
        .ctx = f,
    };
}

/* ---- set-up ---- */

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const struct store_opts o = {.env = &ENV_SYSTEM, .quota = 10};
    assert_int_equal(nothing_open(&o, &f->store), OK);
    const struct pubkey key = {.type = KEY_ED25519};
    struct queue_rec rec = {.rcv_id = {{1}}, .snd_id = {{2}}};
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(f->store, &rec, &f->queue, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    f->ops = *f->store->ops;
    f->ops.fate = fate;
    f->store->ops = &f->ops;
    fate_of_changes = E_PENDING;
    outbox_init(&f->box);
    f->params.version = 18;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    const struct outbox_env env = env_of(f);
    outbox_done(&f->box, &env);
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

static void add_ok_or(struct fixture *f, const char *corr_id, lsn_t lsn, enum if_lost rule) {
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof buf);
    const struct reply_to to = {.corr_id = bytes_str(corr_id)};
    reply_ok(&w, &f->params, &to);
    add_text(f, &(struct out_text){.transmission = wr_bytes(&w), .lsn = lsn, .if_lost = rule});
}

static void add_ok(struct fixture *f, const char *corr_id, lsn_t lsn) {
    add_ok_or(f, corr_id, lsn, IF_LOST_ERR);
}

static void add_msg(struct fixture *f, const char *corr_id) {
    assert_int_equal(outbox_add_msg(&f->box, bytes_str(corr_id), f->queue, 0), OK);
}

static void add_ahead(struct fixture *f) {
    assert_int_equal(outbox_add_ahead(&f->box, f->queue), OK);
}

/* Packs one block and says what is in it: "OK a,MSG", "empty" or "held". */
static const char *packed(struct fixture *f) {
    static char text[1024];
    uint8_t block[SMP_BLOCK_LEN];
    const struct outbox_env env = env_of(f);
    struct packing p = {.w = block_begin(block, true)};
    outbox_pack(&f->box, &env, &p);
    if (p.n == 0) return outbox_is_empty(&f->box) ? "empty" : "held";
    struct rd r = rd_init(wr_bytes(&p.w));
    size_t at = 0;
    for (unsigned i = 0; i < p.n; i++) {
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
    add_msg(f, "m");
    add_ok(f, "a", 0);
    add_msg(f, "n");
    assert_string_equal(packed(f), "MSG m,OK a");
    assert_int_equal(f->n_pulled, 1); /* nobody asks for what there is no room for */
    assert_string_equal(packed(f), "MSG n");
    assert_int_equal(f->n_sent, 2);
}

static void what_is_not_durable_is_held_with_all_behind_it(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", 0);
    add_ok(f, "b", NOT_DURABLE);
    add_ok(f, "c", 0);
    assert_string_equal(packed(f), "OK a");
    assert_string_equal(packed(f), "held");
}

static void what_is_lost_is_an_error_or_unanswered(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", NOT_DURABLE);
    add_ok_or(f, "b", NOT_DURABLE, IF_LOST_UNANSWERED);
    add_ok(f, "c", 0);
    assert_string_equal(packed(f), "held");
    fate_of_changes = E_STORE;
    assert_string_equal(packed(f), "ERR STORE storage a,OK c");
    assert_int_equal(f->n_unanswered, 1);
}

/* Neither the answers nor errors in their place: the session is closed. */
static void what_nobody_should_wait_for_is_left_unanswered(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", NOT_DURABLE);
    add_msg(f, "b");
    add_ok(f, "c", 0);
    fate_of_changes = E_CLOSED;
    f->pulled = PULLED_CLOSED;
    assert_string_equal(packed(f), "OK c");
    assert_int_equal(f->n_unanswered, 2);
    assert_int_equal(f->unanswered_why, E_CLOSED);
    assert_string_equal(packed(f), "empty");
}

static void what_the_storage_refused_is_answered_with_its_error(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", NOT_DURABLE);
    add_ok_or(f, "b", NOT_DURABLE, IF_LOST_UNANSWERED);
    fate_of_changes = E_AUTH;
    assert_string_equal(packed(f), "ERR AUTH a,ERR AUTH b");
    assert_int_equal(f->n_unanswered, 0);
}

static void what_a_change_that_is_not_durable_left_is_not_asked_for(void **state) {
    struct fixture *f = *state;
    assert_int_equal(outbox_add_msg(&f->box, bytes_str("ack"), f->queue, NOT_DURABLE), OK);
    add_ok(f, "a", 0);
    assert_string_equal(packed(f), "held");
    assert_int_equal(f->n_sent, 0);
}

static void a_message_is_waited_for_by_what_is_behind_it(void **state) {
    struct fixture *f = *state;
    add_msg(f, "m");
    add_ok(f, "a", 0);
    f->pulled = PULLED_LATER;
    assert_string_equal(packed(f), "held");
    assert_string_equal(packed(f), "held");
    f->pulled = PULLED_MESSAGE;
    assert_string_equal(packed(f), "MSG m,OK a");
    assert_int_equal(f->n_sent, 1);
}

static void those_behind_one_that_is_read_are_read_too(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 20; i++) add_msg(f, "m");
    f->pulled = PULLED_LATER;
    assert_string_equal(packed(f), "held");
    assert_int_equal(f->n_pulled, 1 + 8);
}

static void few_answers_wait_for_their_messages(void **state) {
    struct fixture *f = *state;
    f->pulled = PULLED_LATER;
    add_ok(f, "before", 0);
    outbox_begin(&f->box);
    add_ok(f, "a", 0);
    add_ok(f, "b", 0);
    add_msg(f, "");
    add_msg(f, "");
    outbox_end(&f->box, true);
    add_ok(f, "behind", 0);
    assert_string_equal(packed(f), "OK before");
    assert_string_equal(packed(f), "held");
    assert_true(f->n_pulled >= 2); /* both are on their way */
    f->pulled = PULLED_MESSAGE;
    assert_string_equal(packed(f), "OK a,OK b,MSG");
    assert_string_equal(packed(f), "MSG,OK behind");
}

static void answers_go_without_messages_that_are_not_there(void **state) {
    struct fixture *f = *state;
    static const enum pulled WHYS[] = {PULLED_NOTHING, PULLED_FAILED};
    for (size_t i = 0; i < 2; i++) {
        f->pulled = WHYS[i];
        outbox_begin(&f->box);
        add_ok(f, "a", 0);
        add_msg(f, "");
        outbox_end(&f->box, true);
        assert_string_equal(packed(f), "OK a");
        assert_int_equal(f->n_unsent[UNSENT_NOTHING], 1);
        assert_int_equal(f->n_unsent[UNSENT_FAILED], i);
    }
    assert_string_equal(packed(f), "empty");
}

static void what_a_client_sends_to_itself_comes_ahead_and_alone(void **state) {
    struct fixture *f = *state;
    add_ok(f, "before", 0);
    outbox_begin(&f->box);
    add_ok(f, "a", 0);
    add_ahead(f);
    add_ok(f, "b", 0);
    add_ahead(f);
    outbox_end(&f->box, true);
    assert_string_equal(packed(f), "OK before");
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "MSG");
    assert_string_equal(packed(f), "OK a,OK b");
    outbox_begin(&f->box);
    add_ahead(f);
    outbox_end(&f->box, true);
    add_ok(f, "c", 0);
    f->pulled = PULLED_NOTHING;
    assert_string_equal(packed(f), "OK c");
}

static void an_answer_whose_message_cannot_be_read_is_an_error(void **state) {
    struct fixture *f = *state;
    add_msg(f, "get");
    f->pulled = PULLED_FAILED;
    assert_string_equal(packed(f), "ERR STORE storage get");
    assert_int_equal(f->n_unsent[UNSENT_FAILED], 1);
}

static void an_answer_whose_message_was_deleted_is_ok(void **state) {
    struct fixture *f = *state;
    add_msg(f, "ack");
    f->pulled = PULLED_NOTHING;
    assert_string_equal(packed(f), "OK ack");
    assert_int_equal(f->n_unsent[UNSENT_NOTHING], 1);
}

static void places_that_were_left_unpacked_are_freed_with_their_messages(void **state) {
    struct fixture *f = *state;
    outbox_begin(&f->box);
    add_msg(f, "a");
    assert_int_equal(outbox_add_msg(&f->box, bytes_str("ack"), f->queue, NOT_DURABLE), OK);
    add_msg(f, "b");
    outbox_end(&f->box, true);
    assert_string_equal(packed(f), "MSG a");
    assert_string_equal(packed(f), "held");
}

static void what_cannot_fit_becomes_an_error(void **state) {
    struct fixture *f = *state;
    char corr_id[201] = {0};
    memset(corr_id, 'c', sizeof corr_id - 1);
    add_msg(f, corr_id);
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
    add_msg(f, "m");
    assert_true(f->box.pending_bytes > 32000);
}

static void add_followed(struct fixture *f, const char *corr_id, lsn_t lsn) {
    uint8_t buf[256];
    struct wr w = wr_init(buf, sizeof buf);
    const struct reply_to to = {.corr_id = bytes_str(corr_id)};
    reply_ok(&w, &f->params, &to);
    add_text(f, &(struct out_text){
                    .transmission = wr_bytes(&w),
                    .lsn = lsn,
                    .follow_up = {.subscribed = queue_ref(f->queue), .n_counts = 1, .counts = {7}},
                });
}

static void what_follows_is_told_once(void **state) {
    struct fixture *f = *state;
    add_ok(f, "a", 0);
    add_followed(f, "b", 0);
    add_followed(f, "c", NOT_DURABLE);
    assert_string_equal(packed(f), "OK a,OK b");
    assert_int_equal(f->n_settled, 1);
    fate_of_changes = E_STORE;
    assert_string_equal(packed(f), "ERR STORE storage c");
    assert_int_equal(f->n_settled, 2);
    assert_int_equal(f->n_lost, 1);
}

static void what_follows_is_told_at_the_end(void **state) {
    struct fixture *f = *state;
    const struct outbox_env env = env_of(f);
    add_followed(f, "a", NOT_DURABLE);
    outbox_done(&f->box, &env);
    assert_int_equal(f->n_settled, 1);
    assert_int_equal(f->n_lost, 0);
    fate_of_changes = E_STORE;
    add_followed(f, "b", NOT_DURABLE);
    outbox_done(&f->box, &env);
    assert_int_equal(f->n_lost, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(answers_share_a_block_in_order),
        TEST(an_answer_fits_beside_a_message),
        TEST(what_is_not_durable_is_held_with_all_behind_it),
        TEST(what_is_lost_is_an_error_or_unanswered),
        TEST(what_nobody_should_wait_for_is_left_unanswered),
        TEST(what_the_storage_refused_is_answered_with_its_error),
        TEST(what_a_change_that_is_not_durable_left_is_not_asked_for),
        TEST(a_message_is_waited_for_by_what_is_behind_it),
        TEST(those_behind_one_that_is_read_are_read_too),
        TEST(few_answers_wait_for_their_messages),
        TEST(answers_go_without_messages_that_are_not_there),
        TEST(what_a_client_sends_to_itself_comes_ahead_and_alone),
        TEST(an_answer_whose_message_cannot_be_read_is_an_error),
        TEST(an_answer_whose_message_was_deleted_is_ok),
        TEST(places_that_were_left_unpacked_are_freed_with_their_messages),
        TEST(what_cannot_fit_becomes_an_error),
        TEST(pending_counts_answers_and_what_the_store_holds_for_them),
        TEST(what_follows_is_told_once),
        TEST(what_follows_is_told_at_the_end),
    };
    if (crypto_init() != OK) return 1;
    return cmocka_run_group_tests_name("outbox", TESTS, NULL, NULL);
}
