/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* The settings: defaults, ranges, errors that say what to do, and the texts made from the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "generated_doc.h"
#include "app/settings/conf.h"
#include "app/settings/options.h"
#include "app/settings/options_doc.h"
#include "model/limits.h"
#include "relay/relay.h"

enum { TEXT_MAX = 64 * 1024 };

static char warnings[TEXT_MAX];
static struct problem problem;

static void collect_warning(void *ctx, const char *text) {
    (void)ctx;
    const size_t n = strlen(warnings);
    (void)snprintf(warnings + n, sizeof warnings - n, "%s\n", text);
}

static enum err parse(struct conf *c, const char *text) {
    static char copy[TEXT_MAX];
    assert_true(strlen(text) < sizeof copy);
    (void)snprintf(copy, sizeof copy, "%s", text);
    warnings[0] = '\0';
    problem.text[0] = '\0';
    conf_init(c);
    return conf_parse(c, "f.ini", copy, collect_warning, NULL, &problem);
}

static void assert_accepted(struct conf *c, const char *text) {
    const enum err e = parse(c, text);
    if (e != OK) fail_msg("refused: %s", problem.text);
}

static void assert_refused(const char *text, const char *message) {
    struct conf c;
    assert_int_equal(parse(&c, text), E_CONFIG);
    assert_string_equal(problem.text, message);
}

static const char *print_config(const struct conf *c) {
    static char text[TEXT_MAX];
    struct wr w = wr_init(text, sizeof text - 1);
    conf_print(c, &w);
    assert_int_equal(wr_err(&w), OK);
    text[wr_bytes(&w).n] = '\0';
    return text;
}

/* ---- the table ---- */

static void rows_are_unique_and_explained(void **state) {
    (void)state;
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        assert_non_null(o->help);
        for (size_t j = 0; j < i; j++) {
            assert_false(strcmp(o->section, OPTS[j].section) == 0 &&
                         strcmp(o->key, OPTS[j].key) == 0);
        }
    }
}

/* A section that is not in OPT_SECTIONS would be missing from the template. */
static void sections_are_known(void **state) {
    (void)state;
    for (size_t i = 0; i < N_OPTS; i++) {
        bool found = false;
        for (size_t s = 0; s < N_OPT_SECTIONS; s++) {
            found = found || strcmp(OPTS[i].section, OPT_SECTIONS[s].name) == 0;
        }
        assert_true(found);
    }
}

static void defaults_are_within_their_range(void **state) {
    (void)state;
    struct conf c;
    conf_init(&c);
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        if (o->type != OPT_INT || (o->flags & (OPT_UNSET_0 | OPT_OFF_0)) != 0) continue;
        assert_true(o->def >= o->min && o->def <= o->max);
    }
    assert_int_equal(c.message_quota, 128);
    assert_int_equal(c.expire_messages_days, 21);
    assert_true(c.expire_on_start);
    assert_false(c.relay.expire_on_send);
    assert_true(c.rules.allow_new_queues);
    assert_string_equal(c.rules.create_password, "");
    assert_string_equal(c.host, "<hostnames>");
    assert_int_equal(c.ports.n, 2);
    assert_int_equal(c.ports.port[0], 5223);
    assert_int_equal(c.ports.port[1], 443);
    assert_int_equal(c.bind.n, 0);
    assert_false(c.relay.disconnect_inactive);
    assert_int_equal(c.relay.version_min, RELAY_VERSION_MIN);
    assert_int_equal(c.relay.version_max, RELAY_VERSION_MAX);
    assert_int_equal(conf_message_ttl_s(&c), 21 * 86400);
}

/* What a row writes is what its field holds. */
static void rows_fit_their_fields(void **state) {
    (void)state;
    static const size_t SIZES[N_OPT_TYPES] = {
        [OPT_BOOL] = sizeof(bool),
        [OPT_PORTS] = sizeof(struct conf_ports),
        [OPT_WEBSOCKETS] = sizeof(struct conf_ports),
        [OPT_ADDRESSES] = sizeof(struct conf_addresses),
        [OPT_ENDPOINT] = sizeof(struct conf_endpoint),
        [OPT_WORD] = CONF_WORD_MAX,
        [OPT_COUNTRY] = CONF_WORD_MAX,
        [OPT_PASSWORD] = CONF_PASSWORD_MAX,
    };
    for (size_t i = 0; i < N_OPTS; i++) {
        const struct opt *o = &OPTS[i];
        const size_t size = SIZES[o->type] != 0 ? SIZES[o->type] : CONF_TEXT_MAX;
        if (o->type != OPT_INT) assert_int_equal(o->size, size);
        if (o->type != OPT_INT || o->size == sizeof(int64_t)) continue;
        const int64_t max = o->size == sizeof(uint16_t) ? UINT16_MAX : UINT32_MAX;
        assert_true(o->min >= 0 && o->max <= max);
    }
}

