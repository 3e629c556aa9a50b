/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The lines of the store log, in the order of the changes, also while it is written anew. */
#include "crypto/base64.h"
#include "store/queue_table.h"
#include "store/service_table.h"
#include "store/store_priv.h"
#include "store_fault_fixture.h"

/* ---- the order of lines ---- */

struct securer {
    struct fixture *f;
    struct id ids[1000]; /* of senders */
    _Atomic unsigned n;  /* release: as many are there */
    _Atomic bool end;
};

/* Secures every queue as soon as its sender's id is known. */
static void *secure_all(void *arg) {
    struct securer *s = arg;
    struct fixture keys = {.n_ids = 1 << 20};
    unsigned i = 0;
    while (i < atomic_load(&s->n) || !atomic_load(&s->end)) {
        lsn_t lsn;
        if (i == atomic_load(&s->n)) continue;
        struct queue *q = find(s->f, ID_SENDER, s->ids[i]);
        if (q == NULL) continue;
        const struct pubkey key = new_key(&keys, KEY_ED25519);
        if (store_queue_secure(s->f->store, q, &key, NULL, &lsn) == OK) i++;
        queue_unref(q);
    }
    return NULL;
}

/* Every line that names a queue stands behind the one that makes it. */
static void assert_lines_in_order(const char *text, size_t n) {
    const char *line = text;
    while (line < text + n) {
        const char *nl = memchr(line, '\n', (size_t)(text + n - line));
        assert_non_null(nl);
        if (memcmp(line, "SECURE ", 7) == 0) {
            char create[64];
            (void)snprintf(create, sizeof create, "CREATE rid=%.32s", line + 7);
            assert_non_null(memmem(text, (size_t)(line - text), create, strlen(create)));
        }
        line = nl + 1;
    }
}

static void test_no_line_precedes_its_create(void **state) {
    (void)state;
    struct fixture f = setup(false);
    static struct securer s;
    s = (struct securer){.f = &f};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, secure_all, &s), 0);
    for (unsigned i = 0; i < ARRAY_LEN(s.ids); i++) {
        const struct pubkey key = new_key(&f, KEY_ED25519);
        struct made m = {.rec = {.rcv_id = new_id(&f), .snd_id = new_id(&f), .updated_day = DAY}};
        lsn_t lsn;
        assert_int_equal(keyset_new(&key, 1, &m.rec.rcv_keys), OK);
        s.ids[i] = m.rec.snd_id;
        atomic_store(&s.n, i + 1); /* senders' ids can be known before: clients choose them */
        assert_int_equal(store_queue_create(f.store, &m.rec, &m.queue, &lsn), OK);
        drop(&m);
    }
    atomic_store(&s.end, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_store(&f);
    const size_t n = faultfs_size(f.fs, LOG);
    assert_lines_in_order((const char *)faultfs_data(f.fs, LOG), n);
    faultfs_free(f.fs);
}

/* ---- the log is written anew while it is used ---- */

enum { N_QUEUES = 24, N_SERVICES = 3, N_STEPS = 400 };

enum fate { ABSENT, PRESENT, SECURED, UNSURE };

/* A service that has one queue, or none and is forgotten. */
struct served {
    struct id id;
    struct queue *queue;
    bool has_queue; /* for sure */
};

struct model {
    struct served served[N_SERVICES];
    struct made made[N_QUEUES];
    enum fate fate[N_QUEUES];
    struct pubkey key[N_QUEUES]; /* of the recipient, where fate is sure */
    unsigned notifier_of;        /* the queue that has the one notifier; N_QUEUES: none */
    bool notifier_unsure;
    struct queue_notifier notifier;
};

