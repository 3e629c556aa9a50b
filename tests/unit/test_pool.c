/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Connections to relays: who shares them, how long failures are remembered, what becomes of
 * commands when a relay is late, says something else, or goes away. */
#include "proxy_rig.h"

#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "crypto/cert.h"
#include "model/limits.h"
#include "wire/forward.h"
#include "wire/transmission.h"

/* ---- connecting ---- */

static void assert_result(struct prig_op *op, const char *text) {
    assert_string_equal(prig_result(op), text);
    prig_done(op);
}

static void assert_pkey(struct prig_op *op, const struct prig_relay *r) {
    assert_string_equal(prig_result(op), "done");
    assert_true(bytes_equal(op->op.pkey.session_id, r->conn->unique));
    assert_true(bytes_equal(op->op.pkey.cert_chain, server_cert_chain(prig.cert)));
    assert_int_equal(op->op.pkey.version_max, PROXIED_VERSION_MAX);
    prig_done(op);
}

static void clients_of_all_loops_share_one_connection(void **state) {
    (void)state;
    struct prig_op first, second, third;
    struct prig_relay relay;
    prig_connect(&first, 0, "relay.example");
    prig_connect(&second, 1, "relay.example");
    assert_string_equal(prig_result(&first), "waits");
    prig_relay_meet(&relay);
    prig_connect(&third, 1, "relay.example");
    assert_int_equal(prig.n_dials, 1);
    assert_string_equal(prig.dials->host, "relay.example");
    assert_int_equal(prig.dials->port, 5223);
    assert_pkey(&first, &relay);
    assert_pkey(&second, &relay);
    assert_pkey(&third, &relay);
}

static void another_name_is_another_relay(void **state) {
    (void)state;
    struct prig_op one, other;
    struct prig_relay relay;
    prig_connect(&one, 0, "relay.example");
    prig_relay_meet(&relay);
    prig_connect(&other, 0, "other.example");
    assert_int_equal(prig.n_dials, 2);
    assert_string_equal(prig_result(&other), "waits");
    prig_dial_fails(E_NOT_FOUND);
    assert_result(&other, "NETWORK");
    assert_pkey(&one, &relay);
}

static void a_failure_is_everybodys_and_is_remembered_for_a_while(void **state) {
    (void)state;
    struct prig_op ops[3], again;
    prig_connect(&ops[0], 0, "relay.example");
    prig_connect(&ops[1], 1, "relay.example");
    prig_dial_fails(E_SYS);
    prig_connect(&ops[2], 1, "relay.example");
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) assert_result(&ops[i], "NETWORK");
    prig_pass_s(RIG_RETRY_S - 1);
    prig_connect(&again, 0, "relay.example");
    assert_result(&again, "NETWORK");
    assert_int_equal(prig.n_dials, 1);
    prig_pass_s(1);
    prig_connect(&again, 0, "relay.example");
    assert_string_equal(prig_result(&again), "waits");
    assert_int_equal(prig.n_dials, 2);
    prig_dial_fails(E_HOST);
    assert_result(&again, "HOST");
}

static void what_is_refused_before_dialing_is_not_remembered(void **state) {
    (void)state;
    static const struct {
        enum err err;
        const char *result;
    } rows[] = {{E_HOST, "HOST"}, {E_LIMIT, "TIMEOUT"}, {E_NO_MEMORY, "INTERNAL"}};
    struct prig_op op;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        prig.dial_err = rows[i].err;
        prig_connect(&op, 0, "relay.example");
        assert_result(&op, rows[i].result);
    }
    prig.dial_err = OK;
    prig_connect(&op, 0, "relay.example");
    assert_string_equal(prig_result(&op), "waits");
    prig_dial_fails(E_SYS);
    assert_result(&op, "NETWORK");
}

static void names_that_no_relay_has(void **state) {
    (void)state;
    struct prig_op op;
    prig_connect(&op, 0, "no host of anybody's");
    assert_result(&op, "HOST");
    prig_connect_to(&op, 0, "relay.example", bytes_str("too short for an identity"));
    assert_result(&op, "NETWORK");
    assert_int_equal(prig.n_dials, 0);
}

