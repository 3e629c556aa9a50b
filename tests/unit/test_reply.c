/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Each reply in each version, byte for byte. */
#include <stdio.h>

#include <jansson.h>

#include "wire_fixture.h"

#include "crypto/box.h"
#include "model/limits.h"
#include "wire/reply.h"

enum { BUF_LEN = SMP_BLOCK_LEN };

static const struct reply_to TO = {{(const uint8_t *)"corr", 4}, {(const uint8_t *)"entity", 6}};

/* What comes before the message: no authorization, the session (version 6), corrId, entity. */
static void put_head(struct wr *w, uint16_t version) {
    wr_u8(w, 0);
    if (version < 7) {
        wr_u8(w, SESSION_LEN);
        put_fill(w, 0x5e, SESSION_LEN);
    }
    wr_str(w, "\004corr\006entity");
}

static void put_id(struct wr *w, uint8_t fill) {
    wr_u8(w, ID_LEN);
    put_fill(w, fill, ID_LEN);
}

/* Writes something once with room enough, and then with each smaller buffer. */
typedef void write_fn(struct wr *w, const struct wire_params *p, const void *what);

static void assert_reply(uint16_t version, write_fn *write, const void *what, struct bytes text) {
    const struct wire_params p = sample_params(version);
    static uint8_t expected[BUF_LEN], got[BUF_LEN];
    struct wr w = wr_init(expected, sizeof expected);
    put_head(&w, version);
    wr_bytes_raw(&w, text);
    const struct bytes whole = wr_bytes(&w);
    w = wr_init(got, sizeof got);
    write(&w, &p, what);
    assert_int_equal(wr_err(&w), OK);
    assert_bytes(wr_bytes(&w), whole);
    for (size_t cap = 0; cap < whole.n; cap++) {
        uint8_t *small = malloc(cap != 0 ? cap : 1); /* a sanitizer sees what is beyond */
        assert_non_null(small);
        w = wr_init(small, cap);
        write(&w, &p, what);
        assert_int_equal(wr_err(&w), E_LIMIT);
        free(small);
    }
}

/* ---- texts ---- */

typedef void text_fn(struct wr *, const struct wire_params *, const struct reply_to *);

struct text_row {
    text_fn *fn;
    const char *below_10, *since_10;
};

static void write_text(struct wr *w, const struct wire_params *p, const void *what) {
    ((const struct text_row *)what)->fn(w, p, &TO);
}

static void texts(void **state) {
    (void)state;
    static const struct text_row ROWS[] = {
        {reply_ok, "OK", "OK"},
        {reply_pong, "PONG", "PONG"},
        {reply_end, "END", "END"},
        {reply_deld, "END", "DELD"},
    };
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
            const char *text = v < 10 ? ROWS[i].below_10 : ROWS[i].since_10;
            assert_reply(v, write_text, &ROWS[i], bytes_str(text));
        }
    }
}

static void write_err(struct wr *w, const struct wire_params *p, const void *what) {
    reply_err(w, p, &TO, *(const enum err *)what);
}

static void errors(void **state) {
    (void)state;
    static const struct {
        enum err e;
        const char *text;
    } ROWS[] = {
        {E_BLOCK, "ERR BLOCK"},
        {E_SESSION, "ERR SESSION"},
        {E_CMD_UNKNOWN, "ERR CMD UNKNOWN"},
        {E_CMD_SYNTAX, "ERR CMD SYNTAX"},
        {E_CMD_PROHIBITED, "ERR CMD PROHIBITED"},
        {E_CMD_NO_AUTH, "ERR CMD NO_AUTH"},
        {E_CMD_HAS_AUTH, "ERR CMD HAS_AUTH"},
        {E_CMD_NO_ENTITY, "ERR CMD NO_ENTITY"},
        {E_AUTH, "ERR AUTH"},
        {E_SERVICE, "ERR SERVICE"},
        {E_CRYPTO, "ERR CRYPTO"},
        {E_QUOTA, "ERR QUOTA"},
        {E_NO_MSG, "ERR NO_MSG"},
        {E_LARGE_MSG, "ERR LARGE_MSG"},
        {E_INTERNAL, "ERR INTERNAL"},
        {E_NO_MEMORY, "ERR INTERNAL"}, /* what has no form on the wire */
        {E_SYS, "ERR INTERNAL"},
    };
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
            assert_reply(v, write_err, &ROWS[i].e, bytes_str(ROWS[i].text));
        }
    }
}