/* One change of a queue, acknowledged or not. */
static bool change_queue(struct fixture *f, struct model *m, unsigned i) {
    struct made *x = &m->made[i];
    lsn_t lsn = 0;
    enum err e;
    enum fate next;
    if (m->fate[i] == ABSENT) {
        const struct pubkey key = new_key(f, KEY_ED25519);
        next = PRESENT;
        if (x->rec.rcv_keys == NULL) {
            *x = (struct made){.rec = {.rcv_id = new_id(f),
                                       .snd_id = new_id(f),
                                       .mode = MODE_CONTACT,
                                       .updated_day = DAY}};
            assert_int_equal(keyset_new(&key, 1, &x->rec.rcv_keys), OK);
        }
        m->key[i] = x->rec.rcv_keys->keys[0];
        e = store_queue_create(f->store, &x->rec, &x->queue, &lsn);
    } else if (m->fate[i] == PRESENT) {
        const struct pubkey key = new_key(f, KEY_ED25519);
        next = SECURED;
        e = store_queue_secure(f->store, x->queue, &key, NULL, &lsn);
    } else {
        struct queue_ended ended;
        next = ABSENT;
        if (m->notifier_of == i) m->notifier_of = N_QUEUES;
        e = store_queue_delete(f->store, x->queue, &ended, &lsn);
        if (e == OK) {
            queue_unref(x->queue);
            x->queue = NULL;
        }
    }
    const bool ok = e == OK && wait_durable(f, lsn);
    m->fate[i] = ok ? next : UNSURE;
    return ok;
}

/* The recipient has another key. */
static bool replace_key(struct fixture *f, struct model *m, unsigned i) {
    struct keyset *keys;
    lsn_t lsn = 0;
    if (m->made[i].queue == NULL) return true;
    m->key[i] = new_key(f, KEY_ED25519);
    assert_int_equal(keyset_new(&m->key[i], 1, &keys), OK);
    const enum err e = store_queue_set_keys(f->store, m->made[i].queue, keys, &lsn);
    keyset_unref(keys);
    const bool ok = e == OK && wait_durable(f, lsn);
    if (!ok) m->fate[i] = UNSURE;
    return ok;
}

/* The notifier goes to another queue, under the same id: the order of lines of two queues. */
static bool move_notifier(struct fixture *f, struct model *m, unsigned i) {
    struct sub_ended ended;
    lsn_t lsn = 0;
    enum err e = OK;
    if (m->made[i].queue == NULL) return true;
    m->notifier_unsure = true;
    if (m->notifier_of != N_QUEUES)
        e = store_notifier_delete(f->store, m->made[m->notifier_of].queue, &ended, &lsn);
    if (e == OK) e = store_notifier_set(f->store, m->made[i].queue, &m->notifier, &ended, &lsn);
    if (e != OK || !wait_durable(f, lsn)) return false;
    m->notifier_unsure = false;
    m->notifier_of = i;
    return true;
}

static enum err open_service(struct fixture *f, unsigned i, bool may_create,
                             struct store_service_open *ret) {
    static const uint8_t CHAIN[] = {2, 0, 3, 'a', 'b', 'c', 0, 1, 'd'};
    *ret = (struct store_service_open){.rec = {.id = new_id(f),
                                               .role = SERVICE_MESSAGING,
                                               .cert_hash = {(uint8_t)(i + 1)},
                                               .cert_chain = bytes_of(CHAIN, sizeof CHAIN)},
                                       .may_create = may_create};
    assert_true(store_service_open(f->store, ret, NULL)); /* this backend answers at once */
    return ret->ret_err;
}

/* It comes with a new queue, whether it has been forgotten or not. */
static bool give_queue(struct fixture *f, struct served *x, unsigned i) {
    const struct pubkey key = new_key(f, KEY_ED25519);
    struct store_service_open o;
    enum err e = open_service(f, i, true, &o);
    if (e != OK) return false;
    x->id = *service_id(o.ret_service);
    struct queue_rec rec = {.rcv_id = new_id(f),
                            .snd_id = new_id(f),
                            .updated_day = DAY,
                            .has_rcv_service = true,
                            .rcv_service_id = x->id};
    lsn_t lsn = 0;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    e = store_queue_create(f->store, &rec, &x->queue, &lsn);
    keyset_unref(rec.rcv_keys);
    store_service_close(f->store, o.ret_service);
    x->has_queue = e == OK && wait_durable(f, lsn);
    return x->has_queue;
}

