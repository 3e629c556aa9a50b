/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* test_control.c -- lines of the control port, names of queues, reasons, and the gate for
 * passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admin/auth_gate.h"
#include "admin/block_reason.h"
#include "admin/control.h"
#include "base/attr.h"
#include "crypto/base64.h"

#define ID   "MbNBP9K--5XYyJckuJ2_eYny4jGvnovP"
#define KEY  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define HASH "uE0tFSnlH7hmpSgQ1j6NBqBNxfHGGwPZ4hCDnYoYbHg"

/* ---- lines ---- */

#define BAD_COMMAND "no such command: 'help' lists them"
#define TOO_MUCH    "there are more words than the command takes"
#define NO_PASSWORD "the password is missing: auth PASSWORD"
#define NO_QUEUE    "the queue is missing: its sender id, link id or short link"
#define NO_REASON   "the reason is missing: reason=spam or reason=content"
#define BAD_REASON  "the reason must be reason=spam or reason=content, maybe with ,notice=SECONDS"

static void lines_are_understood(void **state) {
    (void)state;
    static const struct {
        const char *line, *error;
        enum control_verb verb;
    } ROWS[] = {
        {"help", NULL, VERB_help},
        {"stats", NULL, VERB_stats},
        {"stats-rts", NULL, VERB_stats_rts},
        {"auth secret word", NULL, VERB_auth},
        {"status " ID, NULL, VERB_status},
        {"status AAAA", NULL, VERB_status},
        {"block " ID " reason=spam", NULL, VERB_block},
        {"unblock " ID, NULL, VERB_unblock},
        {"delete " ID, NULL, VERB_delete},
        {"foo", BAD_COMMAND, N_VERBS},
        {"Help", BAD_COMMAND, N_VERBS},
        {"hel", BAD_COMMAND, N_VERBS},
        {" help", BAD_COMMAND, N_VERBS},
        {"help ", TOO_MUCH, N_VERBS},
        {"stats now", TOO_MUCH, N_VERBS},
        {"auth", NO_PASSWORD, N_VERBS},
        {"auth ", NO_PASSWORD, N_VERBS},
        {"delete", NO_QUEUE, N_VERBS},
        {"status " ID " x", TOO_MUCH, N_VERBS},
        {"status ***", "bad queue id or link", N_VERBS},
        {"block " ID, NO_REASON, N_VERBS},
        {"block " ID " reason=bad", BAD_REASON, N_VERBS},
        {"block " ID " spam", BAD_REASON, N_VERBS},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct control_command c = {.verb = N_VERBS};
        bool any = false;
        const char *error = control_parse(bytes_str(ROWS[i].line), &c, &any);
        assert_true(any);
        assert_int_equal(c.verb, ROWS[i].verb);
        if (ROWS[i].error == NULL) {
            assert_null(error);
        } else {
            assert_string_equal(error, ROWS[i].error);
        }
    }
}

static void an_empty_line_is_nothing(void **state) {
    (void)state;
    struct control_command c;
    bool any = true;
    assert_null(control_parse(bytes_str(""), &c, &any));
    assert_false(any);
}

static void help_lists_what_may_be_known(void **state) {
    (void)state;
    char text[512];
    struct wr w = wr_init(text, sizeof text - 1);
    control_help(&w);
    text[w.at] = '\0';
    assert_string_equal(text,
                        "commands: stats, stats-rts, clients, sockets, socket-threads, threads, "
                        "server-info, delete, status, block, unblock, save, help, quit\n");
}

/* ---- names of queues ---- */

static enum err parse(const char *text, struct queue_name *ret) {
    return queue_name_parse(bytes_str(text), ret);
}

static void ids_and_links_name_queues(void **state) {
    (void)state;
    struct queue_name q, same;
    struct id id;
    uint8_t key[32];
    size_t n;
    assert_int_equal(base64url_decode(bytes_str(ID), id.b, sizeof id.b, &n), OK);
    assert_int_equal(base64url_decode(bytes_str(KEY), key, sizeof key, &n), OK);
    assert_int_equal(parse(ID, &q), OK);
    assert_true(id_equal(&q.id, &id) && !q.is_link && !q.has_server);
    assert_int_equal(parse("simplex:/i#" ID "/" KEY "?h=a.b,c.onion&p=5223&c=" HASH, &q), OK);
    assert_true(id_equal(&q.id, &id) && q.is_link && q.has_server);
    assert_int_equal(parse("https://smp.example.net/i#" ID "/" KEY, &q), OK);
    assert_true(id_equal(&q.id, &id) && q.is_link && !q.has_server);
    assert_int_equal(parse("https://smp.example.net/a#" KEY, &q), OK);
    assert_int_equal(crypto_hkdf(bytes_str(""), bytes_of(key, 32), bytes_str("SimpleXContactLink"),
                                 id.b, 24),
                     OK);
    assert_true(id_equal(&q.id, &id) && q.is_link);
    static const char *const SAME[] = {"https://smp.example.net/a/#" KEY,
                                       "simplex:/c#" KEY "?h=a.b", "simplex:/G#" KEY "?c=" HASH,
                                       "https://[::1]/r#" KEY "?h=x&p=1"};
    for (size_t i = 0; i < ARRAY_LEN(SAME); i++) {
        assert_int_equal(parse(SAME[i], &same), OK);
        assert_true(id_equal(&same.id, &q.id));
    }
}

