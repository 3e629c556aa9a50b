/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each command in each version: what is read, what is refused, and which credentials it needs. */
#include "wire_fixture.h"

#include "model/limits.h"
#include "wire/command.h"

enum { TEXT_MAX = SMP_BLOCK_LEN };

/* What a transmission brings besides the command. */
enum { BARE = 0, WITH_AUTH = 1, WITH_ENTITY = 2, WITH_BOTH = 3 };

static enum err parse_with(unsigned credentials, uint16_t version, struct bytes text,
                           struct command *ret) {
    static const uint8_t FILL[64];
    struct transmission t = {.command = text};
    if ((credentials & WITH_AUTH) != 0) t.auth = bytes_of(FILL, 64);
    if ((credentials & WITH_ENTITY) != 0) t.entity = bytes_of(FILL, ID_LEN);
    memset(ret, 0xee, sizeof *ret);
    return command_parse(&t, version, ret);
}

/* ---- a valid text of each command ---- */

static void put_no_params(struct wr *w, uint16_t version) {
    (void)w;
    (void)version;
}

static void put_auth_key(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    put_key(w, KEY_ED448, 0x21);
}

static void put_new(struct wr *w, uint16_t version) {
    wr_u8(w, ' ');
    put_key(w, KEY_ED25519, 0x21);
    put_key(w, KEY_X25519, 0x22);
    wr_str(w, version < 9 ? "A" : "1");
    wr_short(w, bytes_str("secret"));
    wr_str(w, "S");
    if (version < 9) return;
    if (version < 15) {
        wr_str(w, "T");
        return;
    }
    wr_str(w, "1C1");
    wr_short(w, bytes_str("link"));
    wr_short(w, bytes_str("sender"));
    wr_large(w, bytes_str("fixed"));
    wr_large(w, bytes_str("user data"));
    if (version < 17) return;
    wr_str(w, "1");
    put_key(w, KEY_X25519, 0x23);
    put_key(w, KEY_X25519, 0x24);
}

static void put_rkey(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " \x03");
    put_key(w, KEY_ED25519, 1);
    put_key(w, KEY_X25519, 2);
    put_key(w, KEY_ED448, 3);
}

static void put_lset(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_short(w, bytes_str("link"));
    wr_large(w, bytes_str("fixed"));
    wr_large(w, bytes_str("user data"));
}

static void put_nkey(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    put_key(w, KEY_ED25519, 0x31);
    put_key(w, KEY_X25519, 0x32);
}

static void put_ack(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_short(w, bytes_str("message id"));
}

static void put_send(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " T body");
}

static void put_subs(struct wr *w, uint16_t version) {
    if (version < 19) return;
    wr_u8(w, ' ');
    wr_i64(w, 0x1234567890);
    wr_short(w, bytes_str("0123456789abcdef"));
}

static void put_prxy(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " \x02");
    wr_short(w, bytes_str("smp.example.com"));
    wr_short(w, bytes_str("example.onion"));
    wr_short(w, bytes_str("5223"));
    wr_short(w, bytes_str("identity"));
    wr_str(w, "1");
    wr_short(w, bytes_str("secret"));
}

static void put_pfwd(struct wr *w, uint16_t version) {
    (void)version;
    wr_u8(w, ' ');
    wr_u16(w, 18);
    put_key(w, KEY_X25519, 0x41);
    wr_str(w, "body");
}

static void put_rfwd(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " body");
}

static void put_rslv(struct wr *w, uint16_t version) {
    (void)version;
    wr_str(w, " alice.simplex");
}