static bool take_queue(struct fixture *f, struct served *x) {
    struct queue_ended ended;
    lsn_t lsn = 0;
    x->has_queue = false;
    const enum err e = store_queue_delete(f->store, x->queue, &ended, &lsn);
    queue_unref(STEAL(x->queue));
    return e == OK && wait_durable(f, lsn);
}

static bool change_service(struct fixture *f, struct model *m, unsigned i) {
    struct served *x = &m->served[i];
    const bool ok = x->queue == NULL ? give_queue(f, x, i) : take_queue(f, x);
    service_table_forget(queue_table_services(f->store->table), INT64_MAX);
    return ok;
}

static void live(struct fixture *f, struct model *m, unsigned seed) {
    bool ok = true;
    for (unsigned step = 0; step < N_STEPS && ok; step++) {
        seed = seed * 1103515245 + 12345;
        const unsigned i = seed >> 16 & 0xff;
        if (step % 5 == 4) ok = change_service(f, m, i % N_SERVICES);
        if (ok && step % 4 == 3) ok = replace_key(f, m, i % N_QUEUES);
        if (!ok) break;
        ok = step % 3 == 2 ? move_notifier(f, m, i % N_QUEUES) : change_queue(f, m, i % N_QUEUES);
    }
}

/* The id that a service was told is the one that its queues have. */
static void assert_services(struct fixture *f, const struct model *m) {
    for (unsigned i = 0; i < N_SERVICES; i++) {
        struct store_service_open o;
        if (!m->served[i].has_queue) continue;
        assert_int_equal(open_service(f, i, false, &o), OK);
        assert_true(id_equal(service_id(o.ret_service), &m->served[i].id));
        assert_int_equal(o.ret_service->sums[SUB_RECIPIENT].n, 1);
    }
}

static void assert_as_told(struct fixture *f, const struct model *m) {
    assert_services(f, m);
    for (unsigned i = 0; i < N_QUEUES; i++) {
        struct queue_view v;
        size_t n_keys;
        if (m->fate[i] == UNSURE || m->made[i].rec.rcv_keys == NULL) continue;
        struct queue *q = find(f, ID_RECIPIENT, m->made[i].rec.rcv_id);
        assert_int_equal(q != NULL, m->fate[i] != ABSENT);
        if (q == NULL) continue;
        assert_int_equal(store_queue_view(f->store, q, WANT_MESSAGES, &v), OK);
        assert_int_equal(v.snd_key.type != KEY_NONE, m->fate[i] == SECURED);
        if (!m->notifier_unsure) assert_int_equal(v.has_notifier, m->notifier_of == i);
        assert_true(pubkey_equal(queue_view_rcv_keys(&v, &n_keys), &m->key[i]));
        queue_view_done(&v);
        queue_unref(q);
    }
}

static void drop_all(struct model *m) {
    for (unsigned i = 0; i < N_QUEUES; i++) drop(&m->made[i]);
    for (unsigned i = 0; i < N_SERVICES; i++) queue_unref(STEAL(m->served[i].queue));
}

static struct model *new_model(struct fixture *f) {
    static struct model m;
    m = (struct model){.notifier_of = N_QUEUES};
    m.notifier = (struct queue_notifier){.id = new_id(f), .key = new_key(f, KEY_ED25519)};
    return &m;
}

static void test_the_log_stays_short_while_it_is_used(void **state) {
    (void)state;
    struct fixture f = {.fs = faultfs_new(1), .compacts = true};
    open_store(&f);
    struct model *m = new_model(&f);
    for (unsigned round = 0; round < 10; round++) {
        live(&f, m, round);
        usleep(5000);
    }
    usleep(50000);
    assert_true(faultfs_size(f.fs, LOG) < 40000); /* 4,000 lines were written */
    drop_all(m);
    close_store(&f);
    open_store(&f);
    assert_as_told(&f, m);
    assert_true(store_counts(f.store).n_queues <= N_QUEUES + N_SERVICES);
    close_store(&f);
    faultfs_free(f.fs);
}