static void other_text_names_nothing(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "",
        "simplex:",
        "simplex:/",
        "simplex:/i#",
        "simplex:/x#" KEY,
        "simplex:/a#" KEY "x",
        "simplex:/a#" ID,
        "simplex:/i#" ID,
        "simplex:/i#" ID "/",
        "simplex:/i#" KEY "/" KEY,
        "simplex:/a#" KEY "?h",
        "simplex:/a#" KEY "?c=short",
        "simplex:/a#" KEY "?c=" HASH "&c=" HASH,
        "simplex:a#" KEY,
        "https:///a#" KEY,
        "https://a b/a#" KEY,
        "http://host/a#" KEY,
        "https://host#" KEY,
        "a+b/",
    };
    struct queue_name q;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) assert_int_equal(parse(BAD[i], &q), E_SYNTAX);
    assert_int_equal(parse("AAAA", &q), E_AUTH);
    assert_int_equal(parse(KEY, &q), E_AUTH);
}

/* Up to the end of the key each is half of a name; the query after it may be left out. */
static void half_a_link_is_refused(void **state) {
    (void)state;
    static const char LINK[] = "https://smp.example.net/i#" ID "/" KEY;
    struct queue_name q;
    for (size_t n = 0; n < strlen(LINK); n++) {
        assert_int_not_equal(queue_name_parse(bytes_of(LINK, n), &q), OK);
    }
    assert_int_equal(parse(LINK, &q), OK);
}

/* ---- reasons ---- */

static void reasons_are_kept_and_shown(void **state) {
    (void)state;
    static const struct {
        const char *written, *kept, *shown;
    } ROWS[] = {
        {"reason=spam", "reason=spam", "BlockingInfo {reason = BRSpam, notice = Nothing}"},
        {"reason=content", "reason=content", "BlockingInfo {reason = BRContent, notice = Nothing}"},
        {"reason=content,notice=86400", "reason=content,notice={\"ttl\":86400}",
         "BlockingInfo {reason = BRContent, notice = Just (ClientNotice {ttl = Just 86400})}"},
        {"reason=spam,notice={\"ttl\": 60}", "reason=spam,notice={\"ttl\":60}",
         "BlockingInfo {reason = BRSpam, notice = Just (ClientNotice {ttl = Just 60})}"},
        {"reason=spam,notice={}", "reason=spam,notice={}",
         "BlockingInfo {reason = BRSpam, notice = Just (ClientNotice {ttl = Nothing})}"},
        {"reason=spam,notice={\"ttl\":null}", "reason=spam,notice={}",
         "BlockingInfo {reason = BRSpam, notice = Just (ClientNotice {ttl = Nothing})}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        char text[256];
        struct wr w = wr_init(text, sizeof text - 1);
        assert_int_equal(block_reason_parse(bytes_str(ROWS[i].written), &w), OK);
        text[w.at] = '\0';
        assert_string_equal(text, ROWS[i].kept);
        struct wr shown = wr_init(text, sizeof text - 1);
        block_reason_show(bytes_str(ROWS[i].kept), &shown);
        text[shown.at] = '\0';
        assert_string_equal(text, ROWS[i].shown);
    }
}

static void other_reasons_are_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "",
        "spam",
        "reason=",
        "reason=spamx",
        "reason=spam,",
        "reason=spam,notice=",
        "reason=spam,notice=1x",
        "reason=spam,notice=-1",
        "reason=spam,notice=12345678901",
        "reason=spam,notice={\"ttl\":60",
        "reason=spam,notice={\"ttl\":60}x",
        "reason=spam\nBLOCK",
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        char text[256];
        struct wr w = wr_init(text, sizeof text);
        assert_int_equal(block_reason_parse(bytes_str(BAD[i]), &w), E_SYNTAX);
    }
}

/* ---- the gate ---- */

static void wrong_passwords_slow_down(void **state) {
    (void)state;
    static const int64_t DELAYS[] = {250, 500, 1000, 2000, 4000, 4000};
    struct auth_gate g = {0};
    int64_t now = 5000;
    assert_int_equal(auth_gate_opens_ms(&g, now), now);
    for (size_t i = 0; i < ARRAY_LEN(DELAYS); i++) {
        auth_gate_wrong(&g, now);
        assert_int_equal(auth_gate_opens_ms(&g, now), now + DELAYS[i]);
        assert_int_equal(auth_gate_opens_ms(&g, now + DELAYS[i] - 1), now + DELAYS[i]);
        now += DELAYS[i] + 100;
        assert_int_equal(auth_gate_opens_ms(&g, now), now);
    }
    auth_gate_wrong(&g, now + AUTH_QUIET_MS);
    assert_int_equal(auth_gate_opens_ms(&g, now + AUTH_QUIET_MS), now + AUTH_QUIET_MS + 250);
    auth_gate_right(&g);
    assert_int_equal(auth_gate_opens_ms(&g, now), now);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_understood),         cmocka_unit_test(an_empty_line_is_nothing),
        cmocka_unit_test(help_lists_what_may_be_known), cmocka_unit_test(ids_and_links_name_queues),
        cmocka_unit_test(other_text_names_nothing),     cmocka_unit_test(half_a_link_is_refused),
        cmocka_unit_test(reasons_are_kept_and_shown),   cmocka_unit_test(other_reasons_are_refused),
        cmocka_unit_test(wrong_passwords_slow_down),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
