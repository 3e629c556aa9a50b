/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"
#include "base/list.h"

struct item {
    int value;
    struct list node;
};

/* The values in order, as one decimal number; also checks the links backwards. */
static int digits(struct list *head) {
    int n = 0;
    for (struct list *at = head->next; at != head; at = at->next) {
        assert_ptr_equal(at->next->prev, at);
        n = n * 10 + CONTAINER_OF(at, struct item, node)->value;
    }
    return n;
}

static void new_list_is_empty(void **state) {
    (void)state;
    struct list head;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head));
}

static void order_is_kept(void **state) {
    (void)state;
    struct list head;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}};
    list_init(&head);
    list_push_back(&head, &a.node);
    assert_false(list_is_empty(&head));
    list_push_back(&head, &b.node);
    assert_int_equal(digits(&head), 12);
    list_push_front(&head, &c.node);
    assert_int_equal(digits(&head), 312);
    assert_ptr_equal(list_first(&head), &c.node);
}

static void lists_are_joined(void **state) {
    (void)state;
    struct list to, from;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}}, d = {4, {0}};
    list_init(&to);
    list_init(&from);
    list_move_all(&to, &from);
    assert_true(list_is_empty(&to));
    list_push_back(&from, &a.node);
    list_push_back(&from, &b.node);
    list_move_all(&to, &from);
    assert_true(list_is_empty(&from));
    assert_int_equal(digits(&to), 12);
    list_push_back(&from, &c.node);
    list_push_back(&from, &d.node);
    list_move_all(&to, &from);
    assert_int_equal(digits(&to), 1234);
    list_move_all(&to, &from);
    assert_int_equal(digits(&to), 1234);
    list_remove(&c.node);
    assert_int_equal(digits(&to), 124);
}

static void nodes_leave_from_anywhere(void **state) {
    (void)state;
    struct list head;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}};
    list_init(&head);
    list_push_back(&head, &a.node);
    list_push_back(&head, &b.node);
    list_push_back(&head, &c.node);
    list_remove(&b.node);
    assert_int_equal(digits(&head), 13);
    list_remove(&c.node);
    assert_int_equal(digits(&head), 1);
    list_remove(&a.node);
    assert_true(list_is_empty(&head));
}

static void removing_twice_is_harmless(void **state) {
    (void)state;
    struct list head;
    struct item a = {1, {0}}, b = {2, {0}};
    list_init(&head);
    list_push_back(&head, &a.node);
    list_push_back(&head, &b.node);
    list_remove(&a.node);
    list_remove(&a.node);
    assert_int_equal(digits(&head), 2);
    list_push_back(&head, &a.node);
    assert_int_equal(digits(&head), 21);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_list_is_empty),          cmocka_unit_test(order_is_kept),
        cmocka_unit_test(lists_are_joined),           cmocka_unit_test(nodes_leave_from_anywhere),
        cmocka_unit_test(removing_twice_is_harmless),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
