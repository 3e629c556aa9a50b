/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "crypto/crypto.h"
#include "net/admission.h"

/* A clock that the test moves, and bytes that are always the same. */
static int64_t clock_ms;

static int64_t fake_now_s(void *ctx) {
    (void)ctx;
    return 1700000000 + clock_ms / 1000;
}

static int64_t fake_mono_us(void *ctx) {
    (void)ctx;
    return clock_ms * 1000;
}

static void fake_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    memset(buf, 7, n);
}

static const struct env FAKE = {fake_now_s, fake_mono_us, fake_random, NULL};

static struct admission *new_admission(struct admission_opts o) {
    struct admission *a = NULL;
    assert_int_equal(admission_new(&o, &FAKE, &a), OK);
    return a;
}

static enum admission_limit reached; /* of the last that was refused */

static enum err enter(struct admission *a, const char *host, struct admission_peer **ret) {
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        sa.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
        sa.ss_family = AF_INET6;
    }
    return admission_enter(a, (const struct sockaddr *)&sa, ret, &reached);
}

/* For addresses that must be let in; its handshake is under way. */
static struct admission_peer *must_begin(struct admission *a, const char *host) {
    struct admission_peer *p = NULL;
    assert_int_equal(enter(a, host, &p), OK);
    assert_non_null(p);
    return p;
}

static struct admission_peer *must_enter(struct admission *a, const char *host) {
    struct admission_peer *p = must_begin(a, host);
    admission_settle(a, p);
    return p;
}

static void must_refuse(struct admission *a, const char *host) {
    struct admission_peer *p = NULL;
    const unsigned before = admission_connections(a);
    assert_int_equal(enter(a, host, &p), E_LIMIT);
    assert_null(p);
    assert_int_equal(admission_connections(a), before);
}

static void without_limits_all_are_let_in(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){0});
    struct admission_peer *p[1000];
    for (size_t i = 0; i < 1000; i++) p[i] = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_connections(a), 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(admission_take_new_queue(a, p[i]), LIMIT_NONE);
        admission_leave(a, p[i]);
    }
    assert_int_equal(admission_connections(a), 0);
    admission_free(a);
    admission_free(NULL);
}

static void connections_are_limited_in_all(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.connections_max = 2});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *two = must_enter(a, "192.0.2.2");
    must_refuse(a, "192.0.2.3");
    admission_leave(a, one);
    one = must_enter(a, "192.0.2.3");
    must_refuse(a, "192.0.2.1");
    admission_leave(a, one);
    admission_leave(a, two);
    admission_free(a);
}

static void outgoing_sockets_are_limited(void **state) {
    (void)state;
    struct admission *a =
        new_admission((struct admission_opts){.connections_max = 1, .outgoing_max = 2});
    assert_true(admission_take_outgoing(a) && admission_take_outgoing(a));
    assert_false(admission_take_outgoing(a));
    struct admission_peer *one = must_enter(a, "192.0.2.1"); /* they take nothing from clients */
    admission_give_outgoing(a);
    assert_true(admission_take_outgoing(a));
    admission_leave(a, one);
    admission_give_outgoing(a);
    admission_give_outgoing(a);
    admission_free(a);
}

static void connections_are_limited_per_address(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.connections_per_address = 2});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *two = must_enter(a, "192.0.2.1");
    assert_ptr_equal(one, two);
    must_refuse(a, "192.0.2.1");
    struct admission_peer *other = must_enter(a, "192.0.2.2");
    admission_leave(a, one);
    one = must_enter(a, "192.0.2.1");
    must_refuse(a, "192.0.2.1");
    admission_leave(a, one);
    admission_leave(a, two);
    admission_leave(a, other);
    admission_free(a);
}

