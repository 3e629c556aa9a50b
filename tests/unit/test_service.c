/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* One session serves all queues of its service: what it subscribes to, what comes to it, what had
 * waited, and what it is told when another one serves. */
#include "relay_rig.h"

enum { VERSION = V_RCV_SERVICE };

static struct ed25519_key service_key;
static struct session *session;

/* A session of the one service of this role. Its certificates are looked at by service_open(),
 * which needs TLS: tests/conformance/test_services.py. */
static struct session *service_session(enum service_role role) {
    struct session *s = rig_session(VERSION);
    struct session_service *svc = calloc(1, sizeof *svc);
    assert_non_null(svc);
    struct store_service_open o = {.rec = {.id = {{200}},
                                           .role = role,
                                           .cert_hash = {1},
                                           .cert_chain = bytes_str("\1\0\1x"),
                                           .created_at_s = RIG_EPOCH_S},
                                   .may_create = true};
    svc->role = role;
    svc->key = pubkey_from_ed25519(&service_key);
    assert_true(store_service_open(rig.store, &o, NULL));
    assert_int_equal(o.ret_err, OK);
    svc->service = o.ret_service;
    svc->lsn = o.ret_lsn;
    s->service = svc;
    return s;
}

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    ed25519_key_new(&loop_rig.env, &service_key);
    session = service_session(SERVICE_MESSAGING);
    return 0;
}

/* SUBS or NSUBS, which the service alone signs. */
static const char *subscribe_all(struct session *s, const char *tag,
                                 const struct ed25519_key *key) {
    uint8_t buf[512];
    const uint8_t hash[IDS_HASH_LEN] = {0};
    const struct id corr_id = {"all"};
    struct rig_block b;
    struct wr w = wr_init(buf, sizeof buf);
    wr_u8(&w, ED25519_SIG_LEN);
    uint8_t *sig = wr_skip(&w, ED25519_SIG_LEN);
    wr_maybe(&w, false);
    const size_t at = w.at;
    wr_short(&w, id_bytes(&corr_id));
    wr_short(&w, id_bytes(service_id(s->service->service)));
    wr_str(&w, tag);
    wr_u8(&w, ' ');
    wr_i64(&w, 0);
    wr_short(&w, bytes_of(hash, sizeof hash));
    assert_int_equal(wr_err(&w), OK);
    const struct bytes text = bytes_of(buf + at, w.at - at);
    assert_int_equal(ed25519_sign(key, wire_session(&s->params), text, sig), OK);
    rig_begin(&b, s);
    rig_transmission(&b, wr_bytes(&w));
    rig_write(&b);
    return rig_read(s);
}

/* A queue that is the service's, though nobody serves it now. */
static struct queue *served_queue(uint8_t id) {
    struct sub_moved moved;
    struct queue *q = rig_queue(id);
    assert_int_equal(sub_subscribe(session, q, &moved), OK);
    assert_true(moved.associated);
    return q;
}

static void send_to(struct queue *q) {
    struct rig_block b;
    struct session *sender = rig_session(VERSION);
    rig_begin(&b, sender);
    rig_send(&b, "a", queue_snd_id(q), "hello");
    rig_write(&b);
    assert_string_equal(rig_read(sender), "OK a");
    rig_close(sender);
}

static const char *ack(struct session *s, const struct queue *q) {
    struct rig_block b;
    rig_begin(&b, s);
    rig_ack(&b, "a", queue_rcv_id(q), &sub_find(s, queue_rcv_id(q))->delivered);
    rig_write(&b);
    return rig_read(s);
}

/* ---- what comes ---- */

static void a_record_of_a_queue_lasts_as_long_as_a_message_waits(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    assert_null(sub_find(session, queue_rcv_id(q)));
    assert_int_equal(session->service->subscribed.n, 1);
    send_to(q);
    assert_string_equal(rig_read(session), "MSG #1");
    assert_non_null(sub_find(session, queue_rcv_id(q)));
    assert_string_equal(ack(session, q), "OK a");
    assert_null(sub_find(session, queue_rcv_id(q)));
    assert_int_equal(session->service->subscribed.n, 1); /* it is the service's still */
    queue_unref(q);
}