static void addressee_may_be_empty_or_long(void **state) {
    (void)state;
    static const uint8_t FILL[255];
    static const size_t LENGTHS[] = {0, 1, 24, 255};
    for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++) {
        const struct bytes b = bytes_of(FILL, LENGTHS[i]);
        const struct reply_to to = {b, b};
        const struct wire_params p = sample_params(18);
        uint8_t got[600], expected[600];
        struct wr w = wr_init(got, sizeof got), x = wr_init(expected, sizeof expected);
        reply_ok(&w, &p, &to);
        wr_u8(&x, 0);
        wr_short(&x, b);
        wr_short(&x, b);
        wr_str(&x, "OK");
        assert_bytes(wr_bytes(&w), wr_bytes(&x));
    }
}

/* ---- SOK, IDS, LNK ---- */

static void write_sok(struct wr *w, const struct wire_params *p, const void *what) {
    reply_sok(w, p, &TO, what);
}

static void sok(void **state) {
    (void)state;
    const struct id id = sample_id('s');
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        assert_reply(v, write_sok, NULL, bytes_str(v < 16 ? "OK" : "SOK 0"));
        uint8_t buf[64];
        struct wr w = wr_init(buf, sizeof buf);
        wr_str(&w, v < 16 ? "OK" : "SOK 1");
        if (v >= 16) put_id(&w, 's');
        assert_reply(v, write_sok, &id, wr_bytes(&w));
    }
}

static void write_ids(struct wr *w, const struct wire_params *p, const void *what) {
    reply_ids(w, p, &TO, what);
}

/* By hand, as the protocol says. */
static struct bytes ids_text(uint8_t buf[512], uint16_t v, const struct reply_ids *ids) {
    static const char *const MODES[] =
        {[MODE_UNKNOWN] = "0", [MODE_MESSAGING] = "1M", [MODE_CONTACT] = "1C"};
    struct wr w = wr_init(buf, 512);
    wr_str(&w, "IDS ");
    put_id(&w, 'r');
    put_id(&w, 's');
    put_key(&w, KEY_X25519, 'd');
    if (v >= 9 && v < 15) wr_str(&w, ids->mode == MODE_MESSAGING ? "T" : "F");
    if (v >= 15) {
        wr_str(&w, MODES[ids->mode]);
        wr_str(&w, ids->link_id != NULL ? "1" : "0");
        if (ids->link_id != NULL) put_id(&w, 'l');
    }
    if (v >= 16) {
        wr_str(&w, ids->service_id != NULL ? "1" : "0");
        if (ids->service_id != NULL) put_id(&w, 'v');
    }
    if (v >= 17) {
        wr_str(&w, ids->notifier_id != NULL ? "1" : "0");
        if (ids->notifier_id != NULL) {
            put_id(&w, 'n');
            put_key(&w, KEY_X25519, 'k');
        }
    }
    assert_int_equal(wr_err(&w), OK);
    return wr_bytes(&w);
}

static void ids(void **state) {
    (void)state;
    const struct id link = sample_id('l'), service = sample_id('v'), notifier = sample_id('n');
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        for (unsigned mode = MODE_UNKNOWN; mode <= MODE_CONTACT; mode++) {
            for (unsigned i = 0; i < 8; i++) {
                struct reply_ids r = {.rcv_id = sample_id('r'),
                                      .snd_id = sample_id('s'),
                                      .mode = (enum queue_mode)mode,
                                      .link_id = (i & 1) != 0 ? &link : NULL,
                                      .service_id = (i & 2) != 0 ? &service : NULL,
                                      .notifier_id = (i & 4) != 0 ? &notifier : NULL};
                memset(r.dh_key, 'd', sizeof r.dh_key);
                memset(r.ntf_dh_key, 'k', sizeof r.ntf_dh_key);
                uint8_t buf[512];
                assert_reply(v, write_ids, &r, ids_text(buf, v, &r));
            }
        }
    }
}

