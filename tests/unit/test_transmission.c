/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Batches taken apart into transmissions, and transmissions into their parts. */
#include "wire_fixture.h"

#include "wire/transmission.h"

/* ---- batches ---- */

static enum err split(struct bytes content, struct bytes ret[SMP_BATCH_MAX], unsigned *ret_n) {
    uint8_t *copy = exact_copy(content);
    const enum err e = batch_split(bytes_of(copy, content.n), ret, ret_n);
    if (e == OK) {
        for (unsigned i = 0; i < *ret_n; i++) {
            assert_true(lies_in(ret[i], bytes_of(copy, content.n)));
            if (ret[i].n != 0) ret[i].p = content.p + (ret[i].p - copy);
        }
    }
    free(copy);
    return e;
}

static void batch_of_three_is_split(void **state) {
    (void)state;
    static const uint8_t CONTENT[] = {3, 0, 1, 'a', 0, 0, 0, 2, 'b', 'c'};
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n = 0;
    assert_int_equal(split(bytes_of(CONTENT, sizeof CONTENT), parts, &n), OK);
    assert_int_equal(n, 3);
    assert_text(parts[0], "a");
    assert_text(parts[1], "");
    assert_text(parts[2], "bc");
}

static void batch_may_hold_255(void **state) {
    (void)state;
    uint8_t content[1 + 3 * SMP_BATCH_MAX];
    struct wr w = wr_init(content, sizeof content);
    wr_u8(&w, SMP_BATCH_MAX);
    for (unsigned i = 0; i < SMP_BATCH_MAX; i++) {
        wr_u16(&w, 1);
        wr_u8(&w, (uint8_t)i);
    }
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n = 0;
    assert_int_equal(split(wr_bytes(&w), parts, &n), OK);
    assert_int_equal(n, SMP_BATCH_MAX);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t expected = (uint8_t)i;
        assert_bytes(parts[i], bytes_of(&expected, 1));
    }
}

static void batch_prefixes_are_refused(void **state) {
    (void)state;
    static const uint8_t CONTENT[] = {3, 0, 1, 'a', 0, 0, 0, 2, 'b', 'c'};
    struct bytes parts[SMP_BATCH_MAX];
    for (size_t i = 0; i < sizeof CONTENT; i++) {
        unsigned n = 77;
        assert_int_equal(split(bytes_of(CONTENT, i), parts, &n), E_BLOCK);
        assert_int_equal(n, 77);
    }
}

static void lying_batches_are_refused(void **state) {
    (void)state;
    static const struct {
        uint8_t content[8];
        size_t n;
    } ROWS[] = {
        {{0}, 1},                       /* no transmission */
        {{0, 0, 1, 'a'}, 4},            /* none said, one there */
        {{1, 0, 1, 'a', 'b'}, 5},       /* left over */
        {{1, 0, 1, 'a', 0, 1, 'b'}, 7}, /* one said, two there */
        {{2, 0, 1, 'a'}, 4},            /* two said, one there */
        {{1, 0, 2, 'a'}, 4},            /* longer than what is there */
        {{1, 0xff, 0xff, 'a'}, 4},
        {{255, 0, 1, 'a'}, 4},
    };
    struct bytes parts[SMP_BATCH_MAX];
    unsigned n;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        assert_int_equal(split(bytes_of(ROWS[i].content, ROWS[i].n), parts, &n), E_BLOCK);
    }
}

/* ---- transmissions ---- */

enum { TEXT_MAX = 2048 };

/* The parts of a transmission to be made. Lengths of what is filled with a byte of its own. */
struct sample {
    uint16_t version;
    size_t auth, service_sig, corr_id, entity; /* bytes */
    bool has_service_sig, other_session, short_session;
    const char *command;
};

enum { FILL_AUTH = 'a', FILL_SERVICE = 's', FILL_CORR = 'c', FILL_ENTITY = 'e' };

