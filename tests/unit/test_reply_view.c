/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* What reply.h writes is parsed again, in each version; what is not whole, is not. */
#include <stdio.h>

#include "wire_fixture.h"

#include "model/limits.h"
#include "wire/reply_view.h"
#include "wire/reply.h"
#include "wire/transmission.h"

enum { NEWEST = V_NAMES };

static const struct reply_to TO = {{(const uint8_t *)"corr", 4}, {(const uint8_t *)"entity", 6}};

/* The command's text of a reply, and what it says. The text is in static memory. */
static struct bytes parse_reply(const struct wr *w, const struct wire_params *p,
                                struct reply_view *ret) {
    struct transmission t;
    assert_int_equal(wr_err(w), OK);
    assert_int_equal(transmission_parse(wr_bytes(w), p, &t), OK);
    assert_int_equal(reply_parse(t.command, p->version, ret), OK);
    return t.command;
}

/* No proper prefix from n_tail bytes on means anything; one more byte does not either. */
static void assert_whole(struct bytes text, uint16_t version, size_t n_tail) {
    struct reply_view a;
    for (size_t n = 0; n < n_tail; n++) {
        uint8_t *copy = exact_copy(bytes_of(text.p, n));
        assert_int_equal(reply_parse(bytes_of(copy, n), version, &a), E_SYNTAX);
        free(copy);
    }
    if (n_tail != text.n) return;
    uint8_t *longer = malloc(text.n + 1);
    assert_non_null(longer);
    memcpy(longer, text.p, text.n);
    longer[text.n] = 'x';
    assert_int_equal(reply_parse(bytes_of(longer, text.n + 1), version, &a), E_SYNTAX);
    free(longer);
}

struct written {
    uint8_t buf[SMP_BLOCK_LEN];
    struct wire_params params;
    struct wr w;
};

static void begin(struct written *o, uint16_t version) {
    o->params = sample_params(version);
    o->w = wr_init(o->buf, sizeof o->buf);
}

static void words(void **state) {
    (void)state;
    static const struct {
        void (*write)(struct wr *, const struct wire_params *, const struct reply_to *);
        enum reply_tag tag;
    } ROWS[] = {{reply_ok, REPLY_OK}, {reply_pong, REPLY_PONG}, {reply_end, REPLY_END}};
    struct written o;
    struct reply_view a;
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
            begin(&o, v);
            ROWS[i].write(&o.w, &o.params, &TO);
            const struct bytes text = parse_reply(&o.w, &o.params, &a);
            assert_int_equal(a.tag, ROWS[i].tag);
            assert_whole(text, v, text.n);
        }
        begin(&o, v);
        reply_deld(&o.w, &o.params, &TO);
        (void)parse_reply(&o.w, &o.params, &a);
        assert_int_equal(a.tag, v < 10 ? REPLY_END : REPLY_DELD);
    }
}

static void errors(void **state) {
    (void)state;
    struct written o;
    struct reply_view a;
    for (unsigned e = OK + 1; e < N_ERRS; e++) {
        begin(&o, NEWEST);
        reply_err(&o.w, &o.params, &TO, (enum err)e);
        const struct bytes text = parse_reply(&o.w, &o.params, &a);
        assert_int_equal(a.tag, REPLY_ERR);
        assert_text(a.err.text, err_wire((enum err)e));
        assert_string_equal(err_wire(a.err.code), err_wire((enum err)e));
        assert_whole(text, NEWEST, sizeof "ERR " - 1);
    }
    assert_int_equal(reply_parse(bytes_str("ERR BLOCKED reason=spam"), NEWEST, &a), OK);
    assert_int_equal(a.err.code, N_ERRS);
    assert_text(a.err.text, "BLOCKED reason=spam");
    assert_int_equal(reply_parse(bytes_str("ERR "), NEWEST, &a), E_SYNTAX);
}

static struct reply_ids sample_ids(enum queue_mode mode, const struct id *more) {
    struct reply_ids ids = {
        .rcv_id = sample_id(1),
        .snd_id = sample_id(2),
        .mode = mode,
        .link_id = more,
        .service_id = more,
        .notifier_id = more,
    };
    memset(ids.dh_key, 3, sizeof ids.dh_key);
    memset(ids.ntf_dh_key, 4, sizeof ids.ntf_dh_key);
    return ids;
}

/* mode: what a reader can know of it in this version. */
static enum queue_mode told_mode(uint16_t v, enum queue_mode mode) {
    if (v < 9) return MODE_UNKNOWN;
    return v < 15 && mode == MODE_UNKNOWN ? MODE_CONTACT : mode;
}

static void assert_ids(uint16_t v, enum queue_mode mode, const struct id *more) {
    struct written o;
    struct reply_view a;
    const struct reply_ids ids = sample_ids(mode, more);
    begin(&o, v);
    reply_ids(&o.w, &o.params, &TO, &ids);
    const struct bytes text = parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_IDS);
    assert_true(id_equal(&a.ids.rcv_id, &ids.rcv_id));
    assert_true(id_equal(&a.ids.snd_id, &ids.snd_id));
    assert_memory_equal(a.ids.dh_key, ids.dh_key, sizeof ids.dh_key);
    assert_int_equal(a.ids.mode, told_mode(v, mode));
    assert_int_equal(a.ids.has_link, more != NULL && v >= 15);
    assert_int_equal(a.ids.has_service, more != NULL && v >= 16);
    assert_int_equal(a.ids.has_notifier, more != NULL && v >= 17);
    if (a.ids.has_link) assert_true(id_equal(&a.ids.link_id, more));
    if (a.ids.has_service) assert_true(id_equal(&a.ids.service_id, more));
    if (a.ids.has_notifier) {
        assert_true(id_equal(&a.ids.notifier_id, more));
        assert_memory_equal(a.ids.ntf_dh_key, ids.ntf_dh_key, sizeof ids.ntf_dh_key);
    }
    assert_whole(text, v, text.n);
}