static void connecting_has_one_time_limit(void **state) {
    (void)state;
    struct prig_op silent, tls;
    struct prig_relay relay;
    prig_connect(&silent, 0, "silent.example");
    prig_pass_s(RIG_CONNECT_S - 1);
    assert_string_equal(prig_result(&silent), "waits");
    prig_pass_s(2);
    assert_result(&silent, "NETWORK");
    assert_true(prig.dials->is_over);

    prig_connect(&tls, 0, "relay.example"); /* accepts, and says no hello */
    prig_pass_s(RIG_CONNECT_S - 1);
    prig_relay_accept(&relay);
    assert_string_equal(prig_result(&tls), "waits");
    prig_pass_s(2);
    assert_result(&tls, "NETWORK");
    assert_true(prig_relay_is_closed(&relay));
}

static void a_hello_must_be_that_of_the_relay(void **state) {
    (void)state;
    static const uint8_t others_id[32] = {1};
    struct prig_op op;
    struct prig_relay relay;
    prig_connect(&op, 0, "a.example");
    prig_relay_accept(&relay);
    prig_relay_noise(&relay);
    assert_result(&op, "TRANSPORT HANDSHAKE PARSE");

    prig_connect(&op, 0, "b.example");
    prig_relay_accept(&relay);
    prig_relay_hello(&relay, bytes_of(others_id, sizeof others_id), relay.keys.pub);
    assert_result(&op, "TRANSPORT SESSION");

    prig_connect(&op, 0, "c.example");
    prig_relay_accept(&relay);
    relay.version_min = relay.version_max = V_SENDING_PROXY - 1;
    prig_relay_hello(&relay, relay.conn->unique, relay.keys.pub);
    assert_result(&op, "TRANSPORT VERSION");
    assert_true(prig_relay_is_closed(&relay));
}

static void whose_identity_is_another_is_left_before_its_hello(void **state) {
    (void)state;
    static const uint8_t identity[SHA256_LEN] = {1, 2, 3};
    struct prig_op op;
    struct prig_relay relay;
    prig_connect_to(&op, 0, "relay.example", bytes_of(identity, sizeof identity));
    prig_relay_accept(&relay);
    assert_result(&op, "NETWORK");
    assert_true(prig_relay_is_closed(&relay));
}

/* To the i-th of many relays. */
static void connect_to_one_of_many(struct prig_op *op, unsigned i) {
    char host[32];
    (void)snprintf(host, sizeof host, "relay%u.example", i);
    prig_connect(op, 0, host);
}

static void so_many_are_connected_to_at_once(void **state) {
    (void)state;
    enum { N = 2 * PROXY_CONNECTING_MAX + 200 }; /* their names decide on which loop */
    static struct prig_op ops[N];
    unsigned n_refused = 0;
    for (unsigned i = 0; i < N; i++) {
        connect_to_one_of_many(&ops[i], i);
        n_refused += strcmp(prig_result(&ops[i]), "TIMEOUT") == 0;
    }
    assert_int_equal(prig.n_dials, 2 * PROXY_CONNECTING_MAX);
    assert_int_equal(n_refused, N - prig.n_dials);
    prig_pass_s(RIG_CONNECT_S + 1);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(ops[i].n_done, 1);
        prig_done(&ops[i]);
    }
    connect_to_one_of_many(&ops[0], N);
    assert_string_equal(prig_result(&ops[0]), "waits");
    prig_dial_fails(E_SYS);
    assert_result(&ops[0], "NETWORK");
}

static void so_many_failures_are_remembered(void **state) {
    (void)state;
    enum { N = 2 * PROXY_RELAYS_MAX + 600 };
    struct prig_op op;
    for (unsigned i = 0; i < N; i++) {
        connect_to_one_of_many(&op, i);
        if (op.n_done == 0) prig_dial_fails(E_SYS);
        prig_done(&op);
    }
    assert_int_equal(prig.n_dials, 2 * PROXY_RELAYS_MAX);
    connect_to_one_of_many(&op, N - 1);
    assert_result(&op, "TIMEOUT"); /* to be tried again, as this proxy's trouble is its own */
    prig_pass_s(RIG_RETRY_S);
    connect_to_one_of_many(&op, N - 1);
    assert_string_equal(prig_result(&op), "waits");
    prig_dial_fails(E_SYS);
    assert_result(&op, "NETWORK");
}

/* ---- forwarding ---- */

/* A client's command, sealed as clients do, and what opens its answer. */
struct sealed {
    struct forward forward;
    struct box_key key;
    uint8_t corr_id[BOX_NONCE_LEN];
    uint8_t body[FWD_ENCRYPTED_LEN];
};