/* A part takes over its own struct and no other. */
static void parts_take_over_their_own_fields(void **state) {
    (void)state;
    static const struct {
        size_t begin, end;
    } OF[N_CONF_PARTS] = {
        [CONF_RELAY] = {offsetof(struct conf, rules),
                        offsetof(struct conf, rules) + sizeof(struct relay_rules)},
        [CONF_CONTROL] = {offsetof(struct conf, control),
                          offsetof(struct conf, control) + sizeof(struct control_settings)},
        [CONF_LOG] = {offsetof(struct conf, log_level),
                      offsetof(struct conf, log_level) + CONF_WORD_MAX},
    };
    for (size_t i = 0; i < N_OPTS; i++) {
        for (enum conf_part part = 0; part < N_CONF_PARTS; part++) {
            if (OF[part].end == 0) continue;
            const bool is_inside =
                OPTS[i].offset >= OF[part].begin && OPTS[i].offset < OF[part].end;
            assert_int_equal(OPTS[i].part == part, is_inside);
        }
    }
}

/* ---- reading ---- */

static void reads_every_type(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[STORE_LOG]\nenable: off\nstore_queues: memory\nexpire_messages_days = 7\n"
                        "[AUTH]\nnew_queues = off\ncreate_password: a!b?c\n"
                        "[TRANSPORT]\nhost: a.example , b.onion\nport: 5223, 443 ,8443\n"
                        "bind: 127.0.0.1,[::1], 2001:db8::1\nthreads: 4\n"
                        "[LIMITS]\nhandshake_timeout: 5\nmessage_ttl: 30\n");
    assert_string_equal(warnings, "");
    assert_false(c.rules.allow_new_queues);
    assert_string_equal(c.rules.create_password, "a!b?c");
    assert_string_equal(c.host, "a.example,b.onion");
    assert_int_equal(c.ports.n, 3);
    assert_int_equal(c.ports.port[2], 8443);
    assert_int_equal(c.bind.n, 3);
    assert_string_equal(c.bind.text[1], "::1");
    assert_int_equal(c.threads, 4);
    assert_int_equal(c.relay.handshake_timeout_s, 5);
    assert_int_equal(conf_message_ttl_s(&c), 30);
    conf_done(&c);
    assert_string_equal(c.rules.create_password, "");
}

