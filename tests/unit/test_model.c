/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Counted messages, key sets and link data, and the rules about queue modes. */
#include "wire_fixture.h"

#include "model/limits.h"
#include "model/message.h"
#include "model/queue.h"

/* ---- messages ---- */

static void message_copies_its_body(void **state) {
    (void)state;
    char body[] = "hello";
    const struct id id = sample_id(7);
    struct message *m = NULL;
    assert_int_equal(message_new(&id, 1795328870, true, bytes_str(body), &m), OK);
    memset(body, 'x', sizeof body - 1);
    assert_text(message_body(m), "hello");
    assert_int_equal(m->body_len, 5);
    assert_true(id_equal(&m->id, &id));
    assert_int_equal(m->ts_s, 1795328870);
    assert_true(m->notification);
    assert_false(m->is_quota);
    assert_int_equal(m->refs, 1);
    message_unref(m);
}

static void message_may_be_empty_or_largest(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 16048, 16088, UINT16_MAX};
    static uint8_t body[UINT16_MAX];
    memset(body, 0xa5, sizeof body);
    const struct id id = sample_id(1);
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        struct message *m = NULL;
        assert_int_equal(message_new(&id, 0, false, bytes_of(body, SIZES[i]), &m), OK);
        assert_bytes(message_body(m), bytes_of(body, SIZES[i]));
        assert_false(m->notification);
        message_unref(m);
    }
}

static void quota_marker_has_no_body(void **state) {
    (void)state;
    const struct id id = sample_id(9);
    struct message *m = NULL;
    assert_int_equal(message_new_quota(&id, 42, &m), OK);
    assert_true(m->is_quota);
    assert_false(m->notification);
    assert_int_equal(message_body(m).n, 0);
    assert_int_equal(m->ts_s, 42);
    message_unref(m);
}

/* A sanitizer tells when one release too many or too few frees. */
static void message_lives_until_its_last_reference(void **state) {
    (void)state;
    const struct id id = sample_id(3);
    struct message *m = NULL;
    assert_int_equal(message_new(&id, 1, false, bytes_str("kept"), &m), OK);
    assert_ptr_equal(message_ref(m), m);
    assert_ptr_equal(message_ref(m), m);
    assert_int_equal(m->refs, 3);
    message_unref(m);
    message_unref(m);
    assert_int_equal(m->refs, 1);
    assert_text(message_body(m), "kept");
    message_unref(m);
    message_unref(NULL);
}

/* ---- key sets ---- */

static void keyset_copies_its_keys(void **state) {
    (void)state;
    struct pubkey keys[RCV_KEYS_MAX];
    for (uint8_t i = 0; i < RCV_KEYS_MAX; i++) keys[i] = sample_key(KEY_ED25519, i);
    struct keyset *k = NULL;
    assert_int_equal(keyset_new(keys, RCV_KEYS_MAX, &k), OK);
    memset(keys, 0, sizeof keys);
    assert_int_equal(k->n, RCV_KEYS_MAX);
    for (uint8_t i = 0; i < RCV_KEYS_MAX; i++) {
        const struct pubkey expected = sample_key(KEY_ED25519, i);
        assert_true(pubkey_equal(&k->keys[i], &expected));
    }
    keyset_unref(k);
}

static void keyset_lives_until_its_last_reference(void **state) {
    (void)state;
    const struct pubkey key = sample_key(KEY_ED448, 1);
    struct keyset *k = NULL;
    assert_int_equal(keyset_new(&key, 1, &k), OK);
    assert_int_equal(k->refs, 1);
    assert_ptr_equal(keyset_ref(k), k);
    keyset_unref(k);
    assert_int_equal(k->refs, 1);
    assert_true(pubkey_equal(&k->keys[0], &key));
    keyset_unref(k);
    keyset_unref(NULL);
}

/* ---- link data ---- */

static void link_data_keeps_both_parts(void **state) {
    (void)state;
    char fixed[] = "fixed part", user[] = "user";
    const struct id id = sample_id(5);
    struct link_data *l = NULL;
    assert_int_equal(link_data_new(&id, bytes_str(fixed), bytes_str(user), &l), OK);
    memset(fixed, 0, sizeof fixed);
    memset(user, 0, sizeof user);
    assert_text(link_data_fixed(l), "fixed part");
    assert_text(link_data_user(l), "user");
    assert_true(id_equal(&l->link_id, &id));
    link_data_unref(l);
}

static void link_data_parts_may_be_empty_or_largest(void **state) {
    (void)state;
    static uint8_t data[UINT16_MAX];
    static const size_t SIZES[][2] = {{0, 0}, {0, 3}, {3, 0}, {UINT16_MAX, UINT16_MAX}};
    const struct id id = sample_id(6);
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        const struct bytes fixed = bytes_of(data, SIZES[i][0]), user = bytes_of(data, SIZES[i][1]);
        struct link_data *l = NULL;
        assert_int_equal(link_data_new(&id, fixed, user, &l), OK);
        assert_bytes(link_data_fixed(l), fixed);
        assert_bytes(link_data_user(l), user);
        link_data_unref(l);
    }
}

static void link_data_lives_until_its_last_reference(void **state) {
    (void)state;
    const struct id id = sample_id(8);
    struct link_data *l = NULL;
    assert_int_equal(link_data_new(&id, bytes_str("f"), bytes_str("u"), &l), OK);
    assert_int_equal(l->refs, 1);
    assert_ptr_equal(link_data_ref(l), l);
    link_data_unref(l);
    assert_int_equal(l->refs, 1);
    assert_text(link_data_user(l), "u");
    link_data_unref(l);
    link_data_unref(NULL);
}

/* ---- modes ---- */

static void modes_follow_the_protocol(void **state) {
    (void)state;
    static const struct {
        enum queue_mode mode;
        bool secured, is_contact, is_secured_messaging;
    } ROWS[] = {
        {MODE_CONTACT, false, true, false},    {MODE_CONTACT, true, true, false},
        {MODE_MESSAGING, false, false, false}, {MODE_MESSAGING, true, false, true},
        {MODE_UNKNOWN, false, true, false},    {MODE_UNKNOWN, true, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct pubkey key = sample_key(ROWS[i].secured ? KEY_X25519 : KEY_NONE, 1);
        assert_int_equal(queue_is_contact(ROWS[i].mode, &key), ROWS[i].is_contact);
        assert_int_equal(queue_is_secured_messaging(ROWS[i].mode, &key),
                         ROWS[i].is_secured_messaging);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_copies_its_body),
        cmocka_unit_test(message_may_be_empty_or_largest),
        cmocka_unit_test(quota_marker_has_no_body),
        cmocka_unit_test(message_lives_until_its_last_reference),
        cmocka_unit_test(keyset_copies_its_keys),
        cmocka_unit_test(keyset_lives_until_its_last_reference),
        cmocka_unit_test(link_data_keeps_both_parts),
        cmocka_unit_test(link_data_parts_may_be_empty_or_largest),
        cmocka_unit_test(link_data_lives_until_its_last_reference),
        cmocka_unit_test(modes_follow_the_protocol),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
