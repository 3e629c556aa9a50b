/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* Rows of the database as records, against what the reference wrote, and damaged ones. */
#include "text_fixture.h"

#include "store/db/db_row.h"

static struct record_scratch scratch;
static struct db_row_buf row_buf;
static struct pubkey keys[RECORD_KEYS_MAX];

enum { LINE_CAP = RECORD_LINE_MAX };

/* ---- lines to rows and back ---- */

static unsigned n_services, n_queues;

static void assert_line(const struct record *r, struct bytes want) {
    uint8_t *out = malloc(LINE_CAP);
    assert_non_null(out);
    struct wr w = wr_init(out, LINE_CAP);
    record_write(r, &w);
    assert_int_equal(wr_err(&w), OK);
    assert_int_equal(w.at, want.n);
    assert_memory_equal(out, want.p, want.n);
    free(out);
}

static void through_a_service(const struct record *r, struct bytes line) {
    struct db_value v[N_DB_SERVICE_COLUMNS];
    struct db_service_text text;
    struct record back;
    const char *column = NULL;
    assert_int_equal(db_service_to_row(r, &row_buf, v), OK);
    assert_int_equal(db_service_from_row(v, &text, &back, &column), OK);
    assert_line(&back, line);
    n_services++;
}

static void through_a_queue(const struct record *r, struct bytes line) {
    struct db_value v[N_DB_QUEUE_COLUMNS];
    struct record back;
    const char *column = NULL;
    assert_int_equal(db_queue_to_row(r, &row_buf, v), OK);
    assert_int_equal(db_queue_from_row(v, keys, &back, &column), OK);
    assert_line(&back, line);
    n_queues++;
}

static void through_a_row(struct bytes line) {
    struct record r;
    assert_int_equal(record_parse(line, &scratch, &r), OK);
    if (r.tag == RECORD_NEW_SERVICE) through_a_service(&r, line);
    if (r.tag == RECORD_CREATE) through_a_queue(&r, line);
}

static void lines_of_the_reference_come_back(void **state) {
    (void)state;
    n_services = n_queues = 0;
    sample_each_line("reference-6.5.5/database/data-7.0.0-beta.2.export.store.log", through_a_row);
    assert_int_equal(n_services, 4);
    assert_int_equal(n_queues, 40);
}

static void message_through_a_row(struct bytes line) {
    static struct msg_line_scratch in;
    static uint8_t out[MSG_LINE_MAX];
    struct msg_line m, back;
    struct db_value v[N_DB_MESSAGE_COLUMNS];
    uint8_t time[DB_I64_LEN];
    const char *column = NULL;
    assert_int_equal(msg_line_parse(line, &in, &m), OK);
    db_message_to_row(&m, time, v);
    assert_int_equal(db_message_from_row(v, &back, &column), OK);
    struct wr w = wr_init(out, sizeof out);
    msg_line_write(&back, &w);
    assert_int_equal(w.at, line.n);
    assert_memory_equal(out, line.p, line.n);
}

static void messages_of_the_reference_come_back(void **state) {
    (void)state;
    assert_true(sample_each_line("reference-6.5.5/database/data-6.5.5.export.messages.log",
                                 message_through_a_row) > 100);
}

/* ---- damaged rows ---- */

#define CREATE                                                                                     \
    "CREATE rid=" ID_A " rk=" KEY_TEXT_ED25519 " rdh=" SECRET " sid=" ID_B " sk=" KEY_TEXT_X25519  \
    " queue_mode=M link_id=" ID_C " queue_data=AAAA AAAA notifier=" ID_B " " KEY_TEXT_X25519       \
    " " SECRET " updated_at=86400"

static void make_row(struct db_value v[N_DB_QUEUE_COLUMNS]) {
    struct record r;
    assert_int_equal(record_parse(bytes_str(CREATE), &scratch, &r), OK);
    static struct record kept;
    kept = r; /* the values borrow from it */
    assert_int_equal(db_queue_to_row(&kept, &row_buf, v), OK);
}

static const char *refused_for(const struct db_value v[N_DB_QUEUE_COLUMNS]) {
    struct record r;
    const char *column = NULL;
    assert_int_equal(db_queue_from_row(v, keys, &r, &column), E_SYNTAX);
    return column;
}

static void a_byte_less_is_named_by_its_column(void **state) {
    (void)state;
    static const char *const columns[] = {"recipient_id", "recipient_keys", "rcv_dh_secret",
                                          "sender_id",    "sender_key",     "notifier_id",
                                          "notifier_id",  "notifier_id",    "status",
                                          "updated_at",   "queue_mode",     "link_id"};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        struct db_value v[N_DB_QUEUE_COLUMNS];
        make_row(v);
        v[i].b.n--;
        assert_string_equal(refused_for(v), columns[i]);
    }
}

static void what_must_be_there_is_asked_for(void **state) {
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct db_value v[N_DB_QUEUE_COLUMNS];
        make_row(v);
        v[i] = db_value_null();
        (void)refused_for(v);
    }
}

static void a_notifier_needs_all_three(void **state) {
    (void)state;
    for (size_t i = 5; i < 8; i++) {
        struct db_value v[N_DB_QUEUE_COLUMNS];
        struct record r;
        const char *column = NULL;
        make_row(v);
        v[i] = db_value_null();
        assert_int_equal(db_queue_from_row(v, keys, &r, &column), OK);
        assert_false(r.has_notifier);
    }
}

