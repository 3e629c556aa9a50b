/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* From the address that a client names to the host that is connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/wr.h"
#include "crypto/crypto.h"
#include "proxy/relay_addr.h"

static const uint8_t IDENTITY[32] = {1, 2, 3};
static uint8_t buf[1024];

/* Hosts separated by spaces, as items of PRXY's list. */
static struct relay_name name_of(const char *hosts, const char *port) {
    struct wr w = wr_init(buf, sizeof buf);
    while (*hosts != '\0') {
        const size_t n = strcspn(hosts, " ");
        wr_short(&w, bytes_of(hosts, n));
        hosts += n + (hosts[n] == ' ' ? 1 : 0);
    }
    return (struct relay_name){wr_bytes(&w), bytes_str(port), bytes_of(IDENTITY, sizeof IDENTITY)};
}

static const struct relay_addr_rules PUBLIC = {false, false, "example.org, own.example"};
static const struct relay_addr_rules ONLY_PUBLIC = {false, true, ""};
static const struct relay_addr_rules ONION = {true, false, ""};
static const struct relay_addr_rules ONLY_ONION = {true, true, ""};

static void check_host(const char *hosts, const struct relay_addr_rules *rules, const char *host) {
    struct relay_addr a;
    const struct relay_name name = name_of(hosts, "");
    const enum err e = relay_addr_from(&name, rules, &a);
    assert_int_equal(e, host != NULL ? OK : E_HOST);
    if (host != NULL) assert_string_equal(a.target.host, host);
    if (host != NULL) assert_int_equal(a.target.port, 5223);
}

static void test_hosts(void **state) {
    (void)state;
    check_host("a.example x.onion", &PUBLIC, "a.example");
    check_host("x.onion a.example", &PUBLIC, "a.example");
    check_host("x.onion", &PUBLIC, "x.onion");
    check_host("x.onion", &ONLY_PUBLIC, NULL);
    check_host("a.example x.onion", &ONION, "x.onion");
    check_host("a.example b.example", &ONION, "a.example");
    check_host("a.example", &ONLY_ONION, NULL);
    check_host("a/b 1.2.3.4", &PUBLIC, "1.2.3.4");
    check_host("[2001:db8::1]", &PUBLIC, "2001:db8::1");
    check_host("a/b", &PUBLIC, NULL);
}

static void test_ports_and_identity(void **state) {
    (void)state;
    struct relay_addr a;
    struct relay_name name = name_of("a.example", "443");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &a), OK);
    assert_int_equal(a.target.port, 443);
    assert_memory_equal(a.target.identity, IDENTITY, sizeof IDENTITY);
    static const char *const BAD[] = {"0", "65536", "999999", "-1", "1 ", "x", "000443"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        name.port = bytes_str(BAD[i]);
        assert_int_equal(relay_addr_from(&name, &PUBLIC, &a), E_SYNTAX);
    }
    name.port = bytes_str("443");
    name.identity.n = 31;
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &a), E_SYNTAX);
}

static void test_key(void **state) {
    (void)state;
    struct relay_addr a, b;
    struct relay_name name = name_of("a.example b.example", "");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &a), OK);
    name = name_of("a.example b.example", "5223");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &b), OK);
    assert_true(id_equal(&a.key, &b.key));
    name = name_of("a.example b.example", "443");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &b), OK);
    assert_false(id_equal(&a.key, &b.key));
    name = name_of("a.example", "");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &b), OK);
    assert_false(id_equal(&a.key, &b.key));
}

static void check_own(const char *hosts, bool own) {
    struct relay_addr a;
    const struct relay_name name = name_of(hosts, "");
    assert_int_equal(relay_addr_from(&name, &PUBLIC, &a), OK);
    assert_int_equal(a.is_own, own);
}

static void test_own(void **state) {
    (void)state;
    check_own("example.org", true);
    check_own("smp1.EXAMPLE.org", true);
    check_own("own.example", true);
    check_own("notexample.org", false);
    check_own("example.org.evil", false);
    check_own("a.example example.org", false); /* the first host counts */
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_ports_and_identity),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
