/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What clients write is what the server reads, in each version, and what it checks verifies; and
 * the message that it seals is opened. */
#include "wire_fixture.h"

#include "client/smp_queue.h"
#include "crypto/authz.h"
#include "model/limits.h"
#include "model/message.h"
#include "wire/forward.h"
#include "wire/reply.h"

enum { NEWEST = V_NAMES };

/* A session as both sides see it, and a queue in it. */
struct rig {
    struct wire_params params;
    struct x25519_pair session; /* the server's */
    struct x25519_pair queue;   /* the server's, for message bodies */
    struct smp_queue q;
    struct reply_view_ids ids;
    uint8_t buf[SMP_BLOCK_LEN];
    struct wr w;
};

static void set_up(struct rig *r, uint16_t version) {
    r->params = sample_params(version);
    x25519_pair_new(&ENV_SYSTEM, &r->session);
    x25519_pair_new(&ENV_SYSTEM, &r->queue);
    smp_queue_init(&r->q, &ENV_SYSTEM, version);
    r->ids = (struct reply_view_ids){.rcv_id = sample_id(1), .snd_id = sample_id(2)};
    memcpy(r->ids.dh_key, r->queue.pub, sizeof r->ids.dh_key);
}

static struct smp_head head(struct rig *r, const struct id *entity, struct smp_auth auth) {
    r->w = wr_init(r->buf, sizeof r->buf);
    return (struct smp_head){
        .params = &r->params,
        .corr_id = sample_id(0xc0),
        .entity = entity != NULL ? id_bytes(entity) : (struct bytes){0},
        .auth = auth,
    };
}

/* The server's side of it: parsed, and authorized by key (NULL: not at all). */
static struct command read_back(struct rig *r, enum command_tag tag, const struct pubkey *key) {
    struct transmission t;
    struct command c;
    assert_int_equal(wr_err(&r->w), OK);
    assert_int_equal(transmission_parse(wr_bytes(&r->w), &r->params, &t), OK);
    const struct id corr_id = sample_id(0xc0);
    assert_bytes(t.corr_id, id_bytes(&corr_id));
    assert_false(t.has_service_sig);
    assert_int_equal(command_parse(&t, r->params.version, &c), OK);
    assert_int_equal(c.tag, tag);
    const struct authz a = {.auth = t.auth,
                            .text_a = wire_session(&r->params),
                            .text_b = t.signed_text,
                            .corr_id = t.corr_id,
                            .session_priv = r->session.priv};
    if (key != NULL) {
        assert_true(authz_verify(&a, key, 1));
    } else {
        assert_int_equal(t.auth.n, 0);
    }
    return c;
}

static void make_queue(struct rig *r) {
    assert_int_equal(smp_queue_take_ids(&r->q, &r->ids), OK);
    assert_int_equal(smp_queue_meet(&r->q, r->session.pub), OK);
}

static void new_queue(void **state) {
    (void)state;
    struct rig r;
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        for (unsigned mode = MODE_UNKNOWN; mode <= MODE_CONTACT; mode++) {
            const bool has_password = mode != MODE_CONTACT;
            set_up(&r, v);
            struct smp_new q = {.subscribe = mode != MODE_UNKNOWN, .mode = (enum queue_mode)mode};
            if (has_password) q.basic_auth = bytes_str("password");
            smp_queue_describe(&r.q, &q);
            const struct smp_head h = head(&r, NULL, smp_queue_recipient(&r.q));
            smp_command_new(&r.w, &h, &q);
            const struct cmd_new got = read_back(&r, CMD_NEW, &q.rcv_key).new_queue;
            assert_true(pubkey_equal(&got.rcv_auth_key, &q.rcv_key));
            assert_memory_equal(got.rcv_dh_key.b, q.dh_key, X25519_LEN);
            assert_int_equal(got.has_basic_auth, has_password);
            if (has_password) assert_text(got.basic_auth, "password");
            assert_int_equal(got.subscribe, q.subscribe);
            assert_int_equal(got.has_mode, v >= 9 && (mode != MODE_UNKNOWN || v < 15));
            if (got.has_mode) assert_int_equal(got.is_contact, mode != MODE_MESSAGING);
            assert_false(got.data.present || got.has_notifier);
        }
    }
}

