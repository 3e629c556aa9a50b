/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_store_faults.c -- the store on a file system that fails, with memory that runs out: what the
 * log says is what the store says, whatever happened. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "crypto/crypto.h"
#include "faultfs.h"
#include "store/store.h"

enum { DAY = 20000, NOW_S = 1700000000 };

static const char LOG[] = "/d/log", MESSAGES[] = "/d/messages", NTFS[] = "/d/ntfs";

/* ---- memory that runs out, for this thread ---- */

/* The linker sends the program's allocations here (-Wl,--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static _Thread_local volatile long left; /* allocations until the one that fails; 0: none fails */

static bool fails(void) {
    if (faultfs_allocates || left == 0) return false;
    return left-- == 1;
}

void *__wrap_malloc(size_t n) {
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return fails() ? NULL : __real_realloc(p, n);
}

/* ---- a store ---- */

struct fixture {
    struct faultfs *fs;
    bool in_journal;
    struct store *store;
    struct store_problem problem;
    unsigned n_ids;
    bool compacts; /* all the time */
    unsigned save_retry_ms;
    void (*stop_takes)(unsigned ms);
};

static enum err try_open(struct fixture *f) {
    const struct store_opts o = {
        .env = &ENV_SYSTEM,
        .quota = 16,
        .vfs = faultfs_vfs(f->fs),
        .store_log = LOG,
        .messages_log = f->in_journal ? NULL : MESSAGES,
        .restore_messages = true,
        .ntfs_log = NTFS,
        .journal_dir = f->in_journal ? "/journal" : NULL,
        .journal_segment_len = 64 << 10,
        .compact_later_len = f->compacts ? 1 : 0,
        .compact_waste_lines = f->compacts ? 8 : 0,
        .compact_look_ms = f->compacts ? 1 : 0,
        .save_retry_ms = f->save_retry_ms,
        .stop_takes = f->stop_takes,
    };
    f->problem.text[0] = '\0';
    return store_open(f->in_journal ? "journal" : "memory", &o, &f->store, &f->problem);
}

static void open_store(struct fixture *f) {
    const enum err e = try_open(f);
    if (e != OK) fail_msg("%s: %s", err_name(e), f->problem.text);
    assert_int_equal(store_start(f->store), OK);
}

static void close_store(struct fixture *f) {
    const enum err e = store_stop(f->store, &f->problem);
    if (e != OK) fail_msg("%s: %s", err_name(e), f->problem.text);
    store_close(f->store);
}

static struct fixture setup(bool in_journal) {
    struct fixture f = {.fs = faultfs_new(1), .in_journal = in_journal};
    open_store(&f);
    return f;
}

static void teardown(struct fixture *f) {
    close_store(f);
    faultfs_free(f->fs);
}

static struct id new_id(struct fixture *f) {
    struct id id = {{0}};
    f->n_ids++;
    memcpy(id.b, &f->n_ids, sizeof f->n_ids);
    return id;
}

static struct pubkey new_key(struct fixture *f, enum key_type type) {
    struct pubkey k = {.type = (uint8_t)type};
    const struct id id = new_id(f);
    memcpy(k.b, id.b, ID_LEN);
    return k;
}

struct made {
    struct queue_rec rec;
    struct queue *queue; /* counted */
};

static enum err try_make(struct fixture *f, struct made *ret) {
    const struct pubkey key = new_key(f, KEY_ED25519);
    lsn_t lsn;
    *ret = (struct made){.rec = {.rcv_id = new_id(f),
                                 .snd_id = new_id(f),
                                 .mode = MODE_CONTACT,
                                 .updated_day = DAY}};
    const enum err e = keyset_new(&key, 1, &ret->rec.rcv_keys);
    return e == OK ? store_queue_create(f->store, &ret->rec, &ret->queue, &lsn) : e;
}

static struct made make_queue(struct fixture *f) {
    struct made m;
    assert_int_equal(try_make(f, &m), OK);
    return m;
}

static void drop(struct made *m) {
    queue_unref(m->queue);
    keyset_unref(m->rec.rcv_keys);
}