static void ipv6_addresses_count_by_their_first_64_bits(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.connections_per_address = 1});
    struct admission_peer *one = must_enter(a, "2001:db8:1:2::1");
    must_refuse(a, "2001:db8:1:2:ffff:ffff:ffff:ffff");
    struct admission_peer *two = must_enter(a, "2001:db8:1:3::1");
    admission_leave(a, one);
    admission_leave(a, two);
    admission_free(a);
}

static void ipv4_peers_of_a_dual_stack_socket_are_told_apart(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.connections_per_address = 1});
    struct admission_peer *one = must_enter(a, "::ffff:192.0.2.1");
    struct admission_peer *two = must_enter(a, "::ffff:192.0.2.2");
    must_refuse(a, "192.0.2.1"); /* the same peer, seen by an IPv4 socket */
    admission_leave(a, one);
    admission_leave(a, two);
    admission_free(a);
}

static void other_families_are_one_address(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.connections_per_address = 1});
    const struct sockaddr local = {.sa_family = AF_UNIX};
    struct admission_peer *one = NULL, *two = NULL;
    assert_int_equal(admission_enter(a, &local, &one, &reached), OK);
    assert_int_equal(admission_enter(a, &local, &two, &reached), E_LIMIT);
    admission_leave(a, one);
    admission_free(a);
}

static void handshakes_are_limited_per_second(void **state) {
    (void)state;
    clock_ms = 5000;
    struct admission *a = new_admission((struct admission_opts){.handshakes_per_second = 4});
    for (int i = 0; i < 4; i++) admission_leave(a, must_enter(a, "192.0.2.1"));
    must_refuse(a, "192.0.2.2");
    clock_ms += 249;
    must_refuse(a, "192.0.2.2");
    clock_ms += 1; /* a quarter of a second: one */
    admission_leave(a, must_enter(a, "192.0.2.2"));
    must_refuse(a, "192.0.2.2");
    clock_ms += 3600000; /* no more than a second's worth is saved up */
    for (int i = 0; i < 4; i++) admission_leave(a, must_enter(a, "192.0.2.1"));
    must_refuse(a, "192.0.2.2");
    admission_free(a);
}

static void the_refused_spend_no_handshake(void **state) {
    (void)state;
    clock_ms = 0;
    struct admission *a = new_admission(
        (struct admission_opts){.connections_per_address = 1, .handshakes_per_second = 2});
    struct admission_peer *one = must_enter(a, "192.0.2.1");
    for (int i = 0; i < 10; i++) must_refuse(a, "192.0.2.1");
    struct admission_peer *two = must_enter(a, "192.0.2.2");
    admission_leave(a, one);
    admission_leave(a, two);
    admission_free(a);
}

static void new_queues_are_limited_per_address_and_minute(void **state) {
    (void)state;
    clock_ms = 0;
    struct admission *a = new_admission((struct admission_opts){.new_queues_per_minute = 3});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *same = must_enter(a, "192.0.2.1");
    struct admission_peer *other = must_enter(a, "192.0.2.2");
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, same), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, same), LIMIT_NEW_QUEUES_PER_ADDRESS);
    assert_int_equal(admission_take_new_queue(a, other), LIMIT_NONE);
    clock_ms += 19999;
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NEW_QUEUES_PER_ADDRESS);
    clock_ms += 1;
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NEW_QUEUES_PER_ADDRESS);
    admission_leave(a, one);
    admission_leave(a, same);
    admission_leave(a, other);
    admission_free(a);
}

static void coming_back_does_not_refill_the_rate(void **state) {
    (void)state;
    clock_ms = 1000;
    struct admission *a = new_admission((struct admission_opts){.new_queues_per_minute = 2});
    struct admission_peer *p = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    admission_leave(a, p);
    clock_ms += 1000;
    p = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NEW_QUEUES_PER_ADDRESS);
    admission_leave(a, p);
    clock_ms += 60000; /* forgotten by now, and full again in any case */
    admission_leave(a, must_enter(a, "192.0.2.9"));
    p = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NEW_QUEUES_PER_ADDRESS);
    admission_leave(a, p);
    admission_free(a); /* with one that is still remembered */
}