/* The place beside the answer to SUB is older and stays empty: that is no end of the record. */
static void an_ack_right_behind_what_is_due_keeps_the_record(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    struct queue_view v;
    struct rig_block b;
    rig_put_message(q, "one");
    rig_put_message(q, "two");
    assert_true(sub_due(session, q, DUE_AMONG));
    assert_int_equal(store_queue_view(rig.store, q, WANT_MESSAGES, &v), OK);
    rig_begin(&b, session);
    rig_ack(&b, "a", queue_rcv_id(q), &v.head.id);
    rig_write(&b);
    queue_view_done(&v);
    assert_string_equal(rig_read(session), "MSG a");
    assert_non_null(sub_find(session, queue_rcv_id(q)));
    assert_string_equal(ack(session, q), "OK a");
    assert_null(sub_find(session, queue_rcv_id(q)));
    queue_unref(q);
}

static void an_empty_queue_leaves_no_record(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    news_about(rig.rl, NEWS_MESSAGE, session->self, q);
    assert_non_null(sub_find(session, queue_rcv_id(q)));
    assert_string_equal(rig_read(session), "nothing");
    assert_null(sub_find(session, queue_rcv_id(q)));
    queue_unref(q);
}

/* ---- what had waited ---- */

static void what_had_waited_comes_behind_the_answer_and_before_alls(void **state) {
    (void)state;
    struct queue *q[] = {served_queue(1), served_queue(2), served_queue(3)};
    for (size_t i = 0; i < 2; i++) rig_put_message(q[i], "hello");
    rig_close(session);
    session = service_session(SERVICE_MESSAGING);
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    assert_int_equal(session->service->subscribed.n, 3);
    assert_string_equal(rig_read(session), "nothing"); /* looked for in the next turn */
    rig_pass_ms(0);
    unsigned n = 0;
    while (strncmp(rig_read(session), "MSG", 3) == 0) n++;
    assert_int_equal(n, 2);
    for (size_t i = 0; i < 3; i++) queue_unref(q[i]);
}

static void alls_follows_all_that_had_waited(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    rig_put_message(q, "hello");
    rig_close(session);
    session = service_session(SERVICE_MESSAGING);
    rig.is_later = true;
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    while (session->service->is_scanning) {
        rig_pass_ms(0);
        assert_string_equal(rig_read(session), "nothing");
    }
    rig_answer(0);
    assert_string_equal(rig_read(session), "MSG #1");
    assert_string_equal(rig_read(session), "ALLS");
    assert_string_equal(rig_read(session), "nothing");
    queue_unref(q);
}

static void a_session_may_end_while_it_looks_for_them(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    rig_put_message(q, "hello");
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "nothing");
    rig_close(session);
    rig_pass_ms(1000);
    queue_unref(q);
}

/* Sessions of a service with a message that waits; the store has been asked for it. */
static struct queue *scan_later(void) {
    struct queue *q = served_queue(1);
    rig_put_message(q, "hello");
    rig_close(session);
    session = service_session(SERVICE_MESSAGING);
    rig.is_scan_later = true;
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "nothing");
    rig_pass_ms(0);
    assert_int_equal(rig.n_scans, 1);
    return q;
}

static void what_had_waited_may_be_found_later(void **state) {
    (void)state;
    struct queue *q = scan_later();
    assert_string_equal(rig_read(session), "nothing");
    rig_answer_scan(0);
    assert_string_equal(rig_read(session), "MSG #1");
    assert_string_equal(rig_read(session), "ALLS");
    assert_string_equal(rig_read(session), "nothing");
    assert_int_equal(rig.n_scans, 0);
    queue_unref(q);
}

static void nobody_is_told_of_it_who_has_gone(void **state) {
    (void)state;
    struct queue *q = scan_later();
    rig_close(session);
    rig_answer_scan(0);
    queue_unref(q);
}