static struct queue *find(struct fixture *f, enum queue_id_kind kind, struct id id) {
    struct store_lookup l = {.kind = kind, .id = id};
    assert_true(store_load(f->store, &l, 1, NULL));
    return l.ret_queue;
}

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
        if (store_queue_secure(s->f->store, q, &key, &lsn) == OK) i++;
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

/* ---- every operation of opening fails ---- */

static struct id write_message(struct fixture *f, struct queue *q);

static struct faultfs *filled(bool in_journal) {
    struct fixture f = setup(in_journal);
    struct made m = make_queue(&f), gone = make_queue(&f);
    struct queue_ended ended;
    lsn_t lsn;
    (void)write_message(&f, m.queue);
    assert_int_equal(store_queue_delete(f.store, gone.queue, &ended, &lsn), OK);
    drop(&m);
    drop(&gone);
    close_store(&f);
    return f.fs;
}

static bool names_a_path(const char *text) {
    return strstr(text, LOG) != NULL || strstr(text, MESSAGES) != NULL ||
           strstr(text, NTFS) != NULL || strstr(text, "/journal") != NULL;
}

/* What cannot be opened is named, with the system's reason. */
static void check_words_of_openings(bool in_journal, int error) {
    struct faultfs *full = filled(in_journal);
    unsigned n_failed = 0;
    bool is_over = false;
    for (uint64_t n = 1; !is_over; n++) {
        struct fixture f = {.fs = faultfs_clone(full, n), .in_journal = in_journal};
        const uint64_t before = faultfs_n_ops(f.fs);
        faultfs_fail_at(f.fs, n, error, false);
        const enum err e = try_open(&f);
        is_over = faultfs_n_ops(f.fs) - before < n;
        if (e == OK) {
            store_close(f.store);
        } else {
            n_failed++;
            if (!names_a_path(f.problem.text) || strstr(f.problem.text, strerror(error)) == NULL)
                fail_msg("operation %u: %s: %s", (unsigned)n, err_name(e), f.problem.text);
        }
        faultfs_free(f.fs);
    }
    assert_true(n_failed > 4);
    faultfs_free(full);
}

static void test_words_when_opening_fails(void **state) {
    (void)state;
    check_words_of_openings(false, EIO);
    check_words_of_openings(true, EIO);
    check_words_of_openings(false, EMFILE);
    check_words_of_openings(true, EMFILE);
}

/* ---- every allocation of a change fails ---- */

struct change {
    struct fixture *f;
    struct queue *q; /* secured by nobody; two messages; link and notifier where with_parts */
    struct link_data *link, *other_user_data;
    struct keyset *keys;
    struct block_info *block;
    struct service *service;
    struct pubkey long_key;
    struct queue_notifier notifier;
    struct id first_msg;
};

static enum err do_secure(struct change *c) {
    lsn_t lsn;
    return store_queue_secure(c->f->store, c->q, &c->long_key, &lsn);
}

static enum err do_set_keys(struct change *c) {
    lsn_t lsn;
    return store_queue_set_keys(c->f->store, c->q, c->keys, &lsn);
}

static enum err do_link(struct change *c) {
    lsn_t lsn;
    return store_link_set(c->f->store, c->q, c->other_user_data, &lsn);
}

static enum err do_notifier(struct change *c) {
    struct sub_ended ended;
    lsn_t lsn;
    return store_notifier_set(c->f->store, c->q, &c->notifier, &ended, &lsn);
}

static enum err do_block(struct change *c) {
    struct subscriber sub;
    lsn_t lsn;
    return store_queue_block(c->f->store, c->q, c->block, &sub, &lsn);
}

static enum err do_suspend(struct change *c) {
    lsn_t lsn;
    return store_queue_suspend(c->f->store, c->q, &lsn);
}

static enum err do_touch(struct change *c) {
    lsn_t lsn;
    return store_queue_touch(c->f->store, c->q, DAY + 1, &lsn);
}

static enum err do_delete_link(struct change *c) {
    lsn_t lsn;
    return store_link_delete(c->f->store, c->q, &lsn);
}

