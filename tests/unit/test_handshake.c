/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The three messages that open a session, in each version. */
#include "wire_fixture.h"

#include "wire/handshake.h"

enum { BUF_LEN = 2048, FILL_KEY = 0x42 };

/* A list of two certificates, and a signed key: any bytes will do here. */
static const uint8_t CHAIN[] = {2, 0, 4, 'l', 'e', 'a', 'f', 0, 2, 'c', 'a'};
static const uint8_t SIGNED_KEY[] = "signed key";

static struct bytes chain(void) {
    return bytes_of(CHAIN, sizeof CHAIN);
}

static struct bytes signed_key(void) {
    return bytes_of(SIGNED_KEY, sizeof SIGNED_KEY);
}

static void put_chain_and_key(struct wr *w) {
    wr_bytes_raw(w, chain());
    wr_large(w, signed_key());
}

/* ---- server hello ---- */

/* By hand, as the protocol says. */
static struct bytes server_text(uint8_t buf[BUF_LEN], uint16_t max) {
    struct wr w = wr_init(buf, BUF_LEN);
    wr_u16(&w, 6);
    wr_u16(&w, max);
    wr_short(&w, bytes_str("session id"));
    if (max >= 7) put_chain_and_key(&w);
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static struct server_hello server_sample(uint16_t max) {
    return (struct server_hello){.version_min = 6,
                                 .version_max = max,
                                 .session_id = bytes_str("session id"),
                                 .cert_chain = chain(),
                                 .signed_key = signed_key()};
}

static enum err parse_server(struct bytes text, struct server_hello *ret) {
    uint8_t *copy = exact_copy(text);
    struct server_hello h = {0};
    const enum err e = server_hello_parse(bytes_of(copy, text.n), &h);
    if (e == OK) {
        assert_true(lies_in(h.session_id, bytes_of(copy, text.n)));
        assert_true(lies_in(h.cert_chain, bytes_of(copy, text.n)));
        assert_true(lies_in(h.signed_key, bytes_of(copy, text.n)));
    }
    free(copy);
    assert_int_equal(server_hello_parse(text, ret), e);
    return e;
}

static void server_hello_has_the_bytes_of_its_version(void **state) {
    (void)state;
    for (uint16_t max = FIRST_VERSION; max <= LAST_VERSION; max++) {
        uint8_t expected[BUF_LEN], buf[BUF_LEN];
        const struct server_hello h = server_sample(max);
        struct wr w = wr_init(buf, sizeof buf);
        server_hello_write(&h, &w);
        assert_int_equal(wr_err(&w), OK);
        assert_bytes(wr_bytes(&w), server_text(expected, max));
    }
}

/* The proof ends the hello; who does not ask for it sees no difference. */
static void server_hello_ends_with_its_proof(void **state) {
    (void)state;
    uint8_t plain[1024], proved[1024];
    struct server_hello h = server_sample(20);
    struct wr a = wr_init(plain, sizeof plain), b = wr_init(proved, sizeof proved);
    server_hello_write(&h, &a);
    h.proof = bytes_str("proof");
    server_hello_write(&h, &b);
    assert_int_equal(wr_bytes(&b).n, wr_bytes(&a).n + 1 + 5);
    assert_memory_equal(proved, plain, wr_bytes(&a).n);
    assert_memory_equal(proved + wr_bytes(&a).n, "\x05proof", 6);
}

static void server_hello_is_read_back(void **state) {
    (void)state;
    for (uint16_t max = FIRST_VERSION; max <= LAST_VERSION; max++) {
        uint8_t buf[BUF_LEN];
        struct server_hello h;
        assert_int_equal(parse_server(server_text(buf, max), &h), OK);
        assert_int_equal(h.version_min, 6);
        assert_int_equal(h.version_max, max);
        assert_text(h.session_id, "session id");
        assert_bytes(h.cert_chain, max >= 7 ? chain() : (struct bytes){0});
        assert_bytes(h.signed_key, max >= 7 ? signed_key() : (struct bytes){0});
    }
}

static void server_hello_prefixes_are_refused(void **state) {
    (void)state;
    for (uint16_t max = FIRST_VERSION; max <= LAST_VERSION; max++) {
        uint8_t buf[BUF_LEN];
        const struct bytes text = server_text(buf, max);
        struct server_hello h = {.version_min = 99};
        for (size_t n = 0; n < text.n; n++) {
            assert_int_equal(parse_server(bytes_of(text.p, n), &h), E_SYNTAX);
        }
        assert_int_equal(h.version_min, 99); /* untouched */
    }
}

static void server_hello_may_have_more_at_its_end(void **state) {
    (void)state;
    for (uint16_t max = FIRST_VERSION; max <= LAST_VERSION; max++) {
        uint8_t buf[BUF_LEN];
        const size_t n = server_text(buf, max).n;
        memset(buf + n, 0xff, 100);
        struct server_hello h;
        assert_int_equal(parse_server(bytes_of(buf, n + 100), &h), OK);
        assert_int_equal(h.version_max, max);
    }
}

static void empty_certificate_list_is_refused(void **state) {
    (void)state;
    uint8_t buf[BUF_LEN];
    const struct bytes text = server_text(buf, 18);
    buf[4 + 1 + strlen("session id")] = 0;
    struct server_hello h;
    assert_int_equal(parse_server(text, &h), E_SYNTAX);
}

/* ---- client hello ---- */

struct sample {
    uint16_t version;
    bool no_key, proxy, service;
    char role;
};

static struct bytes client_text(uint8_t buf[BUF_LEN], const struct sample *s) {
    struct wr w = wr_init(buf, BUF_LEN);
    wr_u16(&w, s->version);
    wr_short(&w, bytes_str("identity"));
    if (s->version >= 7 && !s->no_key) put_key(&w, KEY_X25519, FILL_KEY);
    if (s->version >= 14) wr_str(&w, s->proxy ? "T" : "F");
    if (s->version >= 16) wr_str(&w, s->service ? "1" : "0");
    if (s->version >= 16 && s->service) {
        wr_u8(&w, (uint8_t)s->role);
        put_chain_and_key(&w);
    }
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static enum err parse_client(struct bytes text, struct client_hello *ret) {
    uint8_t *copy = exact_copy(text);
    struct client_hello h = {0};
    const enum err e = client_hello_parse(bytes_of(copy, text.n), &h);
    if (e == OK) {
        assert_true(lies_in(h.identity, bytes_of(copy, text.n)));
        assert_true(lies_in(h.service.cert_chain, bytes_of(copy, text.n)));
        assert_true(lies_in(h.service.signed_key, bytes_of(copy, text.n)));
    }
    free(copy);
    assert_int_equal(client_hello_parse(text, ret), e);
    return e;
}

/* Reads it, and writes it again with the same bytes. */
static void assert_client(const struct sample *s) {
    uint8_t buf[BUF_LEN], again[BUF_LEN];
    const struct bytes text = client_text(buf, s);
    struct client_hello h;
    assert_int_equal(parse_client(text, &h), OK);
    assert_int_equal(h.version, s->version);
    assert_text(h.identity, "identity");
    const bool has_key = s->version >= 7 && !s->no_key;
    const struct pubkey key = sample_key(has_key ? KEY_X25519 : KEY_NONE, FILL_KEY);
    assert_true(pubkey_equal(&h.key, &key));
    assert_int_equal(h.proxy_server, s->version >= 14 && s->proxy);
    const bool has_service = s->version >= 16 && s->service;
    assert_int_equal(h.has_service, has_service);
    if (has_service) {
        assert_int_equal(h.service.role, s->role);
        assert_bytes(h.service.cert_chain, chain());
        assert_bytes(h.service.signed_key, signed_key());
    }
    struct wr w = wr_init(again, sizeof again);
    client_hello_write(&h, &w);
    assert_bytes(wr_bytes(&w), text);
}

static void client_hello_is_read_and_written(void **state) {
    (void)state;
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (unsigned i = 0; i < 8; i++) {
            assert_client(&(struct sample){.version = v,
                                           .no_key = (i & 1) != 0,
                                           .proxy = (i & 2) != 0,
                                           .service = (i & 4) != 0,
                                           .role = 'M'});
        }
    }
}

static void service_roles(void **state) {
    (void)state;
    for (unsigned role = 0; role < 256; role++) {
        const struct sample s = {.version = 16, .service = true, .role = (char)role};
        if (role != 0 && strchr("MNP", (int)role) != NULL) {
            assert_client(&s);
            continue;
        }
        uint8_t buf[BUF_LEN];
        struct client_hello h;
        assert_int_equal(parse_client(client_text(buf, &s), &h), E_SYNTAX);
    }
}

/* The key is optional: up to version 13 the content may end before it. */
static void client_hello_prefixes_are_refused(void **state) {
    (void)state;
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const struct sample s = {.version = v, .service = true, .role = 'N'};
        uint8_t buf[BUF_LEN];
        const struct bytes text = client_text(buf, &s);
        const size_t before_key = 2 + 1 + strlen("identity");
        for (size_t n = 0; n < text.n; n++) {
            struct client_hello h = {.version = 99};
            const bool keyless = v >= 7 && v < 14 && n == before_key;
            assert_int_equal(parse_client(bytes_of(text.p, n), &h), keyless ? OK : E_SYNTAX);
            if (!keyless) assert_int_equal(h.version, 99);
        }
    }
}