/* What to answer without anything, with an authorization alone, with an entity alone, with both. */
/* clang-format off */
#define NEEDS_BOTH   {E_CMD_NO_AUTH,   E_CMD_NO_AUTH,   E_CMD_NO_AUTH,  OK}
#define NEEDS_AUTH   {E_CMD_NO_AUTH,   OK,              E_CMD_NO_AUTH,  E_CMD_HAS_AUTH}
#define ENTITY_ONLY  {E_CMD_NO_ENTITY, E_CMD_NO_ENTITY, OK,             E_CMD_HAS_AUTH}
#define AUTH_IF_KEYS {E_CMD_NO_ENTITY, E_CMD_NO_ENTITY, OK,             OK}
#define NEITHER      {OK,              E_CMD_HAS_AUTH,  E_CMD_HAS_AUTH, E_CMD_HAS_AUTH}

/* tail: bytes of the text that may be cut off, or followed by others, without an error. */
static const struct sample {
    const char *tag;
    void (*put)(struct wr *w, uint16_t version);
    unsigned credentials; /* with which it is valid */
    size_t tail;
    bool has_tail;
    enum err answers[4];
} SAMPLES[N_COMMANDS] = {
    [CMD_NEW]   = {"NEW",   put_new,       WITH_AUTH,   0, false, NEEDS_AUTH},
    [CMD_SUB]   = {"SUB",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SUBS]  = {"SUBS",  put_subs,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_KEY]   = {"KEY",   put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_RKEY]  = {"RKEY",  put_rkey,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LSET]  = {"LSET",  put_lset,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LDEL]  = {"LDEL",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NKEY]  = {"NKEY",  put_nkey,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NDEL]  = {"NDEL",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_GET]   = {"GET",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_ACK]   = {"ACK",   put_ack,       WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_OFF]   = {"OFF",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_DEL]   = {"DEL",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_QUE]   = {"QUE",   put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SKEY]  = {"SKEY",  put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_SEND]  = {"SEND",  put_send,      WITH_BOTH,   4, true,  AUTH_IF_KEYS},
    [CMD_LKEY]  = {"LKEY",  put_auth_key,  WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_LGET]  = {"LGET",  put_no_params, WITH_ENTITY, 0, false, ENTITY_ONLY},
    [CMD_NSUB]  = {"NSUB",  put_no_params, WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_NSUBS] = {"NSUBS", put_subs,      WITH_BOTH,   0, false, NEEDS_BOTH},
    [CMD_PING]  = {"PING",  put_no_params, BARE,        0, false, NEITHER},
    [CMD_PRXY]  = {"PRXY",  put_prxy,      BARE,        0, false, NEITHER},
    [CMD_PFWD]  = {"PFWD",  put_pfwd,      WITH_ENTITY, 4, true,  ENTITY_ONLY},
    [CMD_RFWD]  = {"RFWD",  put_rfwd,      BARE,        4, true,  NEITHER},
    [CMD_RSLV]  = {"RSLV",  put_rslv,      BARE,        6, true,  NEITHER},
};
/* clang-format on */

static struct bytes sample_text(const struct sample *s, uint16_t version, uint8_t ret[TEXT_MAX]) {
    struct wr w = wr_init(ret, TEXT_MAX);
    wr_str(&w, s->tag);
    s->put(&w, version);
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

/* ---- all commands ---- */

static void each_command_is_read_in_each_version(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
            const struct sample *s = &SAMPLES[i];
            struct command c;
            assert_int_equal(parse_with(s->credentials, v, sample_text(s, v, buf), &c), OK);
            assert_int_equal(c.tag, i);
            assert_string_equal(command_row(c.tag)->tag, s->tag);
        }
    }
}

/* A prefix is refused, or is another command: SUBS begins with SUB. */
static void each_proper_prefix_is_refused(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
            const struct sample *s = &SAMPLES[i];
            const struct bytes text = sample_text(s, v, buf);
            for (size_t n = 0; n < text.n; n++) {
                uint8_t *copy = exact_copy(bytes_of(text.p, n));
                struct command c;
                const enum err e = parse_with(s->credentials, v, bytes_of(copy, n), &c);
                const bool in_tail = n + s->tail >= text.n;
                assert_int_equal(e == OK && c.tag == i, in_tail);
                free(copy);
            }
        }
    }
}