static void recipient_commands(void **state) {
    (void)state;
    static const enum command_tag TAGS[] = {CMD_SUB, CMD_GET,  CMD_OFF, CMD_DEL,
                                            CMD_QUE, CMD_NDEL, CMD_LDEL};
    struct rig r;
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        set_up(&r, v);
        make_queue(&r);
        const struct pubkey rcv_key = pubkey_from_ed25519(&r.q.rcv_key);
        struct smp_head h;
        for (size_t i = 0; i < ARRAY_LEN(TAGS); i++) {
            h = head(&r, &r.q.rcv_id, smp_queue_recipient(&r.q));
            smp_command_plain(&r.w, &h, TAGS[i]);
            (void)read_back(&r, TAGS[i], &rcv_key);
        }
        const struct id msg_id = sample_id(7);
        h = head(&r, &r.q.rcv_id, smp_queue_recipient(&r.q));
        smp_command_ack(&r.w, &h, &msg_id);
        assert_bytes(read_back(&r, CMD_ACK, &rcv_key).ack.msg_id, id_bytes(&msg_id));
        const struct pubkey snd_key = smp_queue_sender_key(&r.q);
        h = head(&r, &r.q.rcv_id, smp_queue_recipient(&r.q));
        smp_command_key(&r.w, &h, CMD_KEY, &snd_key);
        struct command c = read_back(&r, CMD_KEY, &rcv_key);
        assert_true(pubkey_equal(&c.key, &snd_key));
        h = head(&r, &r.q.rcv_id, smp_queue_recipient(&r.q));
        smp_command_nkey(&r.w, &h, &rcv_key, r.queue.pub);
        c = read_back(&r, CMD_NKEY, &rcv_key);
        assert_true(pubkey_equal(&c.nkey.key, &rcv_key));
        assert_memory_equal(c.nkey.dh_key.b, r.queue.pub, X25519_LEN);
        smp_queue_done(&r.q);
    }
}

static void sender_commands(void **state) {
    (void)state;
    static uint8_t body[SMP_BLOCK_LEN];
    struct rig r;
    memset(body, 'b', sizeof body);
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        set_up(&r, v);
        make_queue(&r);
        const struct pubkey key = smp_queue_sender_key(&r.q);
        assert_int_equal(key.type, v < 7 ? KEY_ED25519 : KEY_X25519);
        struct smp_head h = head(&r, &r.q.snd_id, smp_queue_sender(&r.q));
        smp_command_key(&r.w, &h, CMD_SKEY, &key);
        const struct command skey = read_back(&r, CMD_SKEY, &key);
        assert_true(pubkey_equal(&skey.key, &key));
        const size_t n = command_max_body(v);
        for (int authorized = 0; authorized <= 1; authorized++) {
            const struct smp_auth none = {NULL, NULL};
            h = head(&r, &r.q.snd_id, authorized ? smp_queue_sender(&r.q) : none);
            smp_command_send(&r.w, &h, authorized, bytes_of(body, n));
            const struct command c = read_back(&r, CMD_SEND, authorized ? &key : NULL);
            assert_int_equal(c.send.notification, authorized);
            assert_bytes(c.send.body, bytes_of(body, n));
        }
        h = head(&r, &r.q.snd_id, smp_queue_sender(&r.q));
        smp_command_send(&r.w, &h, false, bytes_of(body, n + 1));
        assert_int_equal(wr_err(&r.w), E_LIMIT);
    }
}

