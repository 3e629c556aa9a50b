/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_hold.c -- messages that wait for their ACK before they are written (files_hold.h): what is
 * acknowledged in time never is, what is not is there after a stop, in its order. */
#include "store/import.h"
#include "store/messages.h"
#include "store/subscribe.h"
#include "store_fixture.h"

/* So long that what is held stays so; so short that it does not. */
static const struct mode LONG = {"holds", true, false, true, 0, 60000};
static const struct mode SHORT = {"holds briefly", true, false, true, 0, 5};
enum { BODY_LEN = 1000, BODY_BYTE = 0xb7 };
static const struct subscriber LISTENER = {.loop = 1, .slot = 2, .generation = 3};

static struct queue *make_queue(struct fixture *f, bool is_listened_to) {
    const struct id id = new_id(f);
    struct pubkey key = {.type = KEY_ED25519};
    struct queue_rec rec = {.rcv_id = id,
                            .snd_id = new_id(f),
                            .mode = MODE_MESSAGING,
                            .updated_day = DAY};
    struct queue *q;
    lsn_t lsn;
    memcpy(key.b, id.b, ID_LEN);
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(f->store, &rec, &q, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    wait_durable(f, lsn);
    struct sub_moved moved;
    const struct sub_request r = {.party = SUB_RECIPIENT, .sub = LISTENER};
    if (is_listened_to) assert_int_equal(store_subscribe(f->store, q, &r, &moved), OK);
    return q;
}

static struct id write_message(struct fixture *f, struct queue *q, bool may_hold, lsn_t *ret_lsn) {
    uint8_t body[BODY_LEN];
    memset(body, BODY_BYTE, sizeof body);
    const struct id id = new_id(f);
    struct message *m;
    struct msg_written w;
    assert_int_equal(message_new(&id, NOW_S, false, bytes_of(body, sizeof body), &m), OK);
    m->may_hold = may_hold;
    assert_int_equal(store_msg_write(f->store, q, m, &w), OK);
    *ret_lsn = w.lsn;
    return id;
}

static struct msg_acked ack(struct fixture *f, struct queue *q, const struct id *id) {
    struct msg_acked acked;
    assert_int_equal(store_msg_ack(f->store, q, id, PACE_AT_ONCE, &acked), OK);
    return acked;
}

static struct id head_of(struct fixture *f, struct queue *q) {
    struct queue_view v = view(f, q, WANT_MESSAGES);
    assert_true(v.n_messages != 0);
    queue_view_done(&v);
    return v.head.id;
}

static bool is_in_file(const char *path) {
    uint8_t body[BODY_LEN], buf[16384];
    bool found = false;
    memset(body, BODY_BYTE, sizeof body);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t kept = 0, n;
    while (!found && (n = fread(buf + kept, 1, sizeof buf - kept, file)) != 0) {
        found = memmem(buf, kept + n, body, sizeof body) != NULL;
        const size_t at_end = kept + n;
        kept = at_end < sizeof body ? at_end : sizeof body;
        memmove(buf, buf + at_end - kept, kept);
    }
    (void)fclose(file);
    return found;
}

/* A body that was written. */
static bool is_on_disk(const struct fixture *f) {
    bool found = false;
    DIR *d = opendir(f->journal);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", f->journal, e->d_name);
        if (e->d_name[0] != '.') found = found || is_in_file(path);
    }
    (void)closedir(d);
    return found;
}