static void bytes_left_over_are_refused(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
            const struct sample *s = &SAMPLES[i];
            const size_t n = sample_text(s, v, buf).n;
            buf[n] = ' ';
            struct command c;
            const enum err e = parse_with(s->credentials, v, bytes_of(buf, n + 1), &c);
            assert_int_equal(e, s->has_tail ? OK : E_CMD_SYNTAX);
        }
    }
}

static void credentials_are_checked_as_the_table_says(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        for (unsigned given = BARE; given <= WITH_BOTH; given++) {
            const struct bytes text = sample_text(&SAMPLES[i], LAST_VERSION, buf);
            struct command c;
            assert_int_equal(parse_with(given, LAST_VERSION, text, &c), SAMPLES[i].answers[given]);
        }
    }
}

/* The parameters are looked at first, as the reference does. */
static void syntax_is_reported_before_credentials(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        if (SAMPLES[i].has_tail) continue;
        for (unsigned given = BARE; given <= WITH_BOTH; given++) {
            const size_t n = sample_text(&SAMPLES[i], LAST_VERSION, buf).n;
            buf[n] = ' ';
            struct command c;
            assert_int_equal(parse_with(given, LAST_VERSION, bytes_of(buf, n + 1), &c),
                             E_CMD_SYNTAX);
        }
    }
}

static void unknown_tags_are_refused(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "",
        " ",
        "  PING",
        "ping",
        "Ping",
        "PIN",
        "PINGS",
        "PING\n",
        "PING\t",
        "SUB=",
        "HELO",
        "HELLO",
        "SUB\r ",
        "RSLVE",
        "NEW2",
        "K",
        /* what only a server says */
        "IDS",
        "LNK",
        "SOK",
        "SOKS",
        "ALLS",
        "MSG",
        "NID",
        "NMSG",
        "PKEY",
        "RRES",
        "PRES",
        "END",
        "ENDS",
        "DELD",
        "INFO",
        "OK",
        "ERR",
        "PONG",
    };
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        for (unsigned given = BARE; given <= WITH_BOTH; given++) {
            struct command c;
            assert_int_equal(parse_with(given, 18, bytes_str(TEXTS[i]), &c), E_CMD_UNKNOWN);
        }
    }
    struct command c;
    assert_int_equal(parse_with(BARE, 18, bytes_of("PING\0", 5), &c), E_CMD_UNKNOWN);
    assert_int_equal(parse_with(WITH_BOTH, 18, bytes_str("SUB "), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(WITH_BOTH, 18, bytes_str("SUB x"), &c), E_CMD_SYNTAX);
}

/* ---- keys ---- */

/* "KEY <key>" of each kind in turn. */
static void keys_that_cannot_authorize_are_refused(void **state) {
    (void)state;
    static const struct {
        enum key_type type;
        enum err e;
    } ROWS[] = {{KEY_X25519, OK}, {KEY_ED25519, OK}, {KEY_ED448, OK}, {KEY_X448, E_CMD_SYNTAX}};
    static const char *const TAGS[] = {"KEY ", "SKEY ", "LKEY "};
    for (size_t i = 0; i < ARRAY_LEN(ROWS) * ARRAY_LEN(TAGS); i++) {
        uint8_t buf[128];
        struct wr w = wr_init(buf, sizeof buf);
        const size_t row = i / ARRAY_LEN(TAGS);
        wr_str(&w, TAGS[i % ARRAY_LEN(TAGS)]);
        put_key(&w, ROWS[row].type, 0x33);
        struct command c;
        assert_int_equal(parse_with(WITH_BOTH, 18, wr_bytes(&w), &c), ROWS[row].e);
        if (ROWS[row].e != OK) continue;
        const struct pubkey expected = sample_key(ROWS[row].type, 0x33);
        assert_true(pubkey_equal(&c.key, &expected));
    }
}