static void put_filled(struct wr *w, uint8_t fill, size_t n) {
    wr_u8(w, (uint8_t)n);
    put_fill(w, fill, n);
}

static struct bytes make(const struct sample *s, uint8_t ret[TEXT_MAX]) {
    struct wr w = wr_init(ret, TEXT_MAX);
    put_filled(&w, FILL_AUTH, s->auth);
    if (s->version >= 16 && s->auth != 0) {
        wr_maybe(&w, s->has_service_sig);
        if (s->has_service_sig) put_filled(&w, FILL_SERVICE, s->service_sig);
    }
    if (s->version < 7) {
        struct wire_params p = sample_params(s->version);
        if (s->other_session) p.session[SESSION_LEN] ^= 1;
        if (s->short_session) p.session[0] = SESSION_LEN - 1;
        wr_bytes_raw(&w, wire_session(&p));
    }
    put_filled(&w, FILL_CORR, s->corr_id);
    put_filled(&w, FILL_ENTITY, s->entity);
    wr_str(&w, s->command);
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static enum err parse(uint16_t version, struct bytes text, struct transmission *ret) {
    const struct wire_params p = sample_params(version);
    memset(ret, 0xee, sizeof *ret);
    uint8_t *copy = exact_copy(text);
    const enum err e = transmission_parse(bytes_of(copy, text.n), &p, ret);
    struct bytes *views[] = {&ret->auth,   &ret->service_sig, &ret->corr_id,
                             &ret->entity, &ret->command,     &ret->signed_text};
    for (size_t i = 0; i < ARRAY_LEN(views); i++) { /* from the copy, which goes, to the text */
        assert_true(lies_in(*views[i], bytes_of(copy, text.n)));
        if (views[i]->n != 0) views[i]->p = text.p + (views[i]->p - copy);
    }
    free(copy);
    return e;
}

static void assert_filled(struct bytes b, uint8_t fill, size_t n) {
    assert_int_equal(b.n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(b.p[i], fill);
}

static void assert_parses(const struct sample *s) {
    uint8_t buf[TEXT_MAX];
    const struct bytes text = make(s, buf);
    struct transmission t;
    assert_int_equal(parse(s->version, text, &t), OK);
    assert_filled(t.auth, FILL_AUTH, s->auth);
    assert_int_equal(t.has_service_sig, s->has_service_sig);
    assert_filled(t.service_sig, FILL_SERVICE, s->service_sig);
    assert_filled(t.corr_id, FILL_CORR, s->corr_id);
    assert_filled(t.entity, FILL_ENTITY, s->entity);
    assert_text(t.command, s->command);
    const size_t n_signed = 2 + s->corr_id + s->entity + strlen(s->command);
    assert_bytes(t.signed_text, bytes_of(text.p + text.n - n_signed, n_signed));
}

static void parts_are_found_in_each_version(void **state) {
    (void)state;
    static const size_t AUTHS[] = {0, 64, 80, 114};
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (size_t i = 0; i < ARRAY_LEN(AUTHS); i++) {
            assert_parses(&(struct sample){.version = v,
                                           .auth = AUTHS[i],
                                           .corr_id = 24,
                                           .entity = 24,
                                           .command = "SUB"});
            assert_parses(&(struct sample){.version = v, .auth = AUTHS[i], .command = ""});
            assert_parses(&(struct sample){.version = v,
                                           .auth = AUTHS[i],
                                           .corr_id = 255,
                                           .entity = 255,
                                           .command = " "});
        }
    }
}

static void service_signature_is_found_since_16(void **state) {
    (void)state;
    for (uint16_t v = 16; v <= LAST_VERSION; v++) {
        assert_parses(&(struct sample){.version = v,
                                       .auth = 80,
                                       .has_service_sig = true,
                                       .service_sig = 64,
                                       .corr_id = 24,
                                       .command = "NEW"});
    }
}

/* Each length but the four of signatures and authenticators; the answer knows its corrId. */
static void impossible_authorization_is_refused(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (size_t n = 1; n <= 255; n++) {
            if (n == 64 || n == 80 || n == 114) continue;
            const struct sample s = {.version = v,
                                     .auth = n,
                                     .corr_id = 24,
                                     .entity = 24,
                                     .command = "SUB"};
            struct transmission t;
            assert_int_equal(parse(v, make(&s, buf), &t), E_BLOCK);
            assert_filled(t.corr_id, FILL_CORR, 24);
            assert_int_equal(t.command.n + t.entity.n + t.auth.n, 0);
        }
    }
}