static void seal(struct sealed *c, const struct prig_relay *relay) {
    struct x25519_pair pair;
    uint8_t secret[X25519_LEN];
    x25519_pair_new(&loop_rig.env, &pair);
    env_random(&loop_rig.env, c->corr_id, sizeof c->corr_id);
    assert_int_equal(x25519_dh(pair.priv, relay->keys.pub, secret), OK);
    c->key = box_key_from_secret(secret);
    struct wr w = wr_init(c->body, sizeof c->body);
    assert_int_equal(forward_seal_command(&c->key, bytes_of(c->corr_id, sizeof c->corr_id),
                                          bytes_str("a transmission"), &w),
                     OK);
    c->forward = (struct forward){.corr_id = bytes_of(c->corr_id, sizeof c->corr_id),
                                  .version = 15,
                                  .key = pubkey_from_x25519(pair.pub),
                                  .body = wr_bytes(&w)};
}

/* A connection that is up. */
static void meet(struct prig_relay *relay) {
    struct prig_op op;
    prig_connect(&op, 0, "relay.example");
    prig_relay_meet(relay);
    assert_pkey(&op, relay);
}

/* What the relay was sent is c; the text of the answer that it gives. */
static struct bytes answer_of_relay(const struct prig_relay *relay, struct prig_request *rq,
                                    const struct sealed *c, const char *text, uint8_t *buf) {
    struct box_nonce nonce;
    struct forward f;
    memcpy(nonce.b, rq->corr_id.b, sizeof nonce.b);
    assert_int_equal(forward_open(&relay->shared, &nonce, rq->text, rq->n, &f), OK);
    assert_true(bytes_equal(f.corr_id, c->forward.corr_id));
    assert_int_equal(f.version, c->forward.version);
    assert_true(bytes_equal(f.body, c->forward.body));
    struct wr w = wr_init(buf, SMP_BLOCK_LEN);
    wr_str(&w, "RRES ");
    assert_int_equal(forward_seal_answer(&c->key, &relay->shared, &nonce, f.corr_id,
                                         bytes_str(text), &w),
                     OK);
    return wr_bytes(&w);
}

static void assert_response(struct prig_op *op, const struct sealed *c, const char *text) {
    struct bytes content, parts[SMP_BATCH_MAX];
    unsigned n;
    assert_string_equal(prig_result(op), "done");
    assert_int_equal(forward_open_pres(&c->key, c->forward.corr_id, op->op.data, op->op.response.n,
                                       &content),
                     OK);
    assert_int_equal(batch_split(content, parts, &n), OK);
    assert_int_equal(n, 1);
    assert_true(bytes_equal(parts[0], bytes_str(text)));
    prig_done(op);
}

static void answers_go_to_whom_they_are_for(void **state) {
    (void)state;
    struct prig_relay relay;
    struct prig_op ops[2];
    struct sealed commands[2];
    uint8_t answers[2][SMP_BLOCK_LEN];
    meet(&relay);
    for (unsigned i = 0; i < 2; i++) {
        seal(&commands[i], &relay);
        prig_forward(&ops[i], i, relay.conn->unique, &commands[i].forward);
    }
    assert_int_equal(prig_relay_read(&relay), 2);
    static const char *const TEXTS[] = {"to the first", "to the second"};
    for (unsigned i = 2; i-- > 0;) { /* in another order */
        struct prig_request *rq = &relay.requests[i];
        assert_string_equal(prig_result(&ops[i]), "waits");
        prig_relay_say(&relay, &rq->corr_id,
                       answer_of_relay(&relay, rq, &commands[i], TEXTS[i], answers[i]));
        assert_response(&ops[i], &commands[i], TEXTS[i]);
    }
    assert_false(prig_relay_is_closed(&relay));
}

/* Forwards a command, which the relay reads. */
static void forward(struct prig_op *op, struct sealed *c, struct prig_relay *relay) {
    seal(c, relay);
    prig_forward(op, 1, relay->conn->unique, &c->forward);
    relay->n_requests = 0;
    assert_int_equal(prig_relay_read(relay), 1);
    assert_string_equal(prig_result(op), "waits");
}

static void what_else_a_relay_may_answer(void **state) {
    (void)state;
    static const char *const ROWS[][2] = {
        {"ERR AUTH", "PROTOCOL AUTH"},
        {"ERR BLOCKED reason=spam", "PROTOCOL BLOCKED reason=spam"},
        {"ERR FOO", "RESPONSE CMD SYNTAX"},
        {"ERR AUTH\n", "RESPONSE CMD SYNTAX"},
        {"OK", "UNEXPECTED OK"},
        {"PONG \x80 and more than thirty-two bytes", "UNEXPECTED PONG ? and more than thirty-two "},
        {"RRES short", "CRYPTO"},
    };
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    meet(&relay);
    for (unsigned i = 0; i < ARRAY_LEN(ROWS); i++) {
        forward(&op, &c, &relay);
        prig_relay_say(&relay, &relay.requests[0].corr_id, bytes_str(ROWS[i][0]));
        assert_result(&op, ROWS[i][1]);
    }
    assert_false(prig_relay_is_closed(&relay));
}