static void a_clock_that_steps_back_gives_nothing_away(void **state) {
    (void)state;
    clock_ms = 100000;
    struct admission *a = new_admission((struct admission_opts){.handshakes_per_second = 1});
    admission_leave(a, must_enter(a, "192.0.2.1"));
    clock_ms = 0;
    must_refuse(a, "192.0.2.1");
    admission_free(a);
}

static void one_address_leaves_half_of_the_places(void **state) {
    (void)state;
    struct admission *a = new_admission(
        (struct admission_opts){.connections_max = 4, .connections_per_address = 1000});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *two = must_enter(a, "192.0.2.1");
    must_refuse(a, "192.0.2.1");
    assert_int_equal(reached, LIMIT_CONNECTIONS_PER_ADDRESS);
    struct admission_peer *three = must_enter(a, "192.0.2.2"), *four = must_enter(a, "192.0.2.2");
    must_refuse(a, "192.0.2.3");
    assert_int_equal(reached, LIMIT_CONNECTIONS);
    admission_leave(a, one);
    admission_leave(a, two);
    admission_leave(a, three);
    admission_leave(a, four);
    admission_free(a);
}

/* Also for one that leaves at once, each time. */
static void handshakes_are_limited_per_address(void **state) {
    (void)state;
    clock_ms = 100000;
    struct admission *a = new_admission((struct admission_opts){.handshakes_per_address = 2});
    admission_leave(a, must_enter(a, "192.0.2.1"));
    admission_leave(a, must_enter(a, "192.0.2.1"));
    must_refuse(a, "192.0.2.1");
    assert_int_equal(reached, LIMIT_HANDSHAKES_PER_ADDRESS);
    admission_leave(a, must_enter(a, "192.0.2.2"));
    clock_ms += 500;
    admission_leave(a, must_enter(a, "192.0.2.1"));
    must_refuse(a, "192.0.2.1");
    admission_free(a);
}

static void handshakes_under_way_are_limited_per_address(void **state) {
    (void)state;
    struct admission *a = new_admission((struct admission_opts){.handshakes_underway = 1});
    struct admission_peer *one = must_begin(a, "192.0.2.1");
    must_refuse(a, "192.0.2.1");
    assert_int_equal(reached, LIMIT_HANDSHAKES_UNDERWAY);
    struct admission_peer *other = must_begin(a, "192.0.2.2");
    admission_settle(a, one);
    struct admission_peer *two = must_begin(a, "192.0.2.1");
    admission_settle(a, two);
    admission_settle(a, other);
    admission_leave(a, one);
    admission_leave(a, two);
    admission_leave(a, other);
    admission_free(a);
}

static void new_queues_are_limited_in_all(void **state) {
    (void)state;
    clock_ms = 100000;
    struct admission *a =
        new_admission((struct admission_opts){.new_queues_per_minute = 2, .new_queues_in_all = 3});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *other = must_enter(a, "192.0.2.2");
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, one), LIMIT_NEW_QUEUES_PER_ADDRESS);
    assert_int_equal(admission_take_new_queue(a, other), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, other), LIMIT_NEW_QUEUES);
    clock_ms += 20000; /* one more in all; the refused has not spent its own */
    assert_int_equal(admission_take_new_queue(a, other), LIMIT_NONE);
    admission_leave(a, one);
    admission_leave(a, other);
    admission_free(a);
}

