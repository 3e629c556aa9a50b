/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "text_fixture.h"

#include "store/text/record.h"

static struct record_scratch scratch;

#define CREATE_4 "CREATE rid=" ID_A " rk=" KEY_TEXT_ED25519 " rdh=" SECRET " sid=" ID_B " sk="
#define NTF      ID_C " " KEY_TEXT_X25519 " " SECRET

static bool parses(struct bytes line) {
    struct record rec;
    const enum err e = record_parse(line, &scratch, &rec);
    assert_true(e == OK || e == E_SYNTAX);
    return e == OK;
}

/* To memory of exactly the size of what is expected, and to less, which must not do. */
static void assert_writes(const struct record *rec, struct bytes want) {
    assert_true(want.n > 0);
    uint8_t *out = malloc(want.n != 0 ? want.n : 1);
    assert_non_null(out);
    struct wr w = wr_init(out, want.n);
    record_write(rec, &w);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(w.at, want.n);
    assert_memory_equal(out, want.p, want.n);
    w = wr_init(out, want.n - 1);
    record_write(rec, &w);
    assert_int_equal(wr_err(&w), E_LIMIT);
    free(out);
}

static void assert_becomes(struct bytes line, struct bytes want) {
    struct blob copy = blob_copy(line);
    struct record rec;
    assert_int_equal(record_parse(blob_bytes(&copy), &scratch, &rec), OK);
    assert_writes(&rec, want);
    blob_freep(&copy);
}

static void assert_round_trip(struct bytes line) {
    assert_becomes(line, line);
}

static struct record parse(const char *line) {
    struct record rec;
    if (record_parse(bytes_str(line), &scratch, &rec) != OK) fail_msg("%s is refused", line);
    assert_writes(&rec, bytes_str(line));
    return rec;
}

/* ---- what the reference wrote ---- */

static void samples_are_written_as_they_were_read(void **state) {
    (void)state;
    static const char *const names[] = {"memory/smp-server-store.log",
                                        "journal/smp-server-store.log",
                                        "daily/store-log-after-block.txt"};
    static const unsigned n_lines[] = {15, 15, 19};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "reference-6.5.5/%s", names[i]);
        assert_int_equal(sample_each_line(path, assert_round_trip), n_lines[i]);
    }
}

/* A line that is left when a line is cut is another line with one spelling. */
static void try_every_prefix(struct bytes line) {
    for (size_t n = 0; n < line.n; n++) {
        struct blob prefix = blob_copy(bytes_of(line.p, n));
        if (parses(blob_bytes(&prefix))) assert_round_trip(blob_bytes(&prefix));
        blob_freep(&prefix);
    }
}

static void samples_cut_short_are_refused_or_other_lines(void **state) {
    (void)state;
    sample_each_line("reference-6.5.5/daily/store-log-after-block.txt", try_every_prefix);
    sample_each_line("reference-6.5.5/memory/smp-server-store.log", try_every_prefix);
}

/* Where a line may be cut and is still one: before an optional field, in a number, after four
 * digits of the last link data, between two keys, at a } of a notice, and where a key or a service
 * may be missing. */