/* ---- what is deleted is erased ---- */

static bool log_has(struct fixture *f, const struct id *id) {
    char text[BASE64_LEN(ID_LEN) + 2] = " ", field[sizeof text] = "=";
    base64url_encode(id_bytes(id), text + 1);
    base64url_encode(id_bytes(id), field + 1);
    return faultfs_contains(f->fs, NULL, bytes_str(text)) ||
           faultfs_contains(f->fs, NULL, bytes_str(field));
}

/* All that is done to a queue leaves lines; those of others stay. */
static void test_lines_of_deleted_queues_are_erased(void **state) {
    (void)state;
    struct fixture f = {.fs = faultfs_new(1), .erases = true};
    open_store(&f);
    struct model *m = new_model(&f);
    for (unsigned i = 0; i < N_QUEUES; i++) assert_true(change_queue(&f, m, i));
    for (unsigned i = 0; i < N_QUEUES; i += 2) assert_true(change_queue(&f, m, i)); /* SECURE */
    assert_true(move_notifier(&f, m, 4));
    for (unsigned i = 0; i < N_QUEUES; i += 4) assert_true(change_queue(&f, m, i)); /* DELETE */
    drop_all(m);
    close_store(&f);
    for (unsigned i = 0; i < N_QUEUES; i++) {
        const bool is_there = m->fate[i] != ABSENT;
        assert_int_equal(is_there, i % 4 != 0);
        assert_int_equal(log_has(&f, &m->made[i].rec.rcv_id), is_there);
        assert_int_equal(log_has(&f, &m->made[i].rec.snd_id), is_there);
    }
    assert_false(log_has(&f, &m->notifier.id));
    assert_true(faultfs_contains(f.fs, LOG, bytes_str("\nTIME AAAAAAAA")));
    open_store(&f);
    assert_as_told(&f, m);
    assert_false(faultfs_contains(f.fs, LOG, bytes_str("TIME AAAAAAAA"))); /* compacted */
    close_store(&f);
    faultfs_free(f.fs);
}

/* A key as the log has it. */
static bool log_has_key(struct fixture *f, const struct pubkey *k) {
    char text[BASE64_LEN(SPKI_MAX) + 1];
    uint8_t der[SPKI_MAX];
    struct wr w = wr_init(der, sizeof der);
    pubkey_write_spki(k, &w);
    base64url_encode(wr_bytes(&w), text);
    return faultfs_contains(f->fs, NULL, bytes_str(text));
}

static void set_link(struct fixture *f, struct queue *q, const struct id *id, const char *user) {
    struct link_data *data;
    lsn_t lsn;
    assert_int_equal(link_data_new(id, bytes_str("fixed"), bytes_str(user), &data), OK);
    assert_int_equal(store_link_set(f->store, q, data, &lsn), OK);
    link_data_unref(data);
}

static void assert_link(struct fixture *f, struct queue *q, const char *user) {
    struct queue_view v;
    assert_int_equal(store_queue_view(f->store, q, WANT_LINK, &v), OK);
    assert_non_null(v.link);
    assert_true(bytes_equal(link_data_user(v.link), bytes_str(user)));
    queue_view_done(&v);
}

static struct queue_notifier set_notifier(struct fixture *f, struct queue *q) {
    const struct queue_notifier n = {.id = new_id(f), .key = new_key(f, KEY_ED25519)};
    struct sub_ended ended;
    lsn_t lsn;
    assert_int_equal(store_notifier_set(f->store, q, &n, &ended, &lsn), OK);
    return n;
}