/* Also for an address that is away for most of that day. */
static void new_queues_and_services_are_limited_per_day(void **state) {
    (void)state;
    clock_ms = 100000;
    struct admission *a =
        new_admission((struct admission_opts){.new_queues_per_day = 2, .new_services_per_day = 1});
    struct admission_peer *p = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NEW_QUEUES_PER_DAY);
    assert_int_equal(admission_take_new_service(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_service(a, p), LIMIT_NEW_SERVICES);
    admission_leave(a, p);
    for (int hour = 0; hour < 11; hour++) {
        clock_ms += 3600000;
        admission_leave(a, must_enter(a, "192.0.2.9"));
    }
    p = must_enter(a, "192.0.2.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NEW_QUEUES_PER_DAY);
    clock_ms += 3600000;
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NEW_QUEUES_PER_DAY);
    assert_int_equal(admission_take_new_service(a, p), LIMIT_NEW_SERVICES);
    clock_ms += 43200000;
    assert_int_equal(admission_take_new_service(a, p), LIMIT_NONE);
    admission_leave(a, p);
    admission_free(a);
}

static void shares_are_of_an_address(void **state) {
    (void)state;
    struct admission *a =
        new_admission((struct admission_opts){.relays_underway = 2, .forwards_underway = 1});
    struct admission_peer *one = must_enter(a, "192.0.2.1"), *other = must_enter(a, "192.0.2.2");
    struct admission_peer *own = must_enter(a, "127.0.0.1");
    assert_int_equal(admission_take_share(a, one, SHARE_RELAYS), LIMIT_NONE);
    assert_int_equal(admission_take_share(a, one, SHARE_RELAYS), LIMIT_NONE);
    assert_int_equal(admission_take_share(a, one, SHARE_RELAYS), LIMIT_RELAYS);
    assert_int_equal(admission_take_share(a, one, SHARE_FORWARDS), LIMIT_NONE);
    assert_int_equal(admission_take_share(a, one, SHARE_FORWARDS), LIMIT_FORWARDS);
    assert_int_equal(admission_take_share(a, other, SHARE_FORWARDS), LIMIT_NONE);
    for (int i = 0; i < 100; i++)
        assert_int_equal(admission_take_share(a, own, SHARE_RELAYS), LIMIT_NONE);
    admission_give_share(one, SHARE_RELAYS);
    assert_int_equal(admission_take_share(a, one, SHARE_RELAYS), LIMIT_NONE);
    assert_int_equal(admission_take_share(a, one, SHARE_RELAYS), LIMIT_RELAYS);
    admission_leave(a, one);
    admission_leave(a, other);
    admission_leave(a, own);
    admission_free(a);
}

/* What is under way for an address that has left counts when it comes back. */
static void who_is_held_stays(void **state) {
    (void)state;
    clock_ms = 100000;
    struct admission *a = new_admission((struct admission_opts){.relays_underway = 1});
    struct admission_peer *p = must_enter(a, "192.0.2.1");
    admission_hold(a, p);
    assert_int_equal(admission_take_share(a, p, SHARE_RELAYS), LIMIT_NONE);
    admission_leave(a, p);
    for (int i = 0; i < 10; i++) {
        clock_ms += 60000;
        admission_leave(a, must_enter(a, "192.0.2.9"));
    }
    struct admission_peer *again = must_enter(a, "192.0.2.1");
    assert_ptr_equal(again, p);
    assert_int_equal(admission_take_share(a, again, SHARE_RELAYS), LIMIT_RELAYS);
    admission_give_share(p, SHARE_RELAYS);
    admission_let_go(a, p);
    admission_leave(a, again);
    admission_free(a);
}

static uint64_t fake_memory;

static uint64_t fake_memory_used(void) {
    return fake_memory;
}

/* Who is there stays; it is looked at again after a moment. */
static void nobody_is_let_in_while_memory_is_full(void **state) {
    (void)state;
    clock_ms = 100000;
    fake_memory = 999;
    struct admission *a =
        new_admission((struct admission_opts){.memory_max = 1000, .memory_used = fake_memory_used});
    struct admission_peer *p = must_enter(a, "192.0.2.1");
    fake_memory = 1000;
    clock_ms += 1000;
    must_refuse(a, "192.0.2.1");
    assert_int_equal(reached, LIMIT_MEMORY);
    must_refuse(a, "127.0.0.1");
    assert_int_equal(admission_take_new_queue(a, p), LIMIT_NONE);
    fake_memory = 999;
    clock_ms += 1000;
    admission_leave(a, must_enter(a, "192.0.2.1"));
    admission_leave(a, p);
    admission_free(a);
}

