/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Commands of a block: who may give them, in which order they are answered, what their answers
 * wait for, and how those of forwarded ones go back. */
#include "relay_rig.h"

#include "base/rd.h"
#include "wire/forward.h"
#include "verifications.h"

enum { VERSION = 18 };

static struct session *session; /* of the present test */
static struct queue *queue;
static struct id rcv_id, snd_id;
static struct rig_block block;

static int setup(void **state) {
    if (rig_setup(state) != 0) return -1;
    session = rig_session(VERSION);
    queue = rig_queue(1);
    rcv_id = *queue_rcv_id(queue);
    snd_id = *queue_snd_id(queue);
    rig_begin(&block, session);
    return 0;
}

static int teardown(void **state) {
    queue_unref(queue);
    return rig_teardown(state);
}

static void plain(const char *corr_id, enum command_tag tag, const struct id *entity) {
    rig_plain(&block, corr_id, tag, entity, tag == CMD_PING ? NULL : &rig.key);
}

static void write_block(void) {
    rig_write(&block);
    rig_begin(&block, session);
}

static void assert_read(const char *text) {
    assert_string_equal(rig_read(session), text);
}

/* ---- who may ---- */

static void a_stranger_cannot_tell_whether_a_queue_exists(void **state) {
    (void)state;
    const struct id nobodys = {{7}};
    struct ed25519_key other;
    ed25519_key_new(&loop_rig.env, &other);
    rig_plain(&block, "other", CMD_SUB, &rcv_id, &other);
    rig_plain(&block, "sender", CMD_SUB, &snd_id, &rig.key);
    rig_plain(&block, "nobody", CMD_SUB, &nobodys, &rig.key);
    (void)verifications_taken();
    write_block();
    const struct verifications v = verifications_taken(); /* one each, so all take the same time */
    assert_int_equal(v.full[KEY_ED25519], 3);
    assert_int_equal(v.checks, 3);
    assert_read("ERR AUTH other,ERR AUTH sender,ERR AUTH nobody");
    assert_int_equal(session->subs.n_entries, 0);
    assert_int_equal(session->refused, 3); /* and slowed when there are many: slowed.c */
}

static void what_is_not_authorized_at_all_is_no_command(void **state) {
    (void)state;
    rig_plain(&block, "none", CMD_SUB, &rcv_id, NULL);
    rig_plain(&block, "queue", CMD_SUB, NULL, &rig.key);
    rig_plain(&block, "ping", CMD_PING, &rcv_id, NULL);
    write_block();
    assert_read("ERR CMD NO_AUTH none,ERR CMD NO_AUTH queue,ERR CMD HAS_AUTH ping");
    assert_int_equal(session->refused, 0);
}

static void no_service_signs_for_a_session_without_one(void **state) {
    (void)state;
    plain("subs", CMD_SUBS, &rcv_id);
    write_block();
    assert_read("ERR SERVICE subs");
}

/* ---- answers ---- */

static void each_kind_of_answer_has_its_place(void **state) {
    (void)state;
    plain("ping", CMD_PING, NULL);
    plain("none", CMD_GET, &rcv_id);
    rig_send(&block, "send", &snd_id, "hello");
    plain("get", CMD_GET, &rcv_id);
    plain("sub", CMD_SUB, &rcv_id); /* prohibited after GET */
    write_block();
    assert_read("PONG ping,OK none,OK send,MSG get");
    assert_read("ERR CMD PROHIBITED sub");
    assert_read("nothing");
}

static void a_block_that_is_none_is_answered(void **state) {
    (void)state;
    uint8_t bytes[SMP_BLOCK_LEN] = {0xff, 0xff};
    assert_int_equal(SESSION_OPS.on_block(session, bytes), OK);
    assert_read("ERR BLOCK");
}

static void an_ack_brings_the_next_message(void **state) {
    (void)state;
    rig_put_message(queue, "one");
    rig_put_message(queue, "two");
    plain("sub", CMD_SUB, &rcv_id);
    write_block();
    assert_read("SOK sub,MSG #1");
    const struct id wrong = {{5}};
    rig_ack(&block, "wrong", &rcv_id, &wrong);
    rig_ack(&block, "right", &rcv_id, &sub_find(session, &rcv_id)->delivered);
    write_block();
    assert_read("ERR NO_MSG wrong,MSG right");
    rig_ack(&block, "last", &rcv_id, &sub_find(session, &rcv_id)->delivered);
    write_block();
    assert_read("OK last");
}

static void a_blocked_queue_says_so(void **state) {
    (void)state;
    struct block_info *info;
    struct subscriber sub;
    lsn_t lsn;
    assert_int_equal(block_info_new(bytes_str("reason=spam"), &info), OK);
    assert_int_equal(store_queue_block(rig.store, queue, info, &sub, &lsn), OK);
    block_info_unref(info);
    rig_send(&block, "send", &snd_id, "hello");
    plain("sub", CMD_SUB, &rcv_id);
    write_block();
    assert_read("ERR BLOCKED reason=spam send,ERR BLOCKED reason=spam sub");
}