static void nor_who_does_not_serve_any_more(void **state) {
    (void)state;
    struct queue *q = scan_later();
    struct session *other = service_session(SERVICE_MESSAGING);
    assert_string_equal(subscribe_all(other, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "ENDS #200");
    rig_answer_scan(0);
    assert_string_equal(rig_read(session), "nothing");
    queue_unref(q);
}

/* Its first answer is of a time before. */
static void who_serves_again_begins_anew(void **state) {
    (void)state;
    struct queue *q = scan_later();
    struct session *other = service_session(SERVICE_MESSAGING);
    assert_string_equal(subscribe_all(other, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "ENDS #200");
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "nothing");
    rig_pass_ms(0);
    assert_int_equal(rig.n_scans, 1); /* one at a time */
    rig_answer_scan(0);
    assert_string_equal(rig_read(session), "MSG #1");
    assert_string_equal(rig_read(session), "nothing");
    rig_pass_ms(0);
    assert_int_equal(rig.n_scans, 1);
    rig_answer_scan(0);
    assert_string_equal(rig_read(session), "ALLS");
    queue_unref(q);
}

/* ---- another one serves ---- */

static void who_served_before_is_told_the_sum(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    assert_string_equal(subscribe_all(session, "SUBS", &service_key), "SOKS all");
    struct session *other = service_session(SERVICE_MESSAGING);
    assert_string_equal(subscribe_all(other, "SUBS", &service_key), "SOKS all");
    assert_string_equal(rig_read(session), "ENDS #200");
    assert_int_equal(session->service->subscribed.n, 0);
    assert_false(session->service->is_scanning);
    rig_pass_ms(0);
    while (strcmp(rig_read(other), "nothing") != 0) {
    }
    send_to(q);
    assert_string_equal(rig_read(session), "nothing");
    assert_string_equal(rig_read(other), "MSG #1");
    queue_unref(q);
}

static void who_serves_again_is_told_nothing(void **state) {
    (void)state;
    struct queue *q = served_queue(1);
    const struct news n = {.kind = NEWS_SERVED,
                           .to = session->self,
                           .service = session->service->service};
    news_send(rig.rl, &n); /* of a time before */
    assert_string_equal(rig_read(session), "nothing");
    assert_int_equal(session->service->subscribed.n, 1);
    queue_unref(q);
}

static void a_queue_that_subscribes_itself_leaves_the_service(void **state) {
    (void)state;
    struct sub_moved moved;
    struct queue *q = served_queue(1);
    struct session *own = rig_session(VERSION);
    assert_int_equal(sub_subscribe(own, q, &moved), OK);
    assert_true(moved.was_served);
    assert_string_equal(rig_read(session), "END #1");
    assert_int_equal(session->service->subscribed.n, 0);
    queue_unref(q);
}

/* ---- who may ---- */

static void the_service_signs_for_all_its_queues(void **state) {
    (void)state;
    struct ed25519_key other;
    ed25519_key_new(&loop_rig.env, &other);
    assert_string_equal(subscribe_all(session, "SUBS", &other), "ERR SERVICE all");
    assert_string_equal(subscribe_all(session, "NSUBS", &service_key), "ERR CMD PROHIBITED all");
}

/* ---- acceptance ---- */

static void a_service_is_told_its_id_when_its_record_is_durable(void **state) {
    (void)state;
    uint8_t bytes[SMP_BLOCK_LEN];
    session->state = SESSION_ACCEPTED;
    session->service->lsn = 7;
    assert_string_equal(rig_read(session), "nothing");
    assert_true(SESSION_OPS.awaits(session));
    rig_set_durable(6);
    assert_false(session->conn->wants_write);
    rig_set_durable(7);
    assert_true(session->conn->wants_write);
    assert_true(SESSION_OPS.fill(session, bytes));
    assert_int_equal(session->state, SESSION_RUNNING);
}

static void a_service_whose_record_is_lost_is_not_told(void **state) {
    (void)state;
    session->state = SESSION_ACCEPTED;
    session->service->lsn = 7;
    assert_string_equal(rig_read(session), "nothing");
    rig_set_lost(7);
    assert_string_equal(rig_read(session), "closed");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(a_record_of_a_queue_lasts_as_long_as_a_message_waits),
        TEST(an_ack_right_behind_what_is_due_keeps_the_record),
        TEST(an_empty_queue_leaves_no_record),
        TEST(what_had_waited_comes_behind_the_answer_and_before_alls),
        TEST(alls_follows_all_that_had_waited),
        TEST(a_session_may_end_while_it_looks_for_them),
        TEST(what_had_waited_may_be_found_later),
        TEST(nobody_is_told_of_it_who_has_gone),
        TEST(nor_who_does_not_serve_any_more),
        TEST(who_serves_again_begins_anew),
        TEST(who_served_before_is_told_the_sum),
        TEST(who_serves_again_is_told_nothing),
        TEST(a_queue_that_subscribes_itself_leaves_the_service),
        TEST(the_service_signs_for_all_its_queues),
        TEST(a_service_is_told_its_id_when_its_record_is_durable),
        TEST(a_service_whose_record_is_lost_is_not_told),
    };
    return cmocka_run_group_tests_name("service", TESTS, NULL, NULL);
}