static const char *const MARKED[] = {
    CREATE_4 "|" KEY_TEXT_X25519 "| queue_mode=M| link_id=" ID_D
             " queue_data=Zml4ZWQ= |dXNl|cg==| notifier=" NTF "| nsrv=" ID_A
             "| updated_at=1|7|9|5| status=off| rsrv=" ID_B,
    CREATE_4 "| queue_mode=C| updated_at=0| status=blocked,reason=spam| rsrv=" ID_D,
    CREATE_4 "| status=blocked,reason=content|,notice={\"ttl\":10}| rsrv=" ID_D,
    CREATE_4 "| sndSecure=T| updated_at=1|7",
    "LINK " ID_A " " ID_B " Zml4ZWQ= |dXNl|cg==",
    "LINK " ID_A " " ID_B "  |dXNl|cg==",
    "LDELETE " ID_A,
    "SECURE " ID_A " " KEY_TEXT_ED448,
    "KEYS " ID_A " " KEY_TEXT_ED25519 "|," KEY_TEXT_X448 "|," KEY_TEXT_ED448,
    "NOTIFIER " ID_A " " NTF "| nsrv=" ID_B,
    "NDELETE " ID_A,
    "SUSPEND " ID_A,
    "BLOCK " ID_A " reason=spam|,notice={}",
    "BLOCK " ID_A " reason=content|,notice={\"a\":{\"b\":1}|}",
    "UNBLOCK " ID_A,
    "DELETE " ID_A,
    "TIME " ID_A " 1|7|9|5|3",
    "NEW_SERVICE service_id=" ID_A " role=N cert=MIIB,MIIC cert_hash=" SECRET " created_at=1|7",
    "QUEUE_SERVICE " ID_A " R |" ID_B,
    "QUEUE_SERVICE " ID_A " N ",
};

static void lines_are_refused_when_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(MARKED); i++) try_prefixes(MARKED[i], parses);
}

static void lines_are_written_as_they_were_read(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(MARKED); i++) {
        if (strstr(MARKED[i], "sndSecure") != NULL) continue;
        struct blob line = blob_copy(bytes_str(MARKED[i]));
        size_t n = 0;
        for (size_t at = 0; at < line.n; at++) {
            if (line.p[at] != '|') line.p[n++] = line.p[at];
        }
        assert_round_trip(bytes_of(line.p, n));
        blob_freep(&line);
    }
}

static void older_lines_become_newer_ones(void **state) {
    (void)state;
    static const struct {
        const char *old, *new;
    } forms[] = {
        {CREATE_4, CREATE_4}, /* 4.0 */
        {CREATE_4 " notifier=" NTF, CREATE_4 " notifier=" NTF},
        {CREATE_4 KEY_TEXT_X25519, CREATE_4 KEY_TEXT_X25519},                            /* 5.5 */
        {CREATE_4 " sndSecure=T notifier=" NTF, CREATE_4 " queue_mode=M notifier=" NTF}, /* 5.8 */
        {CREATE_4 " sndSecure=F", CREATE_4 " queue_mode=C"},
        {CREATE_4 " sndSecure=T updated_at=1725840000",
         CREATE_4 " queue_mode=M updated_at=1725840000"}, /* 6.1 */
        {CREATE_4 " sndSecure=T status=blocked,reason=spam",
         CREATE_4 " queue_mode=M status=blocked,reason=spam"}, /* 6.3 */
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        assert_becomes(bytes_str(forms[i].old), bytes_str(forms[i].new));
    }
}

/* ---- what the fields become ---- */

static void fields_of_a_queue(void **state) {
    (void)state;
    const struct record rec = parse(
        "CREATE rid=" ID_A " rk=" KEY_TEXT_ED25519 "," KEY_TEXT_ED448 " rdh=" SECRET " sid=" ID_B
        " sk=" KEY_TEXT_X25519 " queue_mode=C link_id=" ID_D
        " queue_data=Zml4ZWQgZGF0YSAy dXNlcg== notifier=" NTF " nsrv=" ID_B
        " updated_at=1795305600 status=blocked,reason=content,notice={\"ttl\":10} rsrv=" ID_C);
    assert_int_equal(rec.tag, RECORD_CREATE);
    assert_int_equal(rec.rcv_id.b[0], 0x6d);
    assert_int_equal(rec.rcv_id.b[ID_LEN - 1], 0x7c);
    assert_int_equal(rec.snd_id.b[0], 0x7d);
    assert_int_equal(rec.n_rcv_keys, 2);
    assert_non_null(rec.rcv_keys);
    assert_int_equal(rec.rcv_keys[0].type, KEY_ED25519);
    assert_int_equal(rec.rcv_keys[1].type, KEY_ED448);
    assert_int_equal(rec.snd_key.type, KEY_X25519);
    assert_int_equal(rec.dh_secret[0], 0x47);
    assert_int_equal(rec.mode, MODE_CONTACT);
    assert_true(rec.has_link);
    assert_true(bytes_equal(rec.link_fixed, bytes_str("fixed data 2")));
    assert_true(bytes_equal(rec.link_user, bytes_str("user")));
    assert_true(rec.has_notifier && rec.has_ntf_service && rec.has_service);
    assert_int_equal(rec.notifier.key.type, KEY_X25519);
    assert_memory_equal(rec.notifier.dh_secret, rec.dh_secret, X25519_LEN);
    assert_true(id_equal(&rec.ntf_service_id, &rec.snd_id));
    assert_true(id_equal(&rec.service_id, &rec.notifier.id));
    assert_true(rec.has_updated_at);
    assert_int_equal(rec.updated_at_s, 1795305600);
    assert_int_equal(rec.status, RECORD_BLOCKED);
    assert_true(bytes_equal(rec.info, bytes_str("reason=content,notice={\"ttl\":10}")));
}