static void client_hello_may_have_more_at_its_end(void **state) {
    (void)state;
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const struct sample s = {.version = v, .service = true, .role = 'P'};
        uint8_t buf[BUF_LEN];
        const size_t n = client_text(buf, &s).n;
        memset(buf + n, 0xff, 100);
        struct client_hello h;
        assert_int_equal(parse_client(bytes_of(buf, n + 100), &h), OK);
        assert_int_equal(h.version, v);
    }
}

static void client_key_must_be_x25519(void **state) {
    (void)state;
    for (enum key_type t = KEY_ED25519; t < N_KEY_TYPES; t++) {
        for (uint16_t v = 7; v <= LAST_VERSION; v++) {
            uint8_t buf[BUF_LEN];
            struct wr w = wr_init(buf, sizeof buf);
            wr_u16(&w, v);
            wr_short(&w, bytes_str("identity"));
            put_key(&w, t, 1);
            wr_str(&w, "F0");
            struct client_hello h;
            assert_int_equal(parse_client(wr_bytes(&w), &h), E_SYNTAX);
        }
    }
}

static void garbage_in_place_of_the_key_is_refused(void **state) {
    (void)state;
    for (unsigned len = 0; len < 256; len++) {
        uint8_t buf[BUF_LEN];
        struct wr w = wr_init(buf, sizeof buf);
        wr_u16(&w, 16);
        wr_short(&w, bytes_str("identity"));
        wr_u8(&w, (uint8_t)len);
        put_fill(&w, '0', 300);
        const bool is_proxy_server = len == 'T' || len == 'F'; /* then there is no key */
        struct client_hello h;
        assert_int_equal(parse_client(wr_bytes(&w), &h), is_proxy_server ? OK : E_SYNTAX);
    }
}