static void ids(void **state) {
    (void)state;
    const struct id more = sample_id(9);
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        for (unsigned mode = MODE_UNKNOWN; mode <= MODE_CONTACT; mode++) {
            assert_ids(v, (enum queue_mode)mode, NULL);
            assert_ids(v, (enum queue_mode)mode, &more);
        }
    }
}

static void subscriptions(void **state) {
    (void)state;
    struct written o;
    struct reply_view a;
    const struct id service = sample_id(7);
    const struct ids_sum sum = {.n = 5, .hash = {1, 2, 3}};
    static const uint8_t none[IDS_HASH_LEN];
    for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++) {
        begin(&o, v);
        reply_sok(&o.w, &o.params, &TO, &service);
        struct bytes text = parse_reply(&o.w, &o.params, &a);
        assert_int_equal(a.tag, v < 16 ? REPLY_OK : REPLY_SOK);
        if (v >= 16) assert_true(a.sok.has_service && id_equal(&a.sok.service_id, &service));
        assert_whole(text, v, text.n);
        begin(&o, v);
        reply_soks(&o.w, &o.params, &TO, &sum);
        text = parse_reply(&o.w, &o.params, &a);
        assert_int_equal(a.tag, REPLY_SOKS);
        assert_int_equal(a.sum.n, 5);
        assert_memory_equal(a.sum.hash, v < 19 ? none : sum.hash, IDS_HASH_LEN);
        assert_whole(text, v, text.n);
    }
    begin(&o, NEWEST);
    reply_ends(&o.w, &o.params, &TO, &sum);
    (void)parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_ENDS);
    begin(&o, NEWEST);
    reply_alls(&o.w, &o.params);
    (void)parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_ALLS);
}

static void notifications(void **state) {
    (void)state;
    struct written o;
    struct reply_view a;
    const struct id id = sample_id(6);
    uint8_t key[X25519_LEN], nonce[BOX_NONCE_LEN];
    memset(key, 5, sizeof key);
    memset(nonce, 8, sizeof nonce);
    begin(&o, NEWEST);
    reply_nid(&o.w, &o.params, &TO, &id, key);
    struct bytes text = parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_NID);
    assert_true(id_equal(&a.nid.notifier_id, &id));
    assert_memory_equal(a.nid.dh_key, key, sizeof key);
    assert_whole(text, NEWEST, text.n);
    begin(&o, NEWEST);
    reply_nmsg(&o.w, &o.params, &TO, &(struct reply_ntf){&id, 1, key, nonce});
    text = parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_NMSG);
    assert_bytes(a.nmsg.nonce, bytes_of(nonce, sizeof nonce));
    assert_true(a.nmsg.meta.n > 128 && lies_in(a.nmsg.meta, text));
    assert_whole(text, NEWEST, text.n);
}

static void links(void **state) {
    (void)state;
    struct written o;
    struct reply_view a;
    const struct id id = sample_id(6);
    struct link_data *link = NULL;
    assert_int_equal(link_data_new(&id, bytes_str("fixed"), bytes_str("user"), &link), OK);
    begin(&o, NEWEST);
    reply_lnk(&o.w, &o.params, &TO, &id, link);
    const struct bytes text = parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_LNK);
    assert_true(id_equal(&a.lnk.snd_id, &id));
    assert_text(a.lnk.fixed, "fixed");
    assert_text(a.lnk.user, "user");
    assert_whole(text, NEWEST, text.n);
    link_data_unref(link);
}

static void routing(void **state) {
    (void)state;
    static const uint8_t CHAIN[] = {2, 0, 1, 'a', 0, 2, 'b', 'c'};
    struct written o;
    struct reply_view a;
    const struct reply_pkey k = {bytes_str("session"), 8, 18, bytes_of(CHAIN, sizeof CHAIN),
                                 bytes_str("signed")};
    begin(&o, NEWEST);
    reply_pkey(&o.w, &o.params, &TO, &k);
    const struct bytes text = parse_reply(&o.w, &o.params, &a);
    assert_int_equal(a.tag, REPLY_PKEY);
    assert_text(a.pkey.session_id, "session");
    assert_int_equal(a.pkey.version_min, 8);
    assert_int_equal(a.pkey.version_max, 18);
    assert_bytes(a.pkey.cert_chain, k.cert_chain);
    assert_text(a.pkey.signed_key, "signed");
    assert_whole(text, NEWEST, text.n);
    begin(&o, NEWEST);
    reply_pres(&o.w, &o.params, &TO, bytes_str("body"));
    assert_whole(parse_reply(&o.w, &o.params, &a), NEWEST, sizeof "PRES " - 1);
    assert_int_equal(a.tag, REPLY_PRES);
    assert_text(a.tail, "body");
}

static void nonsense(void **state) {
    (void)state;
    static const char *const TEXTS[] = {"",      " ",    "ok",    "OK ",    "OKAY", "IDS",
                                        "PONG ", "MSG ", "SOK 2", "SOKS x", "ERR",  "PKEY "};
    struct reply_view a;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        for (uint16_t v = FIRST_VERSION; v <= NEWEST; v++)
            assert_int_equal(reply_parse(bytes_str(TEXTS[i]), v, &a), E_SYNTAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),         cmocka_unit_test(errors),        cmocka_unit_test(ids),
        cmocka_unit_test(subscriptions), cmocka_unit_test(notifications), cmocka_unit_test(links),
        cmocka_unit_test(routing),       cmocka_unit_test(nonsense),
    };
    return cmocka_run_group_tests_name("answer", tests, init_crypto, NULL);
}