static enum err do_delete_notifier(struct change *c) {
    struct sub_ended ended;
    lsn_t lsn;
    return store_notifier_delete(c->f->store, c->q, &ended, &lsn);
}

static enum err do_delete(struct change *c) {
    struct queue_ended ended;
    lsn_t lsn;
    return store_queue_delete(c->f->store, c->q, &ended, &lsn);
}

static enum err do_associate(struct change *c) {
    const struct sub_request r = {.party = SUB_RECIPIENT,
                                  .sub = {.generation = 1},
                                  .service = c->service};
    struct sub_moved moved;
    return store_subscribe(c->f->store, c->q, &r, &moved);
}

static enum err do_ack(struct change *c) {
    struct msg_acked acked;
    return store_msg_ack(c->f->store, c->q, &c->first_msg, &acked);
}

static struct id write_message(struct fixture *f, struct queue *q) {
    struct message *m;
    struct msg_written written;
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    assert_int_equal(store_msg_write(f->store, q, m, &written), OK);
    return id;
}

static enum err do_write(struct change *c) {
    struct message *m;
    struct msg_written written;
    const struct id id = new_id(c->f);
    const enum err e = message_new(&id, NOW_S, false, bytes_str("body"), &m);
    return e == OK ? store_msg_write(c->f->store, c->q, m, &written) : e;
}

static const struct {
    const char *name;
    enum err (*run)(struct change *c);
    bool with_parts; /* on a queue with link and notifier */
} CHANGES[] = {
    {"secure", do_secure, false},
    {"set keys", do_set_keys, false},
    {"set link", do_link, false},
    {"set user data", do_link, true},
    {"delete link", do_delete_link, true},
    {"set notifier", do_notifier, false},
    {"replace notifier", do_notifier, true},
    {"delete notifier", do_delete_notifier, true},
    {"block", do_block, false},
    {"suspend", do_suspend, false},
    {"touch", do_touch, false},
    {"associate", do_associate, false},
    {"write", do_write, false},
    {"ack", do_ack, false},
    {"delete", do_delete, true},
};

/* What can be seen of a queue, in a line. */
struct seen {
    char text[256];
};

static struct seen look(struct fixture *f, struct id rcv_id) {
    struct seen s = {"none"};
    struct queue_view v;
    unsigned n = 0;
    struct queue *q = find(f, ID_RECIPIENT, rcv_id);
    if (q == NULL) return s;
    assert_int_equal(store_queue_view(f->store, q, &v), OK);
    assert_int_equal(store_msg_count(f->store, q, &n), OK);
    size_t n_keys;
    (void)queue_view_rcv_keys(&v, &n_keys);
    (void)snprintf(s.text, sizeof s.text,
                   "messages=%u keys=%zu snd=%u status=%u day=%d link=%d ntf=%d%02x services=%u", n,
                   n_keys, v.snd_key.type, v.status, v.updated_day, v.has_link, v.has_notifier,
                   v.has_notifier ? v.ntf_id.b[0] : 0U,
                   (unsigned)store_counts(f->store).n_service_queues[SUB_RECIPIENT]);
    queue_view_done(&v);
    queue_unref(q);
    return s;
}