/* Where an address ends with `:port`, those of IPv6 need brackets. */
static void ipv6_hosts_have_brackets(void **state) {
    (void)state;
    static const char *const HOSTS[][2] = {
        {"::1", "[::1]"},
        {"[::1]", "[::1]"},
        {"a-b.example, 2001:db8::1,192.0.2.1 ,[::2]", "a-b.example,[2001:db8::1],192.0.2.1,[::2]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(HOSTS); i++) {
        struct conf c;
        char text[128];
        (void)snprintf(text, sizeof text, "[TRANSPORT]\nhost: %s\n", HOSTS[i][0]);
        assert_accepted(&c, text);
        assert_string_equal(c.host, HOSTS[i][1]);
        conf_done(&c);
    }
    char small[6], room[7];
    assert_int_equal(conf_write_hosts("a,::1", room, sizeof room), E_CONFIG);
    assert_int_equal(conf_write_hosts("::1", small, sizeof small), OK);
    assert_string_equal(small, "[::1]");
    assert_int_equal(conf_write_hosts("", room, sizeof room), E_CONFIG);
}

static void numbers_keep_their_ends(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[LIMITS]\nmessage_queue_quota: 1\n");
    assert_int_equal(c.message_quota, 1);
    assert_accepted(&c, "[LIMITS]\nmessage_queue_quota: 10000\n");
    assert_int_equal(c.message_quota, 10000);
    static const char *const BAD[] = {"0",  "10001", "-1",  "",
                                      "1x", "0x10",  "1.5", "99999999999999999999",
                                      "on", "+5",    "1 2"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        char text[128], message[256];
        (void)snprintf(text, sizeof text, "[LIMITS]\nmessage_queue_quota: %s\n", BAD[i]);
        (void)snprintf(message, sizeof message,
                       "f.ini:2: [LIMITS] message_queue_quota: \"%s\" is not allowed; must be 1 to "
                       "10000 messages",
                       BAD[i]);
        assert_refused(text, message);
    }
}

static void says_what_is_allowed(void **state) {
    (void)state;
    assert_refused("[AUTH]\n\nnew_queues: yes\n",
                   "f.ini:3: [AUTH] new_queues: \"yes\" is not allowed; must be on or off");
    assert_refused("[TRANSPORT]\nport: 70000\n", "f.ini:2: [TRANSPORT] port: \"70000\" is not "
                                                 "allowed; must be up to 16 different "
                                                 "ports, 1 to 65535, separated by commas");
    assert_refused("[STORE_LOG]\nstore_queues: disk\n",
                   "f.ini:2: [STORE_LOG] store_queues: \"disk\" is not allowed; must be one of "
                   "memory,database");
    assert_refused("[TRANSPORT]\nbind: localhost\n", "f.ini:2: [TRANSPORT] bind: \"localhost\" is "
                                                     "not allowed; must be up to 16 numeric "
                                                     "IPv4 or IPv6 addresses, separated by commas");
    assert_refused("[AUTH]\nnew_queues\n", "f.ini:2: neither a [SECTION] nor a `key = value`: "
                                           "correct it, or begin it with #");
}

static void lists_refuse_what_is_no_part(void **state) {
    (void)state;
    static const char *const PORTS[] = {"",     ",",   "1,",
                                        "1,,2", "0",   "65536",
                                        "1,1",  "1 2", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    static const char *const HOSTS[] = {"",    ",",   "a,",   "a,,b",   "a b",
                                        "a@b", "a/b", "-a.b", "a.b-.c", "a.-b,c.d"};
    static const char *const BINDS[] = {"", "::1,", "1.2.3", "[]", "[::1", "1.2.3.4:5223"};
    const struct {
        const char *key;
        const char *const *values;
        size_t n;
    } rows[] = {{"port", PORTS, ARRAY_LEN(PORTS)},
                {"host", HOSTS, ARRAY_LEN(HOSTS)},
                {"bind", BINDS, ARRAY_LEN(BINDS)}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t j = 0; j < rows[i].n; j++) {
            char text[128];
            struct conf c;
            (void)snprintf(text, sizeof text, "[TRANSPORT]\n%s: %s\n", rows[i].key,
                           rows[i].values[j]);
            assert_int_equal(parse(&c, text), E_CONFIG);
        }
    }
}

static void secrets_are_not_in_messages(void **state) {
    (void)state;
    assert_refused("[AUTH]\ncreate_password: se:cret\n",
                   "f.ini:2: [AUTH] create_password: its value is not allowed; must be 1 to 255 "
                   "printable ASCII characters other than space, @, : and /");
}

/* Of a proxy only user and password are secret: what is wrong can be seen, but for them. */
static void the_host_of_a_proxy_is_shown(void **state) {
    (void)state;
    assert_refused("[PROXY]\nsocks_proxy = me:word@tor\n",
                   "f.ini:2: [PROXY] socks_proxy: \"(hidden)@tor\" is not allowed; must be "
                   "host:port, or user:password@host:port");
    assert_refused("[PROXY]\nsocks_proxy = tor\n",
                   "f.ini:2: [PROXY] socks_proxy: \"tor\" is not allowed; must be host:port, or "
                   "user:password@host:port");
    char text[5000] = "[PROXY]\nsocks_proxy = me:";
    memset(text + strlen(text), 'w', 4000);
    (void)snprintf(text + strlen(text), 10, "@tor:1\n");
    assert_refused(text, "f.ini:2: [PROXY] socks_proxy: \"(hidden)\" is not allowed; must be "
                         "host:port, or user:password@host:port");
    static const char *const ROWS[][2] = {
        {"me:word@tor:9050", "\nsocks_proxy = (hidden)@tor:9050\n"},
        {"me:w@rd@tor:9050", "\nsocks_proxy = (hidden)@tor:9050\n"},
        {"@tor:9050", "\nsocks_proxy = @tor:9050\n"},
        {"tor:9050", "\nsocks_proxy = tor:9050\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct conf c;
        (void)snprintf(text, sizeof text, "[PROXY]\nsocks_proxy = %s\n", ROWS[i][0]);
        assert_accepted(&c, text);
        assert_non_null(strstr(print_config(&c), ROWS[i][1]));
    }
}

static void password_rules(void **state) {
    (void)state;
    static const char *const BAD[] = {"", "a b", "a@b", "a:b", "a/b", "a\tb", "\x7f", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) assert_false(smp_is_password(bytes_str(BAD[i])));
    assert_true(smp_is_password(bytes_str("a")));
    assert_true(smp_is_password(bytes_str("!\"#$%&'()*+,-.;<=>?[\\]^_`{|}~")));
    char text[400], longest[257];
    struct conf c;
    memset(longest, 'p', 256);
    longest[256] = '\0';
    (void)snprintf(text, sizeof text, "[AUTH]\ncreate_password: %s\n", longest);
    assert_int_equal(parse(&c, text), E_CONFIG);
    longest[255] = '\0';
    (void)snprintf(text, sizeof text, "[AUTH]\ncreate_password: %s\n", longest);
    assert_accepted(&c, text);
    assert_string_equal(c.rules.create_password, longest);
}

/* As in the reference; what the second says does not even have to be allowed. */
static void the_first_of_two_counts(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[AUTH]\nnew_queues = off\n[TRANSPORT]\nport: 1\n[AUTH]\nnew_queues: on\n"
                        "create_password = a\ncreate_password = b c\n");
    assert_false(c.rules.allow_new_queues);
    assert_string_equal(c.rules.create_password, "a");
    assert_string_equal(
        warnings,
        "f.ini:6: [AUTH] new_queues is already set in line 2, which counts: remove one\n"
        "f.ini:8: [AUTH] create_password is already set in line 7, which counts: remove one\n");
}

static void unknown_is_a_warning(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "x: 1\nprot: 1\n[AUTH]\nfuture_key: off\n[TRANSPORT]\nports = 1\n"
                        "[STORAGE]\nlog-stats = on\n[Store_log]\nmessages_days = 1\nenable = on\n"
                        "[WEB]\npassword = x\nttls = 1\n");
    assert_string_equal(
        warnings, "f.ini:1: unknown setting x before the first [SECTION] is ignored: check its "
                  "spelling\n"
                  "f.ini:2: unknown setting prot before the first [SECTION] is ignored: did you "
                  "mean [TRANSPORT] port?\n"
                  "f.ini:4: unknown setting [AUTH] future_key is ignored: check its spelling\n"
                  "f.ini:6: unknown setting [TRANSPORT] ports is ignored: did you mean [TRANSPORT] "
                  "port?\n"
                  "f.ini:8: unknown setting [STORAGE] log-stats is ignored: did you mean "
                  "[STORE_LOG] log_stats?\n"
                  "f.ini:10: unknown setting [Store_log] messages_days is ignored: did you mean "
                  "[STORE_LOG] expire_messages_days?\n"
                  "f.ini:11: unknown setting [Store_log] enable is ignored: did you mean "
                  "[STORE_LOG] enable?\n"
                  "f.ini:13: unknown setting [WEB] password is ignored: check its spelling\n"
                  "f.ini:14: unknown setting [WEB] ttls is ignored: did you mean "
                  "[INACTIVE_CLIENTS] ttl?\n");
    assert_false(c.store_log);
}