static void what_is_acknowledged_is_never_written(void **state) {
    struct fixture *f = *state = setup(&LONG);
    struct queue *q = make_queue(f, true);
    for (int i = 0; i < 3; i++) {
        lsn_t first_lsn, second_lsn;
        const struct id first = write_message(f, q, true, &first_lsn);
        const struct id second = write_message(f, q, true, &second_lsn);
        assert_int_equal(store_fate(f->store, first_lsn), E_PENDING);
        assert_true(store_is_held(f->store, first_lsn) && store_is_held(f->store, second_lsn));
        const struct msg_acked acked = ack(f, q, &first);
        assert_true(acked.was_deleted && acked.has_next);
        assert_int_equal(acked.lsn, 0);
        assert_int_equal(store_fate(f->store, first_lsn), OK);
        assert_false(store_is_held(f->store, first_lsn));
        assert_int_equal(store_fate(f->store, second_lsn), E_PENDING);
        (void)ack(f, q, &second);
        assert_int_equal(store_fate(f->store, second_lsn), OK);
    }
    queue_unref(q);
    close_store(f);
    assert_false(is_on_disk(f));
    teardown(f);
}

static void only_what_may_be_is_held(void **state) {
    struct fixture *f = *state = setup(&LONG);
    struct queue *q = make_queue(f, false), *heard = make_queue(f, true);
    lsn_t lsn;
    (void)write_message(f, q, true, &lsn); /* nobody listens */
    assert_false(store_is_held(f->store, lsn));
    wait_durable(f, lsn);
    (void)write_message(f, heard, false, &lsn); /* nobody may wait */
    assert_false(store_is_held(f->store, lsn));
    (void)write_message(f, heard, true, &lsn); /* it would come after one that is on disk */
    assert_false(store_is_held(f->store, lsn));
    wait_durable(f, lsn);
    queue_unref(q);
    queue_unref(heard);
    teardown(f);
}

static void what_is_not_acknowledged_is_written(void **state) {
    struct fixture *f = *state = setup(&SHORT);
    struct queue *q = make_queue(f, true);
    const struct id rcv_id = *queue_rcv_id(q);
    lsn_t lsn[3];
    struct id ids[3];
    for (int i = 0; i < 3; i++) ids[i] = write_message(f, q, true, &lsn[i]);
    for (int i = 0; i < 3; i++) wait_durable(f, lsn[i]);
    assert_true(is_on_disk(f));
    assert_false(store_is_held(f->store, lsn[0]));
    const struct msg_acked acked = ack(f, q, &ids[0]);
    assert_int_not_equal(acked.lsn, 0);
    queue_unref(q);
    (void)reopen(f);
    q = find(f, ID_RECIPIENT, rcv_id);
    assert_int_equal(count_messages(f, q), 2);
    struct id head = head_of(f, q);
    assert_true(id_equal(&head, &ids[1]));
    (void)ack(f, q, &head);
    head = head_of(f, q);
    assert_true(id_equal(&head, &ids[2]));
    queue_unref(q);
    teardown(f);
}

static void a_stop_writes_what_is_held(void **state) {
    struct fixture *f = *state = setup(&LONG);
    struct queue *q = make_queue(f, true);
    const struct id rcv_id = *queue_rcv_id(q);
    lsn_t lsn;
    const struct id id = write_message(f, q, true, &lsn);
    assert_true(store_is_held(f->store, lsn));
    queue_unref(q);
    (void)reopen(f);
    q = find(f, ID_RECIPIENT, rcv_id);
    const struct id head = head_of(f, q);
    assert_true(id_equal(&head, &id));
    queue_unref(q);
    teardown(f);
}

static void what_goes_with_its_queue_is_decided(void **state) {
    struct fixture *f = *state = setup(&LONG);
    struct queue *q = make_queue(f, true);
    struct queue_ended ended;
    lsn_t lsn, deleted;
    (void)write_message(f, q, true, &lsn);
    assert_int_equal(store_queue_delete(f->store, q, &ended, &deleted), OK);
    assert_int_equal(store_fate(f->store, lsn), OK);
    wait_durable(f, deleted);
    queue_unref(q);
    teardown(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_acknowledged_is_never_written),
        cmocka_unit_test(only_what_may_be_is_held),
        cmocka_unit_test(what_is_not_acknowledged_is_written),
        cmocka_unit_test(a_stop_writes_what_is_held),
        cmocka_unit_test(what_goes_with_its_queue_is_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
