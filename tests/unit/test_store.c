/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_store.c -- the contract of store.h about records and messages, run against every backend
 * and mode. What survives a stop is asked of those that promise it. */
#include "store/import.h"
#include "store/store_priv.h"
#include "store_fixture.h"

enum { BODY_LEN = 16000 };

/* ---- things to store ---- */

static struct pubkey new_key(struct fixture *f, enum key_type type) {
    struct pubkey k = {.type = (uint8_t)type};
    const struct id id = new_id(f);
    memcpy(k.b, id.b, ID_LEN);
    return k;
}

struct made {
    struct queue_rec rec;
    struct queue *queue;
};

static struct made make_queue(struct fixture *f, enum queue_mode mode) {
    struct made m = {
        .rec = {.rcv_id = new_id(f), .snd_id = new_id(f), .mode = mode, .updated_day = DAY}};
    const struct pubkey key = new_key(f, KEY_ED25519);
    memset(m.rec.dh_secret, 7, sizeof m.rec.dh_secret);
    assert_int_equal(keyset_new(&key, 1, &m.rec.rcv_keys), OK);
    lsn_t lsn;
    assert_int_equal(store_queue_create(f->store, &m.rec, &m.queue, &lsn), OK);
    wait_durable(f, lsn);
    return m;
}

static void drop(struct made *m) {
    queue_unref(m->queue);
    keyset_unref(m->rec.rcv_keys);
}

static bool exists(struct fixture *f, enum queue_id_kind kind, struct id id) {
    struct queue *q = find(f, kind, id);
    queue_unref(q);
    return q != NULL;
}