/* Who comes through Tor or a proxy of this machine is not one client. */
static void localhost_is_limited_only_on_demand(void **state) {
    (void)state;
    static const char *const OWN[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    struct admission_opts o = {.connections_per_address = 1,
                               .handshakes_per_address = 1,
                               .handshakes_underway = 1,
                               .new_queues_per_minute = 1};
    for (size_t i = 0; i < sizeof OWN / sizeof *OWN; i++) {
        o.limit_localhost = false;
        struct admission *a = new_admission(o);
        struct admission_peer *one = must_begin(a, OWN[i]), *two = must_begin(a, OWN[i]);
        assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
        assert_int_equal(admission_take_new_queue(a, one), LIMIT_NONE);
        admission_settle(a, one);
        admission_settle(a, two);
        admission_leave(a, one);
        admission_leave(a, two);
        admission_free(a);
        o.limit_localhost = true;
        a = new_admission(o);
        one = must_enter(a, OWN[i]);
        must_refuse(a, OWN[i]);
        admission_leave(a, one);
        admission_free(a);
    }
}

/* ---- several threads ---- */

enum { N_THREADS = 4, N_ROUNDS = 2000 };

static void *come_and_go(void *arg) {
    struct admission *a = arg;
    struct sockaddr_in sa = {.sin_family = AF_INET};
    for (uint32_t i = 0; i < N_ROUNDS; i++) {
        sa.sin_addr.s_addr = i % 7;
        struct admission_peer *p = NULL;
        enum admission_limit limit;
        if (admission_enter(a, (const struct sockaddr *)&sa, &p, &limit) != OK) continue;
        (void)admission_take_new_queue(a, p);
        admission_settle(a, p);
        admission_leave(a, p);
    }
    return NULL;
}

static void threads_share_the_counts(void **state) {
    (void)state;
    clock_ms = 0;
    struct admission *a = new_admission((struct admission_opts){.connections_max = 3,
                                                                .connections_per_address = 2,
                                                                .new_queues_per_minute = 100});
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, a), 0);
    }
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(admission_connections(a), 0);
    admission_free(a);
}

static int init(void **state) {
    (void)state;
    return crypto_init() == OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_all_are_let_in),
        cmocka_unit_test(connections_are_limited_in_all),
        cmocka_unit_test(outgoing_sockets_are_limited),
        cmocka_unit_test(connections_are_limited_per_address),
        cmocka_unit_test(ipv6_addresses_count_by_their_first_64_bits),
        cmocka_unit_test(ipv4_peers_of_a_dual_stack_socket_are_told_apart),
        cmocka_unit_test(other_families_are_one_address),
        cmocka_unit_test(handshakes_are_limited_per_second),
        cmocka_unit_test(the_refused_spend_no_handshake),
        cmocka_unit_test(new_queues_are_limited_per_address_and_minute),
        cmocka_unit_test(coming_back_does_not_refill_the_rate),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing_away),
        cmocka_unit_test(one_address_leaves_half_of_the_places),
        cmocka_unit_test(handshakes_are_limited_per_address),
        cmocka_unit_test(handshakes_under_way_are_limited_per_address),
        cmocka_unit_test(new_queues_are_limited_in_all),
        cmocka_unit_test(new_queues_and_services_are_limited_per_day),
        cmocka_unit_test(shares_are_of_an_address),
        cmocka_unit_test(who_is_held_stays),
        cmocka_unit_test(nobody_is_let_in_while_memory_is_full),
        cmocka_unit_test(localhost_is_limited_only_on_demand),
        cmocka_unit_test(threads_share_the_counts),
    };
    return cmocka_run_group_tests(tests, init, NULL);
}