static void prepare(struct change *c, struct fixture *f, struct queue *q, bool with_parts) {
    const struct id link_id = new_id(f);
    const struct pubkey keys[] = {new_key(f, KEY_ED25519), new_key(f, KEY_ED25519)};
    static const uint8_t CHAIN[] = {1, 0, 1, 'c'};
    const struct service_rec service = {.id = new_id(f),
                                        .role = SERVICE_MESSAGING,
                                        .cert_chain = bytes_of(CHAIN, sizeof CHAIN),
                                        .created_at_s = NOW_S};
    lsn_t lsn;
    *c = (struct change){.f = f, .q = q, .long_key = new_key(f, KEY_ED448)};
    assert_int_equal(link_data_new(&link_id, bytes_str("f"), bytes_str("u"), &c->link), OK);
    assert_int_equal(link_data_new(&link_id, bytes_str("f"), bytes_str("v"), &c->other_user_data),
                     OK);
    assert_int_equal(keyset_new(keys, 2, &c->keys), OK);
    assert_int_equal(block_info_new(bytes_str("reason=spam"), &c->block), OK);
    assert_int_equal(store_service_open(f->store, &service, true, &c->service, &lsn), OK);
    c->notifier = (struct queue_notifier){.id = new_id(f), .key = new_key(f, KEY_ED25519)};
    c->first_msg = write_message(f, q);
    (void)write_message(f, q);
    if (!with_parts) return;
    struct sub_ended ended;
    assert_int_equal(store_link_set(f->store, q, c->link, &lsn), OK);
    assert_int_equal(store_notifier_set(f->store, q, &c->notifier, &ended, &lsn), OK);
    c->notifier.id = new_id(f);
}

static void done(struct change *c) {
    link_data_unref(c->link);
    link_data_unref(c->other_user_data);
    keyset_unref(c->keys);
    block_info_unref(c->block);
}

/* True if the failure was reached. */
static bool run_change(size_t i, bool in_journal, long n) {
    struct fixture f = setup(in_journal);
    struct made m = make_queue(&f);
    struct change c;
    prepare(&c, &f, m.queue, CHANGES[i].with_parts);
    const struct seen before = look(&f, m.rec.rcv_id);
    left = n;
    const enum err e = CHANGES[i].run(&c);
    const bool reached = left == 0;
    left = 0;
    const struct seen after = look(&f, m.rec.rcv_id);
    if (e != OK && strcmp(after.text, before.text) != 0) {
        fail_msg("%s, allocation %ld, %s: %s, was %s", CHANGES[i].name, n, err_name(e), after.text,
                 before.text);
    }
    done(&c);
    drop(&m);
    close_store(&f);
    open_store(&f);
    const struct seen again = look(&f, m.rec.rcv_id);
    if (strcmp(again.text, after.text) != 0) {
        fail_msg("%s, allocation %ld, %s: after a start %s, was %s", CHANGES[i].name, n,
                 err_name(e), again.text, after.text);
    }
    teardown(&f);
    return reached;
}

static void test_every_allocation_of_a_change_fails(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CHANGES); i++) {
        for (int in_journal = 0; in_journal < 2; in_journal++) {
            for (long n = 1; run_change(i, in_journal != 0, n); n++) assert_true(n < 100);
        }
    }
}

/* ---- a start that fails half-way ---- */

/* What cannot be read keeps the start from setting anything aside: it can be tried again. */
static void test_a_failed_start_sets_nothing_aside(void **state) {
    (void)state;
    struct fixture f = setup(false);
    struct made m = make_queue(&f);
    struct sub_ended ended;
    struct ntf_added added;
    lsn_t lsn;
    const struct queue_notifier n = {.id = new_id(&f), .key = new_key(&f, KEY_ED25519)};
    assert_int_equal(store_notifier_set(f.store, m.queue, &n, &ended, &lsn), OK);
    const struct id msg_id = write_message(&f, m.queue);
    assert_int_equal(store_ntf_add(f.store, m.queue, &msg_id, NOW_S, &added), OK);
    drop(&m);
    close_store(&f);
    for (uint64_t at = 1; at < 200; at++) {
        faultfs_fail_at(f.fs, at, EIO, true);
        f.store = NULL;
        const enum err e = try_open(&f);
        faultfs_fail_at(f.fs, 0, 0, false);
        if (e == OK) {
            assert_int_equal(store_counts(f.store).n_messages, 1);
            assert_int_equal(store_counts(f.store).n_ntfs, 1);
            store_close(f.store); /* a start that failed elsewhere, and could not save */
            if (at > 100) break;
        }
        faultfs_kill(f.fs);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        assert_int_equal(store_counts(f.store).n_ntfs, 1);
        close_store(&f);
    }
    faultfs_free(f.fs);
}