static void fill_body(uint8_t *body, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) body[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static struct message *make_message(struct fixture *f, unsigned seed) {
    static uint8_t body[BODY_LEN];
    fill_body(body, sizeof body, seed);
    const struct id id = new_id(f);
    struct message *m;
    assert_int_equal(message_new(&id, NOW_S + seed, seed % 2 == 0, bytes_of(body, sizeof body), &m),
                     OK);
    m->may_hold = true; /* where that is done, and somebody listens */
    return m;
}

static enum err write_message(struct fixture *f, struct queue *q, unsigned seed, struct id *ret_id,
                              struct msg_written *ret) {
    struct message *m = make_message(f, seed);
    *ret_id = m->id;
    const enum err e = store_msg_write(f->store, q, m, ret);
    if (e == OK) wait_durable(f, ret->lsn);
    return e;
}

struct wait_body {
    struct store_waiter waiter;
    struct fixture *f;
    bool ready;
};

static void body_ready(struct store_waiter *w) {
    struct wait_body *b = CONTAINER_OF(w, struct wait_body, waiter);
    pthread_mutex_lock(&b->f->mtx);
    b->ready = true;
    pthread_cond_broadcast(&b->f->cond);
    pthread_mutex_unlock(&b->f->mtx);
}

/* With its body; NULL: the queue is empty. */
static struct message *next(struct fixture *f, struct queue *q) {
    struct wait_body b = {.waiter = {body_ready}, .f = f};
    struct store_next n = {.queue = q};
    if (!store_msg_next(f->store, &n, &b.waiter)) {
        pthread_mutex_lock(&f->mtx);
        while (!b.ready) pthread_cond_wait(&f->cond, &f->mtx);
        pthread_mutex_unlock(&f->mtx);
    }
    assert_int_equal(n.ret_err, OK);
    return n.ret_message;
}

static void assert_no_message(struct fixture *f, struct queue *q) {
    assert_int_equal(count_messages(f, q), 0);
}

/* The oldest is the quota marker. */
static struct msg_head marker(struct fixture *f, struct queue *q) {
    struct queue_view v = view(f, q, WANT_MESSAGES);
    assert_true(v.n_messages != 0 && v.head.is_quota);
    queue_view_done(&v);
    return v.head;
}

static void assert_head(struct fixture *f, struct queue *q, struct id id, unsigned seed) {
    uint8_t body[BODY_LEN];
    fill_body(body, sizeof body, seed);
    struct queue_view v = view(f, q, WANT_MESSAGES);
    struct message *m = next(f, q);
    assert_non_null(m);
    assert_true(id_equal(&m->id, &id) && id_equal(&v.head.id, &id));
    assert_int_equal(v.head.ts_s, m->ts_s);
    assert_int_equal(v.head.body_len, m->body_len);
    assert_true(v.head.notification == m->notification && v.head.is_quota == m->is_quota);
    queue_view_done(&v);
    assert_int_equal(m->ts_s, NOW_S + seed);
    assert_int_equal(m->notification, seed % 2 == 0);
    assert_false(m->is_quota);
    assert_true(bytes_equal(message_body(m), bytes_of(body, sizeof body)));
    message_unref(m);
}

static struct msg_acked ack(struct fixture *f, struct queue *q, struct id id) {
    struct msg_acked acked;
    assert_int_equal(store_msg_ack(f->store, q, &id, PACE_AT_ONCE, &acked), OK);
    wait_durable(f, acked.lsn);
    return acked;
}

static enum err subscribe(struct fixture *f, struct queue *q, struct subscriber sub,
                          struct subscriber *ret_prev) {
    const struct sub_request r = {.party = SUB_RECIPIENT, .sub = sub};
    struct sub_moved moved = {0};
    const enum err e = store_subscribe(f->store, q, &r, &moved);
    *ret_prev = moved.prev;
    return e;
}

static enum err delete_queue(struct fixture *f, struct queue *q, struct subscriber *ret_prev,
                             lsn_t *ret_lsn) {
    struct queue_ended ended = {0};
    const enum err e = store_queue_delete(f->store, q, &ended, ret_lsn);
    *ret_prev = ended.recipient.sub;
    return e;
}

/* ---- records ---- */

static void a_queue_is_found_by_its_ids(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct queue *q = find(f, ID_SENDER, a.rec.snd_id);
    assert_ptr_equal(q, a.queue);
    assert_true(id_equal(queue_rcv_id(q), &a.rec.rcv_id));
    assert_true(id_equal(queue_snd_id(q), &a.rec.snd_id));
    assert_memory_equal(queue_dh_secret(q), a.rec.dh_secret, X25519_LEN);
    queue_unref(q);
    assert_true(exists(f, ID_RECIPIENT, a.rec.rcv_id));
    assert_false(exists(f, ID_RECIPIENT, a.rec.snd_id));
    assert_false(exists(f, ID_SENDER, a.rec.rcv_id));
    drop(&a);
}

static void a_taken_id_is_refused_and_changes_nothing(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct queue *q = NULL;
    lsn_t lsn;
    struct queue_rec same_sender = a.rec;
    same_sender.rcv_id = new_id(f);
    assert_int_equal(store_queue_create(f->store, &same_sender, &q, &lsn), E_EXISTS);
    assert_false(exists(f, ID_RECIPIENT, same_sender.rcv_id));
    struct queue_rec same_recipient = a.rec;
    same_recipient.snd_id = new_id(f);
    assert_int_equal(store_queue_create(f->store, &same_recipient, &q, &lsn), E_EXISTS);
    assert_false(exists(f, ID_SENDER, same_recipient.snd_id));
    assert_int_equal(store_counts(f->store).n_queues, 1);
    drop(&a);
}

static void a_queue_is_secured_once(struct fixture *f) {
    static const enum key_type TYPES[] = {KEY_X25519, KEY_ED25519, KEY_ED448};
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        struct made a = make_queue(f, MODE_MESSAGING);
        const struct pubkey key = new_key(f, TYPES[i]), other = new_key(f, TYPES[i]);
        lsn_t lsn;
        assert_int_equal(store_queue_secure(f->store, a.queue, &key, NULL, &lsn), OK);
        assert_int_equal(store_queue_secure(f->store, a.queue, &key, NULL, &lsn), OK);
        assert_int_equal(store_queue_secure(f->store, a.queue, &other, NULL, &lsn), E_AUTH);
        if (survives_stop(f)) {
            const struct id rcv_id = a.rec.rcv_id;
            queue_unref(a.queue);
            (void)reopen(f);
            a.queue = find(f, ID_RECIPIENT, rcv_id);
        }
        struct queue_view v = view(f, a.queue, WANT_RECORD);
        assert_true(pubkey_equal(&v.snd_key, &key));
        queue_view_done(&v);
        drop(&a);
    }
}