/* ---- what they wait for ---- */

/* A command whose change is under way, and one behind it. */
static void send_and_ping(void) {
    rig.write_lsn = 5;
    rig_send(&block, "send", &snd_id, "hello");
    plain("ping", CMD_PING, NULL);
    write_block();
    assert_read("nothing");
}

static void an_answer_waits_for_its_change_and_the_others_for_it(void **state) {
    (void)state;
    send_and_ping();
    assert_true(SESSION_OPS.awaits(session));
    assert_true(session->outbox.pending_bytes > strlen("hello") + 2 * SESSION_PENDING_BASE);
    rig_set_durable(5);
    assert_true(session->conn->wants_write);
    assert_read("OK send,PONG ping");
    assert_false(SESSION_OPS.awaits(session));
}

static void a_lost_change_is_an_error(void **state) {
    (void)state;
    session->params.version = V_STORE_RETRY;
    rig.write_lsn = 5;
    rig_send(&block, "send", &snd_id, "hello");
    write_block();
    assert_read("nothing");
    rig_set_lost(5);
    assert_read("ERR STORE storage send");
}

/* Older clients take ERR STORE for the end of their message. */
static void an_older_client_is_left_without_an_answer(void **state) {
    (void)state;
    send_and_ping();
    assert_int_equal(session->conn->deadline_ms, 0);
    rig_set_lost(5);
    assert_read("PONG ping");
    assert_true(session->conn->deadline_ms > loop_rig.now_ms);
}

/* ---- stopping between two commands ---- */

static void a_job_goes_on_where_it_stopped(void **state) {
    (void)state;
    session->conn->share_is_used = true;
    for (unsigned i = 0; i < 3; i++) {
        const char name[] = {(char)('a' + (int)i), 0};
        plain(name, CMD_PING, NULL);
    }
    write_block();
    assert_true(session->conn->wants_run);
    assert_true(session->conn->is_paused);
    assert_read("nothing"); /* the answers of a block go together */
    rig_run(session);
    assert_read("nothing");
    rig_run(session);
    assert_false(session->conn->wants_run);
    assert_read("PONG a,PONG b,PONG c");
    assert_false(session->conn->is_paused);
}

static void blocks_are_answered_in_their_order(void **state) {
    (void)state;
    session->conn->share_is_used = true;
    plain("a", CMD_PING, NULL);
    plain("b", CMD_PING, NULL);
    write_block();
    plain("c", CMD_PING, NULL);
    write_block();
    session->conn->share_is_used = false;
    rig_run(session);
    assert_read("PONG a,PONG b,PONG c");
}

/* ---- forwarded ---- */

struct client {
    struct box_key proxy_key, client_key;
    struct x25519_pair pair;
    uint8_t nonce[ID_LEN]; /* the proxy's correlation id */
    struct id corr_id;     /* the client's */
};

/* The session becomes a proxy's, with which the client has agreed on a key. */
static void make_client(struct client *c) {
    struct x25519_pair proxy;
    uint8_t secret[X25519_LEN];
    x25519_pair_new(&loop_rig.env, &proxy);
    x25519_pair_new(&loop_rig.env, &c->pair);
    session->has_client_key = true;
    memcpy(session->client_key, proxy.pub, sizeof session->client_key);
    assert_int_equal(x25519_dh(proxy.priv, session->pub, secret), OK);
    c->proxy_key = box_key_from_secret(secret);
    assert_int_equal(x25519_dh(c->pair.priv, session->pub, secret), OK);
    c->client_key = box_key_from_secret(secret);
    env_random(&loop_rig.env, c->nonce, sizeof c->nonce);
    env_random(&loop_rig.env, &c->corr_id, sizeof c->corr_id);
}

/* A SEND inside of both layers. */
static void forward_send(const struct client *c, const char *body) {
    uint8_t inner[SMP_BLOCK_LEN], boxed[FWD_TAIL_MAX], outer[FWD_TAIL_MAX], t[SMP_BLOCK_LEN];
    struct wr w = wr_init(inner, sizeof inner), b = wr_init(boxed, sizeof boxed);
    struct wr o = wr_init(outer, sizeof outer), rfwd = wr_init(t, sizeof t);
    const struct smp_head h = {.params = &session->params,
                               .corr_id = c->corr_id,
                               .entity = id_bytes(&snd_id)};
    smp_command_send(&w, &h, false, bytes_str(body));
    const struct bytes corr_id = id_bytes(&c->corr_id);
    assert_int_equal(forward_seal_command(&c->client_key, corr_id, wr_bytes(&w), &b), OK);
    const struct forward f = {corr_id, VERSION, pubkey_from_x25519(c->pair.pub), wr_bytes(&b)};
    const struct bytes nonce = bytes_of(c->nonce, sizeof c->nonce);
    const struct box_nonce n = box_nonce_from_corr_id(nonce);
    assert_int_equal(forward_seal(&c->proxy_key, &n, &f, &o), OK);
    transmission_begin(&rfwd, &session->params, nonce, (struct bytes){0});
    wr_str(&rfwd, "RFWD ");
    wr_bytes_raw(&rfwd, wr_bytes(&o));
    rig_transmission(&block, wr_bytes(&rfwd));
}

