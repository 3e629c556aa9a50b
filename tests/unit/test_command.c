/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* All commands in each version: what is read, what is refused, which credentials and keys they
 * need, and who may give them. */
#include "command_fixture.h"

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

/* ---- whose they are ---- */

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
        cmocka_unit_test(each_role_has_its_parties),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