static void recipient_keys_are_replaced(struct fixture *f) {
    struct made a = make_queue(f, MODE_CONTACT);
    const struct pubkey keys[] = {new_key(f, KEY_ED25519), new_key(f, KEY_ED448),
                                  new_key(f, KEY_X25519)};
    for (size_t n = ARRAY_LEN(keys); n >= 1; n--) {
        struct keyset *set;
        lsn_t lsn;
        assert_int_equal(keyset_new(keys, n, &set), OK);
        assert_int_equal(store_queue_set_keys(f->store, a.queue, set, &lsn), OK);
        keyset_unref(set);
        if (survives_stop(f)) {
            queue_unref(a.queue);
            (void)reopen(f);
            a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
        }
        struct queue_view v = view(f, a.queue, WANT_RECORD);
        size_t n_got;
        const struct pubkey *got = queue_view_rcv_keys(&v, &n_got);
        assert_int_equal(n_got, n);
        for (size_t i = 0; i < n; i++) assert_true(pubkey_equal(&got[i], &keys[i]));
        queue_view_done(&v);
    }
    drop(&a);
}

static void status_and_date_are_kept(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    lsn_t lsn;
    assert_int_equal(store_queue_touch(f->store, a.queue, DAY + 1, &lsn), OK);
    assert_int_equal(store_queue_suspend(f->store, a.queue, &lsn), OK);
    if (survives_stop(f)) {
        queue_unref(a.queue);
        (void)reopen(f);
        a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    }
    struct queue_view v = view(f, a.queue, WANT_RECORD);
    assert_int_equal(v.updated_day, DAY + 1);
    assert_int_equal(v.status, STATUS_OFF);
    assert_int_equal(v.mode, MODE_MESSAGING);
    queue_view_done(&v);
    drop(&a);
}

/* ---- links ---- */

static enum err set_link(struct fixture *f, struct queue *q, struct id link_id, const char *fixed,
                         const char *user) {
    struct link_data *l;
    lsn_t lsn;
    assert_int_equal(link_data_new(&link_id, bytes_str(fixed), bytes_str(user), &l), OK);
    const enum err e = store_link_set(f->store, q, l, &lsn);
    link_data_unref(l);
    return e;
}

static void assert_link(struct fixture *f, struct id link_id, const char *fixed, const char *user) {
    struct queue *q = find(f, ID_LINK, link_id);
    assert_non_null(q);
    struct queue_view v = view(f, q, WANT_LINK);
    assert_true(id_equal(&v.link->link_id, &link_id));
    assert_true(bytes_equal(link_data_fixed(v.link), bytes_str(fixed)));
    assert_true(bytes_equal(link_data_user(v.link), bytes_str(user)));
    queue_view_done(&v);
    queue_unref(q);
}

/* Each change makes it old, and nothing else does. */
static void a_view_is_old_after_a_change(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING), b = make_queue(f, MODE_MESSAGING);
    const struct pubkey key = new_key(f, KEY_X25519);
    struct store_lookup l = {.kind = ID_SENDER, .want = WANT_MESSAGES, .id = a.rec.snd_id};
    store_load_wait(f->store, &l, 1);
    struct id id, other;
    struct msg_written w;
    lsn_t lsn;
    for (unsigned i = 0; i < 5; i++) {
        (void)write_message(f, b.queue, 1, &other, &w);
        assert_true(queue_view_is_current(l.ret_queue, &l.ret_view));
        if (i == 0) assert_int_equal(write_message(f, a.queue, 1, &id, &w), OK);
        if (i == 1) (void)ack(f, a.queue, id);
        if (i == 2) assert_int_equal(store_queue_secure(f->store, a.queue, &key, NULL, &lsn), OK);
        if (i == 3) assert_int_equal(store_queue_touch(f->store, a.queue, DAY + 1, &lsn), OK);
        if (i == 4) assert_int_equal(store_queue_suspend(f->store, a.queue, &lsn), OK);
        assert_false(queue_view_is_current(l.ret_queue, &l.ret_view));
        store_lookup_done(&l);
        store_load_wait(f->store, &l, 1);
        assert_int_equal(l.ret_view.n_messages, i == 0);
    }
    store_lookup_done(&l);
    drop(&a);
    drop(&b);
}

