/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_store_subs.c -- the contract of store.h about notifiers, notifications, services and
 * blocking, run against every backend and mode. */
#include "model/limits.h"
#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"
#include "store_fixture.h"

/* ---- things to store ---- */

static struct subscriber session(unsigned n) {
    return (struct subscriber){.slot = n, .generation = n};
}

/* The id of a new queue, which may belong to a service. */
static struct id make_queue(struct fixture *f, const struct service *svc) {
    const struct pubkey key = {.type = KEY_ED25519, .b = {1}};
    struct queue_rec rec = {.rcv_id = new_id(f), .snd_id = new_id(f), .updated_day = DAY};
    if (svc != NULL) {
        rec.has_rcv_service = true;
        rec.rcv_service_id = *service_id(svc);
    }
    struct queue *q;
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(f->store, &rec, &q, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    queue_unref(q);
    return rec.rcv_id;
}

static struct queue *get(struct fixture *f, struct id rcv_id) {
    struct queue *q = find(f, ID_RECIPIENT, rcv_id);
    assert_non_null(q);
    return q;
}

static struct id set_notifier(struct fixture *f, struct id rcv_id, struct sub_ended *ret_ended) {
    struct queue *q = get(f, rcv_id);
    const struct queue_notifier n = {.id = new_id(f),
                                     .key = {.type = KEY_ED25519, .b = {2}},
                                     .dh_secret = {3}};
    lsn_t lsn;
    assert_int_equal(store_notifier_set(f->store, q, &n, ret_ended, &lsn), OK);
    queue_unref(q);
    return n.id;
}

static struct sub_moved subscribe(struct fixture *f, struct id rcv_id, const struct id *notifier_id,
                                  struct subscriber sub, struct service *svc) {
    struct sub_request r = {.sub = sub, .service = svc};
    r.party = notifier_id != NULL ? SUB_NOTIFIER : SUB_RECIPIENT;
    if (notifier_id != NULL) r.notifier_id = *notifier_id;
    struct queue *q = get(f, rcv_id);
    struct sub_moved moved;
    assert_int_equal(store_subscribe(f->store, q, &r, &moved), OK);
    queue_unref(q);
    return moved;
}

static struct service *open_service(struct fixture *f, enum service_role role, uint8_t cert) {
    static const uint8_t CHAIN[] = {2, 0, 3, 'a', 'b', 'c', 0, 1, 'd'};
    struct store_service_open o = {.rec = {.id = new_id(f),
                                           .role = role,
                                           .cert_hash = {cert},
                                           .cert_chain = bytes_of(CHAIN, sizeof CHAIN),
                                           .created_at_s = NOW_S},
                                   .may_create = true};
    assert_true(store_service_open(f->store, &o, NULL)); /* these backends answer at once */
    assert_int_equal(o.ret_err, OK);
    return o.ret_service;
}

/* ---- blocking ---- */

static void a_blocked_queue_says_why(struct fixture *f) {
    const struct id id = make_queue(f, NULL);
    (void)subscribe(f, id, NULL, session(5), NULL);
    struct queue *q = get(f, id);
    struct block_info *info;
    struct subscriber sub;
    lsn_t lsn;
    assert_int_equal(block_info_new(bytes_str("reason=spam,notice={\"ttl\":1}"), &info), OK);
    assert_int_equal(store_queue_block(f->store, q, info, &sub, &lsn), OK);
    assert_true(subscriber_equal(sub, session(5)));
    block_info_unref(info);
    for (unsigned i = 0; i < 2; i++) {
        struct queue_view v;
        assert_int_equal(store_queue_view(f->store, q, WANT_MESSAGES, &v), OK);
        assert_int_equal(v.status, STATUS_BLOCKED);
        assert_true(bytes_equal(bytes_of(v.block->text, v.block->n),
                                bytes_str("reason=spam,notice={\"ttl\":1}")));
        queue_view_done(&v);
        queue_unref(q);
        (void)reopen(f);
        q = get(f, id);
    }
    assert_int_equal(store_queue_unblock(f->store, q, &lsn), OK);
    queue_unref(q);
    (void)reopen(f);
    q = get(f, id);
    struct queue_view v;
    assert_int_equal(store_queue_view(f->store, q, WANT_MESSAGES, &v), OK);
    assert_true(v.status == STATUS_ACTIVE && v.block == NULL);
    queue_view_done(&v);
    queue_unref(q);
}

/* ---- notifiers ---- */

static void a_notifier_is_replaced_and_deleted(struct fixture *f) {
    const struct id id = make_queue(f, NULL);
    struct sub_ended ended;
    const struct id one = set_notifier(f, id, &ended);
    assert_int_equal(ended.sub.generation, 0);
    (void)subscribe(f, id, &one, session(1), NULL);
    assert_true(subscriber_equal(subscribe(f, id, &one, session(2), NULL).prev, session(1)));
    const struct id two = set_notifier(f, id, &ended);
    assert_true(subscriber_equal(ended.sub, session(2)) && id_equal(&ended.id, &one));
    (void)reopen(f);
    assert_null(find(f, ID_NOTIFIER, one));
    struct queue *q = find(f, ID_NOTIFIER, two);
    assert_non_null(q);
    const struct sub_request stale = {SUB_NOTIFIER, one, session(3), NULL};
    struct sub_moved moved;
    assert_int_equal(store_subscribe(f->store, q, &stale, &moved), E_AUTH);
    lsn_t lsn;
    assert_int_equal(store_notifier_delete(f->store, q, &ended, &lsn), OK);
    assert_int_equal(store_notifier_delete(f->store, q, &ended, &lsn), OK);
    queue_unref(q);
    (void)reopen(f);
    assert_null(find(f, ID_NOTIFIER, two));
}

static void add_ntf(struct fixture *f, struct id rcv_id, unsigned n, struct ntf_added *ret) {
    struct queue *q = get(f, rcv_id);
    const struct id msg_id = {{(uint8_t)n, (uint8_t)(n >> 8), 1}};
    assert_int_equal(store_ntf_add(f->store, q, &msg_id, NOW_S + n, ret), OK);
    queue_unref(q);
}

static struct ntf_batch take(struct fixture *f, struct id rcv_id, struct id notifier_id,
                             struct subscriber sub) {
    struct queue *q = get(f, rcv_id);
    struct ntf_batch batch = {0};
    assert_int_equal(store_ntf_take(f->store, q, &notifier_id, sub, NTF_BATCH_MAX, &batch), OK);
    queue_unref(q);
    return batch;
}

static void notifications_wait_until_they_are_taken(struct fixture *f) {
    const struct id id = make_queue(f, NULL);
    struct sub_ended ended;
    struct ntf_added added;
    struct queue *q = get(f, id);
    assert_int_equal(store_ntf_add(f->store, q, &id, NOW_S, &added), E_NOT_FOUND);
    queue_unref(q);
    const struct id ntf_id = set_notifier(f, id, &ended);
    (void)subscribe(f, id, &ntf_id, session(1), NULL);
    for (unsigned i = 0; i < NTF_BATCH_MAX + 3; i++) {
        add_ntf(f, id, i, &added);
        assert_int_equal(added.was_empty, i == 0);
        assert_true(subscriber_equal(added.sub, session(i == 0 ? 1 : 0)) &&
                    id_equal(&added.notifier_id, &ntf_id));
    }
    assert_int_equal(store_counts(f->store).n_ntfs, NTF_BATCH_MAX + 3);
    (void)reopen(f);
    assert_true(subscribe(f, id, &ntf_id, session(2), NULL).has_due);
    q = get(f, id);
    struct ntf_batch batch;
    assert_int_equal(store_ntf_take(f->store, q, &ntf_id, session(1), 1, &batch), E_AUTH);
    queue_unref(q);
    unsigned n = 0;
    do {
        batch = take(f, id, ntf_id, session(2));
        assert_int_equal(batch.dh_secret[0], 3);
        for (unsigned i = 0; i < batch.n; i++, n++) {
            assert_int_equal(batch.items[i].msg_id.b[0], n);
            assert_int_equal(batch.items[i].ts_s, NOW_S + n);
        }
    } while (batch.more);
    assert_int_equal(n, NTF_BATCH_MAX + 3);
    assert_int_equal(store_counts(f->store).n_ntfs, 0);
}

static void of_too_many_notifications_the_oldest_go(struct fixture *f) {
    const struct id id = make_queue(f, NULL);
    struct sub_ended ended;
    struct ntf_added added;
    const struct id ntf_id = set_notifier(f, id, &ended);
    for (unsigned i = 0; i < NTFS_PER_NOTIFIER_MAX + 7; i++) {
        add_ntf(f, id, i, &added);
        assert_int_equal(added.dropped_one, i >= NTFS_PER_NOTIFIER_MAX);
    }
    assert_int_equal(store_counts(f->store).n_ntfs, NTFS_PER_NOTIFIER_MAX);
    (void)subscribe(f, id, &ntf_id, session(1), NULL);
    assert_int_equal(take(f, id, ntf_id, session(1)).items[0].ts_s, NOW_S + 7);
    assert_int_equal(expiry_pass_ntfs(f->store, NOW_S + 7 + NTF_BATCH_MAX + 5), 5);
    struct queue *q = get(f, id);
    struct queue_ended gone;
    lsn_t lsn;
    assert_int_equal(store_queue_delete(f->store, q, &gone, &lsn), OK);
    assert_true(subscriber_equal(gone.notifier.sub, session(1)));
    assert_int_equal(store_counts(f->store).n_ntfs, 0);
    queue_unref(q);
}

/* ---- services ---- */

static void a_service_is_known_by_its_certificate(struct fixture *f) {
    const struct id id = *service_id(open_service(f, SERVICE_NOTIFIER, 1));
    const struct id other = *service_id(open_service(f, SERVICE_MESSAGING, 2));
    assert_false(id_equal(&id, &other));
    for (unsigned i = 0; i < 3; i++) {
        const struct service *svc = open_service(f, SERVICE_NOTIFIER, 1);
        assert_true(id_equal(service_id(svc), &id));
        struct store_service_open o = {.rec = {.id = new_id(f),
                                               .role = SERVICE_PROXY,
                                               .cert_hash = {1}},
                                       .may_create = true};
        assert_true(store_service_open(f->store, &o, NULL));
        assert_int_equal(o.ret_err, E_SERVICE);
        o.rec.cert_hash[0] = 9;
        o.may_create = false;
        assert_true(store_service_open(f->store, &o, NULL));
        assert_int_equal(o.ret_err, E_NOT_FOUND);
        if (!reopen(f)) break;
    }
}

/* As its session does. */
static struct id visit_service(struct fixture *f, uint8_t cert) {
    struct service *svc = open_service(f, SERVICE_MESSAGING, cert);
    const struct id id = *service_id(svc);
    store_service_close(f->store, svc);
    return id;
}

static size_t n_services(struct fixture *f) {
    return queue_table_services(f->store->table)->n;
}

static void a_service_without_queues_is_forgotten(struct fixture *f) {
    struct service_table *t = queue_table_services(f->store->table);
    const struct id idle = visit_service(f, 1), busy = visit_service(f, 2);
    struct service *open = open_service(f, SERVICE_MESSAGING, 3);
    (void)make_queue(f, open_service(f, SERVICE_MESSAGING, 2));
    service_table_forget(t, 0); /* used since */
    assert_int_equal(service_table_n_forgotten(t), 0);
    service_table_forget(t, INT64_MAX);
    assert_int_equal(service_table_n_forgotten(t), 1);
    service_table_sweep(t, false);
    assert_int_equal(n_services(f), survives_stop(f) ? 3 : 2); /* not while a log has it */
    const struct id again = visit_service(f, 1);
    assert_int_equal(id_equal(&again, &idle), survives_stop(f));
    assert_int_equal(service_table_n_forgotten(t), 0);
    store_service_close(f->store, open);
    if (!reopen(f)) return;
    const struct id kept = visit_service(f, 1);
    assert_true(id_equal(&kept, &idle));
    f->expiry.service_ttl_s = 1; /* they were made long ago: NOW_S */
    (void)reopen(f);
    assert_int_equal(n_services(f), 1);
    const struct id anew = visit_service(f, 1), same = visit_service(f, 2);
    assert_false(id_equal(&anew, &idle));
    assert_true(id_equal(&same, &busy));
    (void)make_queue(f, open_service(f, SERVICE_MESSAGING, 1));
    (void)reopen(f);
    const struct id last = visit_service(f, 1);
    assert_true(id_equal(&last, &anew));
}

static void assert_sum(struct fixture *f, struct service *svc, enum sub_party party,
                       const struct id *ids, unsigned n) {
    struct ids_sum expected = {0}, sum;
    struct subscriber prev;
    for (unsigned i = 0; i < n; i++) ids_sum_add(&expected, &ids[i]);
    assert_int_equal(store_service_subscribe(f->store, svc, party, session(0), &prev, &sum), OK);
    assert_int_equal(sum.n, expected.n);
    assert_memory_equal(sum.hash, expected.hash, sizeof sum.hash);
}

static void associations_move_and_are_counted(struct fixture *f) {
    struct service *one = open_service(f, SERVICE_MESSAGING, 1);
    struct service *two = open_service(f, SERVICE_MESSAGING, 2);
    struct id ids[3];
    for (unsigned i = 0; i < 3; i++) ids[i] = make_queue(f, i == 0 ? one : NULL);
    (void)subscribe(f, ids[1], NULL, session(1), NULL);
    struct sub_moved moved = subscribe(f, ids[1], NULL, session(2), one);
    assert_true(moved.associated && subscriber_equal(moved.prev, session(1)));
    assert_int_equal(moved.server.generation, 0);
    moved = subscribe(f, ids[2], NULL, session(3), one);
    assert_true(subscriber_equal(moved.server, session(2)));
    moved = subscribe(f, ids[2], NULL, session(3), one);
    assert_false(moved.associated);
    moved = subscribe(f, ids[1], NULL, session(4), two);
    assert_true(moved.associated && subscriber_equal(moved.prev, session(3)));
    moved = subscribe(f, ids[2], NULL, session(5), NULL);
    assert_false(moved.associated);
    assert_true(subscriber_equal(moved.prev, session(3)));
    assert_sum(f, one, SUB_RECIPIENT, &ids[0], 1);
    assert_sum(f, two, SUB_RECIPIENT, &ids[1], 1);
    for (unsigned i = 0; i < 2 && reopen(f); i++) {
        one = open_service(f, SERVICE_MESSAGING, 1);
        two = open_service(f, SERVICE_MESSAGING, 2);
        assert_sum(f, one, SUB_RECIPIENT, &ids[0], 1);
        assert_sum(f, two, SUB_RECIPIENT, &ids[1], 1);
    }
    struct queue *q = get(f, ids[0]);
    struct queue_ended ended;
    lsn_t lsn;
    assert_int_equal(store_queue_delete(f->store, q, &ended, &lsn), OK);
    queue_unref(q);
    assert_sum(f, one, SUB_RECIPIENT, NULL, 0);
}

/* How many notifiers of the service have something for it, of all that it has. */
static unsigned count_due(struct fixture *f, struct service *svc, const struct id *notifier_ids) {
    struct store_scan scan = {.service = svc, .party = SUB_NOTIFIER, .max_queues = 2};
    unsigned n = 0;
    do {
        assert_true(store_service_scan(f->store, &scan, NULL)); /* notifications are in RAM */
        assert_int_equal(scan.ret_err, OK);
        for (const struct store_found *x = scan.ret_found; x != NULL; x = x->next, n++) {
            unsigned i = 0;
            while (i < 4 && !id_equal(&x->notifier_id, &notifier_ids[i])) i++;
            assert_true(i < 4);
        }
        store_scan_done(&scan);
    } while (scan.ret_more);
    return n;
}

static void a_service_is_told_what_waits(struct fixture *f) {
    struct service *svc = open_service(f, SERVICE_NOTIFIER, 1);
    struct sub_ended ended;
    struct ntf_added added;
    struct id ids[6], ntf_ids[6];
    for (unsigned i = 0; i < 6; i++) {
        ids[i] = make_queue(f, NULL);
        ntf_ids[i] = set_notifier(f, ids[i], &ended);
        (void)subscribe(f, ids[i], &ntf_ids[i], session(1), i < 4 ? svc : NULL);
        if (i % 2 == 0) add_ntf(f, ids[i], i, &added);
    }
    assert_true(subscriber_equal(added.sub, session(1)));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(count_due(f, svc, ntf_ids),
                         2); /* of the six with a notification: those of the service */
        assert_sum(f, svc, SUB_NOTIFIER, ntf_ids, 4);
        if (!reopen(f)) return;
        svc = open_service(f, SERVICE_NOTIFIER, 1);
    }
    (void)set_notifier(f, ids[3], &ended);
    assert_sum(f, svc, SUB_NOTIFIER, ntf_ids, 3);
}

static const struct scenario SCENARIOS[] = {
    SCENARIO(a_blocked_queue_says_why),
    SCENARIO(a_notifier_is_replaced_and_deleted),
    SCENARIO(notifications_wait_until_they_are_taken),
    SCENARIO(of_too_many_notifications_the_oldest_go),
    SCENARIO(a_service_is_known_by_its_certificate),
    SCENARIO(a_service_without_queues_is_forgotten),
    SCENARIO(associations_move_and_are_counted),
    SCENARIO(a_service_is_told_what_waits),
};

int main(void) {
    static struct run runs[ARRAY_LEN(SCENARIOS) * ARRAY_LEN(MODES)];
    static struct CMUnitTest tests[ARRAY_LEN(runs)];
    if (crypto_init() != OK) return 1;
    in_every_mode(SCENARIOS, ARRAY_LEN(SCENARIOS), runs, tests);
    return cmocka_run_group_tests_name("store_subs", tests, begin_database, end_database);
}
