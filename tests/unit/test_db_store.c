/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_db_store.c -- what only a store on a database can meet: the database goes away, somebody
 * else has it, or it refuses a change. */
#include "store/messages.h"
#include "store_fixture.h"

static struct fixture *begin(unsigned patience_ms) {
    struct fixture *f = setup(&MODES[3]);
    close_store(f);
    f->patience_ms = patience_ms;
    open_store(f);
    return f;
}

static struct queue_rec record_of(struct fixture *f, struct keyset *keys) {
    struct queue_rec rec = {.rcv_id = new_id(f),
                            .snd_id = new_id(f),
                            .mode = MODE_MESSAGING,
                            .updated_day = DAY,
                            .rcv_keys = keys};
    memset(rec.dh_secret, 7, sizeof rec.dh_secret);
    return rec;
}

static struct keyset *new_keys(void) {
    const struct pubkey key = {.type = KEY_ED25519};
    struct keyset *keys;
    assert_int_equal(keyset_new(&key, 1, &keys), OK);
    return keys;
}

static struct queue *make_queue(struct fixture *f, lsn_t *ret_lsn) {
    struct keyset *keys = new_keys();
    const struct queue_rec rec = record_of(f, keys);
    struct queue *q;
    assert_int_equal(store_queue_create(f->store, &rec, &q, ret_lsn), OK);
    keyset_unref(keys);
    return q;
}

static lsn_t write_message(struct fixture *f, struct queue *q) {
    const struct id id = new_id(f);
    struct message *m;
    struct msg_written w;
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    assert_int_equal(store_msg_write(f->store, q, m, &w), OK);
    return w.lsn;
}

/* What becomes of a change, when it is known, or nobody waits for it. */
static enum err decided(struct fixture *f, lsn_t lsn) {
    enum err e;
    pthread_mutex_lock(&f->mtx);
    while ((e = store_fate(f->store, lsn)) == E_PENDING) pthread_cond_wait(&f->cond, &f->mtx);
    pthread_mutex_unlock(&f->mtx);
    return e;
}

/* E_CLOSED is no end: it may yet become durable. */
static void wait_until_durable(struct fixture *f, lsn_t lsn) {
    while (decided(f, lsn) != OK) (void)usleep(10000);
}

static unsigned n_waiting(struct fixture *f, const struct id *rcv_id) {
    struct queue *q = find(f, ID_RECIPIENT, *rcv_id);
    assert_non_null(q);
    const unsigned n = count_messages(f, q);
    queue_unref(q);
    return n;
}

static long row_count(const struct fixture *f, const char *table) {
    char sql[96];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s.%s", f->schema, table);
    return strtol(pg_value(sql), NULL, 10);
}

/* ---- it goes away ---- */

static void changes_wait_for_a_database_that_comes_back(void **state) {
    (void)state;
    struct fixture *f = begin(0);
    lsn_t lsn;
    struct queue *q = make_queue(f, &lsn);
    const struct id id = *queue_rcv_id(q);
    assert_int_equal(decided(f, write_message(f, q)), OK);
    pg_crash();
    lsn = write_message(f, q);
    assert_int_equal(store_fate(f->store, lsn), E_PENDING);
    pg_start();
    assert_int_equal(decided(f, lsn), OK);
    queue_unref(q);
    (void)reopen(f);
    assert_int_equal(n_waiting(f, &id), 2);
    teardown(f);
}

/* The connection of the lane may be lost before, within or after its COMMIT: what was written once
 * is there once. */
static void connections_that_are_cut_lose_and_double_nothing(void **state) {
    (void)state;
    enum { N = 40 };
    struct fixture *f = begin(0);
    lsn_t lsn = 0;
    struct queue *q[N];
    for (unsigned i = 0; i < N; i++) {
        q[i] = make_queue(f, &lsn);
        lsn = write_message(f, q[i]);
        if (i % 4 == 3)
            pg_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                   "WHERE application_name = 'smp-server'");
    }
    assert_int_equal(decided(f, lsn), OK);
    assert_int_equal(row_count(f, "messages"), N);
    assert_int_equal(row_count(f, "msg_queues"), N);
    for (unsigned i = 0; i < N; i++) queue_unref(q[i]);
    teardown(f);
}