static void other_commands(void **state) {
    (void)state;
    const struct smp_auth none = {NULL, NULL};
    const struct id session = sample_id(5);
    struct rig r;
    for (uint16_t v = V_SENDING_PROXY; v <= NEWEST; v++) {
        set_up(&r, v);
        struct smp_head h = head(&r, NULL, none);
        smp_command_plain(&r.w, &h, CMD_PING);
        (void)read_back(&r, CMD_PING, NULL);
        h = head(&r, NULL, none);
        smp_command_prxy(&r.w, &h,
                         &(struct smp_relay){"a.example", 5223, bytes_str("identity"),
                                             v % 2 == 0 ? bytes_str("pw") : (struct bytes){0}});
        struct command c = read_back(&r, CMD_PRXY, NULL);
        assert_text(c.prxy.hosts, "\x09"
                                  "a.example");
        assert_text(c.prxy.port, "5223");
        assert_text(c.prxy.identity, "identity");
        assert_int_equal(c.prxy.has_basic_auth, v % 2 == 0);
        h = head(&r, &session, none);
        smp_command_pfwd(&r.w, &h, 17, r.queue.pub, bytes_str("body"));
        c = read_back(&r, CMD_PFWD, NULL);
        assert_int_equal(c.pfwd.version, 17);
        assert_memory_equal(c.pfwd.key.b, r.queue.pub, X25519_LEN);
        assert_text(c.pfwd.body, "body");
    }
}

/* Room that is too small makes an error and is not exceeded, wherever it ends. */
static void small_room(void **state) {
    (void)state;
    struct rig r;
    set_up(&r, NEWEST);
    make_queue(&r);
    const struct smp_head as_rcv = head(&r, &r.q.rcv_id, smp_queue_recipient(&r.q));
    smp_command_plain(&r.w, &as_rcv, CMD_SUB);
    const size_t n_signed = wr_bytes(&r.w).n;
    const struct smp_head as_snd = head(&r, &r.q.snd_id, smp_queue_sender(&r.q));
    smp_command_send(&r.w, &as_snd, false, bytes_str("body"));
    const size_t n_boxed = wr_bytes(&r.w).n;
    for (size_t cap = 0; cap < n_signed || cap < n_boxed; cap++) {
        uint8_t *small = malloc(cap != 0 ? cap : 1);
        assert_non_null(small);
        struct wr w = wr_init(small, cap);
        smp_command_plain(&w, &as_rcv, CMD_SUB);
        assert_int_equal(wr_err(&w), cap < n_signed ? E_LIMIT : OK);
        w = wr_init(small, cap);
        smp_command_send(&w, &as_snd, false, bytes_str("body"));
        assert_int_equal(wr_err(&w), cap < n_boxed ? E_LIMIT : OK);
        free(small);
    }
}

/* ---- messages ---- */

/* MSG as the server writes it; its command's text is in r->buf. */
static struct reply_view_msg sealed(struct rig *r, const struct message *m) {
    uint8_t secret[X25519_LEN];
    struct transmission t;
    struct reply_view a;
    const struct reply_to to = {.entity = id_bytes(&r->q.rcv_id)};
    const struct pubkey pub = pubkey_from_x25519(r->q.dh.pub);
    assert_int_equal(x25519_dh(r->queue.priv, pub.b, secret), OK);
    const struct box_key key = box_key_from_secret(secret);
    r->w = wr_init(r->buf, sizeof r->buf);
    reply_msg(&r->w, &r->params, &to, m, &key);
    assert_int_equal(transmission_parse(wr_bytes(&r->w), &r->params, &t), OK);
    assert_int_equal(reply_parse(t.command, r->params.version, &a), OK);
    assert_int_equal(a.tag, REPLY_MSG);
    return a.msg;
}

static void messages(void **state) {
    (void)state;
    const struct id id = sample_id(4);
    struct rig r;
    struct smp_received got;
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        struct message *m = NULL;
        set_up(&r, v);
        assert_int_equal(message_new(&id, 1700000000, true, bytes_str("hello"), &m), OK);
        struct reply_view_msg msg = sealed(&r, m);
        make_queue(&r);
        assert_int_equal(smp_queue_open(&r.q, &msg, r.buf, &got), OK);
        assert_true(id_equal(&got.msg_id, &id));
        assert_int_equal(got.ts_s, 1700000000);
        assert_true(got.notification && !got.is_quota);
        assert_text(got.body, "hello");
        message_unref(m);
    }
    struct message *quota = NULL;
    set_up(&r, NEWEST);
    assert_int_equal(message_new_quota(&id, 1700000001, &quota), OK);
    const struct reply_view_msg msg = sealed(&r, quota);
    make_queue(&r);
    assert_int_equal(smp_queue_open(&r.q, &msg, r.buf, &got), OK);
    assert_true(got.is_quota && got.body.n == 0);
    assert_int_equal(got.ts_s, 1700000001);
    message_unref(quota);
}