/* Else everybody could do what the setting was to keep them from. */
static void a_slip_in_auth_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *name, *meant;
    } ROWS[] = {
        {"[AUTH]\ncreate_pasword = x\n", "[AUTH] create_pasword", "create_password"},
        {"[AUTH]\npassword = x\n", "[AUTH] password", "create_password"},
        {"[AUTH]\nnew_queue = off\n", "[AUTH] new_queue", "new_queues"},
        {"[AUTH]\nadmin_password = x\n", "[AUTH] admin_password", "control_port_admin_password"},
        {"[Auth]\ncreate_password = x\n", "[Auth] create_password", "create_password"},
        {"[AUHT]\nnew_queues = off\n", "[AUHT] new_queues", "new_queues"},
        {"[TRANSPORT]\ncreate_pasword = x\n", "[TRANSPORT] create_pasword", "create_password"},
        {"\ncreate_password = x\n", "create_password before the first [SECTION]",
         "create_password"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        char message[256];
        (void)snprintf(message, sizeof message,
                       "f.ini:2: unknown setting %s: did you mean [AUTH] %s? Correct it, or begin "
                       "the line with #",
                       ROWS[i].name, ROWS[i].meant);
        assert_refused(ROWS[i].text, message);
    }
}

/* `create_password abc=` is read as a setting of this name. Its value is not told. */
static void a_forgotten_equals_sign_is_noticed(void **state) {
    (void)state;
    struct conf c;
    assert_refused("[AUTH]\ncreate_password hunter2=\n",
                   "f.ini:2: there is no = after [AUTH] create_password: write it, or begin the "
                   "line with #");
    assert_refused("[AUTH]\ncontrol_port_admin_password\thunter2:x\n",
                   "f.ini:2: there is no = after [AUTH] control_port_admin_password: write it, or "
                   "begin the line with #");
    assert_refused("[AUTH]\ncreate_pasword hunter2=\n",
                   "f.ini:2: unknown setting [AUTH] create_pasword ...: did you mean [AUTH] "
                   "create_password? Correct it, or begin the line with #");
    assert_accepted(&c, "[AUTH]\nfuture key=1\n[TRANSPORT]\nhost a.example:1\n"
                        "hots b.example:1\n");
    assert_string_equal(
        warnings,
        "f.ini:2: unknown setting [AUTH] future ... is ignored: check its spelling\n"
        "f.ini:4: there is no = after [TRANSPORT] host: the line is ignored\n"
        "f.ini:5: unknown setting [TRANSPORT] hots ... is ignored: did you mean [TRANSPORT] "
        "host?\n");
}