/* Two queues: one has other keys, link data and a notifier, the other none any more. `dWVhcmxpZXI`
 * is `uearlier` in base64. */
static void test_what_living_queues_had_is_erased(void **state) {
    (void)state;
    struct fixture f = {.fs = faultfs_new(1), .erases = true};
    open_store(&f);
    struct model *m = new_model(&f);
    for (unsigned i = 0; i < 2; i++) assert_true(change_queue(&f, m, i));
    const struct pubkey old_key = m->key[0];
    const struct id link_ids[] = {new_id(&f), new_id(&f)};
    set_link(&f, m->made[0].queue, &link_ids[0], "uearlier");
    set_link(&f, m->made[1].queue, &link_ids[1], "uearlier");
    const struct queue_notifier old = set_notifier(&f, m->made[0].queue),
                                gone = set_notifier(&f, m->made[1].queue);
    assert_true(replace_key(&f, m, 0));
    set_link(&f, m->made[0].queue, &link_ids[0], "later");
    const struct queue_notifier now = set_notifier(&f, m->made[0].queue);
    struct sub_ended ended;
    lsn_t lsn;
    assert_int_equal(store_link_delete(f.store, m->made[1].queue, &lsn), OK);
    assert_int_equal(store_notifier_delete(f.store, m->made[1].queue, &ended, &lsn), OK);
    drop_all(m);
    close_store(&f);
    assert_false(log_has_key(&f, &old_key));
    assert_false(faultfs_contains(f.fs, NULL, bytes_str("dWVhcmxpZXI")));
    assert_false(log_has(&f, &old.id) || log_has(&f, &gone.id) || log_has(&f, &link_ids[1]));
    assert_true(log_has_key(&f, &m->key[0]) && log_has_key(&f, &m->key[1]));
    assert_true(faultfs_contains(f.fs, LOG, bytes_str("bGF0ZXI"))); /* later */
    for (unsigned i = 0; i < 2; i++) assert_true(log_has(&f, &m->made[i].rec.snd_id));
    open_store(&f);
    assert_int_equal(store_counts(f.store).n_queues, 2);
    struct queue *q = find(&f, ID_NOTIFIER, now.id);
    assert_non_null(q);
    assert_link(&f, q, "later");
    queue_unref(q);
    assert_null(find(&f, ID_LINK, link_ids[1]));
    close_store(&f);
    faultfs_free(f.fs);
}

static _Atomic int64_t hours_later;

static int64_t later_us(void *ctx) {
    (void)ctx;
    return env_mono_us(&ENV_SYSTEM) + atomic_load(&hours_later) * 3600 * 1000000;
}

static int64_t wall_s(void *ctx) {
    (void)ctx;
    return NOW_S;
}

static void random_of_system(void *ctx, void *buf, size_t n) {
    (void)ctx;
    env_random(&ENV_SYSTEM, buf, n);
}

static bool is_anywhere(struct fixture *f, const char *name, const char *text) {
    return faultfs_contains(f->fs, name, bytes_str(text));
}

/* `.bak` of each log: overwritten, then removed, a day after the start. */
static void test_baks_are_kept_for_a_day(void **state) {
    (void)state;
    static const char *const BAKS[] = {"/d/log.bak", "/d/messages.bak", "/d/ntfs.bak"};
    static const char *const STOLEN[] = {"/x/log", "/x/messages", "/x/ntfs"};
    static const char TEXT[] = "what was deleted since";
    const struct env env = {.now_s = wall_s, .mono_us = later_us, .random = random_of_system};
    struct fixture f = {.fs = faultfs_new(1),
                        .erases = true,
                        .env = &env,
                        .copies_ttl_s = 24 * 3600};
    atomic_store(&hours_later, 0);
    open_store(&f);
    for (size_t i = 0; i < ARRAY_LEN(BAKS); i++) {
        faultfs_put(f.fs, BAKS[i], bytes_str(TEXT));
        faultfs_link(f.fs, BAKS[i], STOLEN[i]);
    }
    for (int i = 0; i < 23; i++) {
        atomic_fetch_add(&hours_later, 1);
        (void)usleep(2000);
    }
    for (size_t i = 0; i < ARRAY_LEN(BAKS); i++) assert_true(is_anywhere(&f, BAKS[i], TEXT));
    for (int i = 0; i < 5000 && faultfs_data(f.fs, BAKS[2]) != NULL; i++) {
        atomic_fetch_add(&hours_later, 2);
        (void)usleep(2000);
    }
    close_store(&f);
    for (size_t i = 0; i < ARRAY_LEN(BAKS); i++) {
        assert_null(faultfs_data(f.fs, BAKS[i]));
        assert_non_null(faultfs_data(f.fs, STOLEN[i]));
        assert_false(is_anywhere(&f, STOLEN[i], TEXT));
    }
    faultfs_free(f.fs);
}