/* What is brought of an id that should be free, is what a new queue collides with. */
static void an_id_that_should_be_free_is_no_error(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct store_lookup l[] = {
        {.kind = ID_SENDER, .want = WANT_FREE, .id = a.rec.snd_id},
        {.kind = ID_SENDER, .want = WANT_FREE, .id = new_id(f)},
        {.kind = ID_LINK, .want = WANT_FREE, .id = new_id(f)},
    };
    store_load_wait(f->store, l, ARRAY_LEN(l));
    for (size_t i = 0; i < ARRAY_LEN(l); i++) {
        assert_int_equal(l[i].ret_err, OK);
        assert_int_equal(l[i].ret_queue != NULL, i == 0);
        store_lookup_done(&l[i]);
    }
    drop(&a);
}

static void links_follow_the_rules(struct fixture *f) {
    struct made a = make_queue(f, MODE_CONTACT), b = make_queue(f, MODE_CONTACT);
    const struct id link_id = new_id(f), other_id = new_id(f);
    assert_int_equal(set_link(f, a.queue, link_id, "fixed", "one"), OK);
    assert_int_equal(set_link(f, a.queue, link_id, "fixed", "two"), OK);
    assert_int_equal(set_link(f, a.queue, link_id, "changed", "two"), E_AUTH);
    assert_int_equal(set_link(f, a.queue, other_id, "fixed", "two"), E_AUTH);
    assert_int_equal(set_link(f, b.queue, link_id, "fixed", "stolen"), E_EXISTS);
    queue_unref(a.queue);
    queue_unref(b.queue);
    a.queue = b.queue = NULL;
    (void)reopen(f);
    assert_link(f, link_id, "fixed", "two");
    a.queue = find(f, ID_LINK, link_id);
    lsn_t lsn;
    assert_int_equal(store_link_delete(f->store, a.queue, &lsn), OK);
    assert_int_equal(store_link_delete(f->store, a.queue, &lsn), OK);
    assert_false(exists(f, ID_LINK, link_id));
    struct queue_view v = view(f, a.queue, WANT_LINK);
    assert_null(v.link);
    queue_view_done(&v);
    drop(&a);
    drop(&b);
}

static void a_secured_messaging_queue_takes_no_link(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    const struct pubkey key = new_key(f, KEY_X25519);
    lsn_t lsn;
    assert_int_equal(store_queue_secure(f->store, a.queue, &key, NULL, &lsn), OK);
    assert_int_equal(set_link(f, a.queue, new_id(f), "fixed", "user"), E_AUTH);
    drop(&a);
}