/* What came back through both layers. */
static void assert_came_back(const struct client *c, const char *text) {
    uint8_t bytes[SMP_BLOCK_LEN];
    struct bytes content, parts[SMP_BATCH_MAX], body;
    unsigned n;
    assert_true(SESSION_OPS.fill(session, bytes));
    assert_int_equal(block_open(bytes, NULL, &content), OK);
    assert_int_equal(batch_split(content, parts, &n), OK);
    assert_int_equal(n, 1);
    struct rd r = rd_init(parts[0]);
    (void)rd_short(&r); /* authorization */
    assert_true(bytes_equal(rd_short(&r), bytes_of(c->nonce, sizeof c->nonce)));
    (void)rd_short(&r); /* entity */
    rd_lit(&r, 'R');
    rd_lit(&r, 'R');
    rd_lit(&r, 'E');
    rd_lit(&r, 'S');
    rd_lit(&r, ' ');
    body = rd_tail(&r);
    assert_int_equal(rd_err(&r), OK);
    uint8_t outer[SMP_BLOCK_LEN], inner[SMP_BLOCK_LEN];
    memcpy(outer, body.p, body.n);
    const struct box_nonce nonce = box_nonce_from_corr_id(bytes_of(c->nonce, sizeof c->nonce));
    assert_int_equal(forward_open_answer(&c->proxy_key, &nonce, outer, body.n, &body), OK);
    memcpy(inner, body.p, body.n);
    assert_int_equal(forward_open_pres(&c->client_key, id_bytes(&c->corr_id), inner, body.n,
                                       &content),
                     OK);
    assert_int_equal(batch_split(content, parts, &n), OK);
    struct rd t = rd_init(parts[0]);
    (void)rd_short(&t);
    assert_true(bytes_equal(rd_short(&t), id_bytes(&c->corr_id)));
    (void)rd_short(&t);
    assert_true(bytes_equal(rd_tail(&t), bytes_str(text)));
}

static void a_forwarded_command_is_answered_inside_its_layers(void **state) {
    (void)state;
    struct client c;
    make_client(&c);
    forward_send(&c, "hello");
    write_block();
    assert_came_back(&c, "OK");
    struct queue_view v;
    assert_int_equal(store_queue_view(rig.store, queue, WANT_MESSAGES, &v), OK);
    assert_int_equal(v.n_messages, 1);
    queue_view_done(&v);
}

static void its_refusals_are_inside_too_and_nobody_is_slowed_for_them(void **state) {
    (void)state;
    struct client c;
    make_client(&c);
    snd_id.b[0]++;
    forward_send(&c, "hello");
    write_block();
    assert_came_back(&c, "ERR AUTH");
    assert_int_equal(session->refused, 0);
}

static void what_a_lost_change_is_answered_with_was_made_before(void **state) {
    (void)state;
    struct client c;
    session->params.version = V_STORE_RETRY;
    make_client(&c);
    rig.write_lsn = 5;
    forward_send(&c, "hello");
    write_block();
    assert_read("nothing");
    rig_set_lost(5);
    /* The client's version is older: it gets nothing, and the proxy's session stays. */
    assert_read("nothing");
    assert_int_equal(session->conn->deadline_ms, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    static const struct CMUnitTest TESTS[] = {
        TEST(a_stranger_cannot_tell_whether_a_queue_exists),
        TEST(what_is_not_authorized_at_all_is_no_command),
        TEST(no_service_signs_for_a_session_without_one),
        TEST(each_kind_of_answer_has_its_place),
        TEST(a_block_that_is_none_is_answered),
        TEST(an_ack_brings_the_next_message),
        TEST(a_blocked_queue_says_so),
        TEST(an_answer_waits_for_its_change_and_the_others_for_it),
        TEST(a_lost_change_is_an_error),
        TEST(an_older_client_is_left_without_an_answer),
        TEST(a_job_goes_on_where_it_stopped),
        TEST(blocks_are_answered_in_their_order),
        TEST(a_forwarded_command_is_answered_inside_its_layers),
        TEST(its_refusals_are_inside_too_and_nobody_is_slowed_for_them),
        TEST(what_a_lost_change_is_answered_with_was_made_before),
    };
    return cmocka_run_group_tests_name("dispatch", TESTS, NULL, NULL);
}