static void write_lnk(struct wr *w, const struct wire_params *p, const void *what) {
    const struct id snd_id = sample_id('s');
    reply_lnk(w, p, &TO, &snd_id, what);
}

static void lnk(void **state) {
    (void)state;
    const struct id link_id = sample_id('l');
    struct link_data *link = NULL;
    assert_int_equal(link_data_new(&link_id, bytes_str("fixed data"), bytes_str("user"), &link),
                     OK);
    uint8_t buf[128];
    struct wr w = wr_init(buf, sizeof buf);
    wr_str(&w, "LNK ");
    put_id(&w, 's');
    wr_bytes_raw(&w, bytes_of("\0\012fixed data\0\004user", 18));
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        assert_reply(v, write_lnk, link, wr_bytes(&w));
    }
    link_data_unref(link);
}

/* ---- INFO ---- */

static void write_info(struct wr *w, const struct wire_params *p, const void *what) {
    reply_info(w, p, &TO, what);
}

static void assert_info(const struct reply_info *info, const char *json) {
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL); /* is our expectation JSON? */
    assert_non_null(root);
    json_decref(root);
    char text[512];
    assert_in_range(snprintf(text, sizeof text, "INFO %s", json), 1, (int)sizeof text - 1);
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        assert_reply(v, write_info, info, bytes_str(text));
    }
}

static void info_without_what_is_absent(void **state) {
    (void)state;
    assert_info(&(struct reply_info){0}, "{\"qiSnd\":false,\"qiNtf\":false,\"qiSize\":0}");
    assert_info(&(struct reply_info){.secured = true, .size = 128},
                "{\"qiSnd\":true,\"qiNtf\":false,\"qiSize\":128}");
    assert_info(&(struct reply_info){.has_notifier = true, .size = UINT32_MAX},
                "{\"qiSnd\":false,\"qiNtf\":true,\"qiSize\":4294967295}");
}

static void info_of_subscriptions(void **state) {
    (void)state;
    assert_info(&(struct reply_info){.sub = SUB_STATE_IDLE},
                "{\"qiSnd\":false,\"qiNtf\":false,\"qiSub\":{\"qSubThread\":\"noSub\"},"
                "\"qiSize\":0}");
    assert_info(&(struct reply_info){.sub = SUB_STATE_PENDING},
                "{\"qiSnd\":false,\"qiNtf\":false,\"qiSub\":{\"qSubThread\":\"subPending\"},"
                "\"qiSize\":0}");
    assert_info(&(struct reply_info){.sub = SUB_STATE_PROHIBITED},
                "{\"qiSnd\":false,\"qiNtf\":false,\"qiSub\":{\"qSubThread\":\"prohibitSub\"},"
                "\"qiSize\":0}");
}

/* Ids are in the plain base64 alphabet here, unlike everywhere else (Server.hs, getQueueInfo). */
static void info_of_messages(void **state) {
    (void)state;
    struct id id;
    for (size_t i = 0; i < sizeof id.b; i++) id.b[i] = i % 3 == 0 ? 0xfb : 0xff;
    const struct msg_head m = {.id = id, .ts_s = 1795328870, .body_len = 4, .notification = true};
    const struct msg_head quota = {.id = id, .is_quota = true};
    assert_info(&(struct reply_info){.sub = SUB_STATE_IDLE,
                                     .delivered = &id,
                                     .size = 1,
                                     .head = &m},
                "{\"qiSnd\":false,\"qiNtf\":false,\"qiSub\":{\"qSubThread\":\"noSub\","
                "\"qDelivered\":\"+///+///+///+///+///+///+///+///\"},\"qiSize\":1,"
                "\"qiMsg\":{\"msgId\":\"+///+///+///+///+///+///+///+///\","
                "\"msgTs\":\"2026-11-22T06:27:50Z\",\"msgType\":\"message\"}}");
    assert_info(&(struct reply_info){.size = 1, .head = &quota},
                "{\"qiSnd\":false,\"qiNtf\":false,\"qiSize\":1,"
                "\"qiMsg\":{\"msgId\":\"+///+///+///+///+///+///+///+///\","
                "\"msgTs\":\"1970-01-01T00:00:00Z\",\"msgType\":\"quota\"}}");
}

