/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/idmap.h"

enum { N = 1000 };

struct entry {
    struct idnode node;
    unsigned visits;
};

static const uint64_t SEED[3] = {1, 2, 3};

static struct id id_of(unsigned i) {
    struct id id = {{0}};
    memcpy(id.b, &i, sizeof i);
    return id;
}

static void fill(struct idmap *m, struct entry *entries, unsigned from, unsigned to) {
    for (unsigned i = from; i < to; i++) {
        entries[i] = (struct entry){.node = {.id = id_of(i)}};
        assert_int_equal(idmap_insert(m, &entries[i].node), OK);
    }
}

static void count_visit(struct idnode *node, void *ctx) {
    CONTAINER_OF(node, struct entry, node)->visits++;
    ++*(unsigned *)ctx;
}

static void new_map_allocates_nothing(void **state) {
    (void)state;
    struct idmap m;
    const struct id id = id_of(1);
    idmap_init(&m, SEED);
    assert_null(m.buckets);
    assert_null(idmap_find(&m, &id));
    assert_null(idmap_remove(&m, &id));
    unsigned n = 0;
    idmap_each(&m, count_visit, &n);
    assert_int_equal(idmap_scan(&m, 0, count_visit, &n), 0);
    assert_int_equal(n, 0);
    idmap_done(&m);
}

static void finds_what_was_inserted(void **state) {
    (void)state;
    struct idmap m;
    static struct entry entries[N];
    idmap_init(&m, SEED);
    fill(&m, entries, 0, N);
    assert_int_equal(m.n_entries, N);
    assert_true((m.n_buckets & (m.n_buckets - 1)) == 0);
    for (unsigned i = 0; i < N; i++) {
        const struct id id = id_of(i);
        assert_ptr_equal(idmap_find(&m, &id), &entries[i].node);
    }
    const struct id absent = id_of(N);
    assert_null(idmap_find(&m, &absent));
    idmap_done(&m);
}

static void second_entry_of_an_id_is_refused(void **state) {
    (void)state;
    struct idmap m;
    struct entry a = {.node = {.id = id_of(7)}}, b = a;
    idmap_init(&m, SEED);
    assert_int_equal(idmap_insert(&m, &a.node), OK);
    assert_int_equal(idmap_insert(&m, &b.node), E_EXISTS);
    assert_int_equal(m.n_entries, 1);
    assert_ptr_equal(idmap_find(&m, &a.node.id), &a.node);
    idmap_done(&m);
}

static void removed_entries_are_gone(void **state) {
    (void)state;
    struct idmap m;
    static struct entry entries[N];
    idmap_init(&m, SEED);
    fill(&m, entries, 0, N);
    for (unsigned i = 0; i < N; i += 2) {
        const struct id id = id_of(i);
        assert_ptr_equal(idmap_remove(&m, &id), &entries[i].node);
        assert_null(idmap_remove(&m, &id));
    }
    assert_int_equal(m.n_entries, N / 2);
    for (unsigned i = 0; i < N; i++) {
        const struct id id = id_of(i);
        assert_ptr_equal(idmap_find(&m, &id), i % 2 != 0 ? &entries[i].node : NULL);
    }
    idmap_done(&m);
}

static void each_entry_is_visited_once(void **state) {
    (void)state;
    struct idmap m;
    static struct entry entries[N];
    idmap_init(&m, SEED);
    fill(&m, entries, 0, N);
    unsigned n = 0;
    idmap_each(&m, count_visit, &n);
    assert_int_equal(n, N);
    for (unsigned i = 0; i < N; i++) assert_int_equal(entries[i].visits, 1);
    idmap_done(&m);
}

/* Entries that are there from the first call to the last are seen, although the map grows between
 * the calls. */
static void scan_leaves_nothing_out_while_the_map_grows(void **state) {
    (void)state;
    struct idmap m;
    static struct entry entries[N];
    idmap_init(&m, SEED);
    fill(&m, entries, 0, 100);
    unsigned n = 0, added = 100;
    size_t bucket = 0;
    do {
        bucket = idmap_scan(&m, bucket, count_visit, &n);
        const unsigned to = added + 5 < N ? added + 5 : N;
        fill(&m, entries, added, to);
        added = to;
    } while (bucket != 0);
    for (unsigned i = 0; i < 100; i++) assert_true(entries[i].visits >= 1);
    idmap_done(&m);
}

static void hash_depends_on_seed_and_on_every_byte(void **state) {
    (void)state;
    const uint64_t other[3] = {1, 2, 4};
    struct id id = id_of(5);
    const uint64_t h = id_hash(SEED, &id);
    assert_true(h == id_hash(SEED, &id));
    assert_true(h != id_hash(other, &id));
    for (size_t i = 0; i < ID_LEN; i++) {
        id.b[i] ^= 1;
        assert_true(h != id_hash(SEED, &id));
        id.b[i] ^= 1;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_map_allocates_nothing),
        cmocka_unit_test(finds_what_was_inserted),
        cmocka_unit_test(second_entry_of_an_id_is_refused),
        cmocka_unit_test(removed_entries_are_gone),
        cmocka_unit_test(each_entry_is_visited_once),
        cmocka_unit_test(scan_leaves_nothing_out_while_the_map_grows),
        cmocka_unit_test(hash_depends_on_seed_and_on_every_byte),
    };
    return cmocka_run_group_tests_name("idmap", tests, NULL, NULL);
}