static bool wait_durable(struct fixture *f, lsn_t lsn) {
    for (int i = 0; i < 20000; i++) {
        const enum err fate = store_fate(f->store, lsn);
        if (fate != E_PENDING) return fate == OK;
        usleep(20);
    }
    return false;
}

/* ---- queues that are gone, and their messages ---- */

static void make_again(struct fixture *f, struct made *m) {
    lsn_t lsn;
    queue_unref(m->queue);
    assert_int_equal(store_queue_create(f->store, &m->rec, &m->queue, &lsn), OK);
}

static void crash(struct fixture *f) {
    store_close(f->store);
    faultfs_kill(f->fs);
}

/* Their ids are of the client's choosing, so the same may come again. */
static void test_a_queue_made_again_is_empty(void **state) {
    (void)state;
    struct fixture f = setup(true);
    struct made m = make_queue(&f);
    struct queue_ended ended;
    lsn_t lsn;
    for (int i = 0; i < 3; i++) (void)write_message(&f, m.queue);
    assert_int_equal(store_queue_delete(f.store, m.queue, &ended, &lsn), OK);
    make_again(&f, &m);
    const struct id mine = write_message(&f, m.queue);
    queue_unref(STEAL(m.queue));
    for (int i = 0; i < 2; i++) {
        crash(&f);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        struct queue *q = find(&f, ID_RECIPIENT, m.rec.rcv_id);
        struct message *msg;
        assert_int_equal(store_msg_peek(f.store, q, &msg), OK);
        assert_true(id_equal(&msg->id, &mine));
        message_unref(msg);
        queue_unref(q);
    }
    drop(&m);
    teardown(&f);
}

static void test_a_store_log_that_lost_queues_is_refused(void **state) {
    (void)state;
    struct fixture f = setup(true);
    struct made a = make_queue(&f), b = make_queue(&f);
    for (int i = 0; i < 2; i++) { /* what comes later proves what was before */
        (void)write_message(&f, a.queue);
        (void)write_message(&f, b.queue);
    }
    drop(&a);
    drop(&b);
    crash(&f);
    const size_t n = faultfs_size(f.fs, LOG);
    char whole[2000];
    assert_true(n < sizeof whole);
    memcpy(whole, faultfs_data(f.fs, LOG), n);
    const char *second = memchr(whole, '\n', n);
    const size_t cuts[] = {0, (size_t)(second - whole) + 1};
    for (size_t i = 0; i < 2; i++) {
        faultfs_put(f.fs, LOG, bytes_of((uint8_t *)whole, cuts[i]));
        faultfs_put(f.fs, "/d/log.sums", (struct bytes){0}); /* which would notice it first */
        assert_int_equal(try_open(&f), E_STORE);
        assert_non_null(strstr(f.problem.text, "store log has lost"));
        assert_non_null(strstr(f.problem.text, "/journal/00000"));
        assert_non_null(strstr(f.problem.text, "--skip-warnings"));
        faultfs_kill(f.fs);
    }
    faultfs_put(f.fs, LOG, bytes_of((uint8_t *)whole, n));
    open_store(&f);
    assert_int_equal(store_counts(f.store).n_messages, 4);
    teardown(&f);
}

/* ---- the log is written anew while it is used ---- */

enum { N_QUEUES = 24, N_STEPS = 400 };

enum fate { ABSENT, PRESENT, SECURED, UNSURE };