static void who_waits_for_long_is_told(void **state) {
    (void)state;
    struct fixture *f = begin(50);
    lsn_t lsn;
    struct queue *q = make_queue(f, &lsn);
    wait_durable(f, lsn);
    pg_crash();
    lsn = write_message(f, q);
    assert_int_equal(decided(f, lsn), E_CLOSED);
    struct store_lookup l = {.kind = ID_SENDER, .id = new_id(f)};
    store_load_wait(f->store, &l, 1);
    assert_int_equal(l.ret_err, E_CLOSED);
    pg_start();
    wait_until_durable(f, lsn);
    do {
        store_load_wait(f->store, &l, 1);
    } while (l.ret_err == E_CLOSED);
    assert_int_equal(l.ret_err, E_AUTH);
    assert_int_equal(row_count(f, "messages"), 1);
    queue_unref(q);
    teardown(f);
}

/* ---- somebody else has it ---- */

static unsigned n_taken_over;

static void taken_over(void *ctx) {
    (void)ctx;
    n_taken_over++;
}

static void a_second_server_takes_over(void **state) {
    (void)state;
    struct fixture *first = begin(0), *second = calloc(1, sizeof *second);
    struct store_problem problem = {0};
    lsn_t lsn;
    close_store(first);
    first->taken_over = taken_over;
    open_store(first);
    struct queue *q = make_queue(first, &lsn);
    wait_durable(first, lsn);
    *second = (struct fixture){.mode = first->mode, .n_ids = 1000};
    memcpy(second->schema, first->schema, sizeof second->schema);
    (void)snprintf(second->ntfs, sizeof second->ntfs, "%s/none", first->dir);
    pthread_mutex_init(&second->mtx, NULL);
    pthread_cond_init(&second->cond, NULL);
    open_store(second);
    n_taken_over = 0;
    assert_int_equal(decided(first, write_message(first, q)), E_CLOSED);
    assert_int_equal(n_taken_over, 1);
    assert_int_equal(row_count(first, "messages"), 0);
    struct queue *again = find(second, ID_RECIPIENT, *queue_rcv_id(q));
    assert_non_null(again);
    assert_int_equal(decided(second, write_message(second, again)), OK);
    queue_unref(again);
    queue_unref(q);
    assert_int_equal(store_stop(first->store, &problem), E_CLOSED);
    store_close(first->store);
    first->store = NULL;
    close_store(second);
    pthread_mutex_destroy(&second->mtx);
    pthread_cond_destroy(&second->cond);
    free(second);
    teardown(first);
}

/* ---- it refuses a change ---- */

/* A queue that only the database knows of. */
static void put_row(const struct fixture *f, const char *sender, const char *link) {
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO %s.msg_queues (recipient_id, recipient_keys, rcv_dh_secret, "
                   "sender_id, status, link_id) VALUES (decode(repeat('ee', 24), 'hex'), '\\x00', "
                   "decode(repeat('00', 32), 'hex'), decode(repeat('%s', 24), 'hex'), 'active', "
                   "decode(repeat('%s', 24), 'hex'))",
                   f->schema, sender, link);
    pg_sql(sql);
}

static void an_id_that_is_taken_is_refused_and_nothing_else(void **state) {
    (void)state;
    struct fixture *f = begin(0);
    struct keyset *keys = new_keys();
    struct queue_rec rec = record_of(f, keys);
    struct queue *refused;
    lsn_t before, lsn, after;
    put_row(f, "ab", "cd");
    memset(rec.snd_id.b, 0xab, ID_LEN);
    struct queue *a = make_queue(f, &before);
    assert_int_equal(store_queue_create(f->store, &rec, &refused, &lsn), OK);
    const lsn_t of_refused = write_message(f, refused);
    struct queue *b = make_queue(f, &after);
    assert_int_equal(decided(f, after), OK);
    assert_int_equal(decided(f, before), OK);
    assert_int_equal(decided(f, lsn), E_AUTH);
    assert_int_equal(decided(f, of_refused), E_STORE);
    struct queue *gone = find(f, ID_RECIPIENT, rec.rcv_id);
    assert_null(gone);
    assert_int_equal(store_counts(f->store).n_messages, 0);
    assert_int_equal(row_count(f, "msg_queues"), 3);
    queue_unref(a);
    queue_unref(b);
    queue_unref(refused);
    keyset_unref(keys);
    teardown(f);
}