/* ---- agreement ---- */

static void version_is_the_clients_when_in_range(void **state) {
    (void)state;
    for (uint16_t v = 0; v < 30; v++) {
        uint16_t agreed = 99;
        const bool in_range = v >= 6 && v <= 18;
        assert_int_equal(handshake_agree(6, 18, v, &agreed), in_range ? OK : E_VERSION);
        assert_int_equal(agreed, in_range ? v : 99);
    }
    uint16_t agreed = 99;
    assert_int_equal(handshake_agree(6, 6, 6, &agreed), OK); /* a client without ALPN */
    assert_int_equal(handshake_agree(6, 6, 7, &agreed), E_VERSION);
    assert_int_equal(handshake_agree(6, 18, UINT16_MAX, &agreed), E_VERSION);
    assert_int_equal(agreed, 6);
}

/* ---- third message ---- */

static void service_answers(void **state) {
    (void)state;
    static const char *const REFUSALS[] = {
        [TRANSPORT_BLOCK] = "EBLOCK",
        [TRANSPORT_VERSION] = "EVERSION",
        [TRANSPORT_LARGE_MSG] = "ELARGE_MSG",
        [TRANSPORT_SESSION] = "ESESSION",
        [TRANSPORT_NO_AUTH] = "ENO_AUTH",
        [TRANSPORT_HS_PARSE] = "EHANDSHAKE PARSE",
        [TRANSPORT_HS_IDENTITY] = "EHANDSHAKE IDENTITY",
        [TRANSPORT_HS_BAD_AUTH] = "EHANDSHAKE BAD_AUTH",
        [TRANSPORT_HS_BAD_SERVICE] = "EHANDSHAKE BAD_SERVICE",
    };
    uint8_t buf[64];
    struct wr w = wr_init(buf, sizeof buf);
    service_accepted_write(bytes_str("service id"), &w);
    assert_text(wr_bytes(&w), "R\x0aservice id");
    for (unsigned i = 0; i < ARRAY_LEN(REFUSALS); i++) {
        w = wr_init(buf, sizeof buf);
        service_refused_write((enum transport_error)i, &w);
        assert_text(wr_bytes(&w), REFUSALS[i]);
        assert_string_equal(transport_error_text((enum transport_error)i), REFUSALS[i] + 1);
    }
}