static void fields_that_are_not_there(void **state) {
    (void)state;
    const struct record rec = parse(CREATE_4);
    assert_int_equal(rec.snd_key.type, KEY_NONE);
    assert_int_equal(rec.mode, MODE_UNKNOWN);
    assert_int_equal(rec.status, RECORD_ACTIVE);
    assert_false(rec.has_link || rec.has_notifier || rec.has_updated_at || rec.has_service);
}

static void fields_of_the_other_records(void **state) {
    (void)state;
    struct record rec = parse("LINK " ID_A " " ID_B " Zml4 ");
    assert_true(rec.has_link && rec.link_fixed.n == 3 && rec.link_user.n == 0);
    rec = parse("SECURE " ID_A " " KEY_TEXT_X448);
    assert_int_equal(rec.snd_key.type, KEY_X448);
    rec = parse("KEYS " ID_A " " KEY_TEXT_X25519);
    assert_int_equal(rec.n_rcv_keys, 1);
    rec = parse("NOTIFIER " ID_A " " NTF);
    assert_true(rec.has_notifier && !rec.has_ntf_service);
    rec = parse("TIME " ID_A " 999999999999999999");
    assert_true(rec.has_updated_at && rec.updated_at_s == 999999999999999999);
    rec = parse("BLOCK " ID_A " reason=spam");
    assert_true(bytes_equal(rec.info, bytes_str("reason=spam")));
    rec = parse("NEW_SERVICE service_id=" ID_A " role=P cert=AAAA cert_hash=BBBB created_at=86400");
    assert_true(rec.role == 'P' && rec.created_at_s == 86400 && rec.has_service);
    assert_true(bytes_equal(rec.cert, bytes_str("AAAA")));
    assert_true(bytes_equal(rec.cert_hash, bytes_str("BBBB")));
    rec = parse("QUEUE_SERVICE " ID_A " N " ID_B);
    assert_true(rec.party == 'N' && rec.has_service);
    rec = parse("QUEUE_SERVICE " ID_A " R ");
    assert_true(rec.party == 'R' && !rec.has_service);
}

static void every_tag_has_its_text(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(MARKED); i++) {
        const char *line = MARKED[i];
        unsigned hits = 0;
        for (unsigned tag = 0; tag < N_RECORD_TAGS; tag++) {
            const size_t n = strlen(record_tag_text(tag));
            hits += strncmp(line, record_tag_text(tag), n) == 0 && line[n] == ' ';
        }
        assert_int_equal(hits, 1);
    }
}

/* ---- what is refused ---- */