static void agreement_keys_must_be_x25519(void **state) {
    (void)state;
    for (enum key_type t = KEY_X25519; t < N_KEY_TYPES; t++) {
        const enum err expected = t == KEY_X25519 ? OK : E_CMD_SYNTAX;
        uint8_t buf[256];
        struct command c;
        struct wr w = wr_init(buf, sizeof buf);
        wr_str(&w, "NEW ");
        put_key(&w, KEY_ED25519, 1);
        put_key(&w, t, 2);
        wr_str(&w, "S");
        assert_int_equal(parse_with(WITH_AUTH, 6, wr_bytes(&w), &c), expected);
        w = wr_init(buf, sizeof buf);
        wr_str(&w, "NKEY ");
        put_key(&w, KEY_ED25519, 1);
        put_key(&w, t, 2);
        assert_int_equal(parse_with(WITH_BOTH, 18, wr_bytes(&w), &c), expected);
        w = wr_init(buf, sizeof buf);
        wr_str(&w, "PFWD ");
        wr_u16(&w, 8);
        put_key(&w, t, 2);
        assert_int_equal(parse_with(WITH_ENTITY, 18, wr_bytes(&w), &c), expected);
    }
}

/* A change of any byte before the key itself makes another encoding, or another kind of key of the
 * wrong length. (X25519 and Ed25519 differ in one byte, and both may authorize.) */
static void keys_must_be_canonical(void **state) {
    (void)state;
    for (enum key_type t = KEY_X25519; t < N_KEY_TYPES; t++) {
        for (size_t at = 0; at < 12; at++) {
            for (unsigned flip = 1; flip < 256; flip++) {
                uint8_t buf[128];
                struct wr w = wr_init(buf, sizeof buf);
                wr_str(&w, "KEY ");
                put_key(&w, t, 0x33);
                uint8_t *byte = buf + 5 + at;
                *byte ^= (uint8_t)flip;
                const bool sibling =
                    pubkey_spki_len(t) == 44 && at == 8 && (*byte == 0x6e || *byte == 0x70);
                struct command c;
                assert_int_equal(parse_with(WITH_BOTH, 18, wr_bytes(&w), &c),
                                 sibling ? OK : E_CMD_SYNTAX);
            }
        }
    }
}

static void garbage_keys_are_refused(void **state) {
    (void)state;
    static const size_t LENGTHS[] = {0, 1, 12, 32, 43, 44, 45, 68, 69, 255};
    struct command c;
    for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++) {
        uint8_t buf[512];
        struct wr w = wr_init(buf, sizeof buf);
        wr_str(&w, "KEY ");
        wr_u8(&w, (uint8_t)LENGTHS[i]);
        put_fill(&w, 0x30, LENGTHS[i]);
        assert_int_equal(parse_with(WITH_BOTH, 18, wr_bytes(&w), &c), E_CMD_SYNTAX);
    }
    /* the same key with its outer length in the long form, and with its length byte one too many */
    uint8_t buf[64] = "KEY ";
    struct wr w = wr_init(buf + 4, sizeof buf - 4);
    put_key(&w, KEY_ED25519, 1);
    memmove(buf + 7, buf + 6, 43);
    buf[4] = 45;
    buf[6] = 0x81;
    assert_int_equal(parse_with(WITH_BOTH, 18, bytes_of(buf, 4 + 1 + 45), &c), E_CMD_SYNTAX);
    w = wr_init(buf + 4, sizeof buf - 4);
    put_key(&w, KEY_ED25519, 1);
    buf[4] = 45;
    assert_int_equal(parse_with(WITH_BOTH, 18, bytes_of(buf, 4 + 1 + 45), &c), E_CMD_SYNTAX);
}

