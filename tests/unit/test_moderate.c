/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_moderate.c -- the operator blocks or deletes a queue: who is told, and what. A session is
 * made by hand in the table of a loop that does not run; joining the loop runs what was posted to
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "relay/operations/moderate.h"
#include "store/nothing.h"
#include "relay/relay.h"
#include "relay/session/news.h"
#include "relay/session/ntf.h"
#include "relay/session/request.h"
#include "relay/session/service.h"
#include "relay/session/session.h"
#include "relay/session/subscription.h"

struct fixture {
    struct loop *loop;
    struct store *store;
    struct relay *relay;
    struct session session;
    struct session_slot slot;
    struct id rcv_id, snd_id;
};

static void make_queue(struct fixture *f) {
    const struct pubkey key = {.type = KEY_ED25519, .b = {1}};
    struct queue_rec rec = {.rcv_id = {{1}}, .snd_id = {{2}}};
    struct queue *q;
    lsn_t lsn;
    assert_int_equal(keyset_new(&key, 1, &rec.rcv_keys), OK);
    assert_int_equal(store_queue_create(f->store, &rec, &q, &lsn), OK);
    keyset_unref(rec.rcv_keys);
    struct sub_moved moved;
    assert_int_equal(sub_subscribe(&f->session, q, &moved), OK);
    assert_false(moved.has_due);
    queue_unref(q);
    f->rcv_id = rec.rcv_id;
    f->snd_id = rec.snd_id;
}

static void setup(struct fixture *f, uint16_t version) {
    *f = (struct fixture){0};
    const struct store_opts so = {.env = &ENV_SYSTEM, .quota = 8};
    assert_int_equal(loop_new(0, &ENV_SYSTEM, &f->loop), OK);
    assert_int_equal(nothing_open(&so, &f->store), OK);
    const struct relay_opts ro = {.env = &ENV_SYSTEM,
                                  .store = f->store,
                                  .loops = &f->loop,
                                  .n_loops = 1};
    assert_int_equal(relay_new(&ro, &f->relay), OK);
    assert_int_equal(relay_start(f->relay), OK);
    struct relay_loop *rl = &f->relay->loops[0];
    f->session.rl = rl;
    list_init(&f->session.in_ntf);
    f->session.self = (struct subscriber){.generation = 7};
    f->session.params.version = version;
    idmap_init(&f->session.subs, f->relay->map_seed);
    idmap_init(&f->session.nsubs, f->relay->map_seed);
    outbox_init(&f->session.outbox);
    f->slot = (struct session_slot){.session = &f->session, .generation = 7};
    rl->slots = &f->slot;
    rl->n_slots = 1;
    make_queue(f);
}

static void teardown(struct fixture *f) {
    subs_done(&f->session);
    ntf_done(&f->session);
    const struct outbox_env env = {.store = f->store};
    outbox_done(&f->session.outbox, &env);
    f->relay->loops[0].slots = NULL;
    relay_free(f->relay);
    loop_free(f->loop);
    store_close(f->store);
}

/* The one transmission that waits for the session. */
static void assert_told(struct fixture *f, const char *text) {
    uint8_t buf[1024];
    struct packing p = {.w = wr_init(buf, sizeof buf)};
    const struct outbox_env env = {.params = &f->session.params, .store = f->store};
    outbox_pack(&f->session.outbox, &env, &p);
    assert_int_equal(p.n, 1);
    struct rd r = rd_init(wr_bytes(&p.w));
    struct rd t = rd_init(rd_large(&r));
    assert_int_equal(rd_end(&r), OK);
    assert_int_equal(rd_short(&t).n, 0); /* authorization */
    assert_int_equal(rd_short(&t).n, 0); /* correlation id */
    assert_true(bytes_equal(rd_short(&t), id_bytes(&f->rcv_id)));
    assert_true(bytes_equal(rd_tail(&t), bytes_str(text)));
}

static enum queue_status status(struct fixture *f) {
    struct queue *q = sub_find(&f->session, &f->rcv_id)->queue;
    struct queue_view v;
    assert_int_equal(store_queue_view(f->store, q, WANT_MESSAGES, &v), OK);
    const enum queue_status s = v.status;
    queue_view_done(&v);
    return s;
}