static void storage_that_does_not_exist_is_refused(void **state) {
    (void)state;
    assert_refused("[STORE_LOG]\nenable: on\nstore_queues: database\nstore_messages: journal\n",
                   "f.ini:3: [STORE_LOG] store_queues: \"database\" is not allowed; messages are "
                   "in "
                   "the journal: run `smp-server journal export`, then `smp-server database import "
                   "--table messages`, and set store_messages = database");
    assert_refused("[STORE_LOG]\nenable: on\nstore_queues: database\n",
                   "f.ini:3: [STORE_LOG] store_queues: \"database\" is not allowed; messages are "
                   "then in the database too: set store_messages = database");
    assert_refused("[STORE_LOG]\nenable: on\nstore_messages: database\n",
                   "f.ini:3: [STORE_LOG] store_messages: \"database\" is not allowed; messages are "
                   "in a database only together with their queues: set store_queues = database "
                   "too");
    assert_refused("[STORE_LOG]\nstore_queues: database\nstore_messages: database\n",
                   "f.ini:2: [STORE_LOG] store_queues: \"database\" is not allowed; there are "
                   "files "
                   "beside a database: set enable = on");
    assert_refused("[STORE_LOG]\njournal_path: here\n", "f.ini:2: [STORE_LOG] journal_path: "
                                                        "\"here\" is not allowed; must be an "
                                                        "absolute path");
}

static void reads_storage(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[STORE_LOG]\nenable = on\n"); /* what is not said is as in the reference */
    assert_true(c.store_log);
    assert_string_equal(c.store_messages, "memory");
    assert_true(c.restore_messages);
    assert_string_equal(c.sync, "always");
    assert_string_equal(c.journal_path, "");
    assert_accepted(&c, "[STORE_LOG]\nenable: on\nstore_messages: journal\nrestore_messages: off\n"
                        "sync: interval\njournal_path: /srv/journal\n");
    assert_string_equal(c.store_messages, "journal");
    assert_false(c.restore_messages);
    assert_string_equal(c.sync, "interval");
    assert_string_equal(c.journal_path, "/srv/journal");
}

/* A tool that changes `enable` in the file that init wrote. */
static void journal_without_store_log_is_memory(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[STORE_LOG]\nenable = off\nstore_messages = journal\n");
    assert_string_equal(warnings,
                        "f.ini:3: [STORE_LOG] store_messages = journal has no effect with enable = "
                        "off: all is in memory, and lost when the server stops; set enable = on to "
                        "keep it\n");
    assert_false(c.store_log);
    assert_string_equal(c.store_messages, "memory");
}

static void versions_must_leave_some(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[LIMITS]\nsmp_version_min: 9\nsmp_version_max: 9\n");
    assert_refused("[LIMITS]\nsmp_version_min: 10\nsmp_version_max: 9\n",
                   "f.ini:3: [LIMITS] smp_version_min 10 is above smp_version_max 9: no client "
                   "could "
                   "connect");
}

/* ---- settings that are not used yet ---- */

static const char *unused_of(const struct conf *c) {
    static char text[TEXT_MAX];
    struct wr w = wr_init(text, sizeof text - 1);
    conf_list_unused(c, &w);
    assert_int_equal(wr_err(&w), OK);
    text[wr_bytes(&w).n] = '\0';
    return text;
}

/* As the reference writes it. */
static void file_of_the_reference_is_understood(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c,
                    "[INFORMATION]\nsource_code = https://github.com/simplex-chat/simplexmq\n"
                    "hosting_type = virtual\n[STORE_LOG]\nenable = on\nstore_queues = memory\n"
                    "store_messages = journal\nrestore_messages = on\nexpire_messages_days = 21\n"
                    "expire_messages_on_start = on\nexpire_messages_on_send = off\n"
                    "expire_ntfs_hours = 24\nlog_stats = on\nprometheus_interval = 2\n"
                    "[AUTH]\nnew_queues = on\ncreate_password = test\n"
                    "control_port_admin_password = abc\ncontrol_port_user_password = def\n"
                    "[TRANSPORT]\nhost = localhost\nport = 5223\nlog_tls_errors = off\n"
                    "websockets = off\ncontrol_port = 5224\n[PROXY]\n[INACTIVE_CLIENTS]\n"
                    "disconnect = on\nttl = 21600\ncheck_interval = 3600\n[WEB]\n"
                    "static_path = /var/opt/simplex/www\n");
    assert_string_equal(warnings, "");
    assert_string_equal(unused_of(&c), "");
    assert_true(c.relay.disconnect_inactive);
}

