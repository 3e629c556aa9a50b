/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The parameters of commands, one command after the other. */
#include "command_fixture.h"

/* ---- NEW ---- */

static void put_new_keys(struct wr *w) {
    wr_str(w, "NEW ");
    put_key(w, KEY_ED25519, 0x21);
    put_key(w, KEY_X25519, 0x22);
}

/* Parses a NEW whose text after the keys is `rest`, n bytes. */
static enum err parse_new_rest(uint16_t version, const void *rest, size_t n, struct command *ret) {
    static uint8_t buf[TEXT_MAX]; /* outlives the call: the result views it */
    struct wr w = wr_init(buf, sizeof buf);
    put_new_keys(&w);
    wr_bytes_raw(&w, bytes_of(rest, n));
    assert_int_equal(wr_err(&w), OK);
    return parse_with(WITH_AUTH, version, wr_bytes(&w), ret);
}

/* With a string literal, whose length counts its zero bytes. */
#define PARSE_NEW(version, rest, ret) parse_new_rest((version), (rest), sizeof(rest) - 1, (ret))

static void assert_new_keys(const struct cmd_new *c) {
    const struct pubkey auth = sample_key(KEY_ED25519, 0x21), dh = sample_key(KEY_X25519, 0x22);
    assert_true(pubkey_equal(&c->rcv_auth_key, &auth));
    assert_true(pubkey_equal(&c->rcv_dh_key, &dh));
}

static void new_below_9(void **state) {
    (void)state;
    struct command c;
    for (uint16_t v = 6; v < 9; v++) {
        assert_int_equal(PARSE_NEW(v, "S", &c), OK);
        assert_new_keys(&c.new_queue);
        assert_true(c.new_queue.subscribe);
        assert_false(c.new_queue.has_basic_auth || c.new_queue.has_mode ||
                     c.new_queue.data.present || c.new_queue.has_notifier);
        assert_int_equal(PARSE_NEW(v, "C", &c), OK);
        assert_false(c.new_queue.subscribe);
        assert_int_equal(PARSE_NEW(v,
                                   "A\004pass"
                                   "C",
                                   &c),
                         OK);
        assert_true(c.new_queue.has_basic_auth);
        assert_text(c.new_queue.basic_auth, "pass");
        assert_int_equal(PARSE_NEW(v, "A", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "A\004pass", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "0S", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "ST", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "", &c), E_CMD_SYNTAX);
    }
}