/* The file that the next `save`, or the stop, replaces has messages that were received since. */
static void test_what_a_save_replaces_is_erased(void **state) {
    (void)state;
    struct fixture f = setup(false);
    struct made m = make_queue(&f);
    (void)write_message(&f, m.queue);
    assert_int_equal(store_save(f.store, &f.problem), OK);
    assert_true(is_anywhere(&f, MESSAGES, "Ym9keQ"));
    faultfs_link(f.fs, MESSAGES, "/x/first");
    assert_int_equal(store_save(f.store, &f.problem), OK);
    faultfs_link(f.fs, MESSAGES, "/x/second");
    drop(&m);
    close_store(&f);
    assert_true(is_anywhere(&f, MESSAGES, "Ym9keQ"));
    assert_false(is_anywhere(&f, "/x/first", "Ym9keQ"));
    assert_false(is_anywhere(&f, "/x/second", "Ym9keQ"));
    open_store(&f); /* and nothing is lost with it */
    assert_int_equal(store_counts(f.store).n_messages, 1);
    teardown(&f);
}

static void test_power_loss_while_the_log_is_written_anew(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 160; n++) {
        struct fixture f = {.fs = faultfs_new(n), .compacts = n % 3 != 0, .erases = n % 3 != 1};
        open_store(&f);
        struct model *m = new_model(&f);
        faultfs_lose_power_at(f.fs, n * 7);
        live(&f, m, (unsigned)n);
        drop_all(m);
        store_close(f.store);
        faultfs_power_cycle(f.fs);
        open_store(&f);
        assert_as_told(&f, m);
        store_close(f.store);
        faultfs_free(f.fs);
    }
}

/* Any one operation fails, or all from some on do for lack of room. */
static void test_failures_while_the_log_is_written_anew(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 240; n++) {
        struct fixture f = {.fs = faultfs_new(n), .compacts = n % 4 != 0, .erases = n % 4 != 1};
        open_store(&f);
        struct model *m = new_model(&f);
        const bool is_full = n % 3 == 0;
        faultfs_fail_at(f.fs, n * 5, is_full ? ENOSPC : EIO, is_full);
        live(&f, m, (unsigned)n);
        faultfs_fail_at(f.fs, 0, 0, false);
        drop_all(m);
        (void)!store_stop(f.store, &f.problem);
        store_close(f.store);
        faultfs_kill(f.fs);
        open_store(&f);
        assert_as_told(&f, m);
        store_close(f.store);
        faultfs_free(f.fs);
    }
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_line_precedes_its_create),
        cmocka_unit_test(test_the_log_stays_short_while_it_is_used),
        cmocka_unit_test(test_lines_of_deleted_queues_are_erased),
        cmocka_unit_test(test_what_living_queues_had_is_erased),
        cmocka_unit_test(test_baks_are_kept_for_a_day),
        cmocka_unit_test(test_what_a_save_replaces_is_erased),
        cmocka_unit_test(test_power_loss_while_the_log_is_written_anew),
        cmocka_unit_test(test_failures_while_the_log_is_written_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