static void garbage_is_refused(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        " ",
        "CREATE",
        "CREATE ",
        "create rid=" ID_A,
        " DELETE " ID_A,
        "DELETE  " ID_A,
        "DELETE " ID_A " ",
        "DELETE " ID_A "\r",
        "DELETE\t" ID_A,
        "DELETED " ID_A,
        "LINKS " ID_A,
        "DELETE " ID_A "AAAA",                 /* an id of 27 bytes */
        "DELETE AAAABBBBCCCCDDDDEEEEFFFFGGGG", /* of 21 bytes */
        "DELETE bU7edXsa1tXKik6Sn1jTGQ3VhzHbWBN+",
        "TIME " ID_A " ",
        "TIME " ID_A " -1",
        "TIME " ID_A " +1",
        "TIME " ID_A " 01",
        "TIME " ID_A " 1.5",
        "TIME " ID_A " 1000000000000000000", /* more digits than are surely fit */
        "SECURE " ID_A " ",
        "SECURE " ID_A " " SECRET, /* no key */
        "SECURE " ID_A " " KEY_TEXT_ED25519 "," KEY_TEXT_ED25519,
        "SECURE " ID_A " " KEY_TEXT_ED448 "AAAA",
        "KEYS " ID_A " ,",
        "KEYS " ID_A " " KEY_TEXT_ED25519 ",",
        "KEYS " ID_A " ," KEY_TEXT_ED25519,
        "LINK " ID_A " " ID_B " Zml4ZWQ dXNl", /* no padding */
        "LINK " ID_A " " ID_B " Zml4 dXNl AAAA",
        "LINK " ID_A " " ID_B " Zml4",
        "BLOCK " ID_A " ",
        "BLOCK " ID_A " spam",
        "BLOCK " ID_A " reason=",
        "BLOCK " ID_A " reason=spams",
        "BLOCK " ID_A " reason=rudeness",
        "BLOCK " ID_A " reason=spam,notice=",
        "BLOCK " ID_A " reason=spam,notice={\x01}",
        "BLOCK " ID_A " reason=spam rsrv=" ID_B, /* only of CREATE */
        "QUEUE_SERVICE " ID_A " R",
        "QUEUE_SERVICE " ID_A " S " ID_B,
        "NEW_SERVICE service_id=" ID_A " role=R cert=AAAA cert_hash=BBBB created_at=1",
        "NEW_SERVICE service_id=" ID_A " role=N cert= cert_hash=BBBB created_at=1",
        "NEW_SERVICE service_id=" ID_A " role=N cert=AA+A cert_hash=BBBB created_at=1",
        "NEW_SERVICE service_id=" ID_A " role=N cert=AAAA cert_hash= created_at=1",
        CREATE_4 " queue_mode=X",
        CREATE_4 " queue_mode=M sndSecure=T",
        CREATE_4 " link_id=" ID_A,
        CREATE_4 " status=",
        CREATE_4 " status=active",
        CREATE_4 " status=blocked",
        CREATE_4 " status=off updated_at=1", /* order */
        CREATE_4 " future=1",
        CREATE_4 "  updated_at=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct blob line = blob_copy(bytes_str(lines[i]));
        if (parses(blob_bytes(&line))) fail_msg("%s is accepted", lines[i]);
        blob_freep(&line);
    }
}

/* ---- sizes ---- */

static struct bytes written(const struct record *rec, struct wr *w) {
    record_write(rec, w);
    assert_int_equal(wr_err(w), OK);
    return wr_bytes(w);
}