struct model {
    struct made made[N_QUEUES];
    enum fate fate[N_QUEUES];
    unsigned notifier_of; /* the queue that has the one notifier; N_QUEUES: none */
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
        e = store_queue_create(f->store, &x->rec, &x->queue, &lsn);
    } else if (m->fate[i] == PRESENT) {
        const struct pubkey key = new_key(f, KEY_ED25519);
        next = SECURED;
        e = store_queue_secure(f->store, x->queue, &key, &lsn);
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

static void live(struct fixture *f, struct model *m, unsigned seed) {
    bool ok = true;
    for (unsigned step = 0; step < N_STEPS && ok; step++) {
        seed = seed * 1103515245 + 12345;
        const unsigned i = seed >> 16 & 0xff;
        ok = step % 3 == 2 ? move_notifier(f, m, i % N_QUEUES) : change_queue(f, m, i % N_QUEUES);
    }
}

static void assert_as_told(struct fixture *f, const struct model *m) {
    for (unsigned i = 0; i < N_QUEUES; i++) {
        struct queue_view v;
        if (m->fate[i] == UNSURE || m->made[i].rec.rcv_keys == NULL) continue;
        struct queue *q = find(f, ID_RECIPIENT, m->made[i].rec.rcv_id);
        assert_int_equal(q != NULL, m->fate[i] != ABSENT);
        if (q == NULL) continue;
        assert_int_equal(store_queue_view(f->store, q, &v), OK);
        assert_int_equal(v.snd_key.type != KEY_NONE, m->fate[i] == SECURED);
        if (!m->notifier_unsure) assert_int_equal(v.has_notifier, m->notifier_of == i);
        queue_view_done(&v);
        queue_unref(q);
    }
}

static void drop_all(struct model *m) {
    for (unsigned i = 0; i < N_QUEUES; i++) drop(&m->made[i]);
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
    assert_true(store_counts(f.store).n_queues <= N_QUEUES);
    close_store(&f);
    faultfs_free(f.fs);
}

static void test_power_loss_while_the_log_is_written_anew(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 160; n++) {
        struct fixture f = {.fs = faultfs_new(n), .compacts = true};
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
        struct fixture f = {.fs = faultfs_new(n), .compacts = true};
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

/* ---- too little room for the messages ---- */

struct heard {
    _Atomic unsigned n_short, n_enough;
};

static void hear(void *ctx, enum log_level level, const char *line) {
    struct heard *h = ctx;
    if (level == LOG_WARN && strstr(line, "no-room-for-messages path=/d/messages needed=") != NULL)
        atomic_fetch_add(&h->n_short, 1);
    if (level == LOG_INFO && strncmp(line, "room-for-messages ", 18) == 0)
        atomic_fetch_add(&h->n_enough, 1);
}

static void wait_for(_Atomic unsigned *n) {
    for (int i = 0; i < 10000 && atomic_load(n) == 0; i++) usleep(1000);
    assert_int_equal(atomic_load(n), 1);
}

static void test_too_little_room_is_said_in_time(void **state) {
    (void)state;
    struct fixture f = {.fs = faultfs_new(1), .compacts = true};
    static struct heard heard;
    log_to(hear, &heard);
    open_store(&f);
    struct made m = make_queue(&f);
    (void)write_message(&f, m.queue);
    usleep(20000);
    assert_int_equal(atomic_load(&heard.n_short), 0);
    faultfs_set_room(f.fs, 10000);
    wait_for(&heard.n_short);
    usleep(20000);
    assert_int_equal(atomic_load(&heard.n_short), 1);
    faultfs_set_room(f.fs, 1000000);
    wait_for(&heard.n_enough);
    drop(&m);
    teardown(&f);
    log_to(NULL, NULL);
}

static void *make_room(void *arg) {
    usleep(300000);
    faultfs_fail_at(arg, 0, 0, false);
    return NULL;
}

static unsigned n_told;
static void count_told(unsigned ms) {
    assert_true(ms > 1000);
    n_told++;
}

static void test_a_stop_waits_for_room(void **state) {
    (void)state;
    for (unsigned retry_ms = 0; retry_ms <= 20000; retry_ms += 20000) {
        struct fixture f = {.fs = faultfs_new(1),
                            .save_retry_ms = retry_ms,
                            .stop_takes = count_told};
        pthread_t thread;
        n_told = 0;
        open_store(&f);
        struct made m = make_queue(&f);
        (void)write_message(&f, m.queue);
        usleep(20000); /* what is written as it happens */
        drop(&m);
        faultfs_fail_at(f.fs, 1, ENOSPC, true);
        assert_int_equal(pthread_create(&thread, NULL, make_room, f.fs), 0);
        const enum err e = store_stop(f.store, &f.problem);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(e, retry_ms != 0 ? OK : E_SYS);
        assert_int_equal(n_told != 0, retry_ms != 0);
        store_close(f.store);
        open_store(&f);
        assert_int_equal(store_counts(f.store).n_messages, retry_ms != 0 ? 1 : 0);
        teardown(&f);
    }
}

/* ---- creations that are lost ---- */

static enum err fate_of(struct fixture *f, lsn_t lsn) {
    enum err fate;
    while ((fate = store_fate(f->store, lsn)) == E_PENDING) usleep(1000);
    return fate;
}

static void set_up_loss(struct fixture *f, int error) {
    struct made kept = make_queue(f);
    struct message *m;
    struct msg_written written;
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("kept"), &m), OK);
    assert_int_equal(store_msg_write(f->store, kept.queue, m, &written), OK);
    assert_int_equal(fate_of(f, written.lsn), OK);
    usleep(20000); /* what is done after that */
    drop(&kept);
    faultfs_fail_at(f->fs, 1, error, true);
}

