/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Every allocation of a change fails: nothing is half done, and the log says so too. */
#include "store_fault_fixture.h"

#include "alloc_fault.h"

/* Allocations of this thread until the one that fails; 0: none fails. */
static _Thread_local volatile long left;

bool alloc_fails(void) {
    return left != 0 && left-- == 1;
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
    return store_queue_secure(c->f->store, c->q, &c->long_key, NULL, &lsn);
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
    return store_msg_ack(c->f->store, c->q, &c->first_msg, PACE_AT_ONCE, &acked);
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
    assert_int_equal(store_queue_view(f->store, q, WANT_MESSAGES, &v), OK);
    n = v.n_messages;
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
    struct store_service_open service = {.rec = {.id = new_id(f),
                                                 .role = SERVICE_MESSAGING,
                                                 .cert_chain = bytes_of(CHAIN, sizeof CHAIN),
                                                 .created_at_s = NOW_S},
                                         .may_create = true};
    lsn_t lsn;
    *c = (struct change){.f = f, .q = q, .long_key = new_key(f, KEY_ED448)};
    assert_int_equal(link_data_new(&link_id, bytes_str("f"), bytes_str("u"), &c->link), OK);
    assert_int_equal(link_data_new(&link_id, bytes_str("f"), bytes_str("v"), &c->other_user_data),
                     OK);
    assert_int_equal(keyset_new(keys, 2, &c->keys), OK);
    assert_int_equal(block_info_new(bytes_str("reason=spam"), &c->block), OK);
    assert_true(store_service_open(f->store, &service, NULL));
    assert_int_equal(service.ret_err, OK);
    c->service = service.ret_service;
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

int main(void) {
    (void)!freopen("/dev/null", "w", stderr); /* failures are logged */
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_of_a_change_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
