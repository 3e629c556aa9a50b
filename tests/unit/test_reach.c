/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which addresses are public, and what kind of host a text names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "net/reach.h"

static bool is_public(const char *text) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return reach_is_public((const struct sockaddr *)&v4);
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) fail_msg("not an address: %s", text);
    return reach_is_public((const struct sockaddr *)&v6);
}

static const char *const PUBLIC[] = {
    "1.1.1.1",         "9.255.255.255",   "11.0.0.0",         "100.63.255.255",  "100.128.0.0",
    "126.255.255.255", "128.0.0.0",       "169.253.255.255",  "169.255.0.0",     "172.15.255.255",
    "172.32.0.0",      "192.0.1.0",       "192.167.255.255",  "192.169.0.0",     "198.17.255.255",
    "198.20.0.0",      "223.255.255.255", "2001:4860::8888",  "2620:fe::9",      "2a00::1",
    "3fff:1000::1",    "::ffff:8.8.8.8",  "64:ff9b::808:808", "2002:808:808::1", "2001:500::1",
};

static const char *const NOT_PUBLIC[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:c0a8:1::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
};

static void test_addresses(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(PUBLIC); i++) {
        if (!is_public(PUBLIC[i])) fail_msg("%s is public", PUBLIC[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(NOT_PUBLIC); i++) {
        if (is_public(NOT_PUBLIC[i])) fail_msg("%s is not public", NOT_PUBLIC[i]);
    }
}

static void test_other_families(void **state) {
    (void)state;
    const struct sockaddr a = {.sa_family = AF_UNIX};
    assert_false(reach_is_public(&a));
}

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        const char *host;
        enum host_kind kind;
    } CASES[] = {
        {"relay.example", HOST_NAME},
        {"RELAY.example.", HOST_NAME},
        {"a_b-c.d", HOST_NAME},
        {"localhost", HOST_NAME},
        {"notonion", HOST_NAME},
        {"x.onion.example", HOST_NAME},
        {"x.onion", HOST_ONION},
        {"X.ONION", HOST_ONION},
        {"x.onion.", HOST_ONION},
        {"x.onion..", HOST_ONION},
        {"onion", HOST_ONION},
        {"1.2.3.4", HOST_IP},
        {"::1", HOST_IP},
        {"fe80::1%eth0", HOST_BAD},
        {"", HOST_BAD},
        {".", HOST_BAD},
        {"a b", HOST_BAD},
        {"a/b", HOST_BAD},
        {"[::1]", HOST_BAD},
        {"127.1", HOST_BAD},
        {"2130706433", HOST_BAD},
        {"0x7f.1", HOST_BAD},
        {"1.2.3.4.", HOST_BAD},
        {"192.168.1.300", HOST_BAD},
        {"smp..com", HOST_BAD},
        {".com", HOST_BAD},
        {"x:443", HOST_BAD},
        {"\xc3\xa4.example", HOST_BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (host_kind_of(CASES[i].host) != CASES[i].kind) fail_msg("\"%s\"", CASES[i].host);
    }
    char longest[HOST_TEXT_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[HOST_TEXT_MAX] = '\0';
    assert_int_equal(host_kind_of(longest), HOST_BAD);
    longest[HOST_TEXT_MAX - 1] = '\0';
    assert_int_equal(host_kind_of(longest), HOST_BAD);
    for (size_t i = 63; i < HOST_TEXT_MAX - 1; i += 64) longest[i] = '.';
    assert_int_equal(host_kind_of(longest), HOST_NAME);
    longest[63] = 'a';
    assert_int_equal(host_kind_of(longest), HOST_BAD);
}

static void test_local_names(void **state) {
    (void)state;
    assert_true(host_is_local_name("localhost"));
    assert_true(host_is_local_name("LocalHost."));
    assert_true(host_is_local_name("a.localhost"));
    assert_false(host_is_local_name("alocalhost"));
    assert_false(host_is_local_name("localhost.example"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_local_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