static void a_queue_is_made_with_link_and_notifier(struct fixture *f) {
    struct made a = {.rec = {.rcv_id = new_id(f),
                             .snd_id = new_id(f),
                             .mode = MODE_CONTACT,
                             .updated_day = DAY}};
    const struct pubkey key = new_key(f, KEY_ED25519);
    const struct id link_id = new_id(f);
    const struct queue_notifier notifier = {.id = new_id(f),
                                            .key = new_key(f, KEY_ED25519),
                                            .dh_secret = {1, 2, 3}};
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &a.rec.rcv_keys), OK);
    assert_int_equal(link_data_new(&link_id, bytes_str("fix"), bytes_str("use"), &a.rec.link), OK);
    a.rec.notifier = &notifier;
    assert_int_equal(store_queue_create(f->store, &a.rec, &a.queue, &lsn), OK);
    queue_unref(a.queue);
    (void)reopen(f);
    assert_link(f, link_id, "fix", "use");
    a.queue = find(f, ID_NOTIFIER, notifier.id);
    assert_non_null(a.queue);
    assert_true(id_equal(queue_rcv_id(a.queue), &a.rec.rcv_id));
    struct queue_view v = view(f, a.queue, WANT_RECORD);
    assert_true(v.has_link);
    assert_true(v.has_notifier);
    queue_view_done(&v);
    struct subscriber prev;
    assert_int_equal(delete_queue(f, a.queue, &prev, &lsn), OK);
    assert_false(exists(f, ID_LINK, link_id));
    assert_false(exists(f, ID_NOTIFIER, notifier.id));
    link_data_unref(a.rec.link);
    drop(&a);
}

/* ---- subscriptions ---- */

static void the_subscriber_is_the_last_who_asked(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    const struct subscriber one = {.loop = 0, .slot = 1, .generation = 1},
                            two = {.loop = 1, .slot = 1, .generation = 2};
    struct subscriber prev;
    assert_int_equal(subscribe(f, a.queue, one, &prev), OK);
    assert_int_equal(prev.generation, 0);
    assert_int_equal(subscribe(f, a.queue, two, &prev), OK);
    assert_int_equal(prev.generation, 1);
    assert_false(store_is_subscribed(f->store, a.queue, SUB_RECIPIENT, one));
    store_unsubscribe(f->store, SUB_RECIPIENT, &a.rec.rcv_id, one); /* too late: changes nothing */
    assert_true(store_is_subscribed(f->store, a.queue, SUB_RECIPIENT, two));
    struct id id;
    struct msg_written w;
    assert_int_equal(write_message(f, a.queue, 1, &id, &w), OK);
    assert_true(w.was_empty);
    assert_int_equal(w.sub.generation, 2);
    assert_int_equal(write_message(f, a.queue, 2, &id, &w), OK);
    assert_false(w.was_empty);
    lsn_t lsn;
    assert_int_equal(delete_queue(f, a.queue, &prev, &lsn), OK);
    assert_int_equal(prev.generation, 2);
    assert_false(store_is_subscribed(f->store, a.queue, SUB_RECIPIENT, two));
    drop(&a);
}

/* ---- messages ---- */

static void messages_come_in_order_and_are_deleted_by_ack(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct id ids[3];
    struct msg_written w;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_message(f, a.queue, i, &ids[i], &w), OK);
    assert_int_equal(count_messages(f, a.queue), 3);
    assert_false(ack(f, a.queue, ids[1]).was_deleted); /* not the oldest: nothing happens */
    assert_int_equal(count_messages(f, a.queue), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_head(f, a.queue, ids[i], i);
        struct msg_acked acked;
        assert_int_equal(store_msg_ack(f->store, a.queue, NULL, PACE_AT_ONCE, &acked), OK);
        assert_true(!acked.was_deleted && acked.has_next);
        assert_int_equal(store_msg_ack(f->store, a.queue, &ids[i], PACE_AT_ONCE, &acked), OK);
        assert_true(acked.was_deleted && acked.notification == (i % 2 == 0));
        assert_int_equal(acked.has_next, i != 2);
    }
    assert_no_message(f, a.queue);
    assert_null(next(f, a.queue));
    assert_int_equal(store_counts(f->store).n_messages, 0);
    drop(&a);
}

static void messages_survive_a_stop(struct fixture *f) {
    if (!survives_stop(f)) return;
    struct made a = make_queue(f, MODE_MESSAGING);
    struct id ids[3];
    struct msg_written w;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_message(f, a.queue, i, &ids[i], &w), OK);
    ack(f, a.queue, ids[0]);
    queue_unref(a.queue);
    for (unsigned round = 0; round < 3; round++) (void)reopen(f);
    a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    assert_int_equal(count_messages(f, a.queue), 2);
    for (unsigned i = 1; i < 3; i++) {
        assert_head(f, a.queue, ids[i], i);
        ack(f, a.queue, ids[i]);
    }
    queue_unref(a.queue);
    (void)reopen(f);
    a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    assert_int_equal(count_messages(f, a.queue), 0);
    drop(&a);
}