static void what_is_so_anyway_is_not_remarked_on(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[TRANSPORT]\nwebsockets: off\n");
    assert_string_equal(unused_of(&c), "");
    assert_accepted(&c, "[STORE_LOG]\ndb_pool_size: 10\n");
    assert_string_equal(unused_of(&c), "");
    assert_accepted(&c, "[STORE_LOG]\ndb_pool_size: 20\n");
    assert_string_equal(unused_of(&c), "STORE_LOG.db_pool_size");
}

/* ---- what the reference reads, in its forms ---- */

struct value_row {
    const char *section, *key, *value;
    const char *printed; /* how it reads again; NULL: refused */
};

static void assert_value(const struct value_row *row) {
    char text[256];
    (void)snprintf(text, sizeof text, "[INFORMATION]\nsource_code: x\n[%s]\n%s: %s\n", row->section,
                   row->key, row->value);
    struct conf c;
    const enum err e = parse(&c, text);
    if (row->printed == NULL) {
        assert_int_equal(e, E_CONFIG);
        return;
    }
    if (e != OK) fail_msg("refused: %s", problem.text);
    for (size_t i = 0; i < N_OPTS; i++) {
        if (c.line[i] != 4) continue;
        char got[CONF_TEXT_MAX];
        struct wr w = wr_init(got, sizeof got - 1);
        opt_print(&OPTS[i], &c, &w);
        got[wr_bytes(&w).n] = '\0';
        assert_string_equal(got, row->printed);
    }
}

static void values_of_each_kind(void **state) {
    (void)state;
    static const struct value_row ROWS[] = {
        {"INFORMATION", "operator", "Jos\xc3\xa9, SARL", "Jos\xc3\xa9, SARL"},
        {"INFORMATION", "operator", "", ""},
        {"INFORMATION", "operator", "a\tb", NULL},
        {"INFORMATION", "server_country", "fr", "FR"},
        {"INFORMATION", "server_country", "", ""},
        {"INFORMATION", "server_country", "F", NULL},
        {"INFORMATION", "server_country", "FRA", NULL},
        {"INFORMATION", "server_country", "F1", NULL},
        {"INFORMATION", "server_country", "\xc3\xa9", NULL},
        {"INFORMATION", "hosting_type", "colocation", "colocation"},
        {"INFORMATION", "hosting_type", "cloud", NULL},
        {"INFORMATION", "admin_simplex", "simplex:/contact#/?v=2", "simplex:/contact#/?v=2"},
        {"INFORMATION", "admin_simplex", "https://a.example/a#x", "https://a.example/a#x"},
        {"INFORMATION", "admin_simplex", "https://", NULL},
        {"INFORMATION", "admin_simplex", "SimpleX address", NULL},
        {"STORE_LOG", "prometheus_interval", "2", "2"},
        {"STORE_LOG", "prometheus_interval", "off", "off"},
        {"STORE_LOG", "prometheus_interval", "0", NULL},
        {"AUTH", "daily_block_queue_quota", "-1", "-1"},
        {"AUTH", "daily_block_queue_quota", "-2", NULL},
        {"TRANSPORT", "control_port", "5224", "5224"},
        {"TRANSPORT", "control_port", "off", "off"},
        {"TRANSPORT", "control_port", "65536", NULL},
        {"TRANSPORT", "websockets", "on", "80"},
        {"TRANSPORT", "websockets", "443,80", "443,80"},
        {"TRANSPORT", "websockets", "yes", NULL},
        {"TRANSPORT", "metrics", "off", "off"},
        {"TRANSPORT", "metrics", "127.0.0.1:9090", "127.0.0.1:9090"},
        {"TRANSPORT", "metrics", "127.9.9.9:1", "127.9.9.9:1"},
        {"TRANSPORT", "metrics", "[::1]:9090", "[::1]:9090"},
        {"TRANSPORT", "metrics", "::1:9090", NULL},
        {"TRANSPORT", "metrics", "[127.0.0.1]:9090", NULL},
        {"TRANSPORT", "metrics", "0.0.0.0:9090", NULL},
        {"TRANSPORT", "metrics", "192.0.2.1:9090", NULL},
        {"TRANSPORT", "metrics", "[::]:9090", NULL},
        {"TRANSPORT", "metrics", "127.0.0.1:", NULL},
        {"TRANSPORT", "metrics", "127.0.0.1:0", NULL},
        {"TRANSPORT", "metrics", "127.0.0.1:65536", NULL},
        {"TRANSPORT", "metrics", "9090", NULL},
        {"TRANSPORT", "metrics", "", NULL},
        {"PROXY", "own_server_domains", "a.example b.example", "a.example,b.example"},
        {"PROXY", "own_server_domains", "a.example , b.example,", "a.example,b.example"},
        {"PROXY", "own_server_domains", "", ""},
        {"PROXY", "own_server_domains", "a/b", NULL},
        {"WEB", "http", "8000", "8000"},
        {"WEB", "dashboard", "off", "off"},
        {"WEB", "dashboard", "127.0.0.1:8001", "127.0.0.1:8001"},
        {"WEB", "dashboard", "[::1]:8001", "[::1]:8001"},
        {"WEB", "dashboard", "0.0.0.0:8001", NULL},
        {"WEB", "dashboard", "8001", NULL},
        {"WEB", "static_path", "www", "www"},
        {"WEB", "static_path", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) assert_value(&ROWS[i]);
}

static void information_needs_source_code(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[INFORMATION]\nhosting_type = virtual\nwebsite =\n");
    assert_refused("[INFORMATION]\n\nwebsite: https://example.org\n",
                   "f.ini:3: [INFORMATION] website is set without source_code: set that too, or "
                   "remove both");
}

static void halves_are_warned_of(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[INFORMATION]\nsource_code: x\nhosting_country: FI\nadmin_pgp: y\n"
                        "operator: z\noperator_country: FR\n[WEB]\nhttps: 443\ncert: /c\n");
    assert_string_equal(
        warnings, "f.ini:3: [INFORMATION] hosting_country has no effect without hosting: set that "
                  "too\nf.ini:4: [INFORMATION] admin_pgp has no effect without "
                  "admin_pgp_fingerprint: set that too\nf.ini:8: [WEB] https has no effect without "
                  "key: set that too\n");
}

