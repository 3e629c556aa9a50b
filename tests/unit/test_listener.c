/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Which addresses are listened at, and that accepting goes on. */
#include "net_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>

static const struct client_opts PLAIN = {0};

/* ---- listener ---- */

static void addresses_are_checked(void **state) {
    (void)state;
    struct server *s = usual_server();
    struct listener *ls = NULL;
    const uint16_t port = listener_port(s->listener);
    static const char *const BAD[] = {"localhost", "", "1.2.3", "::g", "1.2.3.4.5"};
    struct loop *l = NULL;
    assert_int_equal(loop_new(1, &ENV_SYSTEM, &l), OK);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        const struct listener_addr a = {.host = BAD[i], .port = 0};
        assert_int_equal(listener_probe(&a), E_SYNTAX);
        assert_int_equal(listener_open(l, &a, s->tls, &s->opts.stream, &ls), E_SYNTAX);
    }
    const struct listener_addr taken = {.host = "127.0.0.1", .port = port};
    assert_int_equal(listener_probe(&taken), E_SYS);
    assert_int_equal(errno, EADDRINUSE);
    const struct listener_addr elsewhere = {.host = "192.0.2.1", .port = 0};
    assert_int_equal(listener_open(l, &elsewhere, s->tls, &s->opts.stream, &ls), E_SYS);
    assert_int_equal(errno, EADDRNOTAVAIL);
    /* Another loop may share the port. */
    assert_int_equal(listener_open(l, &taken, s->tls, &s->opts.stream, &ls), OK);
    assert_int_equal(listener_port(ls), port);
    loop_free(l); /* closes the listener that was left open */
    server_close(s);
    listener_close(NULL);
    const struct listener_addr any = {.host = NULL, .port = 0};
    assert_int_equal(listener_probe(&any), OK);
}

static bool can_connect_v6(uint16_t port) {
    const struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                                   .sin6_port = htons(port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return false;
    const bool is_connected = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return is_connected;
}

static bool has_ipv6(void) {
    const struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return false;
    const bool is_bound = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)close(fd);
    return is_bound;
}

static void all_addresses_means_both_families(void **state) {
    (void)state;
    struct server *s = server_open(&(struct server){.host = "*"});
    struct client c;
    client_open(&c, s, &PLAIN);
    client_echo(&c, 1);
    client_close(&c);
    assert_int_equal(can_connect_v6(listener_port(s->listener)), has_ipv6());
    server_close(s);
}

static void accepting_goes_on_when_descriptors_are_back(void **state) {
    (void)state;
    /* Valgrind plays the limit: it accepts, and closes what is above it. */
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded != NULL && strstr(preloaded, "vgpreload") != NULL) skip();
    struct server *s = usual_server();
    struct client c;
    const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(next >= 0);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next + 1; /* the client's socket takes the last one */
    (void)close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    client_init(&c, listener_port(s->listener), &PLAIN); /* the kernel connects it */
    const struct timespec pause = {0, 300000000};
    (void)nanosleep(&pause, NULL);
    assert_int_equal(admission_connections(s->admission), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(client_handshake(&c), 1);
    client_echo(&c, 1);
    client_close(&c);
    server_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(addresses_are_checked, forget_servers),
        cmocka_unit_test_teardown(all_addresses_means_both_families, forget_servers),
        cmocka_unit_test_teardown(accepting_goes_on_when_descriptors_are_back, forget_servers),
    };
    return cmocka_run_group_tests(tests, init_net, NULL);
}