static void a_full_queue_stays_full_until_it_is_empty(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct id ids[QUOTA], id;
    struct msg_written w;
    for (unsigned i = 0; i < QUOTA; i++)
        assert_int_equal(write_message(f, a.queue, i, &ids[i], &w), OK);
    assert_int_equal(write_message(f, a.queue, 9, &id, &w), E_QUOTA);
    assert_int_equal(count_messages(f, a.queue), QUOTA + 1); /* and the marker */
    assert_int_equal(write_message(f, a.queue, 9, &id, &w), E_QUOTA);
    assert_int_equal(count_messages(f, a.queue), QUOTA + 1);
    for (unsigned i = 0; i < QUOTA; i++) ack(f, a.queue, ids[i]);
    assert_int_equal(write_message(f, a.queue, 9, &id, &w), E_QUOTA);
    queue_unref(a.queue);
    (void)reopen(f);
    a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    assert_int_equal(write_message(f, a.queue, 9, &id, &w),
                     E_QUOTA); /* known after a restart as well */
    assert_int_equal(marker(f, a.queue).ts_s, NOW_S + 9);
    assert_false(ack(f, a.queue, marker(f, a.queue).id).was_deleted); /* not a message */
    assert_int_equal(write_message(f, a.queue, 3, &id, &w), OK);
    assert_true(w.was_empty);
    drop(&a);
}

static void an_empty_body_is_a_message(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    const struct id id = new_id(f);
    struct message *m;
    struct msg_written w;
    assert_int_equal(message_new(&id, NOW_S, false, (struct bytes){0}, &m), OK);
    assert_int_equal(store_msg_write(f->store, a.queue, m, &w), OK);
    queue_unref(a.queue);
    (void)reopen(f);
    a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    m = next(f, a.queue);
    assert_non_null(m);
    assert_int_equal(message_body(m).n, 0);
    assert_false(m->is_quota);
    message_unref(m);
    drop(&a);
}

