/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Who listens: one session of each queue, notifier and service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "subs/subs.h"

enum { N = 500, N_THREADS = 4, ROUNDS = 20000 };

static struct subs *subs; /* of the present test */

static int setup(void **state) {
    (void)state;
    return subs_new(&ENV_SYSTEM, &subs) == OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    subs_free(subs);
    return 0;
}

static struct subscriber session(unsigned n) {
    return (struct subscriber){.slot = n, .generation = n};
}

static struct id id_of(unsigned i) {
    struct id id = {{0}};
    memcpy(id.b, &i, sizeof i);
    id.b[ID_LEN - 1] = (uint8_t)i;
    return id;
}

static unsigned listener(enum subs_kind kind, unsigned i) {
    const struct id id = id_of(i);
    return (unsigned)subs_find(subs, kind, &id).generation;
}

/* Who was. */
static unsigned take(enum subs_kind kind, unsigned i, unsigned by) {
    const struct id id = id_of(i);
    struct subscriber prev;
    assert_int_equal(subs_take(subs, kind, &id, session(by), &prev), OK);
    return (unsigned)prev.generation;
}

static void leave(enum subs_kind kind, unsigned i, unsigned by) {
    const struct id id = id_of(i);
    subs_leave(subs, kind, &id, session(by));
}

static void the_last_one_who_comes_listens(void **state) {
    (void)state;
    assert_int_equal(listener(SUBS_QUEUE, 1), 0);
    assert_int_equal(take(SUBS_QUEUE, 1, 7), 0);
    assert_int_equal(take(SUBS_QUEUE, 1, 8), 7);
    assert_int_equal(listener(SUBS_QUEUE, 1), 8);
    assert_int_equal(listener(SUBS_QUEUE, 2), 0);
}

static void only_who_listens_can_leave(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < N_SUBS_KINDS; kind++) {
        (void)take((enum subs_kind)kind, 1, 7);
        leave((enum subs_kind)kind, 1, 8);
        assert_int_equal(listener((enum subs_kind)kind, 1), 7);
        leave((enum subs_kind)kind, 1, 7);
        assert_int_equal(listener((enum subs_kind)kind, 1), 0);
        assert_int_equal(take((enum subs_kind)kind, 1, 9), 0);
    }
}

static void kinds_of_ids_have_nothing_in_common(void **state) {
    (void)state;
    (void)take(SUBS_QUEUE, 1, 1);
    (void)take(SUBS_NOTIFIER, 1, 2);
    (void)take(SUBS_SERVICE, 1, 3);
    leave(SUBS_NOTIFIER, 1, 2);
    assert_int_equal(listener(SUBS_QUEUE, 1), 1);
    assert_int_equal(listener(SUBS_NOTIFIER, 1), 0);
    assert_int_equal(listener(SUBS_SERVICE, 1), 3);
}

static void the_end_says_who_listened(void **state) {
    (void)state;
    for (unsigned i = 0; i < N; i++) (void)take(SUBS_QUEUE, i, i + 1);
    for (unsigned i = 0; i < N; i++) {
        const struct id id = id_of(i);
        assert_int_equal(subs_end(subs, SUBS_QUEUE, &id).generation, i + 1);
        assert_int_equal(subs_end(subs, SUBS_QUEUE, &id).generation, 0);
        assert_int_equal(listener(SUBS_QUEUE, i), 0);
    }
}

static void room_for_a_service_is_nobody(void **state) {
    (void)state;
    const struct id id = id_of(1);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(subs_reserve(subs, &id), OK);
    assert_int_equal(listener(SUBS_SERVICE, 1), 0);
    assert_int_equal(take(SUBS_SERVICE, 1, 7), 0);
    assert_int_equal(subs_reserve(subs, &id), OK);
    assert_int_equal(listener(SUBS_SERVICE, 1), 7);
}

/* ---- many threads ---- */

static struct contender {
    struct thread thread;
    unsigned number, n_taken, n_lost;
} contenders[N_THREADS];

/* Takes the same few ids as all others, and counts whom it took them from. */
static void contend(void *arg) {
    struct contender *c = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const struct id id = id_of(i % 3);
        struct subscriber prev;
        if (subs_take(subs, SUBS_QUEUE, &id, session(c->number), &prev) == OK) c->n_taken++;
        if (prev.generation != 0) c->n_lost++;
    }
}

static void nobody_is_lost_between_threads(void **state) {
    (void)state;
    unsigned n_taken = 0, n_lost = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        contenders[i] = (struct contender){.number = i + 1};
        assert_int_equal(thread_start(&contenders[i].thread, "contender", contend, &contenders[i]),
                         OK);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        thread_join(&contenders[i].thread);
        n_taken += contenders[i].n_taken;
        n_lost += contenders[i].n_lost;
    }
    assert_int_equal(n_taken, N_THREADS * ROUNDS);
    assert_int_equal(n_lost, N_THREADS * ROUNDS - 3); /* three listen now */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_one_who_comes_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(only_who_listens_can_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(kinds_of_ids_have_nothing_in_common, setup, teardown),
        cmocka_unit_test_setup_teardown(the_end_says_who_listened, setup, teardown),
        cmocka_unit_test_setup_teardown(room_for_a_service_is_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_lost_between_threads, setup, teardown),
    };
    return cmocka_run_group_tests_name("subs", tests, NULL, NULL);
}