static void new_9_to_14(void **state) {
    (void)state;
    struct command c;
    for (uint16_t v = 9; v < 15; v++) {
        assert_int_equal(PARSE_NEW(v, "0ST", &c), OK);
        assert_new_keys(&c.new_queue);
        assert_true(c.new_queue.subscribe && c.new_queue.has_mode && !c.new_queue.is_contact);
        assert_false(c.new_queue.has_basic_auth || c.new_queue.data.present ||
                     c.new_queue.has_notifier);
        assert_int_equal(PARSE_NEW(v, "1\004passCF", &c), OK);
        assert_true(c.new_queue.has_basic_auth && c.new_queue.has_mode && c.new_queue.is_contact);
        assert_false(c.new_queue.subscribe);
        assert_text(c.new_queue.basic_auth, "pass");
        assert_int_equal(PARSE_NEW(v, "S", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "0S", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "0S0", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "2ST", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "0XT", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW(v, "A\004passST", &c), E_CMD_SYNTAX);
    }
}

/* The text of version 15 and 16, and that of 17 and later, which ends with a maybe notifier. */
#define PARSE_NEW_MODE(version, rest, ret)                                                         \
    ((version) < 17 ? PARSE_NEW(version, rest, ret) : PARSE_NEW(version, rest "0", ret))

static void new_since_15_modes(void **state) {
    (void)state;
    struct command c;
    const struct cmd_new *q = &c.new_queue;
    for (uint16_t v = 15; v <= LAST_VERSION; v++) {
        assert_int_equal(PARSE_NEW_MODE(v, "0S0", &c), OK);
        assert_new_keys(q);
        assert_true(q->subscribe);
        assert_false(q->has_mode || q->data.present || q->has_notifier || q->has_basic_auth);
        assert_int_equal(PARSE_NEW_MODE(v, "0C1M0", &c), OK);
        assert_true(q->has_mode && !q->is_contact && !q->subscribe && !q->data.present);
        assert_int_equal(PARSE_NEW_MODE(v, "1\004passS1C0", &c), OK);
        assert_true(q->has_mode && q->is_contact && !q->data.present);
        assert_text(q->basic_auth, "pass");
        assert_int_equal(PARSE_NEW_MODE(v, "0S1X0", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW_MODE(v, "0S1M", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW_MODE(v, "0ST", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW_MODE(v, "0S", &c), E_CMD_SYNTAX);
    }
}

static void new_since_15_link_data(void **state) {
    (void)state;
    struct command c;
    const struct cmd_new *q = &c.new_queue;
    for (uint16_t v = 15; v <= LAST_VERSION; v++) {
        assert_int_equal(PARSE_NEW_MODE(v, "0S1M1\003snd\0\005fixed\0\004user", &c), OK);
        assert_true(q->data.present && !q->is_contact);
        assert_text(q->data.snd_id, "snd");
        assert_text(q->data.fixed, "fixed");
        assert_text(q->data.user, "user");
        assert_int_equal(q->data.link_id.n, 0);
        assert_int_equal(PARSE_NEW_MODE(v, "0S1C1\004link\003snd\0\005fixed\0\004user", &c), OK);
        assert_true(q->data.present && q->is_contact);
        assert_text(q->data.link_id, "link");
        assert_text(q->data.snd_id, "snd");
        assert_text(q->data.fixed, "fixed");
        assert_text(q->data.user, "user");
        /* the form of the other mode */
        assert_int_equal(PARSE_NEW_MODE(v, "0S1C1\003snd\0\005fixed\0\004user", &c), E_CMD_SYNTAX);
        assert_int_equal(PARSE_NEW_MODE(v, "0S1M1\004link\003snd\0\005fixed\0\004user", &c),
                         E_CMD_SYNTAX);
    }
}

static void new_since_17_notifier(void **state) {
    (void)state;
    static const struct pair {
        enum key_type key, dh_key;
        enum err e;
    } ROWS[] = {
        {KEY_ED25519, KEY_X25519, OK},
        {KEY_X25519, KEY_X25519, OK},
        {KEY_ED448, KEY_X25519, OK},
        {KEY_X448, KEY_X25519, E_CMD_SYNTAX},
        {KEY_ED25519, KEY_ED25519, E_CMD_SYNTAX},
        {KEY_ED25519, KEY_X448, E_CMD_SYNTAX},
    };
    for (uint16_t v = 15; v <= LAST_VERSION; v++) {
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
            uint8_t buf[256];
            struct wr w = wr_init(buf, sizeof buf);
            wr_str(&w, "0S01");
            put_key(&w, ROWS[i].key, 0x31);
            put_key(&w, ROWS[i].dh_key, 0x32);
            struct command c;
            const enum err expected = v < 17 ? E_CMD_SYNTAX : ROWS[i].e;
            assert_int_equal(parse_new_rest(v, buf, w.at, &c), expected);
            if (expected != OK) continue;
            const struct pubkey key = sample_key(ROWS[i].key, 0x31);
            const struct pubkey dh_key = sample_key(KEY_X25519, 0x32);
            assert_true(c.new_queue.has_notifier);
            assert_true(pubkey_equal(&c.new_queue.ntf_key, &key));
            assert_true(pubkey_equal(&c.new_queue.ntf_dh_key, &dh_key));
        }
        if (v < 17) continue;
        struct command c;
        assert_int_equal(PARSE_NEW(v, "0S0", &c), E_CMD_SYNTAX); /* the form of 15 and 16 */
    }
}

/* Printable ASCII but for space, '@', ':' and '/'. */
static void basic_auth_characters(void **state) {
    (void)state;
    for (unsigned ch = 0; ch < 256; ch++) {
        const bool good = ch > 0x20 && ch < 0x7f && strchr("@:/", (int)ch) == NULL;
        const uint8_t legacy[] = {'A', 3, 'a', (uint8_t)ch, 'b', 'S'};
        const uint8_t later[] = {'1', 3, 'a', (uint8_t)ch, 'b', 'S', 'T'};
        const uint8_t prxy[] = {'P', 'R', 'X', 'Y', ' ', 1,   1,           'h', 1,
                                'p', 1,   'i', '1', 3,   'a', (uint8_t)ch, 'b'};
        const enum err expected = good ? OK : E_CMD_SYNTAX;
        struct command c;
        assert_int_equal(parse_new_rest(6, legacy, sizeof legacy, &c), expected);
        assert_int_equal(parse_new_rest(9, later, sizeof later, &c), expected);
        assert_int_equal(parse_with(BARE, 18, bytes_of(prxy, sizeof prxy), &c), expected);
    }
}

static void basic_auth_may_be_empty_or_long(void **state) {
    (void)state;
    static const size_t LENGTHS[] = {0, 1, 255};
    for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++) {
        uint8_t buf[300];
        struct wr w = wr_init(buf, sizeof buf);
        wr_u8(&w, '1');
        wr_u8(&w, (uint8_t)LENGTHS[i]);
        put_fill(&w, 'x', LENGTHS[i]);
        wr_str(&w, "ST");
        struct command c;
        assert_int_equal(parse_new_rest(14, buf, w.at, &c), OK);
        assert_true(c.new_queue.has_basic_auth);
        assert_int_equal(c.new_queue.basic_auth.n, LENGTHS[i]);
    }
}

/* ---- other parameters ---- */

static void send_flags_and_body(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum err e;
        bool notification;
        const char *body;
    } ROWS[] = {
        {"SEND T body", OK, true, "body"},
        {"SEND F body", OK, false, "body"},
        {"SEND T ", OK, true, ""},
        {"SEND T  two", OK, true, " two"},
        {"SEND FT body", OK, false, "body"},
        {"SEND Tabcdefghij0 body of more words", OK, true, "body of more words"},
        {"SEND T", E_CMD_SYNTAX, false, NULL},
        {"SEND Tx", E_CMD_SYNTAX, false, NULL},
        {"SEND ", E_CMD_SYNTAX, false, NULL},
        {"SEND", E_CMD_SYNTAX, false, NULL},
        {"SEND  body", E_CMD_SYNTAX, false, NULL},
        {"SEND t body", E_CMD_SYNTAX, false, NULL},
        {"SEND 1 body", E_CMD_SYNTAX, false, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct command c;
        assert_int_equal(parse_with(WITH_ENTITY, 18, bytes_str(ROWS[i].text), &c), ROWS[i].e);
        if (ROWS[i].e != OK) continue;
        assert_int_equal(c.send.notification, ROWS[i].notification);
        assert_text(c.send.body, ROWS[i].body);
    }
}

static void parameters_are_views_of_their_parts(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    struct command c;
    assert_int_equal(parse_with(WITH_BOTH, 18, sample_text(&SAMPLES[CMD_LSET], 18, buf), &c), OK);
    assert_text(c.lset.link_id, "link");
    assert_text(c.lset.fixed, "fixed");
    assert_text(c.lset.user, "user data");
    assert_int_equal(parse_with(WITH_BOTH, 18, sample_text(&SAMPLES[CMD_ACK], 18, buf), &c), OK);
    assert_text(c.ack.msg_id, "message id");
    assert_int_equal(parse_with(WITH_BOTH, 18, sample_text(&SAMPLES[CMD_NKEY], 18, buf), &c), OK);
    const struct pubkey key = sample_key(KEY_ED25519, 0x31), dh = sample_key(KEY_X25519, 0x32);
    assert_true(pubkey_equal(&c.nkey.key, &key));
    assert_true(pubkey_equal(&c.nkey.dh_key, &dh));
}

static void proxy_parameters(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    struct command c;
    assert_int_equal(parse_with(BARE, 18, sample_text(&SAMPLES[CMD_PRXY], 18, buf), &c), OK);
    assert_text(c.prxy.hosts, "\x0fsmp.example.com\x0d"
                              "example.onion");
    assert_text(c.prxy.port, "5223");
    assert_text(c.prxy.identity, "identity");
    assert_true(c.prxy.has_basic_auth);
    assert_text(c.prxy.basic_auth, "secret");
    assert_int_equal(parse_with(BARE, 18, bytes_of("PRXY \1\1h\1p\1i0", 13), &c), OK);
    assert_false(c.prxy.has_basic_auth);
    assert_int_equal(parse_with(BARE, 18, bytes_of("PRXY \0\1p\1i0", 11), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(WITH_ENTITY, 18, sample_text(&SAMPLES[CMD_PFWD], 18, buf), &c), OK);
    const struct pubkey key = sample_key(KEY_X25519, 0x41);
    assert_int_equal(c.pfwd.version, 18);
    assert_true(pubkey_equal(&c.pfwd.key, &key));
    assert_text(c.pfwd.body, "body");
    assert_int_equal(parse_with(BARE, 18, sample_text(&SAMPLES[CMD_RFWD], 18, buf), &c), OK);
    assert_text(c.rfwd.body, "body");
    assert_int_equal(parse_with(BARE, 18, bytes_str("RFWD "), &c), OK);
    assert_int_equal(c.rfwd.body.n, 0);
}

static void service_subscriptions(void **state) {
    (void)state;
    static const char *const TAGS[] = {"SUBS", "NSUBS"};
    for (size_t i = 0; i < ARRAY_LEN(TAGS); i++) {
        uint8_t buf[64];
        struct command c;
        assert_int_equal(parse_with(WITH_BOTH, 18, bytes_str(TAGS[i]), &c), OK);
        assert_int_equal(c.subs.count, -1);
        assert_int_equal(c.subs.ids_hash.n, 0);
        assert_int_equal(parse_with(WITH_BOTH, 19, bytes_str(TAGS[i]), &c), E_CMD_SYNTAX);
        for (size_t n = 15; n <= 17; n++) { /* the hash has 16 bytes */
            struct wr w = wr_init(buf, sizeof buf);
            wr_str(&w, TAGS[i]);
            wr_u8(&w, ' ');
            wr_i64(&w, 7);
            wr_short(&w, bytes_of("0123456789abcdefg", n));
            assert_int_equal(parse_with(WITH_BOTH, 18, wr_bytes(&w), &c), E_CMD_SYNTAX);
            assert_int_equal(parse_with(WITH_BOTH, 19, wr_bytes(&w), &c),
                             n == 16 ? OK : E_CMD_SYNTAX);
        }
        struct wr w = wr_init(buf, sizeof buf);
        wr_str(&w, TAGS[i]);
        put_subs(&w, 19);
        assert_int_equal(parse_with(WITH_BOTH, 19, wr_bytes(&w), &c), OK);
        assert_true(c.subs.count == 0x1234567890);
        assert_text(c.subs.ids_hash, "0123456789abcdef");
    }
}

static void largest_body_by_version(void **state) {
    (void)state;
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        assert_int_equal(command_max_body(v), v < 8 ? 16088 : v < 11 ? 16064 : 16048);
    }
}

/* ---- names ---- */

static void names_are_domains(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum err e;
    } ROWS[] = {
        {"RSLV a.b", OK},
        {"RSLV A-1.b-c.SIMPLEX", OK},
        {"RSLV a.b c?", OK},
        {"RSLV a.b\tx", OK},
        {"RSLV a.b\r\n", OK},
        {"RSLV a.b\xa0x", E_CMD_SYNTAX},
        {"RSLV  a.b", E_CMD_SYNTAX},
        {"RSLV \ta.b", E_CMD_SYNTAX},
        {"RSLV", E_CMD_SYNTAX},
        {"RSLV ", E_CMD_SYNTAX},
        {"RSLV simplex", E_CMD_SYNTAX},
        {"RSLV .simplex", E_CMD_SYNTAX},
        {"RSLV a.", E_CMD_SYNTAX},
        {"RSLV a..b", E_CMD_SYNTAX},
        {"RSLV -a.b", E_CMD_SYNTAX},
        {"RSLV a-.b", E_CMD_SYNTAX},
        {"RSLV a--b.c", E_CMD_SYNTAX},
        {"RSLV a_b.c", E_CMD_SYNTAX},
        {"RSLV \xc3\xa4.b", E_CMD_SYNTAX},
    };
    struct command c;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        assert_int_equal(parse_with(BARE, 20, bytes_str(ROWS[i].text), &c), ROWS[i].e);
    }
    assert_int_equal(parse_with(BARE, 20, bytes_str(ROWS[2].text), &c), OK);
    assert_text(c.rslv.name, "a.b");
    char label[5 + 64 + 3] = "RSLV ";
    memset(label + 5, 'a', 64);
    memcpy(label + 5 + 64, ".b", 3);
    assert_int_equal(parse_with(BARE, 20, bytes_str(label), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(BARE, 20, bytes_of((uint8_t *)"RSLV ", 5), &c), E_CMD_SYNTAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_below_9),
        cmocka_unit_test(new_9_to_14),
        cmocka_unit_test(new_since_15_modes),
        cmocka_unit_test(new_since_15_link_data),
        cmocka_unit_test(new_since_17_notifier),
        cmocka_unit_test(basic_auth_characters),
        cmocka_unit_test(basic_auth_may_be_empty_or_long),
        cmocka_unit_test(send_flags_and_body),
        cmocka_unit_test(parameters_are_views_of_their_parts),
        cmocka_unit_test(proxy_parameters),
        cmocka_unit_test(service_subscriptions),
        cmocka_unit_test(largest_body_by_version),
        cmocka_unit_test(names_are_domains),
    };
    return cmocka_run_group_tests_name("command_params", tests, NULL, NULL);
}