static void old_messages_expire(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING), b = make_queue(f, MODE_MESSAGING);
    struct id ids[3], id;
    struct msg_written w;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(write_message(f, a.queue, i, &ids[i], &w), OK);
    assert_int_equal(write_message(f, b.queue, 0, &id, &w), OK);
    unsigned n;
    assert_int_equal(store_expire_queue(f->store, b.queue, NOW_S, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(expiry_pass_messages(f->store, NOW_S + 2), 3);
    assert_int_equal(count_messages(f, a.queue), 1);
    assert_int_equal(count_messages(f, b.queue), 0);
    assert_head(f, a.queue, ids[2], 2);
    drop(&a);
    drop(&b);
}

/* By a thread of its own, once a second here. */
static void the_store_looks_for_them_itself(struct fixture *f) {
    enum { TRIES = 500, TRY_NS = 10 * 1000 * 1000 };
    const struct timespec pause = {0, TRY_NS};
    close_store(f);
    f->expiry = (struct store_expiry){.message_ttl_s = 3600, .interval_s = 1};
    open_store(f);
    struct made a = make_queue(f, MODE_MESSAGING);
    struct id old, young = new_id(f);
    struct message *m;
    struct msg_written w;
    assert_int_equal(write_message(f, a.queue, 0, &old, &w), OK);
    assert_int_equal(message_new(&young, env_now_s(&ENV_SYSTEM), false, bytes_str("b"), &m), OK);
    assert_int_equal(store_msg_write(f->store, a.queue, m, &w), OK);
    for (unsigned i = 0; i < TRIES && count_messages(f, a.queue) == 2; i++)
        (void)nanosleep(&pause, NULL);
    struct queue_view v = view(f, a.queue, WANT_MESSAGES);
    assert_int_equal(v.n_messages, 1);
    assert_true(id_equal(&v.head.id, &young));
    queue_view_done(&v);
    drop(&a);
}

static void a_deleted_queue_is_as_if_it_had_never_been(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    const struct pubkey key = new_key(f, KEY_X25519);
    struct id id;
    struct msg_written w;
    struct subscriber prev;
    lsn_t lsn;
    struct queue_view v;
    assert_int_equal(write_message(f, a.queue, 1, &id, &w), OK);
    assert_int_equal(delete_queue(f, a.queue, &prev, &lsn), OK);
    wait_durable(f, lsn);
    assert_false(exists(f, ID_RECIPIENT, a.rec.rcv_id));
    assert_false(exists(f, ID_SENDER, a.rec.snd_id));
    assert_int_equal(store_queue_view(f->store, a.queue, WANT_MESSAGES, &v), E_AUTH);
    assert_int_equal(store_queue_secure(f->store, a.queue, &key, NULL, &lsn), E_AUTH);
    assert_int_equal(store_queue_suspend(f->store, a.queue, &lsn), E_AUTH);
    assert_int_equal(store_queue_touch(f->store, a.queue, 1, &lsn), E_AUTH);
    assert_int_equal(set_link(f, a.queue, new_id(f), "a", "b"), E_AUTH);
    assert_int_equal(store_link_delete(f->store, a.queue, &lsn), E_AUTH);
    assert_int_equal(subscribe(f, a.queue, prev, &prev), E_AUTH);
    struct store_next next_of = {.queue = a.queue};
    assert_true(store_msg_next(f->store, &next_of, NULL));
    assert_int_equal(next_of.ret_err, E_AUTH);
    struct msg_acked acked;
    assert_int_equal(store_msg_ack(f->store, a.queue, &id, PACE_AT_ONCE, &acked), E_AUTH);
    assert_int_equal(write_message(f, a.queue, 2, &id, &w), E_AUTH);
    assert_int_equal(delete_queue(f, a.queue, &prev, &lsn), E_AUTH);
    assert_int_equal(store_counts(f->store).n_queues, 0);
    assert_int_equal(store_counts(f->store).n_messages, 0);
    if (survives_stop(f)) {
        queue_unref(a.queue);
        a.queue = NULL;
        (void)reopen(f);
        assert_false(exists(f, ID_RECIPIENT, a.rec.rcv_id));
        assert_int_equal(store_counts(f->store).n_messages, 0);
    }
    drop(&a);
}

static void messages_go_out_to_a_log_and_come_back(struct fixture *f) {
    if (!f->mode->has_log) return;
    struct made a = make_queue(f, MODE_MESSAGING);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/export.log", f->dir);
    struct id ids[QUOTA + 1];
    struct msg_written w;
    for (unsigned i = 0; i < QUOTA; i++)
        assert_int_equal(write_message(f, a.queue, i, &ids[i], &w), OK);
    assert_int_equal(write_message(f, a.queue, QUOTA, &ids[QUOTA], &w), E_QUOTA);
    uint64_t n;
    struct store_problem problem = {0};
    assert_int_equal(store_export_messages(f->store, path, &n, &problem), OK);
    assert_int_equal(n, QUOTA + 1);
    for (unsigned i = 0; i <= QUOTA; i++) ack(f, a.queue, ids[i]);
    assert_int_equal(count_messages(f, a.queue), 0);
    assert_int_equal(store_import_messages(f->store, path, &n, &problem), OK);
    assert_int_equal(n, QUOTA + 1);
    assert_int_equal(access(path, F_OK), -1); /* set aside as .bak */
    queue_unref(a.queue);
    (void)reopen(f);
    a.queue = find(f, ID_RECIPIENT, a.rec.rcv_id);
    for (unsigned i = 0; i < QUOTA; i++) {
        assert_head(f, a.queue, ids[i], i);
        ack(f, a.queue, ids[i]);
    }
    (void)marker(f, a.queue);
    drop(&a);
}

static void off_writes_nothing(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    struct id id;
    struct msg_written w;
    assert_int_equal(write_message(f, a.queue, 1, &id, &w), OK);
    drop(&a);
    close_store(f);
    const unsigned n = clear_dir(f->journal) + clear_dir(f->dir);
    assert_true(survives_stop(f) ? n > 0 : n == 0);
}

/* ---- many at once ---- */

enum { N_THREADS = 4, N_ROUNDS = 200 };

struct worker {
    struct fixture *f;
    struct queue *queue;
    unsigned seed;
};

/* Writes and acknowledges its own share of one shared queue's traffic; the quota keeps it short. */
static void *hammer(void *arg) {
    const struct worker *w = arg;
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        struct id id = {{0}};
        const unsigned tag = w->seed * N_ROUNDS + i;
        memcpy(id.b, &tag, sizeof tag);
        id.b[ID_LEN - 1] = 0xa5;
        struct message *m = NULL;
        struct queue_view v;
        struct msg_written written;
        struct msg_acked acked;
        if (message_new(&id, NOW_S, false, bytes_str("body"), &m) != OK) abort();
        const enum err e = store_msg_write(w->f->store, w->queue, m, &written);
        if (e != OK && e != E_QUOTA) abort();
        if (store_queue_view(w->f->store, w->queue, WANT_MESSAGES, &v) != OK) abort();
        if (v.n_messages != 0 &&
            store_msg_ack(w->f->store, w->queue, &v.head.id, PACE_AT_ONCE, &acked) != OK)
            abort();
        queue_view_done(&v);
    }
    return NULL;
}