static void info_with_an_impossible_time_fails(void **state) {
    (void)state;
    static const int64_t TIMES[] = {INT64_MAX, INT64_MIN};
    const struct id id = sample_id(1);
    for (size_t i = 0; i < ARRAY_LEN(TIMES); i++) {
        const struct msg_head m = {.id = id, .ts_s = TIMES[i]};
        const struct wire_params p = sample_params(18);
        uint8_t buf[512];
        struct wr w = wr_init(buf, sizeof buf);
        reply_info(&w, &p, &TO, &(struct reply_info){.head = &m});
        assert_int_not_equal(wr_err(&w), OK);
    }
}

/* ---- MSG ---- */

static const uint8_t QUEUE_SECRET[BOX_KEY_LEN] = {1, 2, 3};

/* Opens the reply's box and checks the padded text: length, content, '#' up to the end. */
static void assert_msg(const struct wire_params *p, const struct message *m, struct bytes content) {
    const struct box_key key = box_key_from_secret(QUEUE_SECRET);
    static uint8_t buf[BUF_LEN], head[128];
    struct wr w = wr_init(buf, sizeof buf), x = wr_init(head, sizeof head);
    reply_msg(&w, p, &TO, m, &key);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(w.at, reply_msg_len(p, &TO));
    put_head(&x, p->version);
    wr_str(&x, "MSG ");
    wr_short(&x, id_bytes(&m->id));
    const struct bytes expected = wr_bytes(&x);
    assert_bytes(bytes_of(buf, expected.n), expected);
    assert_int_equal(w.at - expected.n, BOX_TAG_LEN + SMP_MSG_PADDED_LEN);
    const struct box_nonce nonce = box_nonce_from_corr_id(id_bytes(&m->id));
    struct bytes padded;
    assert_int_equal(box_open(&key, &nonce, buf + expected.n, w.at - expected.n, &padded), OK);
    assert_int_equal(padded.n, SMP_MSG_PADDED_LEN);
    assert_int_equal(padded.p[0] << 8 | padded.p[1], content.n);
    assert_bytes(bytes_of(padded.p + 2, content.n), content);
    for (size_t i = 2 + content.n; i < padded.n; i++) assert_int_equal(padded.p[i], '#');
}

static void msg_is_padded_to_one_length(void **state) {
    (void)state;
    static const size_t SIZES[] = {0, 1, 100, 16048, 16088};
    static uint8_t body[16088], content[16200];
    memset(body, 'b', sizeof body);
    const struct id id = sample_id('m');
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const struct wire_params p = sample_params(v);
        for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
            struct message *m = NULL;
            const struct bytes b = bytes_of(body, SIZES[i]);
            assert_int_equal(message_new(&id, 0x0102030405060708, i % 2 == 0, b, &m), OK);
            struct wr w = wr_init(content, sizeof content);
            wr_str(&w, "\1\2\3\4\5\6\7\10");
            wr_str(&w, i % 2 == 0 ? "T " : "F ");
            wr_bytes_raw(&w, b);
            assert_msg(&p, m, wr_bytes(&w));
            message_unref(m);
        }
    }
}

static void quota_marker_has_the_length_of_a_message(void **state) {
    (void)state;
    const struct id id = sample_id('q');
    struct message *m = NULL;
    assert_int_equal(message_new_quota(&id, 0x0102030405060708, &m), OK);
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const struct wire_params p = sample_params(v);
        assert_msg(&p, m, bytes_str("QUOTA \1\2\3\4\5\6\7\10"));
    }
    message_unref(m);
}