static void unknown_countries_are_warned_of(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[INFORMATION]\nsource_code: x\noperator: y\noperator_country: uk\n"
                        "hosting: z\nhosting_country: XX\nserver_country: gb\n");
    assert_string_equal(
        warnings, "f.ini:4: [INFORMATION] operator_country: ISO 3166 has no country UK: the United "
                  "Kingdom is GB\nf.ini:6: [INFORMATION] hosting_country: ISO 3166 has no country "
                  "XX\n");
    assert_string_equal(c.information.operator_country, "UK");
}

/* ---- reload ---- */

static void reload_takes_what_may_change(void **state) {
    (void)state;
    struct conf c, next;
    assert_accepted(&c, "[AUTH]\ncreate_password: one\n[TRANSPORT]\nport: 1\nwebsockets: 80\n");
    assert_accepted(&next, "[AUTH]\ncreate_password: two\nnew_queues: off\n"
                           "[TRANSPORT]\nport: 2\nwebsockets: 443\n[LIMITS]\nmessage_ttl: 5\n");
    warnings[0] = '\0';
    conf_warn_of_restart(&c, &next, collect_warning, NULL);
    assert_string_equal(warnings, "[TRANSPORT] port changed: restart to use it\n"
                                  "[TRANSPORT] websockets changed: restart to use it\n"
                                  "[LIMITS] message_ttl changed: restart to use it\n");
    assert_true(conf_differs(&c, &next, CONF_RELAY));
    assert_false(conf_differs(&c, &next, CONF_CONTROL));
    conf_take(&c, &next, CONF_RELAY);
    assert_string_equal(c.rules.create_password, "two");
    assert_false(c.rules.allow_new_queues);
    assert_int_equal(c.ports.port[0], 1);
    assert_int_equal(c.message_ttl_s, 0);
    assert_false(conf_differs(&c, &next, CONF_RELAY));
    warnings[0] = '\0';
    conf_warn_of_restart(&c, &c, collect_warning, NULL);
    assert_string_equal(warnings, "");
}

/* ---- texts ---- */

static char *print_template(const struct conf_value *values, size_t n) {
    static char text[TEXT_MAX];
    struct wr w = wr_init(text, sizeof text - 1);
    conf_print_template(values, n, &w);
    assert_int_equal(wr_err(&w), OK);
    text[wr_bytes(&w).n] = '\0';
    return text;
}

static const struct conf_value VALUES[] = {
    {"TRANSPORT", "host", "smp.example"},
    {"AUTH", "create_password", "hidden-from-all"},
};