static void the_subscriber_is_told_at_once(void **state) {
    (void)state;
    static const struct {
        uint16_t version;
        const char *text;
    } ROWS[] = {
        {11, "ERR AUTH"},
        {17, "ERR BLOCKED reason=content"},
        {18, "ERR BLOCKED reason=content,notice={\"ttl\":9}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct fixture f;
        setup(&f, ROWS[i].version);
        struct block_info *info;
        lsn_t lsn = 0;
        const struct bytes text = bytes_str("reason=content,notice={\"ttl\":9}");
        assert_int_equal(block_info_new(text, &info), OK);
        const struct id nobody = {{9}};
        assert_int_equal(relay_block_queue(f.relay, ID_SENDER, &nobody, info, &lsn), E_AUTH);
        assert_int_equal(relay_block_queue(f.relay, ID_SENDER, &f.snd_id, info, &lsn), OK);
        block_info_unref(info);
        loop_join(f.loop);
        assert_told(&f, ROWS[i].text);
        assert_int_equal(status(&f), STATUS_BLOCKED);
        assert_int_equal(relay_unblock_queue(f.relay, ID_RECIPIENT, &nobody, &lsn), E_AUTH);
        assert_int_equal(relay_unblock_queue(f.relay, ID_RECIPIENT, &f.rcv_id, &lsn), OK);
        assert_int_equal(status(&f), STATUS_ACTIVE);
        teardown(&f);
    }
}

static void the_state_is_told(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, 18);
    struct relay_queue_state q;
    const struct id nobody = {{9}};
    assert_int_equal(relay_queue_state(f.relay, ID_SENDER, &nobody, &q), E_AUTH);
    assert_int_equal(relay_queue_state(f.relay, ID_SENDER, &f.snd_id, &q), OK);
    assert_int_equal(q.status, STATUS_ACTIVE);
    assert_null(q.block);
    relay_queue_state_done(&q);
    struct block_info *info;
    lsn_t lsn = 0;
    assert_int_equal(block_info_new(bytes_str("reason=spam"), &info), OK);
    assert_int_equal(relay_block_queue(f.relay, ID_SENDER, &f.snd_id, info, &lsn), OK);
    block_info_unref(info);
    assert_int_equal(relay_queue_state(f.relay, ID_RECIPIENT, &f.rcv_id, &q), OK);
    assert_int_equal(q.status, STATUS_BLOCKED);
    assert_true(bytes_equal(bytes_of(q.block->text, q.block->n), bytes_str("reason=spam")));
    relay_queue_state_done(&q);
    loop_join(f.loop);
    teardown(&f);
}

static void messages_go_with_the_queue(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, 18);
    const struct id msg_id = {{3}}, nobody = {{9}};
    struct message *m;
    struct msg_written written;
    unsigned n = 0;
    lsn_t lsn = 0;
    assert_int_equal(message_new(&msg_id, 1, false, bytes_str("x"), &m), OK);
    assert_int_equal(store_msg_write(f.store, sub_find(&f.session, &f.rcv_id)->queue, m, &written),
                     OK);
    assert_int_equal(relay_delete_queue(f.relay, ID_SENDER, &nobody, &n, &lsn), E_AUTH);
    assert_int_equal(relay_delete_queue(f.relay, ID_SENDER, &f.snd_id, &n, &lsn), OK);
    assert_int_equal(n, 1);
    loop_join(f.loop);
    assert_told(&f, "DELD");
    assert_null(sub_find(&f.session, &f.rcv_id));
    assert_int_equal(relay_delete_queue(f.relay, ID_SENDER, &f.snd_id, &n, &lsn), E_AUTH);
    teardown(&f);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_subscriber_is_told_at_once),
                                       cmocka_unit_test(the_state_is_told),
                                       cmocka_unit_test(messages_go_with_the_queue)};
    return cmocka_run_group_tests_name("moderate", tests, NULL, NULL);
}