static void a_link_that_is_taken_is_not_kept(void **state) {
    (void)state;
    struct fixture *f = begin(0);
    struct id link_id;
    struct link_data *link;
    lsn_t lsn;
    put_row(f, "ab", "cd");
    memset(link_id.b, 0xcd, ID_LEN);
    struct queue *q = make_queue(f, &lsn);
    assert_int_equal(link_data_new(&link_id, bytes_str("fixed"), bytes_str("user"), &link), OK);
    assert_int_equal(store_link_set(f->store, q, link, &lsn), OK);
    assert_int_equal(decided(f, lsn), E_AUTH);
    struct queue_view v = view(f, q, WANT_LINK);
    assert_null(v.link);
    queue_view_done(&v);
    link_data_unref(link);
    queue_unref(q);
    teardown(f);
}

/* The id of a deleted queue's sender stays taken, until its row goes. */
static void what_is_deleted_is_not_found_and_its_ids_stay_taken(void **state) {
    (void)state;
    struct fixture *f = begin(0);
    struct queue_ended ended;
    lsn_t lsn;
    struct queue *q = make_queue(f, &lsn);
    const struct id snd_id = *queue_snd_id(q);
    (void)write_message(f, q);
    assert_int_equal(store_queue_delete(f->store, q, &ended, &lsn), OK);
    queue_unref(q);
    struct store_lookup l = {.kind = ID_SENDER, .id = snd_id};
    store_load_wait(f->store, &l, 1); /* it is not in the database yet that it is deleted */
    assert_int_equal(l.ret_err, E_AUTH);
    wait_durable(f, lsn);
    l.want = WANT_FREE;
    store_load_wait(f->store, &l, 1);
    assert_int_equal(l.ret_err, E_AUTH);
    assert_int_equal(row_count(f, "messages"), 0);
    assert_int_equal(row_count(f, "msg_queues"), 1);
    teardown(f);
}

/* The reference goes by them: size, can_write, expire. */
static void counters_are_exact_after_a_stop(void **state) {
    (void)state;
    struct fixture *f = begin(0);
    lsn_t lsn;
    struct queue *full = make_queue(f, &lsn), *some = make_queue(f, &lsn),
                 *none = make_queue(f, &lsn);
    struct msg_written w;
    for (unsigned i = 0; i < QUOTA; i++) (void)write_message(f, full);
    const struct id id = new_id(f);
    struct message *m;
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    assert_int_equal(store_msg_write(f->store, full, m, &w), E_QUOTA);
    wait_durable(f, write_message(f, some));
    queue_unref(full);
    queue_unref(some);
    queue_unref(none);
    close_store(f);
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "SELECT string_agg(concat_ws(' ', msg_queue_size, msg_can_write, "
                   "msg_queue_expire), ',' ORDER BY recipient_id) FROM %s.msg_queues",
                   f->schema);
    assert_string_equal(pg_value(sql), "5 f t,1 t t,0 t f");
    (void)snprintf(sql, sizeof sql, "SELECT counters_exact FROM %s.smpn_cluster", f->schema);
    assert_string_equal(pg_value(sql), "t");
    open_store(f);
    assert_string_equal(pg_value(sql), "f");
    teardown(f);
}

#define TEST(fn) cmocka_unit_test(fn)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(changes_wait_for_a_database_that_comes_back),
        TEST(connections_that_are_cut_lose_and_double_nothing),
        TEST(who_waits_for_long_is_told),
        TEST(a_second_server_takes_over),
        TEST(an_id_that_is_taken_is_refused_and_nothing_else),
        TEST(a_link_that_is_taken_is_not_kept),
        TEST(counters_are_exact_after_a_stop),
        TEST(what_is_deleted_is_not_found_and_its_ids_stay_taken),
    };
    if (crypto_init() != OK) return 1;
    return cmocka_run_group_tests_name("db_store", tests, begin_database, end_database);
}