static void an_answer_is_opened_or_none(void **state) {
    (void)state;
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    uint8_t buf[SMP_BLOCK_LEN];
    meet(&relay);
    forward(&op, &c, &relay);
    const struct bytes text = answer_of_relay(&relay, &relay.requests[0], &c, "to change", buf);
    buf[text.n - 1] ^= 1;
    prig_relay_say(&relay, &relay.requests[0].corr_id, text);
    assert_result(&op, "CRYPTO");
}

static void what_nobody_asked_for_harms_nobody(void **state) {
    (void)state;
    static const struct id nobodys = {{1}};
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    meet(&relay);
    forward(&op, &c, &relay);
    prig_relay_say(&relay, &nobodys, bytes_str("OK"));
    assert_string_equal(prig_result(&op), "waits");
    prig_relay_say(&relay, &relay.requests[0].corr_id, bytes_str("ERR QUOTA"));
    assert_result(&op, "PROTOCOL QUOTA");
    prig_relay_say(&relay, &relay.requests[0].corr_id, bytes_str("ERR QUOTA")); /* once more */
    assert_false(prig_relay_is_closed(&relay));
}

static void a_block_that_is_none_ends_all(void **state) {
    (void)state;
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    meet(&relay);
    forward(&op, &c, &relay);
    prig_relay_noise(&relay);
    assert_result(&op, "RESPONSE BLOCK");
    assert_true(prig_relay_is_closed(&relay));
}

static void a_command_that_is_too_long_is_no_commands_fault(void **state) {
    (void)state;
    static uint8_t body[SMP_BLOCK_LEN];
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    meet(&relay);
    seal(&c, &relay);
    c.forward.body = bytes_of(body, sizeof body);
    prig_forward(&op, 1, relay.conn->unique, &c.forward);
    assert_result(&op, "TRANSPORT LARGE_MSG");
    assert_int_equal(prig_relay_read(&relay), 0);
}

/* ---- late, and gone ---- */

static void a_relay_that_is_silent_is_given_up(void **state) {
    (void)state;
    struct prig_relay relay;
    struct prig_op op, after;
    struct sealed c;
    meet(&relay);
    forward(&op, &c, &relay);
    prig_pass_s(RIG_REQUEST_S - 1);
    assert_string_equal(prig_result(&op), "waits");
    prig_pass_s(2);
    assert_result(&op, "TIMEOUT");
    assert_true(prig_relay_is_closed(&relay));
    prig_forward(&after, 1, relay.conn->unique, &c.forward);
    assert_result(&after, "NO_SESSION");
}

static void a_relay_that_is_slow_is_not(void **state) {
    (void)state;
    struct prig_relay relay;
    struct prig_op slow, quick;
    struct sealed c;
    meet(&relay);
    forward(&slow, &c, &relay);
    const struct id slow_id = relay.requests[0].corr_id;
    prig_pass_s(1);
    forward(&quick, &c, &relay);
    prig_relay_say(&relay, &relay.requests[0].corr_id, bytes_str("ERR AUTH"));
    assert_result(&quick, "PROTOCOL AUTH");
    prig_pass_s(RIG_REQUEST_S);
    assert_result(&slow, "TIMEOUT");
    prig_relay_say(&relay, &slow_id, bytes_str("ERR AUTH")); /* too late */
    assert_false(prig_relay_is_closed(&relay));
}

static void the_end_of_a_session_answers_all_and_is_no_failure(void **state) {
    (void)state;
    struct prig_relay relay, anew;
    struct prig_op ops[2], after, again;
    struct sealed c;
    meet(&relay);
    for (unsigned i = 0; i < 2; i++) {
        seal(&c, &relay);
        prig_forward(&ops[i], i, relay.conn->unique, &c.forward);
    }
    prig_relay_close(&relay);
    for (unsigned i = 0; i < 2; i++) assert_result(&ops[i], "NETWORK");
    prig_forward(&after, 0, relay.conn->unique, &c.forward);
    assert_result(&after, "NO_SESSION");
    prig_connect(&again, 0, "relay.example"); /* at once */
    prig_relay_meet(&anew);
    assert_pkey(&again, &anew);
    prig_forward(&after, 0, relay.conn->unique, &c.forward);
    assert_result(&after, "NO_SESSION"); /* the old one stays unknown */
}