static void service_signature_must_be_ed25519(void **state) {
    (void)state;
    static const size_t LENGTHS[] = {0, 1, 63, 65, 80, 114, 255};
    uint8_t buf[TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++) {
        const struct sample s = {.version = 16,
                                 .auth = 64,
                                 .has_service_sig = true,
                                 .service_sig = LENGTHS[i],
                                 .corr_id = 24,
                                 .command = "SUB"};
        struct transmission t;
        assert_int_equal(parse(16, make(&s, buf), &t), E_BLOCK);
        assert_int_equal(t.corr_id.n, 0);
    }
}

static void service_part_must_be_there_since_16(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    const struct sample s = {.version = 15, .auth = 64, .corr_id = 24, .command = "PING"};
    struct transmission t;
    assert_int_equal(parse(16, make(&s, buf), &t), E_BLOCK); /* 24 is neither '0' nor '1' */
    assert_int_equal(t.corr_id.n, 0);
}

static void other_session_is_refused_below_7(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    struct transmission t;
    struct sample s = {.version = 6,
                       .auth = 64,
                       .corr_id = 24,
                       .entity = 24,
                       .other_session = true,
                       .command = "SUB"};
    assert_int_equal(parse(6, make(&s, buf), &t), E_SESSION);
    assert_filled(t.corr_id, FILL_CORR, 24);
    assert_int_equal(t.command.n + t.entity.n + t.auth.n, 0);
    s.auth = 63; /* the session is looked at first */
    assert_int_equal(parse(6, make(&s, buf), &t), E_SESSION);
    s.other_session = false;
    s.short_session = true;
    assert_int_equal(parse(6, make(&s, buf), &t), E_SESSION);
}

/* The command is a tail: what is cut off there goes unnoticed here. */
static void prefixes_are_refused(void **state) {
    (void)state;
    uint8_t buf[TEXT_MAX];
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const bool service = v >= 16;
        const struct sample s = {.version = v,
                                 .auth = 64,
                                 .has_service_sig = service,
                                 .service_sig = service ? 64 : 0,
                                 .corr_id = 24,
                                 .entity = 24,
                                 .command = "SUB"};
        const struct bytes text = make(&s, buf);
        struct transmission t;
        for (size_t n = 0; n < text.n; n++) {
            const bool in_command = n >= text.n - strlen(s.command);
            assert_int_equal(parse(v, bytes_of(text.p, n), &t), in_command ? OK : E_BLOCK);
            if (!in_command) assert_int_equal(t.corr_id.n, 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_of_three_is_split),
        cmocka_unit_test(batch_may_hold_255),
        cmocka_unit_test(batch_prefixes_are_refused),
        cmocka_unit_test(lying_batches_are_refused),
        cmocka_unit_test(parts_are_found_in_each_version),
        cmocka_unit_test(service_signature_is_found_since_16),
        cmocka_unit_test(impossible_authorization_is_refused),
        cmocka_unit_test(service_signature_must_be_ed25519),
        cmocka_unit_test(service_part_must_be_there_since_16),
        cmocka_unit_test(other_session_is_refused_below_7),
        cmocka_unit_test(prefixes_are_refused),
    };
    return cmocka_run_group_tests_name("transmission", tests, NULL, NULL);
}
