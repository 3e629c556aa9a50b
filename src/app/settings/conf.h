/* SPDX-License-Identifier: AGPL-3.0-or-later */
/* conf.h -- the settings of smp-server.ini, as values.
 *
 * One table (options.c) says what there is; this module applies it: defaults, reading with errors
 * that name file, line, section, key, value and what is allowed, and the two texts made from it
 * (the file that init writes, `start --print-config`). Only app/ sees struct conf; other layers get
 * their own small options. No I/O but conf_load(). Any thread. */
#pragma once

#include <stdint.h>

#include "admin/control_port.h"
#include "app/files/problem.h"
#include "base/wr.h"
#include "names/resolver.h"
#include "net/admission.h"
#include "proxy/proxy.h"
#include "relay/relay.h"

enum {
    CONF_OPTS_MAX = 128,  /* rows of the table */
    CONF_TEXT_MAX = 1024, /* bytes of a text, with terminator: several onion hosts fit */
    CONF_WORD_MAX = 16,   /* bytes, with terminator */
    CONF_PASSWORD_MAX = SMP_PASSWORD_MAX,
    CONF_PORTS_MAX = 16,
    CONF_ADDRESSES_MAX = 16,
    CONF_ADDRESS_LEN = 64,  /* bytes, with terminator and zone */
    CONF_FILE_MAX = 1 << 20 /* bytes of smp-server.ini; more is a mistake */
};

struct conf_ports {
    unsigned n;
    uint16_t port[CONF_PORTS_MAX];
};

struct conf_addresses {
    unsigned n;
    char text[CONF_ADDRESSES_MAX][CONF_ADDRESS_LEN]; /* numeric, without brackets */
};

struct conf_endpoint {
    char host[CONF_ADDRESS_LEN]; /* numeric, without brackets */
    uint16_t port;               /* 0: off */
};

/* [INFORMATION], each key under its name; "": not set */
struct conf_information {
    char source_code[CONF_TEXT_MAX], usage_conditions[CONF_TEXT_MAX];
    char condition_amendments[CONF_TEXT_MAX];
    char operator[CONF_TEXT_MAX], website[CONF_TEXT_MAX], hosting[CONF_TEXT_MAX];
    char admin_simplex[CONF_TEXT_MAX], admin_email[CONF_TEXT_MAX];
    char admin_pgp[CONF_TEXT_MAX], admin_pgp_fingerprint[CONF_TEXT_MAX];
    char complaints_simplex[CONF_TEXT_MAX], complaints_email[CONF_TEXT_MAX];
    char complaints_pgp[CONF_TEXT_MAX], complaints_pgp_fingerprint[CONF_TEXT_MAX];
    char server_country[CONF_WORD_MAX], operator_country[CONF_WORD_MAX];
    char hosting_country[CONF_WORD_MAX], hosting_type[CONF_WORD_MAX];
};

enum { CONF_DB_TTL_DAYS_MAX = 3650 }; /* db_deleted_ttl: more is seconds */

/* Ranges are in the table. */
struct conf {
    struct conf_information information;
    /* [STORE_LOG] */
    bool store_log;
    bool database_is_fine; /* set before reading: what asks for the database is no error then */
    char store_queues[CONF_WORD_MAX], store_messages[CONF_WORD_MAX];
    bool restore_messages;
    char sync[CONF_WORD_MAX];
    char journal_path[CONF_TEXT_MAX]; /* "": `journal` in the state directory */
    int64_t expire_messages_days;
    int64_t expire_ntfs_hours;
    int64_t keep_copies_hours;
    int64_t hold_ms;
    bool expire_on_start;
    bool log_stats;
    int64_t prometheus_interval_s;                               /* 0: off */
    char db_connection[CONF_TEXT_MAX], db_schema[CONF_TEXT_MAX]; /* the first may be secret */
    int64_t db_pool_size, db_deleted_ttl, db_cache_mb, db_patience_s, db_replay_s;
    bool db_store_log;
    /* [CLUSTER] */
    bool standby;
    /* [TRANSPORT] */
    char host[CONF_TEXT_MAX];
    struct conf_ports ports, websockets; /* the second may have none */
    struct conf_addresses bind;          /* none: all addresses */
    int64_t threads;                     /* 0: one for each processor */
    char log_level[CONF_WORD_MAX];
    int64_t control_port; /* 0: off */
    struct conf_endpoint metrics;
    /* [PROXY] */
    bool proxy_enable;
    char host_mode[CONF_WORD_MAX], socks_mode[CONF_WORD_MAX];
    char own_server_domains[CONF_TEXT_MAX];
    char socks_proxy[CONF_TEXT_MAX]; /* secret; "": none */
    /* [NAMES] */
    bool names_enable;
    char resolver_endpoint[CONF_TEXT_MAX], resolver_auth[CONF_TEXT_MAX]; /* the second is secret */
    /* [WEB] */
    char web_static_path[CONF_TEXT_MAX], web_cert[CONF_TEXT_MAX], web_key[CONF_TEXT_MAX];
    int64_t web_http, web_https; /* ports; 0: off */
    bool is_https_left_out;      /* not a setting: see ports_settle() */
    struct conf_endpoint dashboard;
    /* [PROCESS] */
    char user[CONF_TEXT_MAX]; /* "": none */
    bool sandbox;
    /* [LIMITS] */
    int64_t message_quota;
    int64_t message_ttl_s; /* 0: expire_messages_days */
    int64_t ntf_ttl_s;     /* 0: expire_ntfs_hours */
    int64_t expiry_interval_s;
    int64_t expire_services_days;
    /* What goes to one part as it is: the part's own struct, so that a setting of it is a field
     * there and a row of the table, and nothing in between. */
    unsigned memory_percent;         /* of what there is; 0: no limit */
    struct admission_opts admission; /* its limits in all are the server's */
    struct relay_settings relay;
    struct relay_rules rules;
    struct control_settings control;
    struct proxy_settings proxy;
    struct resolver_settings resolver;