static void bad_messages(void **state) {
    (void)state;
    const struct id id = sample_id(4);
    struct rig r;
    struct smp_received got = {.ts_s = 7};
    struct message *m = NULL;
    set_up(&r, NEWEST);
    assert_int_equal(message_new(&id, 1, false, bytes_str("hello"), &m), OK);
    struct reply_view_msg msg = sealed(&r, m);
    make_queue(&r);
    struct reply_view_msg shorter = msg;
    for (size_t n = 0; n < 100; n++) {
        shorter.box.n = n;
        assert_int_equal(smp_queue_open(&r.q, &shorter, r.buf, &got), E_CRYPTO);
    }
    r.buf[msg.box.p - r.buf + 50] ^= 1;
    assert_int_equal(smp_queue_open(&r.q, &msg, r.buf, &got), E_CRYPTO);
    r.buf[msg.box.p - r.buf + 50] ^= 1;
    msg.msg_id = sample_id(5);
    assert_int_equal(smp_queue_open(&r.q, &msg, r.buf, &got), E_CRYPTO);
    assert_int_equal(got.ts_s, 7);
    message_unref(m);
}

/* What is inside the box is the server's to choose: it is read with the same care. */
static void bad_contents(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n;
    } ROWS[] = {
        {"", 0},
        {"\0", 1},
        {"\0\1", 2},                          /* longer than there is */
        {"\0\0####", 6},                      /* no time */
        {"\0\12\0\0\0\0\0\0\0\1T#", 12},      /* no space after the flag */
        {"\0\13\0\0\0\0\0\0\0\1X ", 12},      /* no flag */
        {"\0\16QUOTA \0\0\0\0\0\0\0\1", 16},  /* well, but for what follows */
        {"\0\17QUOTA \0\0\0\0\0\0\0\1x", 17}, /* something after the marker */
    };
    const struct box_nonce nonce = {{0}};
    struct rig r;
    struct smp_received got;
    set_up(&r, NEWEST);
    make_queue(&r);
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const bool is_good = ROWS[i].n == 16;
        uint8_t *box = malloc(BOX_TAG_LEN + ROWS[i].n);
        assert_non_null(box);
        memcpy(box + BOX_TAG_LEN, ROWS[i].text, ROWS[i].n);
        box_seal(&r.q.body_key, &nonce, box, ROWS[i].n);
        const struct reply_view_msg m = {.box = bytes_of(box, BOX_TAG_LEN + ROWS[i].n)};
        assert_int_equal(smp_queue_open(&r.q, &m, box, &got), is_good ? OK : E_SYNTAX);
        free(box);
    }
}

static void bad_keys(void **state) {
    (void)state;
    static const uint8_t zero[X25519_LEN];
    struct rig r;
    set_up(&r, NEWEST);
    memset(r.ids.dh_key, 0, sizeof r.ids.dh_key);
    assert_int_equal(smp_queue_take_ids(&r.q, &r.ids), E_CRYPTO);
    assert_int_equal(smp_queue_meet(&r.q, zero), E_CRYPTO);
    set_up(&r, V_LEGACY);
    assert_int_equal(smp_queue_meet(&r.q, NULL), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_queue),       cmocka_unit_test(recipient_commands),
        cmocka_unit_test(sender_commands), cmocka_unit_test(other_commands),
        cmocka_unit_test(small_room),      cmocka_unit_test(messages),
        cmocka_unit_test(bad_messages),    cmocka_unit_test(bad_contents),
        cmocka_unit_test(bad_keys),
    };
    return cmocka_run_group_tests_name("smp_queue", tests, init_crypto, NULL);
}