static void link_data_that_is_null_is_empty(void **state) {
    (void)state;
    struct db_value v[N_DB_QUEUE_COLUMNS];
    struct record r;
    const char *column = NULL;
    make_row(v);
    v[12] = v[13] = db_value_null();
    assert_int_equal(db_queue_from_row(v, keys, &r, &column), OK);
    assert_true(r.has_link);
    assert_int_equal(r.link_fixed.n + r.link_user.n, 0);
}

static void texts_are_word_for_word(void **state) {
    (void)state;
    static const struct {
        unsigned column;
        const char *text;
        bool is_good;
    } rows[] = {
        {8, "active", true},
        {8, "off", true},
        {8, "blocked,reason=spam", true},
        {8, "blocked", false},
        {8, "blocked,", false},
        {8, "blocked,reason=other", false},
        {8, "", false},
        {8, "Active", false},
        {8, "blocked,reason=spam,notice={\"ttl\":1}", true},
        {10, "M", true},
        {10, "C", true},
        {10, "X", false},
        {10, "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct db_value v[N_DB_QUEUE_COLUMNS];
        struct record r;
        const char *column = NULL;
        make_row(v);
        v[rows[i].column].b = bytes_str(rows[i].text);
        assert_int_equal(db_queue_from_row(v, keys, &r, &column), rows[i].is_good ? OK : E_SYNTAX);
    }
}

/* ---- the binary form ---- */

static void rows_are_read_as_they_were_written(void **state) {
    (void)state;
    uint8_t buf[64];
    struct db_value out[DB_COLUMNS_MAX];
    unsigned n = 0;
    const struct db_value v[] = {db_value_of(bytes_str("abc")), db_value_null(),
                                 db_value_of((struct bytes){0})};
    struct wr w = wr_init(buf, sizeof buf);
    db_row_write(v, ARRAY_LEN(v), &w);
    const struct bytes whole = wr_bytes(&w);
    for (size_t len = 0; len < whole.n; len++) {
        struct blob part = blob_copy(bytes_of(buf, len));
        struct rd r = rd_init(blob_bytes(&part));
        assert_false(db_row_read(&r, out, &n));
        assert_int_equal(rd_err(&r), E_SYNTAX);
        blob_freep(&part);
    }
    struct rd r = rd_init(whole);
    assert_true(db_row_read(&r, out, &n));
    assert_int_equal(rd_end(&r), OK);
    assert_int_equal(n, ARRAY_LEN(v));
    assert_true(bytes_equal(out[0].b, v[0].b) && out[1].is_null && !out[2].is_null);
}

static void too_many_columns_are_refused(void **state) {
    (void)state;
    uint8_t buf[2 + 4 * (DB_COLUMNS_MAX + 1)];
    struct db_value out[DB_COLUMNS_MAX];
    unsigned n = 0;
    struct wr w = wr_init(buf, sizeof buf);
    wr_u16(&w, DB_COLUMNS_MAX + 1);
    while (wr_left(&w) != 0) wr_u32(&w, UINT32_MAX);
    struct rd r = rd_init(wr_bytes(&w));
    assert_false(db_row_read(&r, out, &n));
    assert_int_equal(rd_err(&r), E_SYNTAX);
    r = rd_init(bytes_of("\xff\xff", 2));
    assert_false(db_row_read(&r, out, &n));
    assert_int_equal(rd_err(&r), OK); /* the end */
}

/* ---- names and connections ---- */

static void schema_names(void **state) {
    (void)state;
    static const char *const good[] = {"smp_server", "a", "_1"};
    static const char *const bad[] = {"", "A", "1a", "a-b", "a b", "\"a\"", "pg_x", "a;b"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) assert_true(db_schema_name_is_good(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(db_schema_name_is_good(bad[i]));
}

static void connections_are_shown_without_password(void **state) {
    (void)state;
    static const struct {
        const char *connection, *shown;
    } rows[] = {
        {"postgresql://smp@/store", "user=smp dbname=store"},
        {"postgresql://smp:secret@h:1/store", "user=smp dbname=store host=h port=1"},
        {"user=smp password=secret", "user=smp"},
        {"postgresql://smp:se@cret@h/store", "(hidden)"},
        {"postgresql://smp:se/cret@h/store", "(hidden)"},
        {"user=smp password='secret", "(hidden)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[128] = "";
        struct wr w = wr_init(text, sizeof text - 1);
        db_show_connection(rows[i].connection, &w);
        assert_string_equal(text, rows[i].shown);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_the_reference_come_back),
        cmocka_unit_test(messages_of_the_reference_come_back),
        cmocka_unit_test(a_byte_less_is_named_by_its_column),
        cmocka_unit_test(what_must_be_there_is_asked_for),
        cmocka_unit_test(a_notifier_needs_all_three),
        cmocka_unit_test(link_data_that_is_null_is_empty),
        cmocka_unit_test(texts_are_word_for_word),
        cmocka_unit_test(rows_are_read_as_they_were_written),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(schema_names),
        cmocka_unit_test(connections_are_shown_without_password),
    };
    return cmocka_run_group_tests_name("db_row", tests, NULL, NULL);
}