/* "RKEY" with a count byte and so many keys. */
static struct bytes rkey_text(uint8_t buf[TEXT_MAX], uint8_t count, unsigned n_keys) {
    struct wr w = wr_init(buf, TEXT_MAX);
    wr_str(&w, "RKEY ");
    wr_u8(&w, count);
    for (unsigned i = 0; i < n_keys; i++) {
        put_key(&w, i % 2 == 0 ? KEY_ED25519 : KEY_X25519, (uint8_t)i);
    }
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static void rkey_takes_1_to_255_keys(void **state) {
    (void)state;
    static const uint8_t COUNTS[] = {1, 2, 32, 33, 255};
    uint8_t buf[TEXT_MAX];
    struct pubkey keys[255];
    struct command c;
    for (size_t i = 0; i < sizeof COUNTS; i++) {
        const uint8_t n = COUNTS[i];
        assert_int_equal(parse_with(WITH_BOTH, 18, rkey_text(buf, n, n), &c), OK);
        assert_int_equal(c.rkey.n, n);
        command_rkey(&c, keys);
        for (unsigned k = 0; k < n; k++) {
            const struct pubkey expected =
                sample_key(k % 2 == 0 ? KEY_ED25519 : KEY_X25519, (uint8_t)k);
            assert_true(pubkey_equal(&keys[k], &expected));
        }
    }
    assert_int_equal(parse_with(WITH_BOTH, 18, rkey_text(buf, 0, 0), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(WITH_BOTH, 18, rkey_text(buf, 0, 1), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(WITH_BOTH, 18, rkey_text(buf, 255, 254), &c), E_CMD_SYNTAX);
    assert_int_equal(parse_with(WITH_BOTH, 18, rkey_text(buf, 254, 255), &c), E_CMD_SYNTAX);
    (void)rkey_text(buf, 3, 3);
    buf[6 + 2 * 45] = 43; /* the last key */
    assert_int_equal(parse_with(WITH_BOTH, 18, bytes_of(buf, 6 + 3 * 45), &c), E_CMD_SYNTAX);
}

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

/* ---- services and names ---- */

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

static void each_role_has_its_parties(void **state) {
    (void)state;
    static const enum command_tag NOTIFIER[] = {CMD_NSUB, CMD_NSUBS, CMD_PING};
    static const enum command_tag PROXY[] = {CMD_RFWD, CMD_PING};
    unsigned n_notifier = 0, n_proxy = 0, n_messaging = 0;
    for (unsigned i = 0; i < N_COMMANDS; i++) {
        const struct command_row *row = command_row((enum command_tag)i);
        n_notifier += command_fits_role(row, SERVICE_NOTIFIER);
        n_proxy += command_fits_role(row, SERVICE_PROXY);
        n_messaging += command_fits_role(row, SERVICE_MESSAGING);
        const bool signs = i == CMD_NEW || i == CMD_SUB || i == CMD_NSUB;
        assert_int_equal(row->service_sig, signs);
    }
    assert_int_equal(n_notifier, ARRAY_LEN(NOTIFIER));
    assert_int_equal(n_proxy, ARRAY_LEN(PROXY));
    assert_int_equal(n_messaging, N_COMMANDS - n_notifier - n_proxy + 2);
    for (size_t i = 0; i < ARRAY_LEN(NOTIFIER); i++)
        assert_true(command_fits_role(command_row(NOTIFIER[i]), SERVICE_NOTIFIER));
    for (size_t i = 0; i < ARRAY_LEN(PROXY); i++)
        assert_true(command_fits_role(command_row(PROXY[i]), SERVICE_PROXY));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_is_read_in_each_version),
        cmocka_unit_test(each_proper_prefix_is_refused),
        cmocka_unit_test(bytes_left_over_are_refused),
        cmocka_unit_test(credentials_are_checked_as_the_table_says),
        cmocka_unit_test(syntax_is_reported_before_credentials),
        cmocka_unit_test(unknown_tags_are_refused),
        cmocka_unit_test(keys_that_cannot_authorize_are_refused),
        cmocka_unit_test(agreement_keys_must_be_x25519),
        cmocka_unit_test(keys_must_be_canonical),
        cmocka_unit_test(garbage_keys_are_refused),
        cmocka_unit_test(rkey_takes_1_to_255_keys),
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
        cmocka_unit_test(each_role_has_its_parties),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