static void too_small_buffers_are_noticed(void **state) {
    (void)state;
    uint8_t text[BUF_LEN];
    const struct server_hello s = server_sample(18);
    const struct sample sample = {.version = 18, .service = true, .role = 'M'};
    struct client_hello c;
    assert_int_equal(client_hello_parse(client_text(text, &sample), &c), OK);
    uint8_t full[BUF_LEN];
    struct wr w = wr_init(full, sizeof full);
    server_hello_write(&s, &w);
    const size_t n_server = w.at;
    client_hello_write(&c, &w);
    const size_t n_client = w.at - n_server;
    assert_int_equal(wr_err(&w), OK);
    for (size_t cap = 0; cap < (n_server > n_client ? n_server : n_client); cap++) {
        uint8_t *small = malloc(cap != 0 ? cap : 1); /* a sanitizer sees what is beyond */
        assert_non_null(small);
        w = wr_init(small, cap);
        server_hello_write(&s, &w);
        assert_int_equal(wr_err(&w), cap < n_server ? E_LIMIT : OK);
        w = wr_init(small, cap);
        client_hello_write(&c, &w);
        assert_int_equal(wr_err(&w), cap < n_client ? E_LIMIT : OK);
        free(small);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_hello_has_the_bytes_of_its_version),
        cmocka_unit_test(server_hello_ends_with_its_proof),
        cmocka_unit_test(server_hello_is_read_back),
        cmocka_unit_test(server_hello_prefixes_are_refused),
        cmocka_unit_test(server_hello_may_have_more_at_its_end),
        cmocka_unit_test(empty_certificate_list_is_refused),
        cmocka_unit_test(client_hello_is_read_and_written),
        cmocka_unit_test(service_roles),
        cmocka_unit_test(client_hello_prefixes_are_refused),
        cmocka_unit_test(client_hello_may_have_more_at_its_end),
        cmocka_unit_test(client_key_must_be_x25519),
        cmocka_unit_test(garbage_in_place_of_the_key_is_refused),
        cmocka_unit_test(version_is_the_clients_when_in_range),
        cmocka_unit_test(service_answers),
        cmocka_unit_test(too_small_buffers_are_noticed),
    };
    return cmocka_run_group_tests_name("handshake", tests, NULL, NULL);
}