static void threads_share_a_queue(struct fixture *f) {
    struct made a = make_queue(f, MODE_MESSAGING);
    pthread_t threads[N_THREADS];
    struct worker workers[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        workers[i] = (struct worker){f, a.queue, i};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &workers[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    for (struct queue_view v; (v = view(f, a.queue, WANT_MESSAGES)).n_messages != 0;) {
        ack(f, a.queue, v.head.id);
        queue_view_done(&v);
    }
    assert_int_equal(count_messages(f, a.queue), 0);
    assert_int_equal(store_counts(f->store).n_messages, 0);
    drop(&a);
}

static const struct scenario SCENARIOS[] = {
    SCENARIO(a_queue_is_found_by_its_ids),
    SCENARIO(a_taken_id_is_refused_and_changes_nothing),
    SCENARIO(a_queue_is_secured_once),
    SCENARIO(recipient_keys_are_replaced),
    SCENARIO(status_and_date_are_kept),
    SCENARIO(a_view_is_old_after_a_change),
    SCENARIO(an_id_that_should_be_free_is_no_error),
    SCENARIO(links_follow_the_rules),
    SCENARIO(a_secured_messaging_queue_takes_no_link),
    SCENARIO(a_queue_is_made_with_link_and_notifier),
    SCENARIO(the_subscriber_is_the_last_who_asked),
    SCENARIO(messages_come_in_order_and_are_deleted_by_ack),
    SCENARIO(messages_survive_a_stop),
    SCENARIO(a_full_queue_stays_full_until_it_is_empty),
    SCENARIO(an_empty_body_is_a_message),
    SCENARIO(old_messages_expire),
    SCENARIO(the_store_looks_for_them_itself),
    SCENARIO(a_deleted_queue_is_as_if_it_had_never_been),
    SCENARIO(messages_go_out_to_a_log_and_come_back),
    SCENARIO(off_writes_nothing),
    SCENARIO(threads_share_a_queue),
};

int main(void) {
    static struct run runs[ARRAY_LEN(SCENARIOS) * ARRAY_LEN(MODES)];
    static struct CMUnitTest tests[ARRAY_LEN(runs)];
    if (crypto_init() != OK) return 1;
    in_every_mode(SCENARIOS, ARRAY_LEN(SCENARIOS), runs, tests);
    return cmocka_run_group_tests_name("store", tests, begin_database, end_database);
}