/* The largest that any version lets in, in the version whose transmissions are longest. */
static void largest_msg_fits_a_block(void **state) {
    (void)state;
    static const uint8_t FILL[24];
    const struct reply_to to = {bytes_of(FILL, sizeof FILL), bytes_of(FILL, sizeof FILL)};
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++) {
        const struct wire_params p = sample_params(v);
        assert_true(2 + reply_msg_len(&p, &to) <= SMP_BLOCK_LEN - SMP_BLOCK_OVERHEAD);
    }
}

static void msg_that_does_not_fit_fails(void **state) {
    (void)state;
    static const uint8_t BODY[SMP_MSG_PADDED_LEN];
    const struct box_key key = box_key_from_secret(QUEUE_SECRET);
    const struct wire_params p = sample_params(6);
    const struct id id = sample_id('m');
    struct message *m = NULL;
    assert_int_equal(message_new(&id, 0, true, bytes_of(BODY, 16088), &m), OK);
    const size_t n = reply_msg_len(&p, &TO);
    for (size_t cap = 0; cap < n; cap += cap < 128 || cap + 200 > n ? 1 : 97) {
        uint8_t *small = malloc(cap != 0 ? cap : 1); /* a sanitizer sees what is beyond */
        assert_non_null(small);
        struct wr w = wr_init(small, cap);
        reply_msg(&w, &p, &TO, m, &key);
        assert_int_equal(wr_err(&w), E_LIMIT);
        free(small);
    }
    message_unref(m);
    /* room enough, but a body beyond the padded length: 2 length, 8 time, flag and space */
    for (size_t body = SMP_MSG_PADDED_LEN - 12; body <= SMP_MSG_PADDED_LEN - 11; body++) {
        static uint8_t buf[BUF_LEN];
        assert_int_equal(message_new(&id, 0, true, bytes_of(BODY, body), &m), OK);
        struct wr w = wr_init(buf, sizeof buf);
        reply_msg(&w, &p, &TO, m, &key);
        assert_int_equal(wr_err(&w), body == SMP_MSG_PADDED_LEN - 12 ? OK : E_LIMIT);
        message_unref(m);
    }
}

/* ---- notifications and services ---- */

static void write_nid(struct wr *w, const struct wire_params *p, const void *what) {
    static const uint8_t KEY[X25519_LEN] = {7};
    reply_nid(w, p, &TO, what, KEY);
}

static void nid(void **state) {
    (void)state;
    static const uint8_t KEY[X25519_LEN] = {7};
    const struct pubkey key = pubkey_from_x25519(KEY);
    const struct id id = sample_id('n');
    uint8_t text[BUF_LEN];
    struct wr w = wr_init(text, sizeof text);
    wr_str(&w, "NID ");
    put_id(&w, 'n');
    wr_u8(&w, 44);
    pubkey_write_spki(&key, &w);
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++)
        assert_reply(v, write_nid, &id, wr_bytes(&w));
}

static void write_nmsg(struct wr *w, const struct wire_params *p, const void *what) {
    reply_nmsg(w, p, &TO, what);
}

static void nmsg_tells_id_and_time(void **state) {
    (void)state;
    static const uint8_t NONCE[BOX_NONCE_LEN] = {1, 2, 3};
    const struct id id = sample_id('m');
    const struct reply_ntf ntf = {&id, 1700000000, QUEUE_SECRET, NONCE};
    uint8_t box[BOX_TAG_LEN + 128], text[BUF_LEN];
    struct wr meta = wr_init(box + BOX_TAG_LEN, 128);
    wr_u16(&meta, 1 + ID_LEN + 8);
    put_id(&meta, 'm');
    wr_i64(&meta, 1700000000);
    put_fill(&meta, '#', 128 - meta.at);
    const struct box_key key = box_key_from_secret(QUEUE_SECRET);
    struct box_nonce nonce;
    memcpy(nonce.b, NONCE, sizeof nonce.b);
    box_seal(&key, &nonce, box, 128);
    struct wr w = wr_init(text, sizeof text);
    wr_str(&w, "NMSG ");
    wr_bytes_raw(&w, bytes_of(NONCE, sizeof NONCE));
    wr_short(&w, bytes_of(box, sizeof box));
    for (uint16_t v = FIRST_VERSION; v <= LAST_VERSION; v++)
        assert_reply(v, write_nmsg, &ntf, wr_bytes(&w));
}