static void template_is_read_as_meant(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, print_template(VALUES, ARRAY_LEN(VALUES)));
    assert_string_equal(warnings, "");
    assert_string_equal(c.host, "smp.example");
    assert_string_equal(c.rules.create_password, "hidden-from-all");
    assert_accepted(&c, print_template(NULL, 0));
    assert_string_equal(c.rules.create_password, "");
}

/* Takes the "# " away from lines that are settings; what is shown as a comment must be valid too.
 */
static void uncomment(char *text) {
    char *to = text;
    for (const char *p = text; *p != '\0';) {
        const size_t n = strcspn(p, "\n") + 1;
        const size_t key = strspn(p + 2, "abcdefghijklmnopqrstuvwxyz_");
        const bool is_setting =
            strncmp(p, "# ", 2) == 0 && key > 0 && strncmp(p + 2 + key, " = ", 3) == 0;
        const size_t skip = is_setting ? 2 : 0;
        memmove(to, p + skip, n - skip);
        to += n - skip;
        p += n;
    }
    *to = '\0';
}

static void template_shows_valid_samples(void **state) {
    (void)state;
    char *text = print_template(NULL, 0);
    uncomment(text);
    struct conf c;
    assert_accepted(&c, text);
    assert_string_equal(warnings, "");
    for (size_t i = 0; i < N_OPTS; i++) assert_int_not_equal(c.line[i], 0);
}

/* `make docs` writes the file anew. */
static void document_is_up_to_date(void **state) {
    (void)state;
    static char printed[OPTIONS_DOC_MAX];
    struct wr w = wr_init(printed, sizeof printed - 1);
    options_doc_print(&w);
    assert_int_equal(wr_err(&w), OK);
    check_generated_doc("options.md", printed);
}

static void printed_settings_hide_secrets(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, print_template(VALUES, ARRAY_LEN(VALUES)));
    const char *text = print_config(&c);
    assert_null(strstr(text, "hidden-from-all"));
    assert_non_null(strstr(text, "\ncreate_password = (hidden)\n"));
    assert_non_null(strstr(text, "[TRANSPORT]\nhost = smp.example\nport = 5223,443\n# bind =\n"));
}

static void printed_settings_are_read_back(void **state) {
    (void)state;
    struct conf c;
    assert_accepted(&c, "[TRANSPORT]\nport: 1,2\nbind: ::1\nthreads: 3\n[LIMITS]\nmessage_ttl: 9\n"
                        "[INACTIVE_CLIENTS]\ndisconnect: on\nttl: 5\n");
    char first[4096];
    (void)snprintf(first, sizeof first, "%s", print_config(&c));
    assert_accepted(&c, first);
    assert_string_equal(print_config(&c), first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_unique_and_explained),
        cmocka_unit_test(sections_are_known),
        cmocka_unit_test(defaults_are_within_their_range),
        cmocka_unit_test(rows_fit_their_fields),
        cmocka_unit_test(parts_take_over_their_own_fields),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(ipv6_hosts_have_brackets),
        cmocka_unit_test(numbers_keep_their_ends),
        cmocka_unit_test(says_what_is_allowed),
        cmocka_unit_test(lists_refuse_what_is_no_part),
        cmocka_unit_test(secrets_are_not_in_messages),
        cmocka_unit_test(the_host_of_a_proxy_is_shown),
        cmocka_unit_test(password_rules),
        cmocka_unit_test(the_first_of_two_counts),
        cmocka_unit_test(unknown_is_a_warning),
        cmocka_unit_test(a_slip_in_auth_is_refused),
        cmocka_unit_test(a_forgotten_equals_sign_is_noticed),
        cmocka_unit_test(storage_that_does_not_exist_is_refused),
        cmocka_unit_test(reads_storage),
        cmocka_unit_test(journal_without_store_log_is_memory),
        cmocka_unit_test(versions_must_leave_some),
        cmocka_unit_test(file_of_the_reference_is_understood),
        cmocka_unit_test(what_is_so_anyway_is_not_remarked_on),
        cmocka_unit_test(values_of_each_kind),
        cmocka_unit_test(information_needs_source_code),
        cmocka_unit_test(halves_are_warned_of),
        cmocka_unit_test(unknown_countries_are_warned_of),
        cmocka_unit_test(reload_takes_what_may_change),
        cmocka_unit_test(template_is_read_as_meant),
        cmocka_unit_test(template_shows_valid_samples),
        cmocka_unit_test(document_is_up_to_date),
        cmocka_unit_test(printed_settings_hide_secrets),
        cmocka_unit_test(printed_settings_are_read_back),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