    /* where each row of the table was set: line of the file, 0 when it was not */
    uint32_t line[CONF_OPTS_MAX];
    /* rows that this version does not use and that ask for something else than it does */
    bool unused[CONF_OPTS_MAX];
};

/* Who takes over a new value on SIGHUP, in this order: a column of the table (server/signals.c). */
enum conf_part {
    CONF_RESTART, /* nobody: it needs a restart */
    CONF_RELAY,
    CONF_CONTROL,
    CONF_LOG,
    CONF_PAGES, /* made anew whatever has changed */
    N_CONF_PARTS
};

/* A remark that does not stop the start, one line. */
typedef void conf_warn(void *ctx, const char *text);
void conf_log_warning(void *ctx, const char *text); /* to the log; ctx is not used */

void conf_init(struct conf *c); /* all defaults */
void conf_done(struct conf *c); /* wipes what is secret */

/* [NAMES] resolver_endpoint and resolver_auth taken apart; endpoint_wipe(). E_CONFIG: *ret_key is
 * which of the two is wrong, *ret_why why; both static. */
struct endpoint;
MUST_USE enum err conf_resolver(const struct conf *c, struct endpoint *ret, const char **ret_key,
                                const char **ret_why);

/* Reads the text of a file over the defaults; file is its name for messages. text is changed.
 * Unknown settings are warned of; anything else that is wrong is E_CONFIG with *ret_problem filled
 * in. */
MUST_USE enum err conf_parse(struct conf *c, const char *file, char *text, conf_warn *warn,
                             void *ctx, struct problem *ret_problem);
/* The same from the server's settings file. E_NOT_FOUND when there is none: the server is not
 * initialized; E_SYS when it cannot be read. */
MUST_USE enum err conf_load(struct conf *c, const char *file, conf_warn *warn, void *ctx,
                            struct problem *ret_problem);

/* The same, but what is wrong with a setting is told to fail and reading goes on: such a setting
 * keeps its default. */
MUST_USE enum err conf_load_all(struct conf *c, const char *file, conf_warn *warn, conf_warn *fail,
                                void *ctx, struct problem *ret_problem);

/* next is what the file says now. Is anything of this part new in it? */
bool conf_differs(const struct conf *c, const struct conf *next, enum conf_part part);
/* The settings of this part become those of next. */
void conf_take(struct conf *c, const struct conf *next, enum conf_part part);
/* Warns of what is new and needs a restart, each time. */
void conf_warn_of_restart(const struct conf *c, const struct conf *next, conf_warn *warn,
                          void *ctx);

int64_t conf_message_ttl_s(const struct conf *c); /* message_ttl, or expire_messages_days */
int64_t conf_ntf_ttl_s(const struct conf *c);     /* notification_ttl, or expire_ntfs_hours */

/* The settings that this version does not use, as "SECTION.key, ..."; empty when there are none. */
void conf_list_unused(const struct conf *c, struct wr *w);
/* The settings in force, as an ini file, without those that are not used; secrets are hidden. */
void conf_print(const struct conf *c, struct wr *w);

/* A value that init puts in place of the default. */
struct conf_value {
    const char *section, *key, *value; /* borrowed */
};
/* The file that init writes: every setting that this version uses, explained; as a comment where it
 * is the default. */
void conf_print_template(const struct conf_value *values, size_t n, struct wr *w);

/* Whether a value is allowed for a setting of the table. E_CONFIG when it is not, with what is
 * allowed instead as text. */
MUST_USE enum err conf_check_value(const struct conf_value *v, char *ret_allowed, size_t cap);
/* Whether this version does anything with a setting of the table. */
bool conf_is_used(const char *section, const char *key);

/* What `host` may be: names or addresses separated by commas. */
bool conf_is_host(const char *s);
/* Such hosts as they stand in an address: IPv6 in brackets. E_CONFIG when they are none, or do not
 * fit. */
MUST_USE enum err conf_write_hosts(const char *hosts, char *ret, size_t cap);