/* The group of a new queue, a message of it and another change of it fails. */
static void lose_a_creation(struct fixture *f, int error) {
    set_up_loss(f, error);
    struct made lost;
    struct message *m;
    struct msg_written written = {0};
    lsn_t lsn;
    assert_int_equal(try_make(f, &lost), OK);
    const struct id id = new_id(f);
    assert_int_equal(message_new(&id, NOW_S, false, bytes_str("body"), &m), OK);
    const bool is_written = store_msg_write(f->store, lost.queue, m, &written) == OK;
    const enum err touched = store_queue_touch(f->store, lost.queue, DAY + 1, &lsn);
    if (touched == OK) assert_int_equal(fate_of(f, lsn), E_STORE);
    for (unsigned i = 0; i < 5000 && store_counts(f->store).n_queues != 1; i++) usleep(1000);
    assert_int_equal(store_counts(f->store).n_queues, 1);
    if (is_written && f->in_journal) assert_int_equal(fate_of(f, written.lsn), E_STORE);
    assert_null(find(f, ID_RECIPIENT, lost.rec.rcv_id));
    assert_null(find(f, ID_SENDER, lost.rec.snd_id));
    assert_int_equal(store_counts(f->store).n_messages, 1);
    assert_int_equal(store_queue_touch(f->store, lost.queue, DAY + 2, &lsn), E_AUTH);
    drop(&lost);
}

static void test_a_lost_creation_leaves_nothing(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const int error = i % 2 == 0 ? ENOSPC : EIO;
        struct fixture f = setup(i >= 2);
        lose_a_creation(&f, error);
        faultfs_fail_at(f.fs, 0, 0, false);
        if (error == ENOSPC) {
            while (store_counts(f.store).state != 0) usleep(1000);
            struct made later = make_queue(&f);
            drop(&later);
            close_store(&f);
        } else {
            assert_int_not_equal(store_stop(f.store, &f.problem), OK);
            store_close(f.store);
        }
        open_store(&f);
        /* Of a write that failed for good its line may be there. */
        assert_in_range(store_counts(f.store).n_queues, error == ENOSPC ? 2 : 1, 2);
        assert_int_equal(store_counts(f.store).n_messages, 1);
        teardown(&f);
    }
}

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_line_precedes_its_create),
        cmocka_unit_test(test_words_when_opening_fails),
        cmocka_unit_test(test_every_allocation_of_a_change_fails),
        cmocka_unit_test(test_a_failed_start_sets_nothing_aside),
        cmocka_unit_test(test_a_queue_made_again_is_empty),
        cmocka_unit_test(test_a_store_log_that_lost_queues_is_refused),
        cmocka_unit_test(test_the_log_stays_short_while_it_is_used),
        cmocka_unit_test(test_power_loss_while_the_log_is_written_anew),
        cmocka_unit_test(test_failures_while_the_log_is_written_anew),
        cmocka_unit_test(test_too_little_room_is_said_in_time),
        cmocka_unit_test(test_a_stop_waits_for_room),
        cmocka_unit_test(test_a_lost_creation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