static void commands_for_a_session_that_never_was(void **state) {
    (void)state;
    static const uint8_t id[32] = {7};
    struct prig_relay relay;
    struct prig_op op;
    struct sealed c;
    meet(&relay);
    seal(&c, &relay);
    prig_forward(&op, 0, bytes_of(id, sizeof id), &c.forward);
    assert_result(&op, "NO_SESSION");
    prig_forward(&op, 0, bytes_of(relay.unique, 31), &c.forward);
    assert_result(&op, "NO_SESSION");
    prig_forward(&op, 0, (struct bytes){0}, &c.forward);
    assert_result(&op, "NO_SESSION");
}

static struct proxy_settings pinging = {.connect_timeout_s = 10,
                                        .request_timeout_s = 20,
                                        .ping_after_s = 60,
                                        .idle_s = 600};

static void a_quiet_relay_is_asked_and_kept_until_it_is_idle(void **state) {
    (void)state;
    struct prig_relay relay;
    meet(&relay);
    for (unsigned i = 0; i < 9; i++) {
        relay.n_requests = 0;
        prig_pass_s(61);
        assert_int_equal(prig_relay_read(&relay), 1);
        assert_true(relay.requests[0].is_ping);
        prig_relay_say(&relay, &relay.requests[0].corr_id, bytes_str("PONG"));
    }
    assert_false(prig_relay_is_closed(&relay));
    prig_pass_s(600 - 9 * 61 + 1); /* a ping is no use of it */
    assert_true(prig_relay_is_closed(&relay));
}

static void a_quiet_relay_that_does_not_answer_is_left(void **state) {
    (void)state;
    struct prig_relay relay;
    meet(&relay);
    prig_pass_s(61);
    assert_int_equal(prig_relay_read(&relay), 1);
    prig_pass_s(18);
    assert_false(prig_relay_is_closed(&relay));
    prig_pass_s(2);
    assert_true(prig_relay_is_closed(&relay));
}

/* What comes back to another loop while all stop finds nobody; what is asked for is refused. */
static void a_stop_leaves_nothing_waiting(void **state) {
    (void)state;
    struct prig_op ops[2], after;
    prig_connect(&ops[0], 0, "relay.example");
    prig_connect(&ops[1], 1, "relay.example");
    proxy_stop(prig.proxy);
    prig_dial_fails(E_CLOSED);
    for (unsigned i = 0; i < 2; i++) {
        const bool is_home = prig.dials->loop == loop_rig.loops[i];
        assert_result(&ops[i], is_home ? "NETWORK" : "dropped");
    }
    prig_connect(&after, loop_index(prig.dials->loop), "other.example");
    prig_done(&after);
    assert_int_equal(after.n_done + after.n_dropped, 1);
    assert_int_equal(prig.n_dials, 1);
}

#define ROW(fn) cmocka_unit_test_setup_teardown(fn, prig_setup, prig_teardown)
#define PINGING(fn)                                                                                \
    cmocka_unit_test_prestate_setup_teardown(fn, prig_setup, prig_teardown, &pinging)

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(clients_of_all_loops_share_one_connection),
        ROW(another_name_is_another_relay),
        ROW(a_failure_is_everybodys_and_is_remembered_for_a_while),
        ROW(what_is_refused_before_dialing_is_not_remembered),
        ROW(names_that_no_relay_has),
        ROW(connecting_has_one_time_limit),
        ROW(a_hello_must_be_that_of_the_relay),
        ROW(whose_identity_is_another_is_left_before_its_hello),
        ROW(so_many_are_connected_to_at_once),
        ROW(so_many_failures_are_remembered),
        ROW(answers_go_to_whom_they_are_for),
        ROW(what_else_a_relay_may_answer),
        ROW(an_answer_is_opened_or_none),
        ROW(what_nobody_asked_for_harms_nobody),
        ROW(a_block_that_is_none_ends_all),
        ROW(a_command_that_is_too_long_is_no_commands_fault),
        ROW(a_relay_that_is_silent_is_given_up),
        ROW(a_relay_that_is_slow_is_not),
        ROW(the_end_of_a_session_answers_all_and_is_no_failure),
        ROW(commands_for_a_session_that_never_was),
        PINGING(a_quiet_relay_is_asked_and_kept_until_it_is_idle),
        PINGING(a_quiet_relay_that_does_not_answer_is_left),
        ROW(a_stop_leaves_nothing_waiting),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