struct sum_row {
    void (*fn)(struct wr *, const struct wire_params *, const struct reply_to *,
               const struct ids_sum *);
    struct ids_sum sum;
};

static void write_sum(struct wr *w, const struct wire_params *p, const void *what) {
    const struct sum_row *row = what;
    row->fn(w, p, &TO, &row->sum);
}

static void sums_have_their_hash_from_version_19(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct sum_row row = {i == 0 ? reply_soks : reply_ends, {.n = 0x0102}};
        memset(row.sum.hash, 'h', sizeof row.sum.hash);
        for (uint16_t v = FIRST_VERSION; v <= 20; v++) {
            uint8_t text[64];
            struct wr w = wr_init(text, sizeof text);
            wr_str(&w, i == 0 ? "SOKS " : "ENDS ");
            wr_i64(&w, 0x0102);
            if (v >= 19) wr_short(&w, bytes_of(row.sum.hash, IDS_HASH_LEN));
            assert_reply(v, write_sum, &row, wr_bytes(&w));
        }
    }
}

static void alls_names_nobody(void **state) {
    (void)state;
    const struct wire_params p = sample_params(19);
    uint8_t buf[16];
    struct wr w = wr_init(buf, sizeof buf);
    reply_alls(&w, &p);
    assert_bytes(wr_bytes(&w), bytes_of((const uint8_t *)"\0\0\0ALLS", 7));
}

static void a_sum_is_the_same_in_any_order(void **state) {
    (void)state;
    /* MD5 of 24 bytes 'a', by another program */
    static const uint8_t MD5_A[IDS_HASH_LEN] = {0x40, 0xed, 0xae, 0x4b, 0xad, 0x0e, 0x5b, 0xf6,
                                                0xd6, 0xc2, 0xdc, 0x56, 0x15, 0xa8, 0x6a, 0xfb};
    const struct id a = sample_id('a'), b = sample_id('b');
    struct ids_sum one = {0}, two = {0};
    const struct ids_sum nothing = {0};
    ids_sum_add(&one, &a);
    assert_memory_equal(one.hash, MD5_A, sizeof MD5_A);
    ids_sum_add(&one, &b);
    ids_sum_add(&two, &b);
    ids_sum_add(&two, &a);
    assert_memory_equal(&one, &two, sizeof one);
    ids_sum_remove(&one, &b);
    assert_memory_equal(one.hash, MD5_A, sizeof MD5_A);
    ids_sum_remove(&one, &a);
    ids_sum_remove(&one, &a);
    assert_memory_equal(&one, &nothing, sizeof one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(errors),
        cmocka_unit_test(addressee_may_be_empty_or_long),
        cmocka_unit_test(sok),
        cmocka_unit_test(ids),
        cmocka_unit_test(lnk),
        cmocka_unit_test(info_without_what_is_absent),
        cmocka_unit_test(info_of_subscriptions),
        cmocka_unit_test(info_of_messages),
        cmocka_unit_test(info_with_an_impossible_time_fails),
        cmocka_unit_test(msg_is_padded_to_one_length),
        cmocka_unit_test(quota_marker_has_the_length_of_a_message),
        cmocka_unit_test(largest_msg_fits_a_block),
        cmocka_unit_test(msg_that_does_not_fit_fails),
        cmocka_unit_test(nid),
        cmocka_unit_test(nmsg_tells_id_and_time),
        cmocka_unit_test(sums_have_their_hash_from_version_19),
        cmocka_unit_test(alls_names_nobody),
        cmocka_unit_test(a_sum_is_the_same_in_any_order),
    };
    return cmocka_run_group_tests_name("reply", tests, init_crypto, NULL);
}