/* A queue that is as long as can be, and then some more. */
static void the_longest_queue(void **state) {
    (void)state;
    struct record rec = parse(CREATE_4 KEY_TEXT_ED448
                              " queue_mode=M notifier=" ID_C " " KEY_TEXT_ED448 " " SECRET
                              " nsrv=" ID_B " updated_at=999999999999999999 status=off rsrv=" ID_D);
    static struct pubkey keys[RECORD_KEYS_MAX + 1];
    static uint8_t data[RECORD_LINK_MAX + 1], out[RECORD_LINE_MAX + 4];
    static char info[RECORD_INFO_MAX + 1] = "reason=spam,notice={";
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) keys[i] = rec.snd_key;
    memset(info + strlen(info), ' ', sizeof info - strlen(info));
    info[RECORD_INFO_MAX - 1] = '}';
    rec.status = RECORD_BLOCKED;
    rec.info = bytes_of(info, RECORD_INFO_MAX);
    rec.rcv_keys = keys;
    rec.n_rcv_keys = RECORD_KEYS_MAX;
    rec.has_link = true;
    rec.link_fixed = bytes_of(data, 2008);
    rec.link_user = bytes_of(data, RECORD_LINK_MAX - 2008);
    struct wr w = wr_init(out, RECORD_LINE_MAX);
    assert_round_trip(written(&rec, &w));

    w = wr_init(out, sizeof out);
    rec.n_rcv_keys++;
    assert_false(parses(written(&rec, &w)));
    rec.n_rcv_keys--;
    w = wr_init(out, sizeof out);
    rec.link_user.n++;
    assert_false(parses(written(&rec, &w)));
    rec.link_user.n--;
    w = wr_init(out, sizeof out);
    info[RECORD_INFO_MAX - 1] = ' ';
    info[RECORD_INFO_MAX] = '}';
    rec.info.n++;
    assert_false(parses(written(&rec, &w)));
}

static void all_data_in_one_part(void **state) {
    (void)state;
    static uint8_t data[RECORD_LINK_MAX + 1], out[RECORD_LINE_MAX];
    struct record rec = parse("LINK " ID_A " " ID_B " Zml4 ");
    for (size_t n = RECORD_LINK_MAX; n <= RECORD_LINK_MAX + 1; n++) {
        struct wr w = wr_init(out, sizeof out);
        rec.link_fixed = bytes_of(data, n);
        rec.link_user = (struct bytes){0};
        assert_int_equal(parses(written(&rec, &w)), n == RECORD_LINK_MAX);
        w = wr_init(out, sizeof out);
        rec.link_fixed = (struct bytes){0};
        rec.link_user = bytes_of(data, n);
        assert_int_equal(parses(written(&rec, &w)), n == RECORD_LINK_MAX);
    }
}

static void the_longest_chain(void **state) {
    (void)state;
    static char text[RECORD_CERT_MAX + 1];
    static uint8_t out[RECORD_LINE_MAX];
    memset(text, 'A', sizeof text);
    struct record rec =
        parse("NEW_SERVICE service_id=" ID_A " role=M cert=AAAA cert_hash=BBBB created_at=1");
    struct wr w = wr_init(out, sizeof out);
    rec.cert = bytes_of(text, RECORD_CERT_MAX);
    assert_round_trip(written(&rec, &w));
    w = wr_init(out, sizeof out);
    rec.cert.n++;
    assert_false(parses(written(&rec, &w)));
    w = wr_init(out, sizeof out);
    rec.cert.n = 4;
    rec.cert_hash = bytes_of(text, 129);
    assert_false(parses(written(&rec, &w)));
}

static void longer_than_any_line(void **state) {
    (void)state;
    static uint8_t line[RECORD_LINE_MAX + 1];
    memset(line, 'A', sizeof line);
    struct wr w = wr_init(line, sizeof line);
    wr_str(&w, "DELETE ");
    assert_false(parses(bytes_of(line, sizeof line)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_written_as_they_were_read),
        cmocka_unit_test(samples_cut_short_are_refused_or_other_lines),
        cmocka_unit_test(lines_are_refused_when_cut),
        cmocka_unit_test(lines_are_written_as_they_were_read),
        cmocka_unit_test(older_lines_become_newer_ones),
        cmocka_unit_test(fields_of_a_queue),
        cmocka_unit_test(fields_that_are_not_there),
        cmocka_unit_test(fields_of_the_other_records),
        cmocka_unit_test(every_tag_has_its_text),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(the_longest_queue),
        cmocka_unit_test(all_data_in_one_part),
        cmocka_unit_test(the_longest_chain),
        cmocka_unit_test(longer_than_any_line),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
